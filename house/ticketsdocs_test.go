package house_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/source"
	"github.com/countersign/countersign/ticketing"
	"github.com/countersign/countersign/ticketing/ticketingtest"
)

func ticketsPage(t *testing.T) string {
	page, err := os.ReadFile("../docs/tickets.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// The policies of docs/tickets.md load together, and its sources read what both
// systems answer, by their public documentation.
func TestThePageOnTicketsLoadsAndItsSourcesAnswer(t *testing.T) {
	var files []policy.File
	for i, block := range strings.Split(ticketsPage(t), "```yaml\n")[1:] {
		content, _, _ := strings.Cut(block, "```")
		files = append(files, policy.File{Path: fmt.Sprintf("example-%d.yaml", i+1), Bytes: []byte(content)})
	}
	set, problems := policy.Load(files, time.LoadLocation)
	if len(problems) > 0 || len(set.Ticketing()) != 2 {
		t.Fatal(problems)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/api/now/table/incident" && r.URL.Query().Get("sysparm_query") == "number=INC0010001":
			fmt.Fprint(w, `{"result":[{"number":"INC0010001","state":"In Progress","short_description":"Ledger is down","opened_by.name":"Mina Park","assigned_to.name":""}]}`)
		case r.URL.Path == "/api/now/table/incident":
			fmt.Fprint(w, `{"result":[]}`)
		case r.URL.Path == "/rest/api/3/issue/CHG-7":
			fmt.Fprint(w, `{"id":"10402","key":"CHG-7","fields":{"summary":"Ledger is down","status":{"name":"Done","id":"3"},"reporter":{"accountId":"5b","displayName":"Mina Park"},"assignee":null}}`)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for name, c := range map[string]struct {
		key, missing string
		open         bool
	}{"incidents": {"INC0010001", "INC0010002", true}, "changes": {"CHG-7", "CHG-8", false}} {
		for _, info := range set.Sources() {
			if info.Name != name {
				continue
			}
			address := server.URL + "/" + strings.SplitN(info.URL, "/", 4)[3]
			asked, err := source.NewHTTP(name, source.Settings{URL: address, Key: info.Key, State: info.State, Open: info.Open, Closed: info.Closed, Title: info.Title, OpenedBy: info.OpenedBy, Assignee: info.Assignee}, countersign.Secret{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := asked.Ticket(t.Context(), c.key)
			if err != nil || got.Open != c.open || got.Title != "Ledger is down" || got.OpenedBy != "Mina Park" {
				t.Errorf("%s says %+v, %v", name, got, err)
			}
			if _, err := asked.Ticket(t.Context(), c.missing); countersign.ReasonOf(err) != "no-such-ticket" {
				t.Errorf("%s says of a ticket that is not there: %v", name, err)
			}
		}
	}
}

func TestTheSignatureOfThePageFits(t *testing.T) {
	page := ticketsPage(t)
	_, after, _ := strings.Cut(page, "v1,")
	_, after, _ = strings.Cut(after, "\nv1,")
	signature, _, _ := strings.Cut(after, "\n")
	header := http.Header{"Webhook-Id": {"evt-1"}, "Webhook-Timestamp": {"1793620800"}, "Webhook-Signature": {"v1," + signature}}
	at := countersign.Instant(1793620800 * 1000)
	if err := ticketing.Check(countersign.ServiceNow, header, []byte(`{"event":"created"}`), countersign.NewSecret(ticketingtest.ServiceNowSecret), at); err != nil {
		t.Errorf("v1,%s: %v", signature, err)
	}
	if !strings.Contains(page, ticketingtest.ServiceNowSecret) {
		t.Error("the page does not name the secret")
	}
}
