package cli

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
)

func identityMachinesCommand(c *connection) *cobra.Command {
	var params client.ListMachinesParams
	var kind, flag string
	var limit int
	var lines bool
	cmd := &cobra.Command{
		Use: "machines", Short: "List machines: who owns them, what for, what they hold, when it was used", Args: cobra.NoArgs,
		Long:    "List services, workloads and agents with all that they answer. Auditors and\nadministrators see all; everybody else those that he or she, or somebody whose\nmanager he or she is, answers for. Flags are unowned, owner-left, overdue,\nno-purpose, no-record, never-used (for 30 days, where the target tells) and\nlong-lived (a credential older than 90 days).",
		Example: "  countersign identity machines --flag unowned\n  countersign identity machines --jsonl > machines.jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			params.Kind, params.Flag = client.ListMachinesParamsKind(kind), client.MachineFlag(flag)
			if lines && !cmd.Flags().Changed("limit") {
				limit = int(^uint(0) >> 1)
			}
			out := json.NewEncoder(cmd.OutOrStdout())
			machines, err := pages(limit, func(page int, cursor string) ([]client.Machine, string, error) {
				page = min(page, 200)
				params.Limit, params.Cursor = &page, cursor
				found, err := client.Content(api.ListMachinesWithResponse(cmd.Context(), &params))
				if err != nil {
					return nil, "", err
				}
				for i := 0; lines && i < len(found.Machines); i++ {
					if err := out.Encode(found.Machines[i]); err != nil {
						return nil, "", err
					}
				}
				return found.Machines, found.Next, nil
			})
			switch {
			case err != nil || lines:
				return err
			case c.json:
				return writeJSON(cmd.OutOrStdout(), machines)
			}
			table := newTable("MACHINE", "OWNER", "STATE", "CONFIRM BY", "HOLDS", "LAST USED", "FLAGS")
			for _, machine := range machines {
				var held, flags []string
				for _, grant := range machine.Holds {
					held = append(held, grant.Entitlement.Name)
				}
				for _, flag := range machine.Flags {
					flags = append(flags, string(flag))
				}
				identity := machine.Identity
				table.row(identity.Login, identity.Owner.Name, string(identity.Ownership.State), identity.Ownership.Due.Format(time.DateOnly), strings.Join(held, " "), stamp(machine.LastUsed), strings.Join(flags, " "))
			}
			return table.write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&params.Owner, "owner", "", "only those that this person answers for")
	cmd.Flags().StringVar(&kind, "kind", "", "only service, workload or agent")
	cmd.Flags().StringVar(&flag, "flag", "", "only those with this flag")
	cmd.Flags().IntVar(&limit, "limit", 50, "at most so many")
	cmd.Flags().BoolVar(&lines, "jsonl", false, "print one line of JSON each; all of them, without --limit")
	return cmd
}

// ownershipText says how it stands with an owner, where somebody should do something.
func ownershipText(ownership client.Ownership, command string) string {
	day := ownership.Due.Format(time.DateOnly)
	switch ownership.State {
	case client.OwnershipStateDue:
		return "  to be confirmed by " + day + ": " + command + "\n"
	case client.OwnershipStateOverdue:
		text := "  not confirmed by " + day
		if !ownership.NothingNewFrom.IsZero() {
			text += "; from " + stamp(ownership.NothingNewFrom) + " on it gets nothing new"
		}
		return text + ": " + command + "\n"
	case client.OwnershipStateSilent:
		return "  not confirmed by " + day + ", and gets nothing new: " + command + "\n"
	case client.OwnershipStateConfirmed, client.OwnershipStateLost:
	}
	return ""
}
