package sample

import (
	"fmt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

const (
	paymentsRead = "payments-api/payments/payments:read"
	wikiEditor   = "wiki/pages/editor"
)

func seconds(duration countersign.Seconds) *int64 {
	whole := int64(duration)
	return &whole
}

// keyAsking is the asking that the story is about.
func keyAsking() client.Asking {
	return client.Asking{
		Beneficiary: "svc-billing", Entitlements: []string{paymentsRead}, Reason: "Invoices are matched with payments from next month on.",
		Duration: seconds(30 * countersign.Day),
		Answers:  map[string]any{"purpose": "Match payments with the invoices of the month", "consumer": "SR-1042"},
	}
}

// apiKey plays the API key from asking to closure.
func (t *tour) apiKey() error {
	t.title("An API key: consent, manager, security; the vault; rotation; the end")
	t.say("Ben, a developer, needs a key with which the billing service reads payments. That\n" +
		"interface is a production system of high risk.\n")
	ben, err := t.as("ben.adeyemi")
	if err != nil {
		return err
	}
	if err := t.previews(ben); err != nil {
		return err
	}
	request, err := client.Submitted(ben.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{IdempotencyKey: "tour-api-key"}, keyAsking()))
	if err != nil {
		return err
	}
	t.did("Ben", "asks for the key\n✓ %s waits for %s", request.Id, request.WaitsFor)
	_, err = client.Submitted(ben.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{}, keyAsking()))
	if err := t.refused("Ben", "asks once more for the same", err, "duplicate-request"); err != nil {
		return err
	}
	if err := t.decideKey(request.Id); err != nil {
		return err
	}
	return t.useKey(request.Id)
}

// previews shows the path before anything is asked, and what it refuses.
func (t *tour) previews(ben *client.Client) error {
	for _, wrong := range []struct {
		what, reason string
		change       func(*client.Asking)
	}{
		{"looks at a key for 120 days", "duration-not-offered", func(a *client.Asking) { a.Duration = seconds(120 * countersign.Day) }},
		{"looks at a key for the staging service Reports", "refused-by-policy", func(a *client.Asking) {
			a.Beneficiary = "svc-reports"
			a.Answers = map[string]any{"purpose": "Match payments with the invoices of the month", "consumer": "SR-1045"}
		}},
	} {
		asking := keyAsking()
		wrong.change(&asking)
		preview, err := client.Content(ben.PreviewRequestWithResponse(t.ctx, asking))
		if err != nil {
			return err
		}
		if len(preview.Refusals) == 0 || preview.Refusals[0].Reason != wrong.reason {
			return fmt.Errorf("when Ben %s, the refusals are %v, and %q should be the first", wrong.what, preview.Refusals, wrong.reason)
		}
		t.did("Ben", "%s\n✗ refused: %s", wrong.what, preview.Refusals[0].Because)
	}
	asking := keyAsking()
	asking.Type, asking.Beneficiary = "api-key", ""
	_, err := client.Content(ben.PreviewRequestWithResponse(t.ctx, asking))
	if err := t.refused("Ben", "looks at a key for himself, a person", err, "wrong-request-type"); err != nil {
		return err
	}
	preview, err := client.Content(ben.PreviewRequestWithResponse(t.ctx, keyAsking()))
	if err != nil {
		return err
	}
	path := fmt.Sprintf("looks at a key for 30 days; the path would be:\n  consent of %s, who answers for %s", preview.ConsentOf.Name, preview.Beneficiary.Name)
	for _, stage := range preview.Stages {
		path += fmt.Sprintf("\n  stage %q: %d of", stage.Name, stage.Need)
		for _, asked := range stage.Asked {
			path += fmt.Sprintf(" %s,", asked.Person.Name)
		}
		path += " within " + stage.Within
	}
	for _, effect := range preview.Effects {
		path += "\n  effect: " + effect
	}
	t.did("Ben", "%s", path)
	return nil
}

// decideKey takes the request through consent and both stages.
func (t *tour) decideKey(id string) error {
	laura, err := t.as("laura.schmidt")
	if err != nil {
		return err
	}
	_, err = t.approve("ben.adeyemi", id)
	if err := t.refused("Ben", "approves his own request", err, "not-complete"); err != nil {
		return err
	}
	request, err := client.Content(laura.ConsentRequestWithResponse(t.ctx, id, &client.ConsentRequestParams{}))
	if err != nil {
		return err
	}
	t.did("Laura", "consents, because she answers for the billing service\n✓ now it waits for %s", request.WaitsFor)
	for _, wrong := range []struct{ who, login, what, reason string }{
		{"Ben", "ben.adeyemi", "approves his own request again", "separation-of-duties"},
		{"Laura", "laura.schmidt", "approves, who answers for the service", "separation-of-duties"},
		{"Nadia", "nadia.haddad", "of security approves before the manager has", "stage-not-open"},
		{"Mina", "mina.park", "of another team looks at the request", "no-such-request"},
	} {
		_, err = t.approve(wrong.login, id)
		if err := t.refused(wrong.who, wrong.what, err, wrong.reason); err != nil {
			return err
		}
	}
	for _, right := range []struct{ who, login, what string }{
		{"Anna", "anna.kowalski", "approves as Ben's manager"},
		{"Nadia", "nadia.haddad", "approves for security"},
		{"Nadia", "nadia.haddad", "clicks a second time"},
		{"Rahul", "rahul.mehta", "approves for security, too"},
	} {
		if request, err = t.approve(right.login, id); err != nil {
			return fmt.Errorf("%s %s: %w", right.who, right.what, err)
		}
		t.did(right.who, "%s\n✓ %s, waits for %s", right.what, request.State, request.WaitsFor)
	}
	if err := t.stage.Settle(); err != nil {
		return err
	}
	request, err = t.expect("ben.adeyemi", id, "active")
	if err != nil {
		return err
	}
	t.did("the house", "had the vault make the key, and read back that it works\n✓ until %s", request.Grants[0].Until.Format("2006-01-02 15:04"))
	return nil
}

// useKey reads, uses, rotates and outlives the key.
func (t *tour) useKey(id string) error {
	request, err := t.show("ben.adeyemi", id)
	if err != nil {
		return err
	}
	grant := request.Grants[0]
	_, err = t.readSecret("ben.adeyemi", grant.Credentials[0].Id)
	if err := t.refused("Ben", "reads the key, which is not his", err, "no-such-secret"); err != nil {
		return err
	}
	first, err := t.readSecret("svc-billing", grant.Credentials[0].Id)
	if err != nil {
		return err
	}
	t.did("Billing", "the service itself reads its key\n✓ it was shown once")
	_, err = t.readSecret("svc-billing", grant.Credentials[0].Id)
	if err := t.refused("Billing", "reads it a second time", err, "secret-gone"); err != nil {
		return err
	}
	if err := t.works(first, true, "does this key work?"); err != nil {
		return err
	}
	if err := t.pass(17*countersign.Day, ""); err != nil {
		return err
	}
	if request, err = t.expect("ben.adeyemi", id, "active"); err != nil {
		return err
	}
	if !request.Grants[0].Reminded {
		return fmt.Errorf("thirteen days before the end nobody was reminded")
	}
	t.did("the house", "reminded of the end, fourteen days ahead")
	second, err := t.rotate(grant.Id)
	if err != nil {
		return err
	}
	if err := t.works(first, true, "does the old key work, in the overlap?"); err != nil {
		return err
	}
	if err := t.works(second, true, "does the new key work?"); err != nil {
		return err
	}
	if err := t.pass(countersign.Day+countersign.Minute, ", and the overlap is over"); err != nil {
		return err
	}
	if err := t.works(first, false, "does the old key work?"); err != nil {
		return err
	}
	if err := t.works(second, true, "does the new key work?"); err != nil {
		return err
	}
	if err := t.pass(12*countersign.Day, ", and the thirty days are over"); err != nil {
		return err
	}
	if err := t.works(second, false, "does the new key work, after its end?"); err != nil {
		return err
	}
	if request, err = t.expect("ben.adeyemi", id, "closed"); err != nil {
		return err
	}
	t.did("the house", "took the key away, read back that it is gone, and closed the request\n✓ %s: %s", request.State, request.Outcome)
	return nil
}

// rotate adds a second key under the same grant and reads it.
func (t *tour) rotate(grantID string) (countersign.Secret, error) {
	var none countersign.Secret
	ben, err := t.as("ben.adeyemi")
	if err != nil {
		return none, err
	}
	_, err = client.Content(ben.RotateGrantWithResponse(t.ctx, grantID, &client.RotateGrantParams{}, client.Rotation{Overlap: seconds(60 * countersign.Day)}))
	if err := t.refused("Ben", "rotates with an overlap of sixty days", err, "overlap-too-long"); err != nil {
		return none, err
	}
	if _, err = client.Content(ben.RotateGrantWithResponse(t.ctx, grantID, &client.RotateGrantParams{}, client.Rotation{Overlap: seconds(countersign.Day)})); err != nil {
		return none, err
	}
	if err := t.stage.Settle(); err != nil {
		return none, err
	}
	grant, err := client.Content(ben.GetGrantWithResponse(t.ctx, grantID))
	if err != nil {
		return none, err
	}
	second, err := t.readSecret("svc-billing", grant.Credentials[1].Id)
	t.did("Ben", "rotates with an overlap of one day; the service reads its second key")
	return second, err
}

// role plays a role that the decision point answers for: denied, then given, then
// taken away.
func (t *tour) role() error {
	t.title("A role: denied, given, held, revoked; the decision point answers")
	mina, err := t.as("mina.park")
	if err != nil {
		return err
	}
	asking := client.Asking{Entitlements: []string{wikiEditor}, Reason: "I write the handbook of the reports."}
	if err := t.may(false); err != nil {
		return err
	}
	first, err := client.Submitted(mina.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{}, asking))
	if err != nil {
		return err
	}
	keiko, err := t.as("keiko.mori")
	if err != nil {
		return err
	}
	_, err = client.Content(keiko.DenyRequestWithResponse(t.ctx, first.Id, &client.DenyRequestParams{}, client.Denial{Shown: first.Shown, Reason: "Please finish the move to the new reports first."}))
	if err != nil {
		return err
	}
	if err := t.stage.Settle(); err != nil {
		return err
	}
	request, err := t.expect("mina.park", first.Id, "denied")
	if err != nil {
		return err
	}
	t.did("Keiko", "denies it as Mina's manager\n✗ %s", request.Outcome)
	if err := t.may(false); err != nil {
		return err
	}
	second, err := client.Submitted(mina.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{}, asking))
	if err != nil {
		return err
	}
	t.did("Mina", "asks again, now that the move is finished")
	for _, approver := range []struct{ who, login, what string }{
		{"Keiko", "keiko.mori", "approves as Mina's manager"},
		{"Bianca", "bianca.rossi", "approves as the owner of the wiki"},
	} {
		if request, err = t.approve(approver.login, second.Id); err != nil {
			return fmt.Errorf("%s %s: %w", approver.who, approver.what, err)
		}
		t.did(approver.who, "%s\n✓ %s, waits for %s", approver.what, request.State, request.WaitsFor)
	}
	if err := t.stage.Settle(); err != nil {
		return err
	}
	if request, err = t.expect("mina.park", second.Id, "active"); err != nil {
		return err
	}
	if err := t.may(true); err != nil {
		return err
	}
	bianca, err := t.as("bianca.rossi")
	if err != nil {
		return err
	}
	if err := t.stop(bianca); err != nil {
		return err
	}
	_, err = client.Content(bianca.RevokeGrantWithResponse(t.ctx, request.Grants[0].Id, &client.RevokeGrantParams{}, client.Revocation{Reason: "The handbook moves elsewhere."}))
	if err != nil {
		return err
	}
	t.did("Bianca", "revokes it as the owner of the wiki; before the engine has done anything")
	if err := t.may(false); err != nil {
		return err
	}
	if err := t.stage.Settle(); err != nil {
		return err
	}
	if request, err = t.expect("mina.park", second.Id, "closed"); err != nil {
		return err
	}
	t.did("the house", "took the role away, and read back that it is gone\n✓ %s", request.State)
	return nil
}

// stop plays the kill switch: a hold on the whole wiki, and its end.
func (t *tour) stop(bianca *client.Client) error {
	answer, err := bianca.HoldWithResponse(t.ctx, &client.HoldParams{}, client.HoldDraft{On: "wiki", Reason: "Somebody is defacing pages."})
	if err != nil {
		return err
	}
	t.did("Bianca", "puts a hold on the whole wiki, because somebody is defacing pages")
	if err := t.may(false); err != nil {
		return err
	}
	if _, err := client.Content(bianca.LiftHoldWithResponse(t.ctx, answer.JSON201.Id, &client.LiftHoldParams{}, client.Revocation{Reason: "It was a script of our own."})); err != nil {
		return err
	}
	t.did("Bianca", "lifts it: it was a script of their own")
	return t.may(true)
}

// may asks the decision point whether Mina may write in the wiki now.
func (t *tour) may(want bool) error {
	return t.decides("may Mina edit the wiki?", "mina.park", "editor", "wiki/pages", want)
}
