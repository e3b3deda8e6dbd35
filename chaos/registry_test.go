package chaos

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/faultpoint"
)

// withGateway founds a house on SQLite with a system whose accounts stand in the
// registry; the owner of a service reads its secret.
func withGateway(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	h.organisation = organisation(t)
	for path, text := range map[string]string{
		"directory/all.yaml": directoryFile() + `  - name: gateway
    title: Gateway
    owner: otto
    environment: prod
    risk: low
    connector: registry
    settings: {read_by: owner}
    resources: [{name: routes, title: Routes, entitlements: [{name: "routes:read", kind: credential}]}]
`,
		"policies/accounts.yaml": `
request: accounts
title: Service account
grants: {system: gateway, kind: credential}
beneficiary: [service]
limits: {duration: {default: 10d, max: 30d}}
stages: [{name: manager, approvers: [manager-of(requester)], within: 2 business days}]
fulfil: [registry.create-account]
grant: {ends: revoke}
`,
	} {
		if err := os.WriteFile(filepath.Join(h.organisation, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h.found()
}

// token exchanges the account's credentials, and returns what the house says.
func (h *house) token(ctx context.Context, client, secret string) (int, string) {
	h.t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.replicas[0].url+"/targets/registry/token", strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
	if err != nil {
		h.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(client, secret)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		h.t.Fatal(err)
	}
	return response.StatusCode, answer.Token
}

// accountPoints are where the program is killed while it makes an account.
var accountPoints = []faultpoint.Point{faultpoint.AfterAccount, faultpoint.AfterDeposit, faultpoint.BeforeObserve}

func TestKilledBetweenTheStepsOfAnAccountItHasOneSecretThatIsReadOnceAndWorks(t *testing.T) {
	t.Parallel()
	for _, point := range accountPoints {
		t.Run(string(point), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			h := withGateway(t)
			h.down(0)
			h.up(0, string(point))
			said, err := h.insist(ctx, asker(0), http.MethodPost, "/api/v1/requests", "ask", requestBody{
				Beneficiary: "svc0", Entitlements: []string{"gateway/routes/routes:read"}, Reason: "invoices follow the orders",
			})
			if err != nil || !said.done() {
				t.Fatalf("asking: %s, %v", said, err)
			}
			id := must(parsed(said))(t)
			// The answer may be lost with the house.
			h.call(ctx, h.replicas[0].url, "max", http.MethodPost, "/api/v1/requests/"+id.ID+"/approve", "", map[string]any{"shown": id.Shown})
			if err := h.replicas[0].ends(ctx); err != nil {
				t.Fatal(err)
			}
			h.up(0, "")
			h.grantOf(ctx, id.ID, `"state":"live"`)
			view := must(h.viewAt(ctx, h.replicas[0], id.ID))(t)
			if len(view.Grants) != 1 || len(view.Grants[0].Credentials) != 1 {
				t.Fatalf("the request has the grants %v", view.Grants)
			}
			client := view.Grants[0].Credentials[0].ID
			read := func() answer {
				return h.call(ctx, h.replicas[0].url, asker(0), http.MethodPost, "/targets/vault/secrets/"+client+"/read", "", nil)
			}
			var secret struct {
				Secret string `json:"secret"`
			}
			if said := read(); !said.done() || json.Unmarshal(said.body, &secret) != nil || secret.Secret == "" {
				t.Fatalf("the secret is read as %s", said)
			}
			if said := read(); said.reason != "secret-gone" {
				t.Errorf("read again, it is %s", said)
			}
			if status, token := h.token(ctx, client, secret.Secret); status != http.StatusOK || token == "" {
				t.Errorf("with the secret that was read the answer is %d", status)
			}
			// The host renews the key beside the running house.
			if said, err := h.run("signing-key", "rotate"); err != nil {
				t.Errorf("signing-key rotate: %v %s", err, said)
			}
			var set struct{ Keys []json.RawMessage }
			if said := h.call(ctx, h.replicas[0].url, "", http.MethodGet, "/targets/registry/keys", "", nil); json.Unmarshal(said.body, &set) != nil || len(set.Keys) != 2 {
				t.Errorf("the keys are %s", said)
			}
			h.intact()
			if said, err := h.run("audit", "verify"); err != nil {
				t.Errorf("audit verify: %v %s", err, said)
			}
		})
	}
}
