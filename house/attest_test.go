package house_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// builder signs statements, as a build system or a scanner does.
type builder struct {
	t       testing.TB
	public  string
	private ed25519.PrivateKey
}

func newBuilder(t testing.TB) *builder {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return &builder{t, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), private}
}

// scan says what a scan of the artifact found, at a time.
func (b *builder) scan(digest string, at time.Time, severity string) []byte {
	payload := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":"https://in-toto.io/attestation/vulns/v0.1","predicate":{"scanner":{"result":[{"id":"CVE-1","severity":%q}]},"metadata":{"scanFinishedOn":%q}}}`,
		strings.TrimPrefix(digest, "sha256:"), severity, at.UTC().Format(time.RFC3339))
	signature := ed25519.Sign(b.private, fmt.Appendf(nil, "DSSEv1 28 application/vnd.in-toto+json %d %s", len(payload), payload))
	sealed, err := json.Marshal(map[string]any{
		"payloadType": "application/vnd.in-toto+json", "payload": base64.StdEncoding.EncodeToString([]byte(payload)),
		"signatures": []any{map[string]string{"sig": base64.StdEncoding.EncodeToString(signature)}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return sealed
}

func verifiersFile(url string, builders ...*builder) string {
	text := "verifiers:\n  - name: scans\n    predicates: https://in-toto.io/attestation/vulns/v0.1\n    max_age: 7d\n    time: $.metadata.scanFinishedOn\n    has: $.scanner.result\n    lacks: '$.scanner.result[?@.severity == \"critical\"]'\n"
	if url != "" {
		text += "    url: " + url + "\n"
	}
	text += "    keys:\n"
	for i, one := range builders {
		text += fmt.Sprintf("      - {id: ci-%d, key: %q}\n", i, one.public)
	}
	return text
}

// attestedAccess asks for the scan of an artifact.
var attestedAccess = policyFor(managerStage, `
ask: {artifact: {type: string, title: "What is deployed?"}}
evidence: [{name: scan, kind: scan-report, due: at-request, verified_by: scans, from: artifact}]
`)

func artifact(letters string) string { return "sha256:" + strings.Repeat(letters, 32) }

func askingFor(artifact string, evidence ...desk.EvidenceContent) desk.Asking {
	asked := asking()
	asked.Answers, asked.Evidence = json.RawMessage(`{"artifact":"`+artifact+`"}`), evidence
	return asked
}

func TestAScanThatSomebodyBringsIsCheckedBeforeAnybodyIsAsked(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		ci, stranger := newBuilder(t), newBuilder(t)
		w := found(t, open, verifiersFile("", ci), attestedAccess)
		today := w.clock.Now()
		_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, askingFor("latest"))
		w.refused(err, "invalid-answer")
		for reason, content := range map[string][]byte{
			"attestation-malformed": []byte("no critical findings, we promise"),
			"signer-unknown":        stranger.scan(artifact("ab"), today, "low"),
			"wrong-subject":         ci.scan(artifact("cd"), today, "low"),
			"attestation-stale":     ci.scan(artifact("ab"), today.Add(-8*aDay), "low"),
			"attestation-finds":     ci.scan(artifact("ab"), today, "critical"),
			"secret-pasted":         ci.scan(artifact("ab"), today, "AKIA"+strings.Repeat("A", 16)),
		} {
			_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, askingFor(artifact("ab"), desk.EvidenceContent{Slot: "scan", Content: content}))
			w.refused(err, reason)
		}
		// Without it the request is there, and nobody is asked; then it is brought.
		id := w.submit("ana", askingFor(artifact("ab")))
		w.state(id, countersign.RequestCollecting)
		bring := func(content []byte) error {
			return w.house.Desk.Attach(w.ctx, w.as("ana"), desk.Key{}, id, desk.EvidenceContent{Slot: "scan", Content: content})
		}
		w.refused(w.house.Desk.Fetch(w.ctx, w.as("ana"), desk.Key{}, id, "scan"), "slot-has-no-source")
		w.refused(bring(ci.scan(artifact("cd"), today, "low")), "wrong-subject")
		content := ci.scan(artifact("ab"), today, "low")
		w.must(bring(content))
		view := w.state(id, countersign.RequestDeciding)
		if held := view.Evidence[0].Held; held == nil || held.Source != "upload" || !strings.Contains(held.Verified, "Signed by the key ci-0 (sha256:") || !strings.Contains(held.Verified, artifact("ab")) {
			t.Errorf("it is kept as %+v", held)
		}
		kept, err := w.house.Desk.OpenEvidence(w.ctx, w.as("max"), id, "scan")
		if err != nil || string(kept) != string(content) {
			t.Errorf("not kept as it was brought: %v", err)
		}
		// Of another artifact it says nothing.
		changed := askingFor(artifact("cd"))
		changed.Reason = asking().Reason
		w.must(w.house.Desk.Amend(w.ctx, w.as("ana"), desk.Key{}, id, changed))
		if view = w.state(id, countersign.RequestCollecting); view.Evidence[0].Held != nil {
			t.Fatalf("the scan of one artifact serves for another: %+v", view.Evidence[0].Held)
		}
		w.must(bring(ci.scan(artifact("cd"), today, "low")))
		w.must(w.approve("max", id))
		w.settle()
		w.state(id, countersign.RequestActive)
		w.verified()
	})
}

func TestAScanIsFetchedFromWhereItsVerifierSaysAndCountsWhileItsKeyDoes(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		ci, next := newBuilder(t), newBuilder(t)
		var document atomic.Pointer[[]byte]
		var asked atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
			asked.Add(1)
			if content := document.Load(); content != nil && request.URL.Path == "/scans/"+artifact("ab") {
				_, _ = answer.Write(*content)
				return
			}
			http.NotFound(answer, request)
		}))
		defer server.Close()
		w := found(t, open, attestedAccess, verifiersFile(server.URL+"/scans/{key}", ci))
		today := w.clock.Now()
		id := w.submit("ana", askingFor(artifact("ab")))
		fetch := func() error { return w.house.Desk.Fetch(w.ctx, w.as("ana"), desk.Key{}, id, "scan") }
		w.refused(w.house.Desk.Attach(w.ctx, w.as("ana"), desk.Key{}, id, desk.EvidenceContent{Slot: "scan", Content: ci.scan(artifact("ab"), today, "low")}), "slot-is-verified")
		w.refused(fetch(), "no-such-document")
		content := next.scan(artifact("ab"), today, "low")
		document.Store(&content)
		w.refused(fetch(), "signer-unknown")
		content = ci.scan(artifact("ab"), today, "low")
		before := asked.Load()
		// Somebody changes the request meanwhile: it is judged again, and not fetched again.
		w.before(func() { w.must(w.confirmMachine("ana", "svc-ana")) })
		w.must(fetch())
		if asked.Load() != before+1 {
			t.Errorf("the address was asked %d times", asked.Load()-before)
		}
		view := w.state(id, countersign.RequestDeciding)
		if held := view.Evidence[0].Held; held == nil || held.Source != server.URL+"/scans/"+artifact("ab") {
			t.Errorf("it is kept as %+v", held)
		}
		server.Close()
		other := w.submit("max", func() desk.Asking {
			other := askingFor(artifact("ab"))
			other.Beneficiary = "otto"
			return other
		}())
		w.refused(w.house.Desk.Fetch(w.ctx, w.as("max"), desk.Key{}, other, "scan"), "source-unavailable")

		// The key is taken out of the set, by two people: what it signed counts no more.
		trust := func(builders ...*builder) {
			t.Helper()
			proposal, err := w.propose("adam", countersign.PolicyProposal, attestedAccess, verifiersFile(server.URL+"/scans/{key}", builders...))
			w.must(err)
			w.must(w.publish("alma", proposal))
		}
		trust(next)
		w.refused(w.approve("max", id), "key-not-trusted")
		trust(next, ci)
		w.must(w.approve("max", id))
		w.settle()
		w.state(id, countersign.RequestActive)
		w.verified()
	})
}
