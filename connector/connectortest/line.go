package connectortest

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// Line is a way to a real server on loopback that can be cut, and that counts what
// goes over it. It is safe for many callers at once.
type Line struct {
	listener         net.Listener
	network, address string

	mu   sync.Mutex
	down bool
	// cut is a text in a question whose answer is not passed on.
	cut   []byte
	asked [][]byte
}

// NewLine opens a way to the server until the test ends.
func NewLine(t testing.TB, network, address string) *Line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{listener: listener, network: network, address: address}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { l.carry(client) })
		}
	})
	t.Cleanup(func() { listener.Close(); all.Wait() })
	return l
}

// Address is where the line begins, as host:port.
func (l *Line) Address() string { return l.listener.Addr().String() }

// SetDown makes the line hang up on whoever calls, or not any more.
func (l *Line) SetDown(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
}

// CutAfter passes the next question that has the text on, and hangs up instead of
// passing the answer on: the effect has happened, and nobody was told.
func (l *Line) CutAfter(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = []byte(text)
}

// Asked counts the questions that had all of the texts.
func (l *Line) Asked(texts ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := 0
	for _, question := range l.asked {
		all := true
		for _, text := range texts {
			all = all && bytes.Contains(question, []byte(text))
		}
		if all {
			found++
		}
	}
	return found
}

// ask notes a question, and says whether its answer is to be cut off.
func (l *Line) ask(question []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, bytes.Clone(question))
	if l.cut == nil || !bytes.Contains(question, l.cut) {
		return false
	}
	l.cut = nil
	return true
}

func (l *Line) isDown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

func (l *Line) carry(client net.Conn) {
	defer client.Close()
	if l.isDown() {
		return
	}
	server, err := net.Dial(l.network, l.address)
	if err != nil {
		return
	}
	defer server.Close()
	var mu sync.Mutex
	cut := false
	var answers sync.WaitGroup
	answers.Go(func() {
		defer client.Close()
		buffer := make([]byte, 1<<16)
		for {
			n, err := server.Read(buffer)
			mu.Lock()
			over := cut
			mu.Unlock()
			if err != nil || over {
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	})
	buffer := make([]byte, 1<<16)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			break
		}
		if l.ask(buffer[:n]) {
			mu.Lock()
			cut = true
			mu.Unlock()
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			break
		}
	}
	mu.Lock()
	waits := cut
	mu.Unlock()
	if !waits {
		server.Close()
	}
	answers.Wait()
	_, _ = io.Copy(io.Discard, client)
}
