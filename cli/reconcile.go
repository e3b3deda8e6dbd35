package cli

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
)

func reconcileCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{
		Use: "reconcile", Short: "Compare targets with the record, and say what is proven",
		Long: "Every system whose connector can list is read once a day, or as often as\ncountersign.yaml says. What differs is a finding: see `finding ls`. It ends nothing.\n" + connectionHelp,
	}
	c.flags(group)
	list := on(c, "ls", "List systems and when they were read", 0, func(ctx context.Context, api *client.Client, _ []string) (*client.ReconciliationList, error) {
		return client.Content(api.ListReconciliationsWithResponse(ctx))
	}, reconciliationsText)
	list.Aliases = []string{"list"}
	group.AddCommand(
		list,
		on(c, "run SYSTEM", "Have a system read at once", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Reconciliation, error) {
			return client.Content(api.RunReconciliationWithResponse(ctx, args[0]))
		}, func(one *client.Reconciliation) string {
			return fmt.Sprintf("%s is read now; see `countersign reconcile ls` and `countersign finding ls --system %s`.\n", one.System, one.System)
		}),
		on(c, "claim", "Say whether every live entitlement has exactly one approved, unexpired request", 0, func(ctx context.Context, api *client.Client, _ []string) (*client.Claim, error) {
			return client.Content(api.GetClaimWithResponse(ctx))
		}, claimText),
	)
	return group
}

func reconciliationsText(list *client.ReconciliationList) string {
	var text strings.Builder
	table := newTable("SYSTEM", "CONNECTOR", "STATE", "READ", "PAIRS", "OURS", "DIFFERENCES", "TROUBLE")
	for _, one := range list.Reconciliations {
		differences := 0
		for _, count := range one.Last.Differences {
			differences += count.Count
		}
		table.row(one.System, one.Connector, string(one.State), stamp(one.ReadAt), fmt.Sprint(one.Last.Pairs), fmt.Sprint(one.Last.Ours), fmt.Sprint(differences), one.Trouble)
	}
	// A strings.Builder takes everything.
	_ = table.write(&text)
	for _, one := range list.Reconciliations {
		if b := one.Baseline; b.Proposal != "" {
			fmt.Fprintf(&text, "%s: baseline %s, signed %s: %d of %d pair(s) adopted as legacy until %s, %d left", one.System, b.Proposal, stamp(b.SignedAt), b.Adopted, b.Pairs, stamp(b.Until), b.Left)
			if b.Done < b.Parts {
				fmt.Fprintf(&text, "; part %d of %d is next", b.Done+1, b.Parts)
			}
			text.WriteString("\n")
		}
	}
	return text.String()
}

func claimText(claim *client.Claim) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n  %s\n", claim.Claim, strings.ReplaceAll(string(claim.Verdict), "-", " "))
	fmt.Fprintf(&text, "  systems: %d known, %d connected, %d by hand; %d read within their interval, %d read too long ago, %d never read\n",
		claim.Systems, claim.Connected, claim.Manual, claim.Current, claim.Late, claim.NeverRead)
	fmt.Fprintf(&text, "  pairs of holder and entitlement seen: %d, of which live grants give %d; %d on their way\n", claim.Pairs, claim.Ours, claim.Unsettled)
	fmt.Fprintf(&text, "  legacy, which nobody approved: %d; worked off %d of %d\n", claim.Legacy.Left, claim.Legacy.WorkedOff, claim.Legacy.Adopted)
	for _, count := range claim.Live {
		fmt.Fprintf(&text, "  live grants from %s: %d\n", count.Origin, count.Count)
	}
	for _, count := range claim.Differences {
		fmt.Fprintf(&text, "  %s: %d\n", count.Kind, count.Count)
	}
	for _, reason := range claim.Because {
		fmt.Fprintf(&text, "  because %s\n", reason)
	}
	return text.String()
}

func findingCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{
		Use: "finding", Aliases: []string{"findings"}, Short: "Look at differences between targets and the record",
		Long: "A finding closes itself when it is not seen any more at the next reading.\n" + connectionHelp,
	}
	c.flags(group)
	group.AddCommand(findingListCommand(c), on(c, "show FINDING", "Show a finding", 1, func(ctx context.Context, api *client.Client, args []string) (*client.AccessFinding, error) {
		return client.Content(api.GetFindingWithResponse(ctx, args[0]))
	}, findingText), findingAdoptCommand(c), findingRemoveCommand(c))
	return group
}

func findingRemoveCommand(c *connection) *cobra.Command {
	var reason string
	cmd := on(c, "remove FINDING", "Take access away that nobody asked for", 1, func(ctx context.Context, api *client.Client, args []string) (*client.AccessFinding, error) {
		return client.Content(api.RemoveFoundWithResponse(ctx, args[0], &client.RemoveFoundParams{IdempotencyKey: newKey()}, client.Revocation{Reason: reason}))
	}, findingText)
	cmd.Long = "For who answers for the system, and administrators. Exactly the right that was found is\ntaken from exactly the account that has it; the account stays. It waits for no approval,\nis tried without end, and the finding closes with what was read back. Where the\nconnector cannot, people do it on the target."
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

func findingAdoptCommand(c *connection) *cobra.Command {
	var flags askingFlags
	var entitlement string
	cmd := on(c, "adopt FINDING", "Ask for access that was given by hand, for whoever holds it", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		finding, err := client.Content(api.GetFindingWithResponse(ctx, args[0]))
		if err != nil {
			return nil, err
		}
		if entitlement == "" {
			entitlement = finding.AskFor
		}
		if entitlement == "" {
			return nil, invalid("%s is not about one entitlement of a known identity that somebody gave by hand; where there are several of the name, say which with --entitlement", finding.Id)
		}
		flags.beneficiary, flags.adopts, flags.entitlements = finding.Holder.Id, finding.Id, []string{entitlement}
		asking, err := flags.asking()
		if err != nil {
			return nil, err
		}
		return client.Submitted(api.SubmitRequestWithResponse(ctx, &client.SubmitRequestParams{IdempotencyKey: newKey()}, asking))
	}, requestText)
	cmd.Long = "It is decided like any other request. When it is approved, its grant takes the place\nof what is on the target, in one step, and ends it with its own end; until then\nnothing is touched. Only where the connector can take over, as that for memberships\non PostgreSQL."
	cmd.Example = "  countersign finding adopt fnd_… --duration 90d --reason \"was given by hand before we asked\""
	flags.addTerms(cmd, "the type's")
	cmd.Flags().StringVar(&flags.typeName, "type", "", "the request type (default: the one that fits)")
	cmd.Flags().StringVar(&entitlement, "entitlement", "", "which one, where the target does not say")
	cmd.Flags().Lookup("reason").Usage = "why (required)"
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

func findingListCommand(c *connection) *cobra.Command {
	var params client.ListFindingsParams
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List findings, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			findings, err := pages(math.MaxInt, func(_ int, cursor string) ([]client.AccessFinding, string, error) {
				params.Cursor = cursor
				found, err := client.Content(api.ListFindingsWithResponse(cmd.Context(), &params))
				if err != nil {
					return nil, "", err
				}
				return found.Findings, found.Next, nil
			})
			if err != nil {
				return err
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), findings)
			}
			table := newTable("FINDING", "STATE", "KIND", "OWNER", "SINCE", "DEADLINE", "WHAT")
			for _, finding := range findings {
				state := string(finding.State)
				switch {
				case finding.Removal.By.Id != "" && finding.State == client.AccessFindingStateOpen:
					state = "removing"
				case finding.Overdue:
					state = "overdue"
				}
				table.row(finding.Id, state, string(finding.Kind), finding.Owner.Name, stamp(finding.OpenedAt), stamp(finding.Deadline), finding.Text)
			}
			return table.write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&params.System, "system", "", "only of this system")
	cmd.Flags().BoolVar(&params.All, "all", false, "closed findings, too")
	return cmd
}

func findingText(finding *client.AccessFinding) string {
	text := fmt.Sprintf("%s  %s on %s: %s\n  %s\n  since %s, to be dealt with by %s until %s\n",
		finding.Id, finding.Kind, finding.System, finding.State, finding.Text, stamp(finding.OpenedAt), finding.Owner.Name, stamp(finding.Deadline))
	if finding.Grant != "" {
		text += fmt.Sprintf("  grant %s\n", finding.Grant)
	}
	if finding.Credential != "" {
		text += fmt.Sprintf("  mark %s\n", finding.Credential)
	}
	if removal := finding.Removal; removal.By.Id != "" {
		text += fmt.Sprintf("  to be taken away, says %s, %s: %s\n", removal.By.Name, stamp(removal.At), removal.Reason)
		switch {
		case removal.ReadBack != "":
			text += fmt.Sprintf("  read back: %s\n", removal.ReadBack)
		case finding.State == client.AccessFindingStateClosed:
		case removal.ByHand:
			text += fmt.Sprintf("  the connector cannot: take it away on %s by hand, then countersign reconcile run %s\n", finding.System, finding.System)
		case removal.Trouble != "":
			text += fmt.Sprintf("  NOT GONE after %d attempt(s), and tried again: %s\n", removal.Attempts, removal.Trouble)
		}
	}
	if finding.State == client.AccessFindingStateClosed {
		why := "not seen any more"
		if finding.ClosedBecause != "" {
			why = "closed (" + string(finding.ClosedBecause) + ")"
		}
		text += fmt.Sprintf("  %s since %s\n", why, stamp(finding.ClosedAt))
	}
	return text
}
