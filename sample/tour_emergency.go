package sample

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

const (
	ordersWriter = "orders-db/orders/writer"
	ordersOnCall = "orders-db/orders/writer-on-call"
)

// emergency plays break-glass: eligible first, access at once in an incident, and
// afterwards a review that nobody gets around.
func (t *tour) emergency() error {
	t.title("Break-glass: eligible, access at once, the hour, the review")
	t.say("Hanna is on call for orders. At night, in an incident, there is nobody to approve,\n" +
		"so she is made eligible by day.\n")
	if err := t.eligible(); err != nil {
		return err
	}
	if err := t.withoutGround(); err != nil {
		return err
	}
	first, err := t.incident("Orders are booked twice")
	if err != nil {
		return err
	}
	request, err := t.atOnce(first)
	if err != nil {
		return err
	}
	if err := t.unreviewed(request, first); err != nil {
		return err
	}
	second, err := t.incident("Orders are booked twice again")
	if err != nil {
		return err
	}
	again, err := t.blocked(request, second)
	if err != nil {
		return err
	}
	if err := t.reviewed(request, first, "nadia.haddad"); err != nil {
		return err
	}
	if err := t.pass(countersign.Hour+countersign.Minute, ", and the second emergency is over, too"); err != nil {
		return err
	}
	return t.reviewed(again, second, "rahul.mehta")
}

// eligible makes Hanna eligible, which is no access, and refuses somebody who is
// not on call.
func (t *tour) eligible() error {
	george, err := t.as("george.hall")
	if err != nil {
		return err
	}
	asking := client.Asking{Entitlements: []string{ordersOnCall}, Reason: "On call for orders this quarter."}
	_, err = client.Submitted(george.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{}, asking))
	if err := t.refused("George", "of orders, who is not on call, asks to be eligible", err, "refused-by-policy"); err != nil {
		return err
	}
	hanna, err := t.as("hanna.virtanen")
	if err != nil {
		return err
	}
	request, err := client.Submitted(hanna.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{}, asking))
	if err != nil {
		return err
	}
	t.did("Hanna", "asks to be eligible for changing orders in an incident\n✓ waits for %s", request.WaitsFor)
	for _, approver := range []struct{ who, login, what string }{
		{"David", "david.kim", "approves as Hanna's manager"},
		{"Nadia", "nadia.haddad", "approves for security"},
	} {
		if request, err = t.approve(approver.login, request.Id); err != nil {
			return fmt.Errorf("%s %s: %w", approver.who, approver.what, err)
		}
		t.did(approver.who, "%s\n✓ %s, waits for %s", approver.what, request.State, request.WaitsFor)
	}
	if err := t.stage.Settle(); err != nil {
		return err
	}
	if _, err := t.expect("hanna.virtanen", request.Id, "active"); err != nil {
		return err
	}
	return t.mayChangeOrders("Hanna is eligible now; may she change orders?", false)
}

func (t *tour) mayChangeOrders(question string, want bool) error {
	return t.decides(question, "hanna.virtanen", "writer", "orders-db/orders", want)
}

// take asks for changing orders by break-glass, which is never chosen by itself.
func (t *tour) take(login, incident string) (*client.Request, error) {
	api, err := t.as(login)
	if err != nil {
		return nil, err
	}
	return client.Submitted(api.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{}, client.Asking{
		Type: "break-glass", Entitlements: []string{ordersWriter}, Reason: "The double bookings have to be taken out before the morning.",
		Answers: map[string]any{"incident": incident},
	}))
}

// incident opens a ticket, as anybody may.
func (t *tour) incident(title string) (string, error) {
	rosa, err := t.as("rosa.delgado")
	if err != nil {
		return "", err
	}
	ticket, err := rosa.OpenTicket(t.ctx, "incident", title)
	if err != nil {
		return "", err
	}
	t.did("Rosa", "of support opens the incident %s: %s", ticket.Key, ticket.Title)
	return ticket.Key, nil
}

// withoutGround refuses who has no incident, and who is not eligible.
func (t *tour) withoutGround() error {
	_, err := t.take("hanna.virtanen", "INC-4711")
	if err := t.refused("Hanna", "takes access for an incident that there is not", err, "ticket-not-found"); err != nil {
		return err
	}
	key, err := t.incident("A page loads slowly")
	if err != nil {
		return err
	}
	for _, wrong := range []struct{ who, login, what string }{
		{"Ben", "ben.adeyemi", "takes access, who is on call for payments and not eligible here"},
		{"Jonas", "jonas.weber", "takes access as an administrator"},
	} {
		_, err := t.take(wrong.login, key)
		if err := t.refused(wrong.who, wrong.what, err, "not-eligible"); err != nil {
			return err
		}
	}
	if err := t.resolve(key); err != nil {
		return err
	}
	_, err = t.take("hanna.virtanen", key)
	return t.refused("Hanna", "takes access for an incident that is over", err, "ticket-in-another-state")
}

func (t *tour) resolve(key string) error {
	rosa, err := t.as("rosa.delgado")
	if err != nil {
		return err
	}
	ticket, err := rosa.CloseTicket(t.ctx, key, "It works again.")
	if err != nil {
		return err
	}
	t.did("Rosa", "closes the incident\n✓ %s is %s", ticket.Key, ticket.State)
	return nil
}

// atOnce takes the access, and lets its hour pass.
func (t *tour) atOnce(incident string) (string, error) {
	request, err := t.take("hanna.virtanen", incident)
	if err != nil {
		return "", err
	}
	if err := t.stage.Settle(); err != nil {
		return "", err
	}
	if request, err = t.expect("hanna.virtanen", request.Id, "active"); err != nil {
		return "", err
	}
	var told []string
	for _, person := range request.Told {
		told = append(told, person.Name)
	}
	if !request.BreakGlass || !slices.Contains(told, "Nadia Haddad") {
		return "", fmt.Errorf("security should have been told of break-glass at once: %v", told)
	}
	t.did("Hanna", "takes access by break-glass for %s: nobody is waited for\n✓ %s, until %s\n✓ told at once: %s",
		incident, request.State, request.Grants[0].Until.Format("15:04"), strings.Join(told, ", "))
	if err := t.mayChangeOrders("may Hanna change orders?", true); err != nil {
		return "", err
	}
	err = t.review("nadia.haddad", request.Id)
	if err := t.refused("Nadia", "of security reviews while the access lasts", err, "not-due-yet"); err != nil {
		return "", err
	}
	if err := t.pass(countersign.Hour+countersign.Minute, ", and the hour is over"); err != nil {
		return "", err
	}
	return request.Id, t.mayChangeOrders("may Hanna change orders?", false)
}

// review says what somebody found.
func (t *tour) review(login, id string) error {
	request, err := t.show(login, id)
	if err != nil {
		return err
	}
	api, err := t.as(login)
	if err != nil {
		return err
	}
	_, err = client.Content(api.ReviewRequestWithResponse(t.ctx, id, &client.ReviewRequestParams{}, client.Review{
		Finding: "in-order", Shown: request.Shown, Reason: "I compared what was changed with the incident.",
	}))
	return err
}

// fetch has the house ask for the closed incident.
func (t *tour) fetch(id string) error {
	hanna, err := t.as("hanna.virtanen")
	if err != nil {
		return err
	}
	_, err = client.Content(hanna.FetchEvidenceWithResponse(t.ctx, id, "closed-ticket", &client.FetchEvidenceParams{}))
	return err
}

// unreviewed shows what cannot close the request.
func (t *tour) unreviewed(id, incident string) error {
	request, err := t.expect("hanna.virtanen", id, "closing")
	if err != nil {
		return err
	}
	t.did("the house", "took the access away, and keeps the request open\n✓ %s, waits for %s", request.State, request.WaitsFor)
	for _, wrong := range []struct {
		who, what, reason string
		do                func() error
	}{
		{"Hanna", "reviews what she did herself", "separation-of-duties", func() error { return t.review("hanna.virtanen", id) }},
		{"Nadia", "reviews without the closed incident", "evidence-missing", func() error { return t.review("nadia.haddad", id) }},
		{"Hanna", "has " + incident + " fetched, which is still open", "ticket-in-another-state", func() error { return t.fetch(id) }},
	} {
		if err := t.refused(wrong.who, wrong.what, wrong.do(), wrong.reason); err != nil {
			return err
		}
	}
	return nil
}

// blocked lets the time for the review pass, refuses another emergency until two
// people lift that, and takes it then.
func (t *tour) blocked(id, incident string) (string, error) {
	if err := t.pass(7*countersign.Day, ", and nobody has reviewed"); err != nil {
		return "", err
	}
	request, err := t.expect("hanna.virtanen", id, "closing")
	if err != nil {
		return "", err
	}
	review := request.Stages[len(request.Stages)-1]
	asked := make([]string, len(review.Asked))
	for i, one := range review.Asked {
		asked[i] = one.Person.Name
	}
	if !review.Overdue || !slices.Contains(asked, "Helena Brandt") {
		return "", fmt.Errorf("the access board should be asked for the overdue review: %+v", review)
	}
	t.did("the house", "asks the access board as well: the review is overdue\n✓ asked: %s", strings.Join(asked, ", "))
	_, err = t.take("hanna.virtanen", incident)
	if err := t.refused("Hanna", "takes access for "+incident, err, "review-overdue"); err != nil {
		return "", err
	}
	err = t.lift("hanna.virtanen", id)
	if err := t.refused("Hanna", "lifts that for herself", err, "separation-of-duties"); err != nil {
		return "", err
	}
	if err := t.lift("sofia.alvarez", id); err != nil {
		return "", err
	}
	t.did("Sofía", "of security agrees to lift it")
	_, err = t.take("hanna.virtanen", incident)
	if err := t.refused("Hanna", "takes access, but one person is not enough", err, "review-overdue"); err != nil {
		return "", err
	}
	if err := t.lift("mara.lindqvist", id); err != nil {
		return "", err
	}
	t.did("Mara", "of the access board agrees, too: now it is lifted, and the review is still owed")
	second, err := t.take("hanna.virtanen", incident)
	if err != nil {
		return "", err
	}
	if err := t.stage.Settle(); err != nil {
		return "", err
	}
	if _, err = t.expect("hanna.virtanen", second.Id, "active"); err != nil {
		return "", err
	}
	t.did("Hanna", "takes access by break-glass for %s", incident)
	return second.Id, t.mayChangeOrders("may Hanna change orders?", true)
}

// lift is one voice of the two that it takes.
func (t *tour) lift(login, id string) error {
	api, err := t.as(login)
	if err != nil {
		return err
	}
	_, err = client.Content(api.UnblockRequestWithResponse(t.ctx, id, &client.UnblockRequestParams{}, client.Unblocking{
		Reason: "Orders are booked twice again, and Hanna knows how to undo it.",
	}))
	return err
}

// reviewed closes the incident and has the access reviewed, with which the request
// closes.
func (t *tour) reviewed(id, incident, reviewer string) error {
	if err := t.resolve(incident); err != nil {
		return err
	}
	if err := t.fetch(id); err != nil {
		return err
	}
	t.did("Hanna", "has the closed incident fetched")
	err := t.review(reviewer, id)
	if err := t.refused("security", "reviews without having asked what was done", err, "evidence-missing"); err != nil {
		return err
	}
	if err := t.activity(reviewer, id); err != nil {
		return err
	}
	if err := t.review(reviewer, id); err != nil {
		return err
	}
	request, err := t.expect("hanna.virtanen", id, "closed")
	if err != nil {
		return err
	}
	name := request.Stages[len(request.Stages)-1].Decisions[0].By.Name
	t.did(strings.Fields(name)[0], "of security reviews what was done\n✓ %s: %s", request.State, request.Outcome)
	return nil
}

// activity has the target asked what was done, and reads it.
func (t *tour) activity(reviewer, id string) error {
	api, err := t.as(reviewer)
	if err != nil {
		return err
	}
	if _, err := client.Content(api.FetchEvidenceWithResponse(t.ctx, id, "activity", &client.FetchEvidenceParams{})); err != nil {
		return err
	}
	opened, err := client.Content(api.OpenEvidenceWithResponse(t.ctx, id, "activity"))
	if err != nil {
		return err
	}
	if !strings.Contains(opened.Text, "the decision point said yes") {
		return fmt.Errorf("the decision point should tell that it was asked: %s", opened.Text)
	}
	t.did("security", "has the target asked what was done, and reads it\n%s", strings.TrimSpace(opened.Text))
	return nil
}
