package ticketingtest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// ServiceNow is a fake of the Table API for request items and their journals.
type ServiceNow struct {
	faults
	URL string

	items sync.Mutex
	state map[string]string
	// journal has the entries of each item, by its sys_id, the oldest first.
	journal map[string][]entry
}

type entry struct{ element, value string }

// NewServiceNow starts a fake that knows request items with the ids, in state 1.
func NewServiceNow(t testing.TB, credential string, ids ...string) *ServiceNow {
	s := &ServiceNow{state: map[string]string{}, journal: map[string][]entry{}}
	for _, id := range ids {
		s.state[id] = "1"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PATCH /api/now/table/sc_req_item/{id}", s.patch)
	mux.HandleFunc("GET /api/now/table/sys_journal_field", s.find)
	server := httptest.NewServer(s.guarded(credential, mux))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Comments are what the item's journal says, the oldest first.
func (s *ServiceNow) Comments(id string) []string {
	s.items.Lock()
	defer s.items.Unlock()
	var texts []string
	for _, one := range s.journal[id] {
		texts = append(texts, one.value)
	}
	return texts
}

// State is the state of the item.
func (s *ServiceNow) State(id string) string {
	s.items.Lock()
	defer s.items.Unlock()
	return s.state[id]
}

func (s *ServiceNow) patch(w http.ResponseWriter, r *http.Request) {
	s.items.Lock()
	defer s.items.Unlock()
	id := r.PathValue("id")
	if _, known := s.state[id]; !known {
		answer(w, http.StatusNotFound, map[string]any{"error": map[string]any{"message": "No Record found", "detail": "Record doesn't exist or ACL restricts the record retrieval"}, "status": "failure"})
		return
	}
	var sent map[string]string
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": err.Error(), "detail": nil}, "status": "failure"})
		return
	}
	for _, element := range []string{"comments", "work_notes"} {
		if text := sent[element]; text != "" {
			s.journal[id] = append(s.journal[id], entry{element, text})
		}
	}
	if state := sent["state"]; state != "" {
		s.state[id] = state
	}
	answer(w, http.StatusOK, map[string]any{"result": map[string]string{"sys_id": id}})
}

// find knows the query that is asked here: element_id, element and valueLIKE.
func (s *ServiceNow) find(w http.ResponseWriter, r *http.Request) {
	s.items.Lock()
	defer s.items.Unlock()
	asked := strings.Split(r.URL.Query().Get("sysparm_query"), "^")
	result := []any{}
	for id, entries := range s.journal {
		for _, one := range slices.Backward(entries) {
			fits := len(asked) == 3 && asked[0] == "element_id="+id && asked[1] == "element="+one.element
			if like, is := strings.CutPrefix(asked[len(asked)-1], "valueLIKE"); fits && is && strings.Contains(one.value, like) {
				result = append(result, map[string]string{"value": one.value})
			}
		}
	}
	answer(w, http.StatusOK, map[string]any{"result": result})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
