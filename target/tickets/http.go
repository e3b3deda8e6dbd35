package tickets

import (
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target"
)

// Where the register answers, as patterns of http.ServeMux.
const (
	OpenPath  = "POST /targets/tickets/tickets"
	ListPath  = "GET /targets/tickets/tickets"
	ReadPath  = "GET /targets/tickets/tickets/{key}"
	ClosePath = "POST /targets/tickets/tickets/{key}/close"
)

// maxBody bounds what a caller may send, in bytes.
const maxBody = 16 << 10

// OpenTicket opens a ticket, for people: the Authenticator refuses others.
func (r *Register) OpenTicket(people target.Authenticator) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		by, known := target.Caller(w, request, people)
		if !known {
			return
		}
		sent, ok := readTexts(w, request, "kind", "title")
		if !ok {
			return
		}
		ticket, err := r.Open(request.Context(), by, Kind(sent["kind"]), sent["title"])
		if err == nil {
			w.Header().Set("Location", "/targets/tickets/tickets/"+ticket.Key)
		}
		answer(w, http.StatusCreated, ticket, err)
	})
}

// CloseTicket closes a ticket, for people: the Authenticator refuses others.
func (r *Register) CloseTicket(people target.Authenticator) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		by, known := target.Caller(w, request, people)
		if !known {
			return
		}
		sent, ok := readTexts(w, request, "resolution")
		if !ok {
			return
		}
		ticket, err := r.Close(request.Context(), by, request.PathValue("key"), sent["resolution"])
		answer(w, http.StatusOK, ticket, err)
	})
}

// ReadTicket answers one ticket, to anybody known.
func (r *Register) ReadTicket(callers target.Authenticator) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if _, known := target.Caller(w, request, callers); !known {
			return
		}
		ticket, err := r.Ticket(request.Context(), request.PathValue("key"))
		answer(w, http.StatusOK, ticket, err)
	})
}

// list is the answer of ListTickets.
type list struct {
	Tickets []Ticket `json:"tickets"`
	// More says that there are older tickets than these.
	More bool `json:"more,omitempty"`
}

// ListTickets answers the newest tickets, to anybody known; the parameter state
// picks open or closed ones.
func (r *Register) ListTickets(callers target.Authenticator) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if _, known := target.Caller(w, request, callers); !known {
			return
		}
		query, err := url.ParseQuery(request.URL.RawQuery)
		states, asked := query["state"]
		if err != nil || len(query) > 1 || len(query) == 1 && (!asked || len(states) != 1 || states[0] == "") {
			target.Refuse(w, http.StatusBadRequest, "malformed-query", "the one parameter here is state, given once: open or closed")
			return
		}
		tickets, more, err := r.Tickets(request.Context(), State(query.Get("state")))
		answer(w, http.StatusOK, list{tickets, more}, err)
	})
}

// readTexts reads a body that is one JSON object with exactly these texts, or
// answers what is wrong and returns false.
func readTexts(w http.ResponseWriter, r *http.Request, names ...string) (map[string]string, bool) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		target.Refuse(w, http.StatusUnsupportedMediaType, "wrong-content-type", "send the body as application/json")
		return nil, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		target.RefuseBody(w, err)
		return nil, false
	}
	// The canonical form has no key twice and nothing but UTF-8; into a map, keys
	// are read letter by letter.
	var sent map[string]*string
	if body, err = countersign.CanonicalJSON(body); err == nil {
		err = json.Unmarshal(body, &sent)
	}
	wanted := strings.Join(names, " and ")
	if err != nil || sent == nil {
		target.Refuse(w, http.StatusBadRequest, "malformed-body", "send one JSON object with the text "+wanted+", in UTF-8, with no key twice")
		return nil, false
	}
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		if !slices.Contains(names, name) {
			hint := ""
			if near := countersign.Nearest(name, names); near != "" {
				hint = "; did you mean " + near + "?"
			}
			target.Refuse(w, http.StatusBadRequest, "unknown-key", "there is no key \""+countersign.Clip(name)+"\" here, only "+wanted+hint)
			return nil, false
		}
	}
	texts := map[string]string{}
	for _, name := range names {
		if sent[name] == nil {
			target.Refuse(w, http.StatusBadRequest, "missing-key", "the text "+name+" is missing")
			return nil, false
		}
		texts[name] = *sent[name]
	}
	return texts, true
}

// answer writes what was asked for, or why not.
func answer(w http.ResponseWriter, status int, body any, err error) {
	switch kind := countersign.KindOf(err); {
	case err == nil:
		target.Answer(w, status, body)
	case kind == countersign.Invalid:
		target.Refuse(w, http.StatusBadRequest, countersign.ReasonOf(err), err.Error())
	case kind == countersign.NotFound:
		target.Refuse(w, http.StatusNotFound, countersign.ReasonOf(err), err.Error())
	case kind == countersign.Conflict:
		target.Refuse(w, http.StatusConflict, countersign.ReasonOf(err), err.Error())
	default:
		target.Refuse(w, http.StatusServiceUnavailable, "unavailable", "the register of tickets cannot be reached now; nothing was changed")
	}
}
