package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
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
	// address is where it is reached; the name of a replica comes after it.
	address string
	lock    sync.Mutex
	held    map[string]credential
	// given counts how often a credential came to be, by id.
	given map[string]int
	// putBy are the replicas that put a credential, by its id.
	putBy map[string][]string
	// before, if it is set, is called before each call takes effect.
	before func(method, id string)
}

func newOutside(t *testing.T) *outside {
	o := &outside{held: map[string]credential{}, given: map[string]int{}, putBy: map[string][]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/{replica}/credentials/{id}", o.serve)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	o.address = server.URL
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
		o.putBy[id] = append(o.putBy[id], r.PathValue("replica"))
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

// put says which replicas have put a credential.
func (o *outside) put(id string) []string {
	o.lock.Lock()
	defer o.lock.Unlock()
	return slices.Clone(o.putBy[id])
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
