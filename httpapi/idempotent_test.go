package httpapi_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
)

// sending is one thing that somebody sends, as a fuzzed byte draws it.
type sending struct{ caller, path, key, body string }

// kept is what a key must be answered with again: the object, as it is then.
type kept struct {
	sending
	at     time.Time
	object string
}

// commands are what is sent: two that make something new each time, and two that end
// one description each. A body is of one of four kinds: two that say something else, one
// that says the same in other bytes, and one that is always refused.
type commands struct {
	*world
	ends  []string
	ended map[string]bool
	kept  map[string]kept
}

const pastedSecret = "AKIAIOSFODNN7EXAMPLE"

// after are the times that pass between two sendings. A key lasts 48 hours to the
// millisecond.
var after = []time.Duration{time.Millisecond, time.Hour, 24 * time.Hour, 48*time.Hour - time.Millisecond, 48 * time.Hour, 48*time.Hour + time.Millisecond}

func (c *commands) draw(letter byte) sending {
	take := func(of int) int {
		drawn := int(letter) % of
		letter /= byte(of)
		return drawn
	}
	drawn := sending{caller: []string{"ada", "dana"}[take(2)], key: []string{"k1", "k2"}[take(2)]}
	route, said := take(4), []string{`"the books"`, `"the vaults"`, ` "the books"`, `"` + pastedSecret + `"`}[take(4)]
	switch route {
	case 0:
		drawn.path, drawn.body = "/api/v1/requests/describe", `{"text":`+said+`}`
	case 1:
		drawn.path, drawn.body = "/api/v1/batches", `{"beneficiaries":["ada","cleo"],"entitlements":["ledger/books/on-call"],"reason":`+said+`}`
	default:
		drawn.path, drawn.body = c.ends[route-2], `{"reason":`+said+`}`
	}
	return drawn
}

// send sends it, and checks the answer and what came of it against the rule: what was
// answered within 48 hours is answered with the same object, as it is now, and has no
// other effect; another body is refused; and a refusal keeps nothing.
func (c *commands) send(sent sending) {
	c.t.Helper()
	name := fmt.Sprint(sent.caller, " ", sent.path, " ", sent.key)
	earlier, answered := c.kept[name]
	answered = answered && c.clock.Now().Sub(earlier.at) <= 48*time.Hour
	before, told := c.events(), fmt.Sprintf("%s with %s", name, sent.body)
	got := c.call(sent.caller, "POST", sent.path, sent.body, "Idempotency-Key", sent.key)
	changed := c.events() != before
	var made struct{ ID string }
	if got.Status < 300 {
		got.want(got.Status, &made)
		kind := "/api/v1/requests/"
		if strings.HasPrefix(made.ID, "bat_") {
			kind = "/api/v1/batches/"
		}
		if now := c.call(sent.caller, "GET", kind+made.ID, nil); string(now.Body) != string(got.Body) {
			c.t.Fatalf("%s is answered with %s\nand is %s", told, got.Body, now.Body)
		}
	}
	switch {
	case answered && earlier.body == sent.body:
		if changed || made.ID != earlier.object {
			c.t.Fatalf("%s again: %d, changed %v, and not %s: %s", told, got.Status, changed, earlier.object, got.Body)
		}
	case answered:
		if got.Status < 400 || changed {
			c.t.Fatalf("%s under a used key: %d, changed %v: %s", told, got.Status, changed, got.Body)
		}
		// What is refused in any case may be refused for that.
		if countersign.SecretShape(sent.body) == "" {
			got.refused(http.StatusConflict, "idempotency-key-reused")
		}
	case got.Status < 300:
		// To cancel what is cancelled is no mistake, and changes nothing.
		if changed == c.ended[sent.path] {
			c.t.Fatalf("%s: %d, changed %v: %s", told, got.Status, changed, got.Body)
		}
		c.ended[sent.path] = slices.Contains(c.ends, sent.path)
		c.kept[name] = kept{sent, c.clock.Now(), made.ID}
	case changed || !c.mayRefuse(sent):
		c.t.Fatalf("%s: %d, changed %v: %s", told, got.Status, changed, got.Body)
	}
}

// mayRefuse reports whether a new command has something against it: a pasted secret, or
// a description of somebody else.
func (c *commands) mayRefuse(sent sending) bool {
	return countersign.SecretShape(sent.body) != "" || sent.caller != "ada" && slices.Contains(c.ends, sent.path)
}

// FuzzIdempotentCommands: a command under a key has one effect for 48 hours, whoever
// else uses the key, and whatever else is sent with it.
func FuzzIdempotentCommands(f *testing.F) {
	// The same twice; another body; another caller; another path; after its time.
	f.Add([]byte{0, 0, 16, 0, 1, 4, 0})
	f.Add([]byte{0, 243, 0, 240, 0, 240, 0})
	f.Add([]byte{8, 8, 12, 24, 244, 8, 245, 8, 9})
	f.Add([]byte{48, 0, 48, 32, 0, 245, 32, 0})
	f.Fuzz(func(t *testing.T, letters []byte) {
		c := &commands{world: worldOf(t, os.DirFS("testdata/ledger")), ended: map[string]bool{}, kept: map[string]kept{}}
		for range 2 {
			var made request
			c.call("ada", "POST", "/api/v1/requests/describe", object{"text": "something about the books"}).want(http.StatusOK, &made)
			c.ends = append(c.ends, "/api/v1/requests/"+made.ID+"/cancel")
		}
		for _, letter := range letters[:min(len(letters), 24)] {
			if letter >= 240 {
				c.clock.Advance(after[int(letter-240)%len(after)])
				clear(c.tokens) // they last an hour
				c.settle()
				continue
			}
			c.send(c.draw(letter))
		}
	})
}
