package chaos

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/store/pgtest"
)

func TestWithItsDatabaseKilledAndItsConnectionsCutNothingIsLostHalfDoneOrDoneTwice(t *testing.T) {
	t.Parallel()
	for round := range rounds(t, 1) {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			chance := seeded(t)
			server := pgtest.OwnServer(t)
			wire, database := newWire(t, server.Database(migrate))
			h := onDatabase(t, 3, database)
			l := h.begin(chance)
			disturbances := []func(){
				func() { server.Kill(); server.Start() },
				func() { wire.cut(t, chance) },
				func() { wire.cut(t, chance) },
				func() { wire.cut(t, chance) },
			}
			for _, i := range chance.Perm(len(disturbances)) {
				<-time.After(time.Duration(chance.IntN(int(time.Second))))
				disturbances[i]()
			}
			h.check(l.end())
		})
	}
}

// wire stands between the house and its database, and can be cut.
type wire struct {
	lock  sync.Mutex
	pairs map[*pair]bool
}

// pair is one connection of the house and the one to the database behind it.
type pair struct {
	house, database net.Conn
	lock            sync.Mutex
	// deaf says that what the database answers is lost.
	deaf bool
}

// newWire returns the wire and the address of the database at its other end.
func newWire(t *testing.T, database string) (*wire, string) {
	t.Helper()
	address, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	// /tmp and not the folder for temporary files: the path of a socket is short.
	dir, err := os.MkdirTemp("/tmp", "countersign-wire-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const socket = ".s.PGSQL.5432"
	behind := filepath.Join(address.Query().Get("host"), socket)
	listener, err := net.Listen("unix", filepath.Join(dir, socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	w := &wire{pairs: map[*pair]bool{}}
	go func() {
		for {
			front, err := listener.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("unix", behind)
			if err != nil {
				// The database is away, and so is this connection.
				_ = front.Close()
				continue
			}
			w.join(&pair{house: front, database: back})
		}
	}()
	address.RawQuery = url.Values{"host": {dir}}.Encode()
	return w, address.String()
}

func (w *wire) join(p *pair) {
	w.lock.Lock()
	w.pairs[p] = true
	w.lock.Unlock()
	end := func() {
		w.lock.Lock()
		delete(w.pairs, p)
		w.lock.Unlock()
		// Either may be closed already.
		_ = errors.Join(p.house.Close(), p.database.Close())
	}
	go func() {
		defer end()
		// How a copy ends says nothing: connections are cut here.
		_, _ = io.Copy(p.database, p.house)
	}()
	go func() {
		defer end()
		_, _ = io.Copy(p, p.database)
	}()
}

// Write passes on what the database answers, unless it is lost.
func (p *pair) Write(content []byte) (int, error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.deaf {
		return len(content), nil
	}
	return p.house.Write(content)
}

// cut cuts every connection: some at once, and some after commands went through
// whose answers are lost.
func (w *wire) cut(t *testing.T, chance *rand.Rand) {
	w.lock.Lock()
	var now, later []*pair
	for p := range w.pairs {
		if chance.IntN(2) == 0 {
			now = append(now, p)
		} else {
			later = append(later, p)
		}
	}
	w.lock.Unlock()
	for _, p := range later {
		p.lock.Lock()
		p.deaf = true
		p.lock.Unlock()
	}
	for _, p := range now {
		_ = p.house.Close()
	}
	<-time.After(100 * time.Millisecond)
	for _, p := range later {
		_ = p.house.Close()
	}
	t.Logf("%d connections cut, %d after answers were lost", len(now), len(later))
}
