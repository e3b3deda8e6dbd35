package sample

import (
	"fmt"
	"strings"

	"github.com/countersign/countersign/client"
)

// byHand plays an account on a system that no program can reach, from the task to
// the list without it.
func (t *tour) byHand() error {
	t.title("A system without an interface: one person does it, another one looks")
	t.say("The portal of the parcel carrier has no interface. Support makes the accounts by hand,\n" +
		"and Samir, who is of support himself, needs one.\n")
	samir, err := t.as("samir.nasser")
	if err != nil {
		return err
	}
	asking := client.Asking{Entitlements: []string{"carrier-portal/parcels/agent"}, Reason: "Customers ask me where their parcels are."}
	preview, err := client.Content(samir.PreviewRequestWithResponse(t.ctx, asking))
	if err != nil {
		return err
	}
	request, err := client.Submitted(samir.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{}, asking))
	if err != nil {
		return err
	}
	t.did("Samir", "asks for an account\n  effect: %s", strings.Join(preview.Effects, " "))
	if request, err = t.approve("rosa.delgado", request.Id); err != nil {
		return err
	}
	if err := t.stage.Settle(); err != nil {
		return err
	}
	t.did("Rosa", "approves, his manager\n✓ %s: support has a task", request.State)
	grant := request.Grants[0].Id
	for _, wrong := range []struct{ who, login, what string }{
		{"Samir", "samir.nasser", "makes his own account"}, {"Rosa", "rosa.delgado", "makes it, who has approved it"},
	} {
		if err := t.refused(wrong.who, wrong.what, t.taskDone(wrong.login, grant), "separation-of-duties"); err != nil {
			return err
		}
	}
	if err := t.taskDone("tara.oconnor", grant); err != nil {
		return err
	}
	t.did("Tara", "makes the account, and says so; that alone counts for nothing\n✓ the request is still fulfilling")
	if _, err := t.expect("samir.nasser", request.Id, "fulfilling"); err != nil {
		return err
	}
	seen := client.TaskCheck{Found: "present", Reason: "I saw samir.nasser in the portal's list of users."}
	err = t.taskChecked("tara.oconnor", grant, seen)
	if err := t.refused("Tara", "says herself that it is there", err, "separation-of-duties"); err != nil {
		return err
	}
	if err := t.taskChecked("ulrich.meier", grant, seen); err != nil {
		return err
	}
	if request, err = t.expect("samir.nasser", request.Id, "active"); err != nil {
		return err
	}
	t.did("Ulrich", "looks, and says that it is there: his word, the weaker assurance\n✓ %s, %s", request.State, request.Grants[0].Assurance)
	return t.takenByHand(request)
}

// takenByHand ends the account, which takes two people as well.
func (t *tour) takenByHand(request *client.Request) error {
	grant := request.Grants[0].Id
	samir, err := t.as("samir.nasser")
	if err != nil {
		return err
	}
	if _, err := client.Content(samir.RevokeGrantWithResponse(t.ctx, grant, &client.RevokeGrantParams{}, client.Revocation{Reason: "The carrier sends notices by itself now."})); err != nil {
		return err
	}
	if err := t.stage.Settle(); err != nil {
		return err
	}
	t.did("Samir", "gives it back: support has a task again")
	if err := t.taskDone("tara.oconnor", grant); err != nil {
		return err
	}
	if err := t.taskChecked("ulrich.meier", grant, client.TaskCheck{List: "login,role\nsamir.nasser,agent\nulrich.meier,agent\n"}); err != nil {
		return err
	}
	if _, err := t.expect("samir.nasser", request.Id, "active"); err != nil {
		return err
	}
	t.did("Tara", "says that it is gone; but Ulrich brings the portal's list, and Samir is in it\n✗ the task is open again")
	if err := t.taskDone("tara.oconnor", grant); err != nil {
		return err
	}
	if err := t.taskChecked("ulrich.meier", grant, client.TaskCheck{List: "login,role\nulrich.meier,agent\n"}); err != nil {
		return err
	}
	if request, err = t.expect("samir.nasser", request.Id, "closed"); err != nil {
		return err
	}
	t.did("Tara", "removes it, and Ulrich brings a list without Samir\n✓ %s, by a %s", request.State, request.Grants[0].Assurance)
	return nil
}

// task is the open task of a grant as somebody sees it.
func (t *tour) task(login, grant string) (*client.Client, string, error) {
	api, err := t.as(login)
	if err != nil {
		return nil, "", err
	}
	// Who has no part in it is not shown it, so it is looked up by who has.
	tara, err := t.as("tara.oconnor")
	if err != nil {
		return nil, "", err
	}
	ulrich, err := t.as("ulrich.meier")
	if err != nil {
		return nil, "", err
	}
	for _, of := range []*client.Client{tara, ulrich} {
		list, err := client.Content(of.ListTasksWithResponse(t.ctx))
		if err != nil {
			return nil, "", err
		}
		for _, task := range list.Tasks {
			if task.Grant == grant {
				return api, task.Task, nil
			}
		}
	}
	return nil, "", fmt.Errorf("there is no task for the grant %s", grant)
}

func (t *tour) taskDone(login, grant string) error {
	api, task, err := t.task(login, grant)
	if err != nil {
		return err
	}
	_, err = client.Content(api.DoneTaskWithResponse(t.ctx, grant, &client.DoneTaskParams{}, client.TaskReport{Task: task}))
	return err
}

func (t *tour) taskChecked(login, grant string, found client.TaskCheck) error {
	api, task, err := t.task(login, grant)
	if err != nil {
		return err
	}
	found.Task = task
	if _, err = client.Content(api.CheckTaskWithResponse(t.ctx, grant, &client.CheckTaskParams{}, found)); err != nil {
		return err
	}
	return t.stage.Settle()
}
