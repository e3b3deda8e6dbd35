// Command lifecycle writes docs/lifecycle.md from the tables of transitions, so
// that the picture cannot differ from the law.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/workflow"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: lifecycle FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(page()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func page() string {
	var out strings.Builder
	out.WriteString("# Lifecycle\n\n")
	out.WriteString("Generated from `workflow/table.go` by `go generate ./workflow`; edit the table, not this page.\n")
	out.WriteString("What is not listed here is refused, by name. A person can stand in several roles at once.\n\n")
	out.WriteString("## Requests\n\n| state | phase |\n| --- | --- |\n")
	for _, state := range countersign.RequestStates {
		fmt.Fprintf(&out, "| %s | %s |\n", state, state.Phase())
	}
	diagram(&out, workflow.RequestTransitions, countersign.RequestCollecting, "submit")
	out.WriteString("\n## Grants\n\n")
	out.WriteString("A grant is live only when the target was read back, and gone only when it was read back again.\n")
	diagram(&out, workflow.GrantTransitions, countersign.GrantProvisioning, "approved")
	out.WriteString("\n## Proposals\n\n")
	out.WriteString("A change of policy or directory that gives anyone standing takes a second person.\n")
	diagram(&out, workflow.ProposalTransitions, countersign.ProposalOpen, "propose")
	out.WriteString("\n## Holds\n\n")
	out.WriteString("A hold makes checks refuse at once; it takes nothing away by itself.\n")
	diagram(&out, workflow.HoldTransitions, countersign.HoldActive, "hold")
	return out.String()
}

func diagram[State ~string](out *strings.Builder, table []workflow.Transition[State], first State, how string) {
	fmt.Fprintf(out, "\n```mermaid\nstateDiagram-v2\n    [*] --> %s: %s\n", first, how)
	for _, line := range table {
		for _, to := range line.To {
			fmt.Fprintf(out, "    %s --> %s: %s\n", line.From, to, line.Command)
		}
	}
	out.WriteString("```\n\n| state | command | by | leads to |\n| --- | --- | --- | --- |\n")
	for _, line := range table {
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", line.From, line.Command, join(line.By), join(line.To))
	}
}

func join[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = string(value)
	}
	return strings.Join(texts, ", ")
}
