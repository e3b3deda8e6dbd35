package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"reflect"
	"runtime"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/auth"
	"github.com/countersign/countersign/desk"
)

// Prefix stands before every path of the interface.
const Prefix = "/api/v1"

// Config is what the door is made of.
type Config struct {
	Desk *desk.Desk
	// Authenticate returns what a caller sent as token, or Unauthenticated.
	Authenticate func(ctx context.Context, bearer countersign.Secret) (auth.Token, error)
	// Tokens are listed and revoked by their owners.
	Tokens *auth.Tokens
	Clock  interface{ Now() time.Time }
	Log    *slog.Logger
	// Ready says whether this process can answer now; an error says why not.
	Ready func(ctx context.Context) error
	// TicketSecrets are what ticket systems sign with, by the name of the system.
	TicketSecrets map[string]countersign.Secret
	// Mounts are the endpoints of targets.
	Mounts []Mount
	// Wait returns when a watched request should be looked at again, or an
	// error that ends the stream: the context's, when that ends first.
	Wait func(ctx context.Context) error
	// Sample marks every answer as one of a sample house.
	Sample bool
	// Secure says that callers come over TLS, here or at the proxy.
	Secure bool
	// Proxy is the network that a TLS-terminating proxy calls from: nobody else is
	// answered, and it is believed whom it forwards for. The zero value is none.
	Proxy  netip.Prefix
	Limits Limits
	// Answered is told of each answer; nil tells nobody.
	Answered func(route string, status int, took time.Duration)
	// Metrics answers scrapes; nil offers none.
	Metrics http.Handler
}

// Mount is an endpoint that a target answers itself. Its handler finds who is
// calling with Authenticated.
type Mount struct {
	// Path is a pattern of http.ServeMux, with a method where the scope depends on it.
	Path string
	// Scope is what the caller's token must have; "" for any token.
	Scope   auth.Scope
	Handler http.Handler
	Limit   Class
	// Public lets anybody call it, without a token.
	Public bool
	// SignsIn says that callers of a public one show a secret. Its handler tells
	// SignInFailed of each that is wrong.
	SignsIn bool
}

// requestTime bounds how long one answer may take, watching aside.
const requestTime = 30 * time.Second

// route says what an operation asks of its caller and what it reads.
type route struct {
	// scope is what the token must have; "" for any token.
	scope auth.Scope
	// body is the type of the JSON object that is read; nil reads none.
	body reflect.Type
	// query is the generated type of the parameters; nil takes none.
	query reflect.Type
	// upload says that the body is a file, as it is.
	upload bool
	// endless marks an answer that lasts.
	endless bool
	limit   Class
}

// routes are the operations of the interface. One that is missing here has no
// scope, so that New refuses to start.
var routes = map[string]route{
	"GET /house":                         {scope: auth.Read},
	"GET /me":                            {},
	"GET /catalogue":                     {scope: auth.Read},
	"GET /identities/{name}":             {scope: auth.Read},
	"POST /identities/{name}/suspend":    {scope: auth.Grant, body: reflect.TypeFor[Suspension]()},
	"POST /identities/{name}/reactivate": {scope: auth.Grant, body: reflect.TypeFor[Revocation]()},
	"POST /identities/{name}/offer":      {scope: auth.Grant, body: reflect.TypeFor[OwnershipOffer]()},
	"POST /identities/{name}/accept":     {scope: auth.Grant, body: reflect.TypeFor[Revocation]()},
	"POST /identities/{name}/confirm":    {scope: auth.Grant, body: reflect.TypeFor[Revocation]()},
	"GET /identities/{name}/birthrights": {scope: auth.Read},
	"GET /systems/{name}":                {scope: auth.Read},
	"POST /systems/{name}/offer":         {scope: auth.Grant, body: reflect.TypeFor[OwnershipOffer]()},
	"POST /systems/{name}/confirm":       {scope: auth.Grant, body: reflect.TypeFor[Revocation]()},
	"POST /systems/{name}/accept":        {scope: auth.Grant, body: reflect.TypeFor[Revocation]()},
	"POST /systems/{name}/baseline":      {scope: auth.Directory, body: reflect.TypeFor[BaselineDraft]()},
	"GET /delegations":                   {scope: auth.Read},
	"POST /delegations":                  {scope: auth.Decide, body: reflect.TypeFor[DelegationDraft]()},
	"POST /delegations/{id}/end":         {scope: auth.Decide},
	"POST /batches":                      {scope: auth.Request, body: reflect.TypeFor[ManyAsking](), limit: Submits},
	"GET /batches/{id}":                  {scope: auth.Read},
	"POST /requests/preview":             {scope: auth.Request, body: reflect.TypeFor[Asking](), limit: Submits},
	"POST /requests":                     {scope: auth.Request, body: reflect.TypeFor[Asking](), limit: Submits},
	"GET /requests":                      {scope: auth.Read, query: reflect.TypeFor[ListRequestsParams]()},
	"GET /requests/{id}":                 {scope: auth.Read},
	"GET /requests/{id}/timeline":        {scope: auth.Read},
	"GET /requests/{id}/watch":           {scope: auth.Read, endless: true},
	// A consent binds its giver like a decision, so asking for access does not open it.
	"POST /requests/{id}/consent":               {scope: auth.Decide},
	"POST /requests/{id}/evidence":              {scope: auth.Request, body: reflect.TypeFor[EvidenceContent](), limit: Uploads},
	"POST /requests/{id}/approve":               {scope: auth.Decide, body: reflect.TypeFor[Approval]()},
	"POST /requests/{id}/deny":                  {scope: auth.Decide, body: reflect.TypeFor[Denial]()},
	"POST /requests/{id}/cancel":                {scope: auth.Request, body: reflect.TypeFor[Cancellation]()},
	"POST /requests/{id}/amend":                 {scope: auth.Request, body: reflect.TypeFor[Amendment](), limit: Submits},
	"POST /requests/{id}/ask":                   {scope: auth.Decide, body: reflect.TypeFor[QuestionDraft]()},
	"POST /requests/{id}/answer":                {scope: auth.Request, body: reflect.TypeFor[AnswerDraft]()},
	"POST /requests/{id}/review":                {scope: auth.Decide, body: reflect.TypeFor[Review]()},
	"POST /requests/describe":                   {scope: auth.Request, body: reflect.TypeFor[Describing](), limit: Submits},
	"POST /requests/{id}/classify":              {scope: auth.Decide, body: reflect.TypeFor[Classification]()},
	"POST /requests/{id}/prioritise":            {scope: auth.Decide, body: reflect.TypeFor[Prioritising]()},
	"POST /requests/{id}/merge":                 {scope: auth.Decide, body: reflect.TypeFor[Merging]()},
	"POST /requests/{id}/decline":               {scope: auth.Decide, body: reflect.TypeFor[Unblocking]()},
	"POST /requests/{id}/unblock":               {scope: auth.Decide, body: reflect.TypeFor[Unblocking]()},
	"POST /requests/{id}/close":                 {scope: auth.Grant, body: reflect.TypeFor[Revocation]()},
	"PUT /requests/{id}/evidence/{slot}":        {scope: auth.Request, upload: true, limit: Uploads},
	"POST /requests/{id}/evidence/{slot}/fetch": {scope: auth.Request, limit: Uploads},
	// Whoever may look may open evidence; that it goes on the record asks for no more.
	"POST /requests/{id}/evidence/{slot}/open": {scope: auth.Read},
	"GET /machines":                    {scope: auth.Read, query: reflect.TypeFor[ListMachinesParams]()},
	"GET /grants":                      {scope: auth.Read, query: reflect.TypeFor[ListGrantsParams]()},
	"GET /grants/{id}":                 {scope: auth.Read},
	"POST /grants/{id}/rotate":         {scope: auth.Grant, body: reflect.TypeFor[Rotation]()},
	"POST /grants/{id}/revoke":         {scope: auth.Grant, body: reflect.TypeFor[Revocation]()},
	"POST /grants/{id}/retry":          {scope: auth.Grant},
	"GET /tasks":                       {scope: auth.Read},
	"POST /grants/{id}/task/done":      {scope: auth.Decide, body: reflect.TypeFor[TaskReport]()},
	"POST /grants/{id}/task/refuse":    {scope: auth.Decide, body: reflect.TypeFor[TaskReport]()},
	"POST /grants/{id}/task/check":     {scope: auth.Decide, body: reflect.TypeFor[TaskCheck](), limit: Uploads},
	"POST /directory/plan":             {scope: auth.Directory, body: reflect.TypeFor[DirectoryFiles](), limit: Uploads},
	"POST /directory/apply":            {scope: auth.Directory, body: reflect.TypeFor[DirectoryFiles](), limit: Uploads},
	"GET /notices/parked":              {scope: auth.Grant},
	"POST /notices/retry":              {scope: auth.Grant},
	"GET /ticketing/parked":            {scope: auth.Grant},
	"POST /ticketing/retry":            {scope: auth.Grant},
	"POST /ticketing/dismiss":          {scope: auth.Grant, body: reflect.TypeFor[DismissedTicket]()},
	"GET /reconciliations":             {scope: auth.Read},
	"GET /reconciliations/claim":       {scope: auth.Read},
	"POST /reconciliations/{name}/run": {scope: auth.Grant},
	"GET /findings":                    {scope: auth.Read, query: reflect.TypeFor[ListFindingsParams]()},
	"GET /findings/{id}":               {scope: auth.Read},
	"GET /holds":                       {scope: auth.Grant, query: reflect.TypeFor[ListHoldsParams]()},
	"POST /holds":                      {scope: auth.Grant, body: reflect.TypeFor[HoldDraft]()},
	"GET /holds/{id}":                  {scope: auth.Grant},
	"POST /holds/{id}/lift":            {scope: auth.Grant, body: reflect.TypeFor[Revocation]()},
	"POST /findings/{id}/remove":       {scope: auth.Grant, body: reflect.TypeFor[Revocation]()},
	"GET /proposals":                   {scope: auth.Directory, query: reflect.TypeFor[ListProposalsParams]()},
	"POST /proposals":                  {scope: auth.Directory, body: reflect.TypeFor[ProposalDraft](), limit: Uploads},
	"GET /proposals/{id}":              {scope: auth.Directory},
	"GET /proposals/{id}/pairs":        {scope: auth.Directory, query: reflect.TypeFor[ListBaselinePairsParams]()},
	"POST /proposals/{id}/publish":     {scope: auth.Directory, body: reflect.TypeFor[ProposalDecision]()},
	"POST /proposals/{id}/enforce":     {scope: auth.Directory, body: reflect.TypeFor[ProposalDecision]()},
	"POST /proposals/{id}/reject":      {scope: auth.Directory, body: reflect.TypeFor[ProposalDecision]()},
	"POST /proposals/{id}/withdraw":    {scope: auth.Directory, body: reflect.TypeFor[Cancellation]()},
	"GET /tokens":                      {},
	"DELETE /tokens/{id}":              {},
}

// api answers the operations; it implements StrictServerInterface.
type api struct {
	Config
	mux *http.ServeMux
	// counted is what the limits count, by class; failures are of signing in.
	counted  [Evaluates + 1]buckets
	failures buckets
	// turns has a place for each read that is being worked out.
	turns chan struct{}
}

// New returns the door.
func New(config Config) http.Handler {
	a := &api{Config: config, mux: http.NewServeMux(), turns: make(chan struct{}, max(4, readsOfProcessor*runtime.GOMAXPROCS(0)))}
	strict := NewStrictHandlerWithOptions(a, []StrictMiddlewareFunc{a.inTurn}, StrictHTTPServerOptions{RequestErrorHandlerFunc: a.refuse, ResponseErrorHandlerFunc: a.refuse})
	HandlerWithOptions(strict, StdHTTPServerOptions{BaseURL: Prefix, BaseRouter: guarded{a}, ErrorHandlerFunc: a.refuse})
	for _, mount := range config.Mounts {
		switch {
		case mount.Public && mount.SignsIn:
			a.mux.Handle(mount.Path, a.public(mount.Limit, a.signingIn(mount.Handler)))
		case mount.Public:
			a.mux.Handle(mount.Path, a.public(mount.Limit, mount.Handler))
		default:
			a.mux.Handle(mount.Path, a.authenticated(mount.Scope, mount.Limit, mount.Handler))
		}
	}
	a.mux.Handle(ticketingPath, a.public(Evaluates, http.HandlerFunc(a.hearTicket)))
	a.mux.HandleFunc("GET "+healthPath, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, health{"alive"}) })
	a.mux.HandleFunc("GET "+readyPath, a.readyz)
	if config.Metrics != nil {
		a.mux.HandleFunc("GET "+metricsPath, a.metrics)
	}
	return a.observed(http.HandlerFunc(a.dispatch))
}

// Server returns a server with bounds on how long a connection may take. Its
// write timeout is lifted for watching.
func Server(addr string, handler http.Handler) *http.Server {
	return &http.Server{
		Addr: addr, Handler: handler,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 2 * requestTime, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10,
	}
}

// guarded puts the guard before every generated operation.
type guarded struct{ *api }

func (g guarded) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	method, where, _ := strings.Cut(pattern, " ")
	known, listed := routes[method+" "+strings.TrimPrefix(where, Prefix)]
	if !listed {
		panic("httpapi: the operation " + pattern + " has no line in routes")
	}
	g.mux.Handle(pattern, g.authenticated(known.scope, known.limit, g.strict(known, http.HandlerFunc(handler))))
}

func (g guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.mux.ServeHTTP(w, r) }

// dispatch finds the operation, and answers with a problem where there is none.
func (a *api) dispatch(w http.ResponseWriter, r *http.Request) {
	if err := a.checkPeer(r); err != nil {
		a.refuse(w, r, err)
		return
	}
	noSuchPath := countersign.Errorf(countersign.NotFound, "no-such-path", "There is nothing at this path; the interface is below %s.", Prefix)
	// The mux would redirect a path with empty or dotted segments.
	escaped := r.URL.EscapedPath()
	if clean := path.Clean("/" + escaped); clean != escaped && clean+"/" != escaped {
		a.refuse(w, r, noSuchPath)
		return
	}
	if !text(r.URL.Path) {
		a.refuse(w, r, noSuchPath)
		return
	}
	for name, values := range r.URL.Query() {
		if !text(name) || !text(strings.Join(values, "")) {
			a.refuse(w, r, countersign.Errorf(countersign.Invalid, "malformed-parameter", "A parameter holds something else than text: control characters or invalid UTF-8."))
			return
		}
	}
	handler, pattern := a.mux.Handler(r)
	if pattern != "" {
		a.mux.ServeHTTP(w, r)
		return
	}
	var unmatched silent
	handler.ServeHTTP(&unmatched, r)
	if allow := unmatched.Header().Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		a.refuse(w, r, countersign.Errorf(countersign.Invalid, "method-not-allowed", "%s is not offered at this path; use %s.", countersign.Clip(r.Method), allow))
		return
	}
	a.refuse(w, r, noSuchPath)
}

// text reports whether what was sent is valid UTF-8 without control characters.
func text(sent string) bool {
	return utf8.ValidString(sent) && !strings.ContainsFunc(sent, unicode.IsControl)
}

// silent takes what the mux says about a request that matches nothing.
type silent struct{ header http.Header }

func (s *silent) Header() http.Header {
	if s.header == nil {
		s.header = http.Header{}
	}
	return s.header
}
func (s *silent) Write(p []byte) (int, error) { return len(p), nil }
func (s *silent) WriteHeader(int)             {}

// metrics lets monitoring on this machine read the figures, and others with a token
// for it.
func (a *api) metrics(w http.ResponseWriter, r *http.Request) {
	if a.fromThisMachine(r) {
		a.Metrics.ServeHTTP(w, r)
		return
	}
	a.authenticated(auth.Metrics, Unlimited, a.Metrics).ServeHTTP(w, r)
}

type health struct {
	Status string `json:"status"`
}

func (a *api) readyz(w http.ResponseWriter, r *http.Request) {
	if err := a.Ready(r.Context()); err != nil {
		a.Log.WarnContext(r.Context(), "this process is not ready", "error", err)
		a.refuse(w, r, countersign.Errorf(countersign.Unavailable, "not-ready", "This process cannot answer now; the log says why."))
		return
	}
	writeJSON(w, http.StatusOK, health{"ready"})
}
