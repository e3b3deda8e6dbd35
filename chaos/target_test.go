package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign"
)

// credential is what the target keeps under an id.
type credential struct {
	Intent      string              `json:"intent"`
	Grant       string              `json:"grant"`
	Holder      string              `json:"holder"`
	Entitlement string              `json:"entitlement"`
	Until       countersign.Instant `json:"until"`
}

// outside is a target that outlives every process of the house. It is as plain as
// one can be, and remembers what was deleted only for the checker.
type outside struct {
	server *httptest.Server
	lock   sync.Mutex
	held   map[string]credential
	// given counts how often a credential came to be, by id.
	given map[string]int
	// before, if it is set, is called before each call takes effect.
	before func(method, id string)
}

func newOutside(t *testing.T) *outside {
	o := &outside{held: map[string]credential{}, given: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/credentials/{id}", o.serve)
	o.server = httptest.NewServer(mux)
	t.Cleanup(o.server.Close)
	return o
}

// interrupt has something happen before each call takes effect; nil for nothing.
func (o *outside) interrupt(before func(method, id string)) {
	o.lock.Lock()
	defer o.lock.Unlock()
	o.before = before
}

func (o *outside) serve(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	// The body is read before anything waits: it is here, whatever becomes of who
	// sent it.
	var sent credential
	if r.Method == http.MethodPut {
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	o.lock.Lock()
	before := o.before
	o.lock.Unlock()
	if before != nil {
		before(r.Method, id)
	}
	o.lock.Lock()
	defer o.lock.Unlock()
	found, there := o.held[id]
	switch r.Method {
	case http.MethodPut:
		if !there {
			o.given[id]++
		}
		found = sent
		o.held[id] = sent
	case http.MethodDelete:
		delete(o.held, id)
		there = false
	}
	if r.Method == http.MethodDelete || r.Method == http.MethodGet && !there {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if err := json.NewEncoder(w).Encode(found); err != nil {
		panic(fmt.Sprintf("a credential cannot be written: %v", err))
	}
}

// now returns what gives access at this moment, by credential.
func (o *outside) now() map[string]credential {
	o.lock.Lock()
	defer o.lock.Unlock()
	live := map[string]credential{}
	for id, held := range o.held {
		if held.Until == 0 || countersign.InstantOf(time.Now()) < held.Until {
			live[id] = held
		}
	}
	return live
}

// times returns how often each credential came to be.
func (o *outside) times() map[string]int {
	o.lock.Lock()
	defer o.lock.Unlock()
	times := map[string]int{}
	for id, count := range o.given {
		times[id] = count
	}
	return times
}
