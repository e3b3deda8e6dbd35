package sample

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

// accountAsking is the asking that the story is about.
func accountAsking() client.Asking {
	return client.Asking{
		Beneficiary: "svc-orders", Entitlements: []string{"events/topics/orders:read"}, Reason: "Orders are to follow their own events.",
		Answers: map[string]any{"purpose": "Follow what became of an order, as it happens", "record": "SR-1043"},
	}
}

// serviceAccount plays an account whose owner leaves, from asking to closure.
func (t *tour) serviceAccount() error {
	t.title("A service account: its record, its owner, a token; the owner leaves; the end")
	t.say("Hanna asks for an account with which the order service follows the event stream.\n" +
		"George answers for that service, Keiko for the stream.\n")
	if err := t.refusedAccounts(); err != nil {
		return err
	}
	hanna, err := t.as("hanna.virtanen")
	if err != nil {
		return err
	}
	request, err := client.Submitted(hanna.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{}, accountAsking()))
	if err != nil {
		return err
	}
	t.did("Hanna", "asks with the record SR-1043, which names George and allows orders:read\n✓ %s waits for %s", request.Id, request.WaitsFor)
	if err := t.decideAccount(request.Id); err != nil {
		return err
	}
	if request, err = t.expect("hanna.virtanen", request.Id, "active"); err != nil {
		return err
	}
	account := request.Grants[0].Credentials[0].Id
	secret, err := t.readSecret("svc-orders", account)
	if err != nil {
		return err
	}
	if err := t.exchange(account, secret, "", ""); err != nil {
		return err
	}
	if err := t.exchange(account, secret, "payments:read", "invalid_scope"); err != nil {
		return err
	}
	if err := t.ownerLeaves(request.Id, account, secret); err != nil {
		return err
	}
	return t.endAccount(request, account, secret)
}

// refusedAccounts shows what nobody is even asked about.
func (t *tour) refusedAccounts() error {
	hanna, err := t.as("hanna.virtanen")
	if err != nil {
		return err
	}
	for _, wrong := range []struct {
		what, reason string
		change       func(*client.Asking)
	}{
		{"looks at an account for more than the record allows", "record-does-not-cover", func(a *client.Asking) { a.Entitlements = []string{"events/topics/payments:read"} }},
		{"names a record that is not there", "record-not-found", func(a *client.Asking) { a.Answers["record"] = "SR-9999" }},
		{"names the record of somebody else's application", "record-names-another-owner", func(a *client.Asking) { a.Answers["record"] = "SR-1047" }},
		{"looks at an account for Legacy sync, whose owner has left", "unowned", func(a *client.Asking) { a.Beneficiary, a.Answers["record"] = "svc-legacy-sync", "SR-0907" }},
	} {
		asking := accountAsking()
		wrong.change(&asking)
		preview, err := client.Content(hanna.PreviewRequestWithResponse(t.ctx, asking))
		if err != nil {
			return err
		}
		if len(preview.Refusals) == 0 || preview.Refusals[0].Reason != wrong.reason {
			return fmt.Errorf("when Hanna %s, the refusals are %v, and %q should be the first", wrong.what, preview.Refusals, wrong.reason)
		}
		t.did("Hanna", "%s\n✗ refused: %s", wrong.what, preview.Refusals[0].Because)
	}
	return nil
}

// decideAccount takes the request through consent and the system's owner.
func (t *tour) decideAccount(id string) error {
	george, err := t.as("george.hall")
	if err != nil {
		return err
	}
	request, err := client.Content(george.ConsentRequestWithResponse(t.ctx, id, &client.ConsentRequestParams{}))
	if err != nil {
		return err
	}
	t.did("George", "consents, because he answers for the order service\n✓ now it waits for %s", request.WaitsFor)
	_, err = t.approve("george.hall", id)
	if err := t.refused("George", "approves, who answers for the holder", err, "separation-of-duties"); err != nil {
		return err
	}
	if request, err = t.approve("keiko.mori", id); err != nil {
		return err
	}
	t.did("Keiko", "approves as the owner of the event stream\n✓ %s", request.State)
	return t.stage.Settle()
}

// ownerLeaves lets George leave, and Hanna take over.
func (t *tour) ownerLeaves(id, account string, secret countersign.Secret) error {
	david, err := t.as("david.kim")
	if err != nil {
		return err
	}
	if _, err := client.Content(david.SuspendIdentityWithResponse(t.ctx, "george.hall", &client.SuspendIdentityParams{}, client.Suspension{Leaver: true, Reason: "George leaves today."})); err != nil {
		return err
	}
	t.did("David", "suspends George, who leaves; before the house has done anything else")
	if err := t.exchange(account, secret, "", "invalid_client"); err != nil {
		return err
	}
	if _, err := t.expect("hanna.virtanen", id, "active"); err != nil {
		return err
	}
	hanna, err := t.as("hanna.virtanen")
	if err != nil {
		return err
	}
	if _, err := client.Content(hanna.OfferIdentityWithResponse(t.ctx, "svc-orders", &client.OfferIdentityParams{}, client.OwnershipOffer{Reason: "George has left, and I know it."})); err != nil {
		return err
	}
	t.did("Hanna", "asks to take the order service over")
	_, err = client.Content(hanna.AcceptIdentityWithResponse(t.ctx, "svc-orders", &client.AcceptIdentityParams{}, client.Revocation{Reason: "I take it."}))
	if err := t.refused("Hanna", "agrees to that herself", err, "separation-of-duties"); err != nil {
		return err
	}
	if _, err := client.Content(david.AcceptIdentityWithResponse(t.ctx, "svc-orders", &client.AcceptIdentityParams{}, client.Revocation{Reason: "She has worked on it for years."})); err != nil {
		return err
	}
	t.did("David", "agrees, as George's manager: Hanna answers for it now")
	return t.exchange(account, secret, "", "")
}

// endAccount revokes the account, and waits for the last token to run out.
func (t *tour) endAccount(request *client.Request, account string, secret countersign.Secret) error {
	keiko, err := t.as("keiko.mori")
	if err != nil {
		return err
	}
	if _, err := client.Content(keiko.RevokeGrantWithResponse(t.ctx, request.Grants[0].Id, &client.RevokeGrantParams{}, client.Revocation{Reason: "The stream is reorganised."})); err != nil {
		return err
	}
	t.did("Keiko", "revokes the account")
	if err := t.exchange(account, secret, "", "invalid_client"); err != nil {
		return err
	}
	if err := t.stage.Settle(); err != nil {
		return err
	}
	if request, err = t.show("hanna.virtanen", request.Id); err != nil {
		return err
	}
	if state := request.Grants[0].State; state != "revoked" {
		return fmt.Errorf("with a token out, the grant is %s, and it should be revoked", state)
	}
	t.did("the house", "read back that the account is gone; the last token works for some minutes yet\n✓ grant: %s", request.Grants[0].State)
	if err := t.pass(5*countersign.Minute, ", and no token is left"); err != nil {
		return err
	}
	request, err = t.expect("hanna.virtanen", request.Id, "closed")
	if err == nil {
		t.did("the house", "closed the request\n✓ %s: %s", request.State, request.Outcome)
	}
	return err
}

// exchange asks for a token as the order service does, and verifies it as the event
// stream does, with the published keys; refused is the error's code, "" for none.
func (t *tour) exchange(account string, secret countersign.Secret, scope, refused string) error {
	form := url.Values{"grant_type": {"client_credentials"}}
	what := "shows id and secret at the token endpoint"
	if scope != "" {
		form.Set("scope", scope)
		what += ", for the scope " + scope
	}
	request, err := http.NewRequestWithContext(t.ctx, http.MethodPost, t.stage.URL+"/targets/registry/token", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(account, secret.Reveal())
	var answer struct {
		Token       string `json:"access_token"`
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := fetched(request, &answer); err != nil {
		return err
	}
	if answer.Code != refused || (answer.Token == "") != (refused != "") {
		return fmt.Errorf("the token endpoint answers %q (%s), and it should answer %q", answer.Code, answer.Description, refused)
	}
	if refused != "" {
		t.did("Order service", "%s\n✗ %s: %s", what, answer.Code, answer.Description)
		return nil
	}
	t.did("Order service", "%s\n✓ a token", what)
	return t.verifyToken(answer.Token)
}

// verifyToken judges a token with nothing but the public keys.
func (t *tour) verifyToken(token string) error {
	request, err := http.NewRequestWithContext(t.ctx, http.MethodGet, t.stage.URL+"/targets/registry/keys", nil)
	if err != nil {
		return err
	}
	var keys jose.JSONWebKeySet
	if err := fetched(request, &keys); err != nil {
		return err
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return err
	}
	var claims jwt.Claims
	var granted struct {
		Scope string `json:"scope"`
	}
	if err := parsed.Claims(keys, &claims, &granted); err != nil {
		return err
	}
	expected := jwt.Expected{Issuer: t.stage.URL + "/targets/registry", AnyAudience: jwt.Audience{"events"}, Time: t.stage.Now()}
	if err := claims.ValidateWithLeeway(expected, 0); err != nil {
		return err
	}
	t.did("event stream", "verifies its signature with the published key, for itself and for now\n✓ scope %s, until %s", granted.Scope, claims.Expiry.Time().UTC().Format("15:04:05"))
	return nil
}

// fetched reads the JSON answer to a request, whatever its status.
func fetched(request *http.Request, into any) error {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(into); err != nil {
		return fmt.Errorf("%s answers %s: %w", request.URL.Path, response.Status, err)
	}
	return nil
}
