package chaos

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// reading is all that an outsider can see once the house has settled.
type reading struct {
	// requests are those that the house lists.
	requests map[string]*seen
	// held is what the target lets through, given how often each came to be.
	held  map[string]credential
	given map[string]int
	// allowed says for each request whether the decision point allows any of its
	// rights; only for those that are asked of it.
	allowed map[string]bool
}

// settled says what of a request is still on its way, or "". What is revoked by a
// sweep ends after it was acknowledged.
func settled(view *seen, becomes fate) string {
	if becomes == revoked && view.State == "active" {
		return "it is still active"
	}
	if view.State == "fulfilling" || view.State == "closing" {
		return view.State
	}
	for _, grant := range view.Grants {
		if grant.State != "live" && grant.State != "gone" && grant.State != "failed" {
			return "a grant is " + grant.State
		}
	}
	return ""
}

// judge compares what was acknowledged with what an outsider sees, and says what is
// wrong.
func judge(all []*asked, read reading) []string {
	var found []string
	wrong := func(a *asked, format string, arguments ...any) {
		found = append(found, fmt.Sprintf("%s (%s for %s, %s): ", a.id, strings.Join(a.rights, " "), a.holder, a.fate)+fmt.Sprintf(format, arguments...))
	}
	known, lawful := map[string]bool{}, map[string]bool{}
	for _, a := range all {
		known[a.id] = true
		view := read.requests[a.id]
		if view == nil {
			wrong(a, "it was acknowledged and is lost")
			continue
		}
		if way := settled(view, a.fate); way != "" {
			wrong(a, "it is left half done: %s", way)
		}
		outside := !strings.HasPrefix(a.rights[0], "wiki")
		access := read.allowed[a.id]
		for _, grant := range view.Grants {
			for _, c := range grant.Credentials {
				_, there := read.held[c.ID]
				access = access || there
				lawful[c.ID] = grant.State == "live"
				if times := read.given[c.ID]; times > 1 || outside && grant.State == "live" && times != 1 {
					wrong(a, "the target was given the credential %s %d times", c.ID, times)
				}
				if outside && grant.State == "live" && !there {
					wrong(a, "it is live, and the target holds nothing")
				}
			}
			if len(grant.Credentials) > 1 || grant.State == "live" && len(grant.Credentials) != 1 {
				wrong(a, "its grant has %d credentials", len(grant.Credentials))
			}
		}
		states, grants, holds := []string{}, len(a.rights), false
		switch a.fate {
		case undecided:
			states, grants = []string{"deciding"}, 0
		case denied:
			states, grants = []string{"denied"}, 0
		case cancelled:
			states, grants = []string{"cancelled"}, 0
		case kept:
			states, holds = []string{"active"}, true
		case lengthened:
			// The grant is shown with the request that it came from.
			states, grants = []string{"closed", "failed"}, 0
		case revoked:
			// What was revoked before it was live was never carried out.
			states = []string{"closed", "failed"}
		}
		if !slices.Contains(states, view.State) {
			wrong(a, "it is %s", view.State)
		}
		if len(view.Grants) != grants {
			wrong(a, "it has %d grants", len(view.Grants))
		}
		if access != holds {
			wrong(a, "that there is access is %v", access)
		}
	}
	for id := range read.requests {
		if !known[id] {
			found = append(found, id+": the house has a request that nobody asked for, or that was asked for once and is there twice")
		}
	}
	for id, held := range read.held {
		if !lawful[id] {
			found = append(found, fmt.Sprintf("the target holds %s (%s), which no live grant stands for", id, held.Entitlement))
		}
	}
	return found
}

// check waits until the house has settled, and judges what an outsider sees then.
func (h *house) check(all []*asked) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h.sign("aud")
	read := reading{requests: map[string]*seen{}, allowed: map[string]bool{}}
	for _, a := range all {
		for {
			view, err := h.view(ctx, "aud", a.id)
			if err != nil {
				h.t.Error(err)
				break
			}
			if settled(view, a.fate) == "" || time.Now().After(deadlineOf(ctx)) {
				read.requests[a.id] = view
				break
			}
			time.Sleep(pace)
		}
		if strings.HasPrefix(a.rights[0], "wiki") {
			allowed, err := h.allows(ctx, a)
			if err != nil {
				h.t.Error(err)
			}
			read.allowed[a.id] = allowed
		}
	}
	if err := h.list(ctx, read.requests); err != nil {
		h.t.Error(err)
	}
	read.held, read.given = h.target.now(), h.target.times()
	for _, finding := range judge(all, read) {
		h.t.Error(finding)
	}
	if said, err := h.run("audit", "verify"); err != nil {
		h.t.Errorf("audit verify: %v\n%s", err, said)
	}
	fates := map[fate]int{}
	for _, a := range all {
		fates[a.fate]++
	}
	h.t.Logf("%d requests: %v; %d credentials came to be, %d are held", len(all), fates, len(read.given), len(read.held))
}

// deadlineOf leaves some time to judge by.
func deadlineOf(ctx context.Context) time.Time {
	deadline, _ := ctx.Deadline()
	return deadline.Add(-30 * time.Second)
}

// list adds every request that the house has; what is known already stays.
func (h *house) list(ctx context.Context, into map[string]*seen) error {
	var page struct {
		Next     string
		Requests []*seen
	}
	path := "/api/v1/requests?limit=100"
	for {
		said, err := h.insist(ctx, "aud", http.MethodGet, path, "", nil)
		if err != nil {
			return err
		}
		page.Next = ""
		if !said.done() {
			return fmt.Errorf("listing: %s", said)
		}
		if err := json.Unmarshal(said.body, &page); err != nil {
			return err
		}
		for _, line := range page.Requests {
			if into[line.ID] == nil {
				into[line.ID] = line
			}
		}
		if page.Next == "" {
			return nil
		}
		path = "/api/v1/requests?limit=100&cursor=" + url.QueryEscape(page.Next)
	}
}

// allows asks the decision point of every replica.
func (h *house) allows(ctx context.Context, a *asked) (bool, error) {
	allowed := false
	for range h.replicas {
		system, action, _ := strings.Cut(a.rights[0], "/books/")
		said, err := h.insist(ctx, "aud", http.MethodPost, "/access/v1/evaluation", "", map[string]any{
			"subject": map[string]any{"type": "identity", "id": a.holder}, "action": map[string]any{"name": action},
			"resource": map[string]any{"type": "resource", "id": system + "/books"},
		})
		if err != nil {
			return false, err
		}
		var decision struct{ Decision *bool }
		if err := json.Unmarshal(said.body, &decision); err != nil || decision.Decision == nil {
			return false, fmt.Errorf("the decision point says %s", said)
		}
		allowed = allowed || *decision.Decision
	}
	return allowed, nil
}

// intact has SQLite check its own file, with the house stopped.
func (h *house) intact() {
	h.t.Helper()
	h.down(0)
	file, err := sql.Open("sqlite", h.database)
	if err != nil {
		h.t.Fatal(err)
	}
	defer file.Close()
	var says string
	if err := file.QueryRow("PRAGMA integrity_check").Scan(&says); err != nil || says != "ok" {
		h.t.Errorf("PRAGMA integrity_check says %q, %v", says, err)
	}
}

func TestTheCheckerFindsEachWrongReading(t *testing.T) {
	grant := func(state string, credentials ...string) *seen {
		view := &seen{ID: "r", State: map[string]string{"live": "active", "gone": "closed"}[state]}
		view.Grants = make([]seenGrant, 1)
		view.Grants[0].State = state
		for _, id := range credentials {
			view.Grants[0].Credentials = append(view.Grants[0].Credentials, seenCredential{ID: id})
		}
		return view
	}
	held, once := map[string]credential{"c": {}}, map[string]int{"c": 1}
	right := reading{requests: map[string]*seen{"r": grant("live", "c")}, held: held, given: once}
	one := func(fate fate) []*asked {
		return []*asked{{id: "r", holder: "b00", rights: []string{"ledger/books/r01"}, fate: fate}}
	}
	if found := judge(one(kept), right); len(found) != 0 {
		t.Errorf("a right reading is found to be wrong: %v", found)
	}
	for name, test := range map[string]struct {
		fate fate
		read reading
	}{
		"lost":                 {kept, reading{}},
		"half done":            {revoked, reading{requests: map[string]*seen{"r": grant("revoking", "c")}}},
		"given twice":          {kept, reading{requests: right.requests, held: held, given: map[string]int{"c": 2}}},
		"live and not there":   {kept, reading{requests: right.requests, given: once}},
		"two credentials":      {kept, reading{requests: map[string]*seen{"r": grant("live", "c", "d")}, held: map[string]credential{"c": {}, "d": {}}, given: map[string]int{"c": 1, "d": 1}}},
		"gone and still there": {revoked, reading{requests: map[string]*seen{"r": grant("gone", "c")}, held: held, given: once}},
		"denied with a grant":  {denied, right},
		"cancelled and active": {cancelled, right},
		"denied and allowed":   {denied, reading{requests: map[string]*seen{"r": {ID: "r", State: "denied"}}, allowed: map[string]bool{"r": true}}},
		"asked for twice":      {kept, reading{requests: map[string]*seen{"r": grant("live", "c"), "s": {ID: "s"}}, held: held, given: once}},
		"of no grant":          {kept, reading{requests: right.requests, held: map[string]credential{"c": {}, "x": {}}, given: once}},
	} {
		if len(judge(one(test.fate), test.read)) == 0 {
			t.Errorf("%s: it is not found", name)
		}
	}
}
