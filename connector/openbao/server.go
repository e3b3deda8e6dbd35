package openbao

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/wire"
)

const (
	// maxAnswer is how many bytes of an answer are read.
	maxAnswer = 1 << 20
	// longest is how long a request waits: the server itself gives one up after that.
	longest = 90 * time.Second
)

func rejected(format string, args ...any) error {
	return &connector.Failure{Kind: connector.Rejected, Message: fmt.Sprintf(format, args...)}
}

func transient(format string, args ...any) error {
	return &connector.Failure{Kind: connector.Transient, Message: fmt.Sprintf(format, args...)}
}

// readAddress refuses an address to which the token would go in clear.
func readAddress(options Options) (*url.URL, error) {
	address, err := url.Parse(options.Address)
	if err != nil || address.Host == "" || address.User != nil || strings.Trim(address.Path, "/") != "" || address.RawQuery != "" || address.Scheme != "https" && address.Scheme != "http" {
		return nil, wire.Malformed(options.Name, "address", "%q is not the address of a server: write https://bao.example:8200", countersign.Clip(options.Address))
	}
	if address.Scheme == "http" && !wire.Loopback(address.Hostname()) {
		return nil, wire.Malformed(options.Name, "address", "%q would send tokens in clear: write https:// for a server that is not on loopback", countersign.Clip(options.Address))
	}
	return address, nil
}

// newClient is a client that goes where a standby sends it, once and never to
// where the token would go in clear.
func newClient(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, Timeout: longest, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if len(via) > 1 || next.URL.Scheme != "https" && (via[0].URL.Scheme == "https" || !wire.Loopback(next.URL.Hostname())) {
			return fmt.Errorf("it leads to %s, which is not followed", next.URL.Host)
		}
		return nil
	}}
}

// server is the way to the server for one operation.
type server struct {
	*Connector
	token countersign.Secret
}

// connect reads the token anew: an agent may have put another one in its place.
func (c *Connector) connect() (*server, error) {
	token, err := c.Token()
	if err != nil {
		return nil, &connector.Failure{Kind: connector.Transient, Message: "the token of the connector " + c.Name + " cannot be read", Cause: err}
	}
	return &server{c, token}, nil
}

// answer is what the connector reads of an answer; every endpoint has this form.
type answer struct {
	LeaseID       string `json:"lease_id"`
	LeaseDuration int64  `json:"lease_duration"`
	Renewable     bool   `json:"renewable"`
	// Data is what an engine gave; it may be secret.
	Data json.RawMessage `json:"data"`
	Auth *struct {
		ClientToken   string `json:"client_token"`
		Accessor      string `json:"accessor"`
		LeaseDuration int64  `json:"lease_duration"`
	} `json:"auth"`
	Errors []string `json:"errors"`
}

// why is what an answer that says no has for a reason, in one line.
func (a answer) why() string {
	reasons := a.Errors
	var inData struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(a.Data, &inData) == nil && inData.Error != "" {
		reasons = append(reasons, inData.Error)
	}
	return wire.OneLine(strings.Join(strings.Fields(strings.Join(reasons, "; ")), " "))
}

// refusal is an answer that says no.
type refusal struct {
	status int
	what   string
	said   string
}

func (r *refusal) Error() string {
	if r.said == "" {
		return fmt.Sprintf("%s is answered by %d", r.what, r.status)
	}
	return fmt.Sprintf("%s is answered by %d: %s", r.what, r.status, r.said)
}

// refused says that the error is an answer with the status and the text.
func refused(err error, status int, says string) bool {
	var no *refusal
	return errors.As(err, &no) && no.status == status && strings.Contains(no.said, says)
}

// ask asks with the connector's token, within its namespace.
func (s *server) ask(ctx context.Context, method, path string, question any) (answer, error) {
	return s.askAs(ctx, s.token, method, path, question)
}

// askAs returns what the server did, or a Failure. That the server is down, sealed
// or a standby is Transient, and so is that the token may not: it may have ended,
// and is read anew.
func (s *server) askAs(ctx context.Context, token countersign.Secret, method, path string, question any) (answer, error) {
	said, status, err := s.send(ctx, token, method, path, question)
	if err != nil {
		return answer{}, &connector.Failure{Kind: connector.Transient, Message: "the OpenBao server did not answer", Cause: err}
	}
	if status.code >= http.StatusOK && status.code < http.StatusMultipleChoices {
		return said, nil
	}
	no := &refusal{status: status.code, what: method + " /v1/" + path, said: said.why()}
	failure := &connector.Failure{Kind: connector.Rejected, Message: "the OpenBao server refuses", Cause: no}
	switch {
	case status.code == http.StatusTooManyRequests:
		failure.Kind, failure.Message, failure.After = connector.Throttled, "the OpenBao server asks to wait", max(status.after, 1)
	case status.code == http.StatusForbidden:
		failure.Kind, failure.Message = connector.Transient, "the OpenBao server refuses the token: it has ended, or its policy lacks this path"
	case status.code == http.StatusServiceUnavailable || status.code == 472 || status.code == 473:
		failure.Kind, failure.Message = connector.Transient, "the OpenBao server is sealed or a standby"
	case status.code < http.StatusBadRequest || status.code >= http.StatusInternalServerError:
		failure.Kind, failure.Message = connector.Transient, "the OpenBao server did not do it"
	}
	return answer{}, failure
}

// status is the status of an answer, and how long it asks to wait.
type status struct {
	code  int
	after countersign.Seconds
}

func (s *server) send(ctx context.Context, token countersign.Secret, method, path string, question any) (answer, status, error) {
	var content []byte
	if question != nil {
		var err error
		if content, err = json.Marshal(question); err != nil {
			return answer{}, status{}, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, s.address.String()+"/v1/"+path, bytes.NewReader(content))
	if err != nil {
		return answer{}, status{}, err
	}
	request.Header.Set("X-Vault-Request", "true")
	if token.Reveal() != "" {
		request.Header.Set("X-Vault-Token", token.Reveal())
		if s.Namespace != "" {
			request.Header.Set("X-Vault-Namespace", s.Namespace)
		}
	}
	response, err := s.client.Do(request)
	if err != nil {
		return answer{}, status{}, err
	}
	defer response.Body.Close()
	told := status{code: response.StatusCode}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		told.after = min(countersign.Seconds(max(seconds, 0)), wire.MaxWait)
	}
	if content, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer)); err != nil {
		return answer{}, status{}, err
	}
	var said answer
	if len(content) > 0 && json.Unmarshal(content, &said) != nil && told.code < http.StatusMultipleChoices {
		return answer{}, status{}, errors.New("its answer is not JSON; is this an OpenBao server?")
	}
	return said, told, nil
}

// cluster is the identity of the server's storage: what another one does not know
// is not gone. Asking needs no token, and a standby may answer.
func (s *server) cluster(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address.String()+"/v1/sys/health?standbyok=true&perfstandbyok=true", nil)
	if err != nil {
		return "", err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return "", &connector.Failure{Kind: connector.Transient, Message: "the OpenBao server did not answer", Cause: err}
	}
	defer response.Body.Close()
	var health struct {
		Initialized bool   `json:"initialized"`
		Sealed      bool   `json:"sealed"`
		ClusterID   string `json:"cluster_id"`
	}
	err = json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&health)
	switch {
	case err != nil:
		return "", &connector.Failure{Kind: connector.Transient, Message: "GET /v1/sys/health is answered by something else than an OpenBao server", Cause: err}
	case !health.Initialized:
		return "", transient("the OpenBao server is not initialized")
	case health.Sealed:
		return "", transient("the OpenBao server is sealed: unseal it")
	case health.ClusterID == "":
		return "", transient("the OpenBao server does not say which cluster it is")
	}
	return health.ClusterID, nil
}

// Check asks the server what the connector's token is and may, and says what is
// missing and what is too much.
func (c *Connector) Check(ctx context.Context) error {
	s, err := c.connect()
	if err != nil {
		return err
	}
	wrong := func(format string, args ...any) error {
		return wire.Malformed(c.Name, "token_file", format, args...)
	}
	if _, err := s.cluster(ctx); err != nil {
		return wire.Malformed(c.Name, "address", "%v", err)
	}
	said, err := s.ask(ctx, http.MethodGet, "auth/token/lookup-self", nil)
	if err != nil {
		return wrong("looking up the token: %v", err)
	}
	var token struct {
		Policies   []string            `json:"policies"`
		ExpireTime countersign.Instant `json:"expire_time"`
		Renewable  bool                `json:"renewable"`
		Period     int64               `json:"period"`
		Type       string              `json:"type"`
	}
	if err := json.Unmarshal(said.Data, &token); err != nil {
		return wrong("looking up the token: %v", err)
	}
	if slices.Contains(token.Policies, "root") {
		return wrong("the token is a root token: give the connector one with the policy of docs/operating.md and nothing else")
	}
	var all error
	if token.Type == "batch" {
		all = errors.Join(all, wrong("the token is a batch token, which makes no other tokens and cannot be renewed"))
	} else if token.ExpireTime != 0 && !token.Renewable {
		all = errors.Join(all, wrong("the token ends at %s and cannot be renewed: give a periodic one, and have an agent renew it", token.ExpireTime))
	}
	needs, never := c.hands.paths(), []string{
		"sys/policies/acl/countersign", "sys/mounts/countersign", "sys/auth/countersign", "sys/leases/revoke-prefix/countersign",
		"auth/token/create", "auth/token/create-orphan", "auth/token/roles/countersign",
	}
	writes, err := s.writes(ctx, append(slices.Clone(needs), never...))
	if err != nil {
		return errors.Join(all, wrong("%v", err))
	}
	for _, path := range needs {
		if !writes[path] {
			all = errors.Join(all, wrong("the token may not update %s: give it the policy of docs/operating.md", path))
		}
	}
	for _, path := range never {
		if writes[path] {
			all = errors.Join(all, wrong("the token may write %s, which is more than the connector needs", path))
		}
	}
	return all
}

// writes says which of the paths the connector's token may write to.
func (s *server) writes(ctx context.Context, paths []string) (map[string]bool, error) {
	said, err := s.ask(ctx, http.MethodPost, "sys/capabilities-self", map[string]any{"paths": paths})
	if err != nil {
		return nil, err
	}
	var may map[string]json.RawMessage
	if err := json.Unmarshal(said.Data, &may); err != nil {
		return nil, &connector.Failure{Kind: connector.Transient, Message: "sys/capabilities-self has no form that is known", Cause: err}
	}
	found := map[string]bool{}
	for _, path := range paths {
		var capabilities []string
		found[path] = json.Unmarshal(may[path], &capabilities) == nil &&
			slices.ContainsFunc(capabilities, func(one string) bool { return one != "deny" && one != "read" && one != "list" })
	}
	return found, nil
}

// mayAll refuses what the connector's token could not take back, or look at.
func (s *server) mayAll(ctx context.Context, paths ...string) error {
	writes, err := s.writes(ctx, paths)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if !writes[path] {
			return rejected("the connector's token may not update %s, so nothing is given: add it to its policy", path)
		}
	}
	return nil
}
