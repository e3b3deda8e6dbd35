package workflow_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/workflow"
)

var update = flag.Bool("update", false, "write the golden matrix anew")

// The matrix is the whole law on one page: every state × command × role, allowed
// or refused with its reason. A change of the law shows as a change of the page.
func TestTheMatrixOfEveryStateCommandAndRoleIsAsWritten(t *testing.T) {
	var out strings.Builder
	matrix(&out, "request", workflow.RequestTransitions, countersign.RequestStates, workflow.RequestCommands)
	matrix(&out, "grant", workflow.GrantTransitions, countersign.GrantStates, workflow.GrantCommands)
	matrix(&out, "proposal", workflow.ProposalTransitions, countersign.ProposalStates, workflow.ProposalCommands)
	matrix(&out, "hold", workflow.HoldTransitions, countersign.HoldStates, workflow.HoldCommands)
	const golden = "testdata/matrix.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	got, wanted := strings.Split(out.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(wanted)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(wanted) {
			w = wanted[i]
		}
		if g != w {
			t.Fatalf("line %d of the matrix:\n got %q\nwant %q\n(a deliberate change of the law: go test ./workflow -run Matrix -update)", i+1, g, w)
		}
	}
}

func matrix[State ~string](out *strings.Builder, noun string, table []workflow.Transition[State], states []State, commands []workflow.Command) {
	for _, state := range states {
		for _, command := range commands {
			for _, role := range workflow.Roles {
				err := workflow.Allowed(table, state, command, standingAs(role))
				answer := "allowed"
				if err != nil {
					answer = fmt.Sprintf("refused %s", countersign.ReasonOf(err))
				}
				fmt.Fprintf(out, "%-8s %-12s %-8s %-17s %s\n", noun, state, command, role, answer)
			}
		}
	}
}

func standingAs(role workflow.Role) workflow.Standing {
	standing := workflow.Standing{Actor: "idn_00000000000000000000000000", Roles: []workflow.Role{role}}
	if strings.HasPrefix(string(role), "system:") {
		standing.Actor = countersign.Actor(role)
	}
	if role == workflow.Requester || role == workflow.Beneficiary || role == workflow.Accountable {
		standing.KeptOut = "asked for it"
	}
	return standing
}

func TestEveryRefusalOfTheTableIsASentenceWithAReason(t *testing.T) {
	check := func(err error) {
		var known *countersign.Error
		if err == nil {
			return
		}
		if !errors.As(err, &known) || known.Reason == "" || known.Message == "" || known.Kind == countersign.Internal {
			t.Errorf("a refusal without a reason or sentence: %#v", err)
		}
	}
	for _, role := range workflow.Roles {
		for _, state := range countersign.RequestStates {
			for _, command := range workflow.RequestCommands {
				check(workflow.Allowed(workflow.RequestTransitions, state, command, standingAs(role)))
			}
		}
		for _, state := range countersign.GrantStates {
			for _, command := range workflow.GrantCommands {
				check(workflow.Allowed(workflow.GrantTransitions, state, command, standingAs(role)))
			}
		}
	}
}

func TestNoPersonMayGiveTheCommandsOfTheSystemAndNoSystemActorThoseOfPeople(t *testing.T) {
	system := []workflow.Role{workflow.Timer, workflow.Delivery, workflow.Integrator}
	forSystem := []workflow.Command{workflow.Tick, workflow.Progress, workflow.Observe, workflow.Park, workflow.Wake}
	check := func(command workflow.Command, by []workflow.Role) {
		for _, role := range by {
			if slices.Contains(system, role) != slices.Contains(forSystem, command) {
				t.Errorf("%s is given by %s", command, role)
			}
		}
	}
	for _, line := range workflow.RequestTransitions {
		check(line.Command, line.By)
	}
	for _, line := range workflow.GrantTransitions {
		check(line.Command, line.By)
	}
}

func TestEndedRequestsAndGrantsTakeNoCommand(t *testing.T) {
	for _, line := range workflow.RequestTransitions {
		if line.From.Final() {
			t.Errorf("an ended request takes %s in %s", line.Command, line.From)
		}
	}
	for _, line := range workflow.GrantTransitions {
		if line.From.Ended() {
			t.Errorf("an ended grant takes %s in %s", line.Command, line.From)
		}
	}
}
