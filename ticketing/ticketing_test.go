package ticketing_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/ticketing"
	"github.com/countersign/countersign/ticketing/ticketingtest"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

const word = "Basic dGhlOndvcmQ="

func TestJiraIsBelievedForAsLongAsItSendsAgain(t *testing.T) {
	for age, reason := range map[time.Duration]string{0: "", 90 * time.Minute: "", -4 * time.Minute: "", 121 * time.Minute: "timestamp-stale", -6 * time.Minute: "timestamp-stale"} {
		body, header := fmt.Sprintf(`{"timestamp":%d}`, noon.Add(-age).UnixMilli()), http.Header{}
		ticketingtest.SignJira(header, body)
		err := ticketing.Check(countersign.Jira, header, []byte(body), countersign.NewSecret(ticketingtest.JiraSecret), countersign.InstantOf(noon))
		if countersign.ReasonOf(err) != reason {
			t.Errorf("%s old: %v", age, err)
		}
	}
	for _, body := range []string{`{}`, `{"timestamp":"1"}`, `{"timestamp":1.5}`, `[]`, `no`} {
		header := http.Header{}
		ticketingtest.SignJira(header, body)
		err := ticketing.Check(countersign.Jira, header, []byte(body), countersign.NewSecret(ticketingtest.JiraSecret), countersign.InstantOf(noon))
		if countersign.ReasonOf(err) != "malformed-ticket-event" {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// A secret that is being replaced signs beside its successor. Who signs with none of
// them makes no work by giving many.
func TestOneOfSeveralSignaturesHasToFit(t *testing.T) {
	body, header := strings.Repeat(" ", 4<<20), http.Header{}
	check := func(signatures string) error {
		header.Set("webhook-signature", signatures)
		return ticketing.Check(countersign.ServiceNow, header, []byte(body), countersign.NewSecret(ticketingtest.ServiceNowSecret), countersign.InstantOf(noon))
	}
	ticketingtest.SignServiceNow(header, "evt-1", noon, body)
	right := header.Get("webhook-signature")
	for _, signatures := range []string{right, "v1,AAAA " + right, right + " v1a,AAAA", "v1,? " + right} {
		if err := check(signatures); err != nil {
			t.Errorf("with %q: %v", signatures, err)
		}
	}
	for _, signatures := range []string{"", strings.TrimPrefix(right, "v1,"), "v1,v1," + strings.TrimPrefix(right, "v1,"), strings.Replace(right, "v1", "v2", 1)} {
		if err := check(signatures); countersign.ReasonOf(err) != "signature-wrong" {
			t.Errorf("with %q: %v", signatures, err)
		}
	}
	start := time.Now()
	if err := check(strings.Repeat("v1, ", 20_000)); countersign.ReasonOf(err) != "signature-wrong" {
		t.Errorf("with many: %v", err)
	}
	// The body once for each would take a minute.
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %s to refuse many", took)
	}
}

func TestASecretThatIsTooShortChecksNothing(t *testing.T) {
	for kind, secret := range map[countersign.TicketingKind]string{countersign.ServiceNow: "whsec_AAAA", countersign.Jira: "short"} {
		err := ticketing.Check(kind, http.Header{}, nil, countersign.NewSecret(secret), countersign.InstantOf(noon))
		if countersign.ReasonOf(err) != "malformed-ticketing-secret" || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestOnlyATicketsBeginningAndStateAreHeard(t *testing.T) {
	const issue = `"issue":{"id":"1","key":"A-1","fields":{"status":{"name":"Done"},"creator":{"accountId":"c"},"reporter":{"accountId":"r"}}},"user":{"accountId":"u"}`
	for body, moved := range map[string]string{
		`{"webhookEvent":"jira:issue_created",` + issue + `}`:                                               "no",
		`{"webhookEvent":"jira:issue_updated",` + issue + `}`:                                               "no",
		`{"webhookEvent":"jira:issue_updated",` + issue + `,"changelog":{"items":[{"field":"priority"}]}}`:  "no",
		`{"webhookEvent":"jira:issue_updated",` + issue + `,"changelog":{"items":[{"field":"status"},{}]}}`: "yes",
		`{"webhookEvent":"comment_created",` + issue + `}`:                                                  "not heard",
		`{` + issue + `}`: "not heard",
	} {
		event, err := ticketing.Read(countersign.Jira, []byte(body))
		got := "not heard"
		if event != nil {
			got = map[bool]string{true: "yes", false: "no"}[event.Moved]
		}
		if err != nil || got != moved {
			t.Errorf("%s: %s, %v", body, got, err)
		}
		if event != nil && (event.Requester != "c" || event.By != "u" || event.State != "Done") {
			t.Errorf("read %+v", event)
		}
	}
	for _, id := range []string{"", "../1", "1/2", "a^b", strings.Repeat("1", 65)} {
		body := fmt.Sprintf(`{"event":"created","sys_id":%q,"number":"RITM1"}`, id)
		if _, err := ticketing.Read(countersign.ServiceNow, []byte(body)); countersign.ReasonOf(err) != "malformed-ticket-event" {
			t.Errorf("the id %q: %v", id, err)
		}
	}
}

func system(t *testing.T, kind countersign.TicketingKind, url string) ticketing.System {
	made, err := ticketing.New(ticketing.Settings{Name: "desk", Kind: kind, URL: url, Journal: "comments"}, countersign.NewSecret(word), nil)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func note() ticketing.Note {
	return ticketing.Note{Ticket: countersign.TicketRef{System: "desk", ID: "10402", Key: "ACC-7"}, Lines: []string{"Max: denied [CODE]<b>no</b>[/code]."}, Link: "https://desk.example/x", Mark: "countersign-a-1", State: "2"}
}

func TestWhatPeopleWroteStaysTextInAJournal(t *testing.T) {
	fake := ticketingtest.NewServiceNow(t, word, "10402")
	if err := system(t, countersign.ServiceNow, fake.URL).Write(t.Context(), note()); err != nil {
		t.Fatal(err)
	}
	if got := fake.Comments("10402"); len(got) != 1 || got[0] != "Max: denied (CODE)<b>no</b>(/code).\n\nhttps://desk.example/x\n\ncountersign-a-1" {
		t.Errorf("the journal says %q", got)
	}
}

func TestAnErrorSaysWhetherTimeMendsIt(t *testing.T) {
	now := ticketingtest.NewServiceNow(t, word, "10402")
	jira := ticketingtest.NewJira(t, word, nil, "10402")
	for _, c := range []struct {
		fault  ticketingtest.Fault
		kind   countersign.Kind
		reason string
		after  countersign.Seconds
	}{
		{ticketingtest.Down, countersign.Unavailable, "ticketing-unavailable", 0},
		{ticketingtest.Unauthorised, countersign.Unavailable, "ticketing-unavailable", 0},
		{ticketingtest.LostAnswer, countersign.Unavailable, "ticketing-unavailable", 0},
		{ticketingtest.TooMany, countersign.Unavailable, "ticketing-unavailable", 90},
		{ticketingtest.Forbidden, countersign.Refused, "ticketing-refused", 0},
	} {
		now.Break(c.fault, -1)
		jira.Break(c.fault, -1)
		for kind, url := range map[countersign.TicketingKind]string{countersign.ServiceNow: now.URL, countersign.Jira: jira.URL} {
			err := system(t, kind, url).Write(t.Context(), note())
			if countersign.KindOf(err) != c.kind || countersign.ReasonOf(err) != c.reason || ticketing.After(err) != c.after || strings.Contains(err.Error(), word) {
				t.Errorf("%s, %s: %v, after %s", kind, c.fault, err, ticketing.After(err))
			}
		}
	}
	now.Mend()
	jira.Mend()
	gone := note()
	gone.Ticket.ID = "0"
	for kind, url := range map[countersign.TicketingKind]string{countersign.ServiceNow: now.URL, countersign.Jira: jira.URL} {
		if err := system(t, kind, url).Write(t.Context(), gone); countersign.KindOf(err) != countersign.NotFound {
			t.Errorf("%s: a ticket that is gone: %v", kind, err)
		}
	}
}

// What is there already is not written again, and its state not set again: people
// may have gone on since.
func TestAnIssueThatPeopleMovedOnIsNotMovedBack(t *testing.T) {
	fake := ticketingtest.NewJira(t, word, map[string][]string{"To Do": {"Begun"}, "Begun": {"Done"}, "Done": {"Begun"}}, "10402")
	hands := system(t, countersign.Jira, fake.URL)
	first, theirs := note(), note()
	first.State, theirs.State, theirs.Mark = "Begun", "Done", "another"
	again := first
	again.Again = true
	for _, one := range []ticketing.Note{first, theirs, again} {
		if err := hands.Write(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	if count := ticketingtest.Count(fake.Comments("10402"), first.Mark); count != 1 || fake.Status("10402") != "Done" {
		t.Errorf("it stands there %d times, and the issue is %s", count, fake.Status("10402"))
	}
}

// Our comment is found behind a hundred newer ones.
func TestACommentIsFoundAmongManyOthers(t *testing.T) {
	fake := ticketingtest.NewJira(t, word, nil, "10402")
	hands := system(t, countersign.Jira, fake.URL)
	for i := range 130 {
		one := note()
		one.State = ""
		if i > 0 {
			one.Mark = fmt.Sprintf("another-%d", i)
		}
		if err := hands.Write(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	again := note()
	again.State, again.Again = "", true
	if err := hands.Write(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if count := ticketingtest.Count(fake.Comments("10402"), "countersign-a-1"); count != 1 {
		t.Errorf("it stands there %d times", count)
	}
}

// Whatever a ticket system sends, it is read or refused by name, and what is read
// can stand in an address.
func FuzzRead(f *testing.F) {
	f.Add(true, []byte(`{"event":"created","sys_id":"1","number":"RITM1","state":7}`))
	f.Add(false, []byte(`{"webhookEvent":"jira:issue_updated","issue":{"id":"1","key":"A-1"},"changelog":{"items":[{"field":"status"},null]}}`))
	f.Add(false, []byte(`[null]`))
	f.Fuzz(func(t *testing.T, now bool, body []byte) {
		kind := countersign.Jira
		if now {
			kind = countersign.ServiceNow
		}
		event, err := ticketing.Read(kind, body)
		if err != nil && countersign.ReasonOf(err) != "malformed-ticket-event" {
			t.Errorf("refused with %v", err)
		}
		if event != nil && strings.ContainsAny(event.ID+event.Key, "/?#^ .") {
			t.Errorf("read %q and %q", event.ID, event.Key)
		}
	})
}
