package sample

import (
	"encoding/json"
	"fmt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

// agent plays named tools for an AI agent: what its sponsor has, what was granted,
// until the end, and nothing beside.
func (t *tour) agent() error {
	t.title("An AI agent: named tools, within what its sponsor holds, until the end")
	t.say("The triage agent of support asks for tools by itself. Samir answers for it, Rosa is\n" +
		"its sponsor.\n")
	asking := client.Asking{
		Entitlements: []string{"tools/search-articles/read", "tools/tickets/read", "tools/tickets/write"},
		Reason:       "I sort what came in over the weekend.",
		Answers:      map[string]any{"task": "Sort the tickets of the weekend and answer the simple ones"},
	}
	triage, err := t.as("agent-triage")
	if err != nil {
		return err
	}
	wild := asking
	wild.Entitlements = []string{"tools/*/read"}
	_, err = client.Submitted(triage.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{}, wild))
	if err := t.refused("Triage agent", "asks for all tools at once, tools/*/read", err, "wildcard"); err != nil {
		return err
	}
	_, err = client.Submitted(triage.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{}, asking))
	if err := t.refused("Triage agent", "asks for more than its sponsor Rosa has", err, "out-of-bounds"); err != nil {
		return err
	}
	role, err := t.supervisor()
	if err != nil {
		return err
	}
	request, err := client.Submitted(triage.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{}, asking))
	if err != nil {
		return err
	}
	t.did("Triage agent", "asks for three scopes of two tools\n✓ %s waits for %s", request.Id, request.WaitsFor)
	if err := t.decideTools(request.Id); err != nil {
		return err
	}
	if err := t.callTools(request.Id); err != nil {
		return err
	}
	return t.loseTools(request.Id, role)
}

// supervisor gives Rosa what the agent is bounded by, and returns the grant.
func (t *tour) supervisor() (string, error) {
	rosa, err := t.as("rosa.delgado")
	if err != nil {
		return "", err
	}
	request, err := client.Submitted(rosa.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{}, client.Asking{
		Entitlements: []string{"helpdesk/tickets/supervisor"}, Reason: "I assign the tickets of the team.",
	}))
	if err != nil {
		return "", err
	}
	for _, login := range []string{"ines.carvalho", "samir.nasser"} {
		if request, err = t.approve(login, request.Id); err != nil {
			return "", err
		}
	}
	if err := t.stage.Settle(); err != nil {
		return "", err
	}
	if request, err = t.expect("rosa.delgado", request.Id, "active"); err != nil {
		return "", err
	}
	t.did("Rosa", "becomes supervisor of the helpdesk herself, by her manager and Samir\n✓ %s", request.State)
	return request.Grants[0].Id, nil
}

// decideTools takes the request through consent, risk review and the sponsor's
// manager.
func (t *tour) decideTools(id string) error {
	samir, err := t.as("samir.nasser")
	if err != nil {
		return err
	}
	if _, err = client.Content(samir.ConsentRequestWithResponse(t.ctx, id, &client.ConsentRequestParams{})); err != nil {
		return err
	}
	t.did("Samir", "consents, because he answers for the agent")
	for _, wrong := range []struct{ who, login, what string }{
		{"Triage agent", "agent-triage", "approves its own request"},
		{"Rosa", "rosa.delgado", "approves, who is its sponsor"},
	} {
		_, err = t.approve(wrong.login, id)
		if err := t.refused(wrong.who, wrong.what, err, "separation-of-duties"); err != nil {
			return err
		}
	}
	for _, right := range []struct{ who, login, what string }{
		{"Nadia", "nadia.haddad", "of security reviews the risk, because the agent would write"},
		{"Ines", "ines.carvalho", "approves as the manager of the sponsor"},
	} {
		request, err := t.approve(right.login, id)
		if err != nil {
			return fmt.Errorf("%s %s: %w", right.who, right.what, err)
		}
		t.did(right.who, "%s\n✓ %s, waits for %s", right.what, request.State, request.WaitsFor)
	}
	if err := t.stage.Settle(); err != nil {
		return err
	}
	_, err = t.expect("agent-triage", id, "active")
	return err
}

// callTools makes exactly the calls that were granted.
func (t *tour) callTools(id string) error {
	for _, call := range []struct {
		question, tool, scope, reason string
	}{
		{"may the agent search articles?", "search-articles", "", ""},
		{"may it answer a ticket?", "tickets", "write", ""},
		{"may it look up a customer, which nobody granted?", "customer-record", "", "no-assignment"},
	} {
		if err := t.calls(call.question, call.tool, call.scope, call.reason); err != nil {
			return err
		}
	}
	_, err := t.expect("agent-triage", id, "active")
	return err
}

// loseTools takes away from Rosa what bounds the agent, then stops Rosa, then lets
// the end come.
func (t *tour) loseTools(id, role string) error {
	samir, err := t.as("samir.nasser")
	if err != nil {
		return err
	}
	if _, err = client.Content(samir.RevokeGrantWithResponse(t.ctx, role, &client.RevokeGrantParams{}, client.Revocation{Reason: "The supervisors change this week."})); err != nil {
		return err
	}
	t.did("Samir", "revokes Rosa's role at the helpdesk; before the engine has done anything")
	if err := t.calls("may the agent answer a ticket?", "tickets", "write", "out-of-bounds"); err != nil {
		return err
	}
	if err := t.calls("may it search articles, which needs no such role?", "search-articles", "", ""); err != nil {
		return err
	}
	mara, err := t.as("mara.lindqvist")
	if err != nil {
		return err
	}
	held, err := mara.HoldWithResponse(t.ctx, &client.HoldParams{}, client.HoldDraft{On: "rosa.delgado", Reason: "Her laptop was stolen."})
	if err != nil {
		return err
	}
	t.did("Mara", "puts a hold on Rosa, whose laptop was stolen")
	if err := t.calls("may the agent of a sponsor under a hold search articles?", "search-articles", "", "stopped"); err != nil {
		return err
	}
	if _, err := client.Content(mara.LiftHoldWithResponse(t.ctx, held.JSON201.Id, &client.LiftHoldParams{}, client.Revocation{Reason: "It was found again."})); err != nil {
		return err
	}
	if err := t.calls("and now, with the hold lifted?", "search-articles", "", ""); err != nil {
		return err
	}
	if err := t.pass(7*countersign.Day, ", and the seven days are over"); err != nil {
		return err
	}
	if err := t.calls("may the agent search articles, after the end?", "search-articles", "", "no-assignment"); err != nil {
		return err
	}
	_, err = t.expect("samir.nasser", id, "closed")
	return err
}

// calls asks the decision point whether the agent may call a tool now; reason is why
// it must not, "" for a yes.
func (t *tour) calls(question, tool, scope, reason string) error {
	action := map[string]any{"name": "tools/call"}
	if scope != "" {
		action["properties"] = map[string]string{"scope": scope}
	}
	asked, err := json.Marshal(map[string]any{
		"subject": map[string]string{"type": "identity", "id": "agent-triage"}, "action": action,
		"resource": map[string]string{"type": "tool", "id": tool}, "context": map[string]string{"agent": "agent-triage"},
	})
	if err != nil {
		return err
	}
	_, answer, err := t.post("svc-checkout", "/access/v1/evaluation", "application/json", string(asked))
	if err != nil {
		return err
	}
	context, _ := answer["context"].(map[string]any)
	why, _ := context["reason"].(string)
	if answer["decision"] != (reason == "") || why != reason {
		return fmt.Errorf("%s The decision point answers %v, and the reason should be %q", question, answer, reason)
	}
	line := "✓ decision: true"
	if reason != "" {
		line = "✗ decision: false (" + reason + ")"
	}
	t.did("tool server", "asks the decision point: %s\n%s", question, line)
	return nil
}
