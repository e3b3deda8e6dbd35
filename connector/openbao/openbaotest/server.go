// Package openbaotest is a fake of the endpoints of an OpenBao server that the
// connector openbao uses, for tests only. It answers with the status codes and
// bodies of the real one (2.6), keeps to its policies, and can be told to fail in
// the ways in which a real one does. It is no OpenBao: nothing is sealed, stored
// or replicated.
package openbaotest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/connector"
)

// Token is a token that the server knows.
type Token struct {
	ID, Accessor string
	Policies     []string
	Meta         map[string]string
	// Role is that of the tokens that ask for leases.
	Role      string
	Expires   time.Time
	Renewable bool
	Period    time.Duration
	// Batch says that it is a batch token, and not a service token.
	Batch bool
}

// Role is a role of an engine that gives leases.
type Role struct {
	// Default and Longest are how long a lease lives.
	Default, Longest time.Duration
	// Fixed says that its leases cannot be renewed, NoLease that it gives none.
	Fixed, NoLease bool
}

// AppRole is a role of the auth method AppRole.
type AppRole struct {
	ID                       string
	SecretIDTTL, TokenMaxTTL time.Duration
	TokenPeriod              time.Duration
	NoSecretID               bool
}

// account is what an engine made on its own target.
type account struct{ mount, role, password string }

type lease struct {
	id, token, username string
	issued, expires     time.Time
	renewable           bool
	longest             time.Duration
	// failed is why the server gave up taking it back.
	failed string
}

type secretID struct {
	secret, path string
	meta         map[string]string
	created, end time.Time
}

// Server is the fake. Its methods are safe for many callers at once.
type Server struct {
	http  *httptest.Server
	clock connector.Clock

	mu         sync.Mutex
	made       int
	cluster    string
	policies   map[string][]rule
	tokens     map[string]*Token
	tokenRoles map[string][]string
	// longest is the longest life of a token.
	longest   time.Duration
	engines   map[string]map[string]Role
	broken    map[string]string
	queueing  bool
	leases    map[string]*lease
	accounts  map[string]account
	given     map[string]int
	appRoles  map[string]AppRole
	secretIDs map[string]*secretID
	sealed    bool
	redirect  string
	throttled bool
}

// New starts a server until the test ends; it listens on loopback, without TLS.
func New(t testing.TB, clock connector.Clock) *Server {
	t.Helper()
	f := &Server{
		clock: clock, cluster: "6f1c0a3e-2f04-4d5c-8a68-0c6f3a0b7d11", policies: map[string][]rule{}, tokens: map[string]*Token{}, tokenRoles: map[string][]string{},
		longest: 32 * 24 * time.Hour, engines: map[string]map[string]Role{}, broken: map[string]string{}, leases: map[string]*lease{},
		accounts: map[string]account{}, given: map[string]int{}, appRoles: map[string]AppRole{}, secretIDs: map[string]*secretID{},
	}
	f.http = httptest.NewServer(f)
	t.Cleanup(f.http.Close)
	return f
}

// Address is host:port.
func (f *Server) Address() string { return strings.TrimPrefix(f.http.URL, "http://") }

func (f *Server) locked() func() {
	f.mu.Lock()
	f.sweep()
	return f.mu.Unlock
}

// SetPolicy sets a policy, written as OpenBao writes them.
func (f *Server) SetPolicy(t testing.TB, name, text string) {
	t.Helper()
	rules, err := readPolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	defer f.locked()()
	f.policies[name] = rules
}

// AddToken adds a token, or changes it.
func (f *Server) AddToken(token Token) {
	defer f.locked()()
	if token.Accessor == "" {
		token.Accessor = "accessor-of-" + token.ID
	}
	f.tokens[token.ID] = &token
}

// SetTokenRole sets the policies of the tokens of a role, which are orphans.
func (f *Server) SetTokenRole(name string, policies ...string) {
	defer f.locked()()
	f.tokenRoles[name] = policies
}

// SetLongest sets the longest life of a token.
func (f *Server) SetLongest(longest time.Duration) {
	defer f.locked()()
	f.longest = longest
}

// SetRole sets a role of the engine at the mount.
func (f *Server) SetRole(mount, name string, role Role) {
	defer f.locked()()
	if f.engines[mount] == nil {
		f.engines[mount] = map[string]Role{}
	}
	f.engines[mount][name] = role
}

// SetAppRole sets a role of the AppRole method at auth/<mount>; without an ID it
// removes it, with its secret ids.
func (f *Server) SetAppRole(mount, name string, role AppRole) {
	defer f.locked()()
	path := "auth/" + mount + "/role/" + name
	if role.ID == "" {
		delete(f.appRoles, path)
		maps.DeleteFunc(f.secretIDs, func(_ string, held *secretID) bool { return held.path == path })
		return
	}
	f.appRoles[path] = role
}

// SetBroken makes the engine at the mount fail to take anything back, with that
// message; "" mends it. What ends by time meanwhile uses its six tries up, and is
// irrevocable.
func (f *Server) SetBroken(mount, message string) {
	defer f.locked()()
	if delete(f.broken, mount); message != "" {
		f.broken[mount] = message
	}
}

// SetQueueing makes the server queue every revoke, as it does where sync was not
// asked for, and carry none out; false carries out what is queued.
func (f *Server) SetQueueing(queueing bool) {
	defer f.locked()()
	f.queueing = queueing
}

// SetSealed seals the server, or unseals it.
func (f *Server) SetSealed(sealed bool) {
	defer f.locked()()
	f.sealed = sealed
}

// SetStandby makes the server a standby that sends everybody to the address; ""
// makes it active.
func (f *Server) SetStandby(address string) {
	defer f.locked()()
	f.redirect = address
}

// SetThrottled has the server refuse by its quota.
func (f *Server) SetThrottled(throttled bool) {
	defer f.locked()()
	f.throttled = throttled
}

// SetCluster makes the server another one, that knows nothing of what was given.
func (f *Server) SetCluster(id string) {
	defer f.locked()()
	f.cluster = id
	clear(f.leases)
	clear(f.secretIDs)
}

// RevokeToken takes a token away as an administrator would, with its leases.
func (f *Server) RevokeToken(id string) {
	defer f.locked()()
	f.endToken(id)
	f.sweep()
}

// Login says whether the engine's own target knows the account.
func (f *Server) Login(mount, role, username, password string) bool {
	defer f.locked()()
	held, known := f.accounts[username]
	return known && held == account{mount, role, password}
}

// SignIn says whether a secret id is good at auth/<mount> for the role.
func (f *Server) SignIn(mount, role, roleID, secret string) bool {
	defer f.locked()()
	path := "auth/" + mount + "/role/" + role
	known := f.appRoles[path]
	if known.ID == "" || known.ID != roleID {
		return false
	}
	for _, held := range f.secretIDs {
		if held.path == path && held.secret == secret && (held.end.IsZero() || f.now().Before(held.end)) {
			return true
		}
	}
	return false
}

// Given counts leases and secret ids that were made with the metadata
// countersign_credential.
func (f *Server) Given(credential string) int {
	defer f.locked()()
	return f.given[credential]
}

// Leases are the ids of all leases that are there, Tokens the accessors of all
// tokens of the role.
func (f *Server) Leases() []string {
	defer f.locked()()
	return slices.Sorted(maps.Keys(f.leases))
}

// Tokens are the accessors of all tokens of the role.
func (f *Server) Tokens(role string) []string {
	defer f.locked()()
	var found []string
	for _, token := range f.tokens {
		if token.Role == role {
			found = append(found, token.Accessor)
		}
	}
	return found
}

// Irrevocable are the leases that the server gave up, as sys/leases?type=irrevocable
// tells them.
func (f *Server) Irrevocable() []string {
	defer f.locked()()
	var found []string
	for id, held := range f.leases {
		if held.failed != "" {
			found = append(found, id)
		}
	}
	return found
}

func (f *Server) now() time.Time { return f.clock.Now() }

// unique is a text that was not there before.
func (f *Server) unique(prefix string) string {
	f.made++
	return fmt.Sprintf("%s%06d", prefix, f.made)
}

func (f *Server) endToken(id string) {
	delete(f.tokens, id)
	for _, held := range f.leases {
		if held.token == id && held.expires.After(f.now()) {
			held.expires = f.now()
		}
	}
}

// sweep ends what has ended by time: tokens, with their leases, and leases.
func (f *Server) sweep() {
	for id, token := range f.tokens {
		if !token.Expires.IsZero() && !f.now().Before(token.Expires) {
			f.endToken(id)
		}
	}
	if f.queueing {
		return
	}
	for _, held := range f.leases {
		if held.failed != "" || f.now().Before(held.expires) {
			continue
		}
		if why := f.takeBack(held); why != "" {
			held.failed = "out of retries: " + why
		}
	}
}

// takeBack has the engine remove what it made, or says why it cannot.
func (f *Server) takeBack(held *lease) string {
	mount := f.accounts[held.username].mount
	if why := f.broken[mount]; why != "" {
		return "failed to revoke entry: resp: (*logical.Response)(nil) err: " + why
	}
	delete(f.accounts, held.username)
	delete(f.leases, held.id)
	return ""
}

// ServeHTTP implements http.Handler.
func (f *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	defer f.locked()()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	if path == "sys/health" {
		f.health(w)
		return
	}
	switch {
	case f.sealed:
		tell(w, http.StatusServiceUnavailable, map[string]any{"errors": []string{"Vault is sealed"}})
		return
	case f.redirect != "":
		w.Header().Set("Location", f.redirect+r.URL.RequestURI())
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	case f.throttled:
		w.Header().Set("Retry-After", "7")
		no(w, http.StatusTooManyRequests, "request path \""+path+"\": rate limit quota exceeded")
		return
	}
	question := map[string]any{}
	if len(bytes.TrimSpace(content)) > 0 {
		if err := json.Unmarshal(content, &question); err != nil {
			no(w, http.StatusBadRequest, "failed to parse JSON input: "+err.Error())
			return
		}
	}
	token := f.tokens[r.Header.Get("X-Vault-Token")]
	if token == nil {
		no(w, http.StatusForbidden, "permission denied")
		return
	}
	capability := map[string]string{http.MethodGet: "read", http.MethodPost: "update", http.MethodPut: "update", "LIST": "list"}[r.Method]
	if !f.may(token, path, capability) {
		no(w, http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
		return
	}
	f.route(w, r.Method, path, token, question)
	f.sweep()
}

func (f *Server) health(w http.ResponseWriter) {
	code := http.StatusOK
	body := map[string]any{"initialized": true, "sealed": f.sealed, "standby": f.redirect != "", "version": "2.6.2", "cluster_name": "fake", "cluster_id": f.cluster}
	if f.sealed {
		code = http.StatusServiceUnavailable
		delete(body, "cluster_name")
		delete(body, "cluster_id")
	}
	tell(w, code, body)
}

// tell answers with what the handlers of the real server write.
func tell(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// A test that hung up learns it from its own side.
	_ = json.NewEncoder(w).Encode(body)
}

func no(w http.ResponseWriter, code int, says ...string) {
	if says == nil {
		says = []string{}
	}
	tell(w, code, map[string]any{"errors": says})
}

// give answers with data.
func give(w http.ResponseWriter, data any) { tell(w, http.StatusOK, map[string]any{"data": data}) }
