package ticketing

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/countersign/countersign"
)

// serviceNow writes through the Table API to the journal of a request item.
type serviceNow struct {
	*client
	journal string
}

// markup is what a journal shows as HTML; what people wrote must stay text.
var markup = regexp.MustCompile(`(?i)\[(/?code)\]`)

// Write sets journal and state in one change of the record, so that there is
// never one without the other.
func (s *serviceNow) Write(ctx context.Context, note Note) error {
	if note.Again {
		there, err := s.written(ctx, note)
		if there || err != nil {
			return err
		}
	}
	lines := note.Lines
	if note.Link != "" {
		lines = append(lines[:len(lines):len(lines)], note.Link)
	}
	text := strings.Join(append(lines[:len(lines):len(lines)], note.Mark), "\n\n")
	change := map[string]string{s.journal: markup.ReplaceAllString(text, "($1)")}
	if note.State != "" {
		change["state"] = note.State
	}
	return s.call(ctx, http.MethodPatch, "/api/now/table/sc_req_item/"+note.Ticket.ID, url.Values{"sysparm_fields": {"sys_id"}}, change, nil)
}

// written looks into the journal for the mark.
func (s *serviceNow) written(ctx context.Context, note Note) (bool, error) {
	var found struct {
		Result []struct {
			Value string `json:"value"`
		} `json:"result"`
	}
	err := s.call(ctx, http.MethodGet, "/api/now/table/sys_journal_field", url.Values{
		"sysparm_query":  {"element_id=" + note.Ticket.ID + "^element=" + s.journal + "^valueLIKE" + note.Mark},
		"sysparm_fields": {"value"}, "sysparm_limit": {"1"},
	}, nil, &found)
	if countersign.KindOf(err) == countersign.NotFound {
		return false, nil // no entry is shown as no record
	}
	return len(found.Result) > 0 && strings.Contains(found.Result[0].Value, note.Mark), err
}
