package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/theory/jsonpath"

	"github.com/countersign/countersign"
)

// Bounds on one question: how long it may take, bytes of a key, bytes of an
// answer, which is no more than the desk keeps as evidence, and levels of nesting
// in it.
const (
	patience    = 5 * time.Second
	maxKey      = 200
	maxAnswer   = 256 << 10
	maxDocument = 10 << 20
	maxDepth    = 32
)

// HTTP is a source that answers over HTTP. It is safe for many callers at once.
type HTTP struct {
	name       string
	form       string // what a key looks like, for messages
	settings   *compiled
	credential countersign.Secret
	client     http.Client
	longest    int64 // bytes of an answer
}

// Place is where documents lie that a verifier checks: each under the digest of what
// it is about. It is safe for many callers at once.
type Place struct{ asked *HTTP }

// Document is what lies at a place, as it was fetched; From says where, without
// credentials.
type Document struct {
	Bytes []byte
	From  string
}

// NewPlace returns the place with {key} in its address for the digest. Credential and
// client are as for NewHTTP.
func NewPlace(name, address string, credential countersign.Secret, client *http.Client) (*Place, error) {
	before, after, err := splitURL(address)
	if err != nil {
		return nil, err
	}
	s, err := newHTTP(name, "", &compiled{before: before, after: after}, credential, client)
	if err != nil {
		return nil, err
	}
	s.longest = maxDocument
	return &Place{s}, nil
}

// Get fetches the document about a digest. A place that has none is NotFound, one
// that gives no answer Unavailable.
func (p *Place) Get(ctx context.Context, digest string) (*Document, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	address := p.asked.settings.before + url.PathEscape(digest) + p.asked.settings.after
	answer, err := p.asked.fetch(ctx, digest, address)
	if countersign.KindOf(err) == countersign.NotFound {
		return nil, countersign.Errorf(countersign.NotFound, "no-such-document", "The verifier %s has nothing about %s at its address yet.", p.asked.name, countersign.Clip(digest))
	}
	if err != nil {
		return nil, err
	}
	from, _, _ := strings.Cut(address, "?")
	return &Document{answer, from}, nil
}

// NewHTTP returns the source with a name to tell it from others in messages. The
// credential is sent as the Authorization header, if there is one. A nil client
// is one of its own; redirects are followed with neither.
func NewHTTP(name string, settings Settings, credential countersign.Secret, client *http.Client) (*HTTP, error) {
	ready, err := settings.compile()
	if err != nil {
		return nil, err
	}
	return newHTTP(name, "it must match "+settings.Key, ready, credential, client)
}

func newHTTP(name, form string, ready *compiled, credential countersign.Secret, client *http.Client) (*HTTP, error) {
	if strings.ContainsFunc(credential.Reveal(), unicode.IsControl) {
		return nil, wrong("", "the credential of %s holds a line break or another control character; it is sent as one Authorization header, as \"Bearer …\"", name)
	}
	s := &HTTP{name: name, form: form, settings: ready, credential: credential, longest: maxAnswer}
	if client != nil {
		s.client = *client
	}
	// The answer of another address would be another source's.
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s, nil
}

// Ticket implements Source.
func (s *HTTP) Ticket(ctx context.Context, key string) (*Ticket, error) {
	if !s.mayAsk(key) {
		return nil, Malformed(s.name, key, s.form)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	address := s.settings.before + url.PathEscape(key) + s.settings.after // a key in the query needs no escape
	answer, err := s.fetch(ctx, key, address)
	if err != nil {
		return nil, err
	}
	ticket, err := s.read(answer)
	if errors.Is(err, errNothingFound) {
		return nil, Missing(s.name, key)
	}
	if err != nil {
		return nil, Unavailable(s.name, fmt.Sprintf("of %s it answers what its settings do not foresee: %v", key, err))
	}
	ticket.Key = key
	// A query may hold more than where the answer is from.
	ticket.From, _, _ = strings.Cut(address, "?")
	return ticket, nil
}

// errNothingFound says that a list of what was found is empty.
var errNothingFound = errors.New("nothing was found")

// plainKey is what a key in a query has: a query language of the other side must
// find nothing in it.
var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// mayAsk reports whether the key can go into the URL. Whatever the expression
// says, it stays one segment of the path, also for a server that unescapes it, or
// one word of the query.
func (s *HTTP) mayAsk(key string) bool {
	if s.settings.inQuery && !plainKey.MatchString(key) {
		return false
	}
	return s.settings.key.MatchString(key) && len(key) <= maxKey && utf8.ValidString(key) && strings.Trim(key, ".") != "" &&
		!strings.ContainsAny(key, `/\`) && !strings.ContainsFunc(key, unicode.IsControl)
}

// fetch returns the body of the answer.
func (s *HTTP) fetch(ctx context.Context, key, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, Unavailable(s.name, "the URL of its settings cannot be called")
	}
	request.Header.Set("Accept", "application/json")
	// The bytes are kept as they were sent, so they must not be sent compressed.
	request.Header.Set("Accept-Encoding", "identity")
	if credential := s.credential.Reveal(); credential != "" {
		request.Header.Set("Authorization", credential)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, s.unreachable(ctx, err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, Missing(s.name, key)
	default:
		return nil, Unavailable(s.name, fmt.Sprintf("it answers with the status %d", response.StatusCode))
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, s.longest+1))
	switch {
	case err != nil:
		return nil, s.unreachable(ctx, err)
	case int64(len(answer)) > s.longest:
		return nil, Unavailable(s.name, fmt.Sprintf("its answer has more than %d bytes", s.longest))
	}
	return answer, nil
}

// unreachable says why no whole answer came. The URL, whose query may be nobody
// else's business, is left out.
func (s *HTTP) unreachable(ctx context.Context, err error) error {
	var called *url.Error
	if errors.As(err, &called) {
		err = called.Err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return Unavailable(s.name, fmt.Sprintf("it did not answer within %s", patience)).Because(err)
	}
	return Unavailable(s.name, err.Error()).Because(err)
}

// read finds in the answer what the settings point at.
func (s *HTTP) read(answer []byte) (*Ticket, error) {
	value, err := Decode(answer)
	if err != nil {
		return nil, err
	}
	state, err := text(s.settings.state, value)
	if err != nil {
		return nil, err
	}
	open, known := s.settings.open[state]
	switch {
	case state == "" && s.settings.inQuery:
		return nil, errNothingFound
	case state == "":
		return nil, fmt.Errorf("there is no state at %s", s.settings.state)
	case !known:
		return nil, fmt.Errorf("the state %q is listed neither as open nor as closed", countersign.Clip(state))
	}
	ticket := &Ticket{State: state, Open: open, Bytes: answer}
	for _, part := range []struct {
		path *jsonpath.Path
		into *string
	}{{s.settings.title, &ticket.Title}, {s.settings.openedBy, &ticket.OpenedBy}, {s.settings.assignee, &ticket.Assignee}} {
		if *part.into, err = text(part.path, value); err != nil {
			return nil, err
		}
	}
	return ticket, nil
}

// text returns the one text at a path; "" where there is nothing or null, or
// where the path is nil.
func text(path *jsonpath.Path, value any) (string, error) {
	if path == nil {
		return "", nil
	}
	found := path.Select(value)
	if len(found) == 0 {
		return "", nil
	}
	if len(found) > 1 {
		return "", fmt.Errorf("there are %d values at %s, and one is wanted", len(found), path)
	}
	switch only := found[0].(type) {
	case nil:
		return "", nil
	case string:
		return only, nil
	}
	return "", fmt.Errorf("what stands at %s is no text", path)
}

// Decode reads one JSON value, and refuses what could be read in two ways.
func Decode(answer []byte) (any, error) {
	if !utf8.Valid(answer) {
		return nil, errors.New("it is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(answer))
	decoder.UseNumber()
	value, err := decodeValue(decoder, 0)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows after the JSON value")
	}
	return value, nil
}

func decodeValue(decoder *json.Decoder, depth int) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, errors.New("it is not JSON")
	}
	opening, nested := token.(json.Delim)
	if !nested {
		return token, nil
	}
	if depth == maxDepth {
		return nil, fmt.Errorf("it is nested deeper than %d levels", maxDepth)
	}
	members, elements := map[string]any{}, []any{}
	for decoder.More() {
		name := ""
		if opening == '{' {
			token, err := decoder.Token()
			if err != nil {
				return nil, errors.New("it is not JSON")
			}
			name = token.(string)
			if _, twice := members[name]; twice {
				return nil, fmt.Errorf("the key %q stands twice in one object", countersign.Clip(name))
			}
		}
		value, err := decodeValue(decoder, depth+1)
		if err != nil {
			return nil, err
		}
		if opening == '{' {
			members[name] = value
		} else {
			elements = append(elements, value)
		}
	}
	if _, err := decoder.Token(); err != nil {
		return nil, errors.New("it is not JSON")
	}
	if opening == '{' {
		return members, nil
	}
	return elements, nil
}
