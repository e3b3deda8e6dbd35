// Package scimtest lends tests a SCIM 2.0 server on loopback: the protocol, its
// schemas, filters and PATCH paths are those of github.com/elimity-com/scim, and
// what it keeps lies in memory.
//
// It imports no room of the house.
package scimtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/elimity-com/scim"
	"github.com/elimity-com/scim/optional"
	"github.com/elimity-com/scim/schema"
)

// Token is what the server takes.
const Token = "the-token-of-the-house"

// Server keeps users and groups. It is safe for many callers at once.
type Server struct {
	// URL is where /Users and /Groups stand below.
	URL string

	mu            sync.Mutex
	users, groups *shelf
	behaviour     Behaviour
	busy          []http.HandlerFunc
	before        map[string]func()
	asked         []string
}

// New starts a server until the test ends.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{behaviour: Behaviour{Cap: 100}, before: map[string]func(){}}
	s.users, s.groups = newShelf(s, "u"), newShelf(s, "g")
	inner := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(inner.Close)
	s.URL = inner.URL + "/v2"
	return s
}

// Handler is the server without its listener.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Set changes how the server behaves from now on.
func (s *Server) Set(change func(*Behaviour)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.behaviour)
}

// Behaviour is in what servers differ.
type Behaviour struct {
	// NoPatch refuses PATCH, and NoFilter ignores filters. NoVersions has none: its
	// ETag is one that frameworks put on every text. Each is said under
	// /ServiceProviderConfig.
	NoPatch, NoVersions, NoFilter bool
	// Cap is how many a page has at most.
	Cap int
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	var busy http.HandlerFunc
	if len(s.busy) > 0 {
		busy, s.busy = s.busy[0], s.busy[1:]
	}
	happen := s.before[r.Method]
	delete(s.before, r.Method)
	s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
	s.mu.Unlock()
	if happen != nil {
		happen()
	}
	switch {
	case r.Header.Get("Authorization") != "Bearer "+Token:
		refuse(w, http.StatusUnauthorized, "no such token: "+r.Header.Get("Authorization"))
		return
	case busy != nil:
		busy(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	inner, err := scim.NewServer(&scim.ServerArgs{
		ServiceProviderConfig: &scim.ServiceProviderConfig{MaxResults: s.behaviour.Cap, SupportFiltering: !s.behaviour.NoFilter, SupportPatch: !s.behaviour.NoPatch},
		ResourceTypes: []scim.ResourceType{
			{ID: optional.NewString("User"), Name: "User", Endpoint: "/Users", Schema: schema.CoreUserSchema(), Handler: s.users,
				SchemaExtensions: []scim.SchemaExtension{{Schema: schema.ExtensionEnterpriseUser()}}},
			{ID: optional.NewString("Group"), Name: "Group", Endpoint: "/Groups", Schema: schema.CoreGroupSchema(), Handler: s.groups},
		},
	})
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	if s.behaviour.NoVersions {
		w.Header().Set("ETag", `W/"of the text"`)
		if r.Header.Get("If-Match") != "" {
			refuse(w, http.StatusPreconditionFailed, "that is another text")
			return
		}
	}
	if !strings.HasSuffix(r.URL.Path, "/ServiceProviderConfig") {
		inner.ServeHTTP(w, r)
		return
	}
	// The library says that it knows no versions; what it serves here does.
	answer := httptest.NewRecorder()
	inner.ServeHTTP(answer, r)
	config := map[string]any{}
	if err := json.Unmarshal(answer.Body.Bytes(), &config); err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	config["etag"] = map[string]bool{"supported": !s.behaviour.NoVersions}
	w.Header().Set("Content-Type", "application/scim+json")
	_ = json.NewEncoder(w).Encode(config)
}

func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/scim+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:Error"}, "status": fmt.Sprint(status), "detail": detail,
	})
}

// Answer gives the next question this status, with headers as name and value.
func (s *Server) Answer(status int, headers ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = append(s.busy, func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		refuse(w, status, "not now")
	})
}

// Pass lets the next question through, before what Answer says of later ones.
func (s *Server) Pass(questions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range questions {
		s.busy = append(s.busy, nil)
	}
}

// Before lets something happen once, just before the next question by the method
// arrives.
func (s *Server) Before(method string, happen func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before[method] = happen
}

// Asked counts the questions that begin with the text, as in "PATCH /v2/Groups".
func (s *Server) Asked(begin string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	for _, one := range s.asked {
		if strings.HasPrefix(one, begin) {
			count++
		}
	}
	return count
}

// AddUser makes an active user by hand, with the externalId, and returns its id.
func (s *Server) AddUser(name, external string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	attributes := scim.ResourceAttributes{"userName": name, "active": true}
	if external != "" {
		attributes["externalId"] = external
	}
	return s.users.add(attributes)
}

// SetUser changes an attribute of a user by hand; nil takes it away.
func (s *Server) SetUser(id, attribute string, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item := s.users.items[id]
	if item.attributes[attribute] = value; value == nil {
		delete(item.attributes, attribute)
	}
	item.version++
}

// UserOf is the id of the user with the externalId, "" for none.
func (s *Server) UserOf(external string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, item := range s.users.items {
		if item.attributes["externalId"] == external {
			return id
		}
	}
	return ""
}

// User is a copy of what the server has of a user, nil for none.
func (s *Server) User(id string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	item := s.users.items[id]
	if item == nil {
		return nil
	}
	copied := map[string]any{}
	for name, value := range item.attributes {
		copied[name] = value
	}
	return copied
}

// AddGroup makes an empty group by hand and returns its id.
func (s *Server) AddGroup(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups.add(scim.ResourceAttributes{"displayName": name})
}

// Put makes a user a member by hand, Take takes a member out.
func (s *Server) Put(group, user string) { s.member(group, user, true) }

// Take takes a member out of a group by hand.
func (s *Server) Take(group, user string) { s.member(group, user, false) }

func (s *Server) member(group, user string, there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item := s.groups.items[group]
	item.set(user, there)
	item.version++
}

// Member says whether the user is a member.
func (s *Server) Member(group, user string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	item := s.groups.items[group]
	return item != nil && item.has(user)
}

// Delete deletes a user or group by hand.
func (s *Server) Delete(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range []*shelf{s.users, s.groups} {
		of.remove(id)
	}
}

// Writes counts the changes over SCIM that gave or took the user something.
func (s *Server) Writes(user string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users.writes[user] + s.groups.writes[user]
}
