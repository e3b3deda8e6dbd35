package servers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a Redis server that listens on a socket alone.
type Redis struct {
	*process
	// Socket is where it listens.
	Socket  string
	program string
}

// Root is the user that may do everything, and its password.
const Root = "root"

// RedisConfig is how a server is made.
type RedisConfig struct {
	// Users are lines of an access control list, beside Root; the default user is off.
	Users string
	// Keeps says that they stand in a file, to which the server can save them.
	Keeps bool
	// More are further lines of redis.conf.
	More string
}

// StartRedis starts a server. Without its program the error is a *Missing.
func StartRedis(how RedisConfig) (*Redis, error) {
	program, err := found("redis-server is not installed: apt-get install redis-server", "redis-server")
	if err != nil {
		return nil, err
	}
	folder, err := newFolder("redis")
	if err != nil {
		return nil, err
	}
	r := &Redis{process: &process{folder: folder}, Socket: filepath.Join(folder, "s"), program: program}
	users := "user default off\nuser " + Root + " on >" + Root + " ~* &* +@all\n" + how.Users
	config := "port 0\nunixsocket " + r.Socket + "\nsave \"\"\ndir " + folder + "\n" + how.More
	if how.Keeps {
		config += "aclfile " + filepath.Join(folder, "users.acl") + "\n"
		err = os.WriteFile(filepath.Join(folder, "users.acl"), []byte(users), 0o600)
	} else {
		config += users
	}
	if err = errors.Join(err, os.WriteFile(filepath.Join(folder, "redis.conf"), []byte(config), 0o600)); err == nil {
		err = r.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return r, nil
}

// Start starts the server again that was stopped.
func (r *Redis) Start() error {
	// What a killed server leaves keeps nobody from listening, and would be answered by
	// nobody.
	if err := os.Remove(r.Socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	session := r.Open(Root, Root)
	defer session.Close()
	started, err := start(r.folder, nil, func() error { return session.Ping(context.Background()).Err() }, r.program, filepath.Join(r.folder, "redis.conf"))
	if err == nil {
		r.process = started
	}
	return err
}

// Stop ends the server by SIGKILL. What it saved stays.
func (r *Redis) Stop() error { return r.stop() }

// Close ends the server and removes its folder.
func (r *Redis) Close() error { return r.close() }

// Open is one connection as a user, which signs in with the first command.
func (r *Redis) Open(user, password string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Network: "unix", Addr: r.Socket, Username: user, Password: password, PoolSize: 1, MaxRetries: -1, DialTimeout: time.Second, DisableIdentity: true,
	})
}
