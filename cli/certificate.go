package cli

import (
	"crypto/tls"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"time"
)

// certificate is the pair of TLS files, which is read again when they change: what
// renews a certificate need not stop the house. A pair that cannot be used leaves
// the one before it in place.
type certificate struct {
	certificateFile, keyFile string
	log                      *slog.Logger

	lock     sync.Mutex
	now      *tls.Certificate
	expires  time.Time
	lookedAt time.Time
	// seen are the times of the files as they were last read.
	seen [2]time.Time
}

// lookEvery is how long a changed pair of files may go unseen.
const lookEvery = 10 * time.Second

func openCertificate(certificateFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certificateFile: certificateFile, keyFile: keyFile, log: log}
	if err := c.read(); err != nil {
		return nil, invalid("the TLS files cannot be used: %v", err)
	}
	return c, nil
}

// read reads the pair. The times are taken first: a file that changes meanwhile is
// looked at again.
func (c *certificate) read() error {
	c.seen = c.times()
	pair, err := tls.LoadX509KeyPair(c.certificateFile, c.keyFile)
	if err != nil {
		return err
	}
	c.now, c.expires = &pair, pair.Leaf.NotAfter
	return nil
}

func (c *certificate) times() (times [2]time.Time) {
	for i, file := range []string{c.certificateFile, c.keyFile} {
		if info, err := os.Stat(file); err == nil {
			times[i] = info.ModTime()
		}
	}
	return times
}

// get gives the certificate for a connection, and looks for a new one now and then.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if now := time.Now(); now.Sub(c.lookedAt) >= lookEvery {
		c.lookedAt = now
		if c.times() != c.seen {
			c.reread()
		}
	}
	return c.now, nil
}

// reload reads the files now.
func (c *certificate) reload() {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.reread()
}

// reloadOn reads the files at each signal, until the returned function is called.
func (c *certificate) reloadOn(signals ...os.Signal) (stop func()) {
	heard, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(heard, signals...)
	go func() {
		for {
			select {
			case <-heard:
				c.reload()
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(heard)
		close(done)
	}
}

func (c *certificate) reread() {
	if err := c.read(); err != nil {
		c.log.Error("the new TLS files cannot be used, and the earlier ones stay", "error", err)
		return
	}
	c.log.Info("the TLS files were read again", "expires", c.expires.UTC().Format(time.RFC3339))
}

// end returns when the certificate expires; the zero time for none.
func (c *certificate) end() time.Time {
	if c == nil {
		return time.Time{}
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.expires
}
