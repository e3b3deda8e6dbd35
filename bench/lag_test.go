package bench

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
)

// lagging is one target whose revocation is measured.
type lagging struct {
	name   string
	kind   countersign.EntitlementKind
	action string
	// resource and right are what is asked for; settings those of the system.
	resource, right, settings string
	// ask are the fields of the form that the connector is given, with their answers.
	ask func(i int) map[string]string
	// machines says that services hold it.
	machines bool
	// open opens the connector, nil for one that is built in; meet makes what a holder
	// needs on the target.
	open func(t *testing.T, targets house.Targets) connector.Connector
	meet func(t *testing.T, i int, holder countersign.IdentityID)
}

func (l lagging) files(count int) fstest.MapFS {
	var text strings.Builder
	text.WriteString("people:\n")
	for _, login := range []string{"admin", "admin2", "auditor", "auditor2"} {
		fmt.Fprintf(&text, "  - {login: %s, name: %s, email: %[1]s@bench.example}\n", login, strings.ToUpper(login))
	}
	services := "services:\n"
	for i := range count {
		fmt.Fprintf(&text, "  - {login: p%d, name: Person %[1]d, email: p%[1]d@bench.example, manager: admin}\n", i)
		services += fmt.Sprintf("  - {login: s%d, name: Service %[1]d, owner: p%[1]d, purpose: Being revoked, environment: prod}\n", i)
	}
	settings := ""
	if l.settings != "" {
		settings = "\n    settings: {" + l.settings + "}"
	}
	fmt.Fprintf(&text, `%ssystems:
  - name: countersign
    title: Countersign itself
    owner: admin
    environment: prod
    risk: high
    connector: role
    resources: [{name: house, title: The house, entitlements: [{name: administrator, kind: role}, {name: auditor, kind: role}]}]
  - name: lagging
    title: What is revoked
    owner: admin
    environment: prod
    risk: low
    connector: %s%s
    resources: [{name: %s, title: Resource, entitlements: [{name: %s, kind: %s}]}]
powers:
  administrator: [admin, admin2]
  auditor: [auditor, auditor2]
`, services, l.name, settings, l.resource, l.right, l.kind)
	form := ""
	if l.ask != nil {
		var fields, names []string
		for name := range l.ask(0) {
			fields, names = append(fields, name+": {type: string}"), append(names, name)
		}
		form = "ask: {" + strings.Join(fields, ", ") + "}\nparameters: [" + strings.Join(names, ", ") + "]\n"
	}
	policy := fmt.Sprintf(`request: access
title: Access
grants: {system: lagging, kind: %s}
beneficiary: [person, service]
%slimits: {duration: {default: 1h, max: 1d}}
stages: [{name: at-once, automatic: "true"}]
fulfil: [%s.%s]
grant: {ends: revoke}
close: {when: [gone]}
`, l.kind, form, l.name, l.action)
	return fstest.MapFS{
		"organisation.yaml":    {Data: []byte("name: Bench\n")},
		"directory/all.yaml":   {Data: []byte(text.String())},
		"policies/access.yaml": {Data: []byte(policy)},
	}
}

// TestRevocationLag measures, for each target, the time from the asking to the
// read-back that finds nothing any more. What a target has handed out, and runs out by
// itself, is not in it.
func TestRevocationLag(t *testing.T) {
	count := 100
	if !*measure {
		count = 1
	}
	for _, target := range targetsOfLag() {
		t.Run(target.name, func(t *testing.T) {
			lags := target.measure(t, count)
			for _, q := range []int{50, 99} {
				figures.add("sqlite", target.name, fmt.Sprintf("revocation lag, p%d", q), float64(quantile(lags, float64(q)/100).Microseconds())/1000, "ms")
			}
		})
	}
}

func (l lagging) measure(t *testing.T, count int) (lags []time.Duration) {
	t.Helper()
	ctx := t.Context()
	h, _, err := house.Start(ctx, house.Place{Data: t.TempDir()}, l.files(count), house.Options{
		Clock: wallClock{}, Entropy: rand.Reader, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Replica: "bench", Issuer: "http://127.0.0.1:1",
		OpenConnectors: func(targets house.Targets) (connector.Set, error) {
			if l.open == nil {
				return nil, nil
			}
			return connector.Set{l.name: l.open(t, targets)}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Store.Close()
	working, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); h.Run(working) }()
	defer func() { stop(); <-done }()
	for i := range count {
		lags = append(lags, l.once(t, h, i))
	}
	return lags
}

// once gives one access, waits until it is there, and takes it away.
func (l lagging) once(t *testing.T, h *house.House, i int) time.Duration {
	t.Helper()
	person, known := h.Desk.Resolve(fmt.Sprintf("p%d", i))
	if !known {
		t.Fatalf("there is no p%d", i)
	}
	if l.meet != nil {
		l.meet(t, i, person)
	}
	caller := desk.Caller{Identity: person, Issuer: "bench", Strength: "bench"}
	asking := desk.Asking{Entitlements: []string{"lagging/" + l.resource + "/" + l.right}, Reason: "It is taken away again."}
	if l.machines {
		asking.Beneficiary = fmt.Sprintf("s%d", i)
	}
	if l.ask != nil {
		answers, err := json.Marshal(l.ask(i))
		if err != nil {
			t.Fatal(err)
		}
		asking.Answers = answers
	}
	id, err := h.Desk.Submit(t.Context(), caller, desk.Key{}, asking)
	if err != nil {
		t.Fatal(err)
	}
	var grant countersign.GrantID
	until(t, func() error {
		request, err := h.Store.Request(t.Context(), id)
		if err != nil {
			return err
		}
		if request.State != countersign.RequestActive {
			return fmt.Errorf("the request is %s: %s", request.State, request.Outcome)
		}
		grant = request.Grants[0].Grant
		return nil
	})
	began := time.Now()
	if err := h.Desk.Revoke(t.Context(), caller, desk.Key{}, grant, "It is taken away again."); err != nil {
		t.Fatal(err)
	}
	until(t, func() error {
		held, err := h.Store.Grant(t.Context(), grant)
		if err != nil {
			return err
		}
		if held.State != countersign.GrantRevoked && held.State != countersign.GrantGone {
			return errors.New("the grant is " + string(held.State))
		}
		return nil
	})
	return time.Since(began)
}

// until looks on and on, for as long as a revoke may take on a busy machine.
func until(t *testing.T, look func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := look()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(time.Millisecond)
	}
}

// csr is a signing request for a key of its own.
func csr(int) map[string]string {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "lag.bench.example"}, DNSNames: []string{"lag.bench.example"}}, key)
	if err != nil {
		panic(err)
	}
	return map[string]string{"csr": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))}
}

func publicKey(int) map[string]string {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		panic(err)
	}
	return map[string]string{"public_key": string(ssh.MarshalAuthorizedKey(key))}
}
