package registry

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"

	"github.com/countersign/countersign/target"
)

// Where the registry answers. The metadata stand where RFC 8414 puts those of an
// issuer with a path.
const (
	basePath     = "/targets/registry"
	TokenPath    = basePath + "/token"
	KeysPath     = basePath + "/keys"
	MetadataPath = "/.well-known/oauth-authorization-server" + basePath
)

// maxBody bounds what a caller may send, in bytes.
const maxBody = 16 << 10

// metadata describe the registry to clients and verifiers (RFC 8414).
type metadata struct {
	Issuer                 string   `json:"issuer"`
	TokenEndpoint          string   `json:"token_endpoint"`
	JWKSURI                string   `json:"jwks_uri"`
	GrantTypes             []string `json:"grant_types_supported"`
	ResponseTypes          []string `json:"response_types_supported"`
	AuthenticationOfClient []string `json:"token_endpoint_auth_methods_supported"`
}

// Public returns the endpoints that anybody may call: whoever wants a token shows
// the credentials of its client, and verifiers need none. Wrong is told of each
// request whose secret is not its client's.
func (r *Registry) Public(wrong func(*http.Request)) map[string]http.Handler {
	return map[string]http.Handler{
		TokenPath:    http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) { r.giveToken(w, request, wrong) }),
		KeysPath:     http.HandlerFunc(r.readKeys),
		MetadataPath: http.HandlerFunc(r.readMetadata),
	}
}

func (r *Registry) readMetadata(w http.ResponseWriter, request *http.Request) {
	if only(w, request, http.MethodGet, http.MethodHead) {
		target.Answer(w, http.StatusOK, metadata{
			Issuer: r.issuer, TokenEndpoint: r.issuer + "/token", JWKSURI: r.issuer + "/keys", GrantTypes: []string{clientCredentials},
			ResponseTypes: []string{}, AuthenticationOfClient: []string{"client_secret_basic", "client_secret_post"},
		})
	}
}

func (r *Registry) readKeys(w http.ResponseWriter, request *http.Request) {
	if !only(w, request, http.MethodGet, http.MethodHead) {
		return
	}
	set, err := r.publicKeys(request.Context())
	if err != nil {
		target.Refuse(w, http.StatusServiceUnavailable, "unavailable", "the keys cannot be read now")
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	// Nobody keeps the set that is empty: the first key signs at once.
	if len(set.Keys) > 0 {
		w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int64(KeysLife)))
	}
	target.Answer(w, http.StatusOK, set)
}

const clientCredentials = "client_credentials"

// giveToken exchanges client credentials for a token (RFC 6749, section 4.4).
func (r *Registry) giveToken(w http.ResponseWriter, request *http.Request, wrong func(*http.Request)) {
	if !only(w, request, http.MethodPost) {
		return
	}
	given, err := r.exchange(w, request)
	var refused *refusal
	switch {
	case err == nil:
		target.Answer(w, http.StatusOK, given)
	case errors.As(err, &refused):
		if refused == unproven {
			wrong(request)
		}
		status := http.StatusBadRequest
		if refused.Code == invalidClient {
			status = http.StatusUnauthorized
			w.Header().Set("WWW-Authenticate", `Basic realm="countersign registry"`)
		}
		target.Answer(w, status, refused)
	default:
		w.Header().Set("Retry-After", "1")
		target.Answer(w, http.StatusServiceUnavailable, &refusal{"temporarily_unavailable", "no token can be given now"})
	}
}

func (r *Registry) exchange(w http.ResponseWriter, request *http.Request) (*token, error) {
	media, _, err := mime.ParseMediaType(request.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, &refusal{invalidRequest, "send the parameters as application/x-www-form-urlencoded"}
	}
	request.Body = http.MaxBytesReader(w, request.Body, maxBody)
	if err := request.ParseForm(); err != nil {
		return nil, &refusal{invalidRequest, "the body cannot be read as a form of at most 16 KiB"}
	}
	form := request.PostForm
	for name, values := range form {
		if len(values) > 1 {
			return nil, &refusal{invalidRequest, "a parameter is there twice"}
		}
		// A parameter without a value counts as left out (section 3.2).
		if values[0] == "" {
			delete(form, name)
		}
	}
	client, secret, err := credentialsOf(request, form)
	if err != nil {
		return nil, err
	}
	switch form.Get("grant_type") {
	case clientCredentials:
	case "":
		return nil, &refusal{invalidRequest, "grant_type is missing: it is client_credentials"}
	default:
		return nil, &refusal{unsupportedGrantType, "the only grant_type is client_credentials"}
	}
	var scope *string
	if form.Has("scope") {
		asked := form.Get("scope")
		scope = &asked
	}
	return r.issue(request.Context(), client, secret, scope)
}

// credentialsOf reads the client's credentials from exactly one place (section
// 2.3.1).
func credentialsOf(request *http.Request, form url.Values) (client, secret string, err error) {
	if request.Header.Get("Authorization") == "" {
		if !form.Has("client_id") || !form.Has("client_secret") {
			return "", "", &refusal{invalidClient, "show client_id and client_secret, in the Authorization header or in the body"}
		}
		return form.Get("client_id"), form.Get("client_secret"), nil
	}
	name, password, basic := request.BasicAuth()
	if !basic {
		return "", "", &refusal{invalidClient, "the Authorization header is Basic, with client id and secret"}
	}
	if form.Has("client_secret") {
		return "", "", &refusal{invalidRequest, "show the client's credentials once: in the Authorization header, or in the body"}
	}
	client, err = url.QueryUnescape(name)
	if err == nil {
		secret, err = url.QueryUnescape(password)
	}
	if err != nil {
		return "", "", unproven
	}
	if form.Has("client_id") && form.Get("client_id") != client {
		return "", "", &refusal{invalidRequest, "client_id is another one than in the Authorization header"}
	}
	return client, secret, nil
}

func only(w http.ResponseWriter, request *http.Request, methods ...string) bool {
	for _, method := range methods {
		if request.Method == method {
			return true
		}
	}
	w.Header().Set("Allow", methods[0])
	target.Refuse(w, http.StatusMethodNotAllowed, "wrong-method", "use "+methods[0])
	return false
}
