package cli

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/directory"
)

func proposalCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{
		Use: "proposal", Aliases: []string{"proposals"}, Short: "Change policy, directory or record with a second person",
		Long: "A change of the policy set, a directory change that gives anybody standing, or the\nbaseline of a system (see `system baseline`) is proposed by one person and published by another, who is shown what it changes.\n" + connectionHelp,
	}
	c.flags(group)
	group.AddCommand(
		proposalNewCommand(c), proposalListCommand(c),
		on(c, "show PROPOSAL", "Show a proposal, and what it would change now", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Proposal, error) {
			return client.Content(api.GetProposalWithResponse(ctx, args[0]))
		}, proposalText),
		proposalPairsCommand(c), proposalPublishCommand(c), proposalEnforceCommand(c), proposalRejectCommand(c),
		on(c, "withdraw PROPOSAL", "Take your own proposal back", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Proposal, error) {
			return client.Content(api.WithdrawProposalWithResponse(ctx, args[0], &client.WithdrawProposalParams{IdempotencyKey: newKey()}, client.Cancellation{}))
		}, proposalText),
	)
	return group
}

func proposalNewCommand(c *connection) *cobra.Command {
	var kind, reason string
	cmd := &cobra.Command{
		Use: "new FOLDER --kind policy|directory --reason WHY", Short: "Propose what an organisation folder says", Args: exactly("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			draft := client.ProposalDraft{Kind: client.ProposalKind(kind), Reason: reason}
			if !draft.Kind.Valid() {
				return invalid("--kind is policy or directory, not %q", kind)
			}
			read, err := directory.ReadOrganisation(os.DirFS(args[0]))
			if err != nil {
				return err
			}
			files := read.Directory
			if draft.Kind == client.ProposalKindPolicy {
				files = read.Policies
			}
			for _, file := range files {
				draft.Files = append(draft.Files, client.DirectoryFile{Path: file.Path, Content: string(file.Bytes)})
			}
			api, err := c.open()
			if err != nil {
				return err
			}
			response, err := api.ProposeWithResponse(cmd.Context(), &client.ProposeParams{IdempotencyKey: newKey()}, draft)
			if err != nil {
				return err
			}
			return c.print(cmd, response.JSON201, func() string { return proposalText(response.JSON201) })
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "policy or directory (required)")
	cmd.Flags().StringVar(&reason, "reason", "", "why; the second person reads it (required)")
	must(cmd.MarkFlagRequired("kind"))
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

func proposalListCommand(c *connection) *cobra.Command {
	var states []string
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List proposals, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			params := client.ListProposalsParams{}
			for _, state := range states {
				params.State = append(params.State, client.ProposalState(state))
			}
			api, err := c.open()
			if err != nil {
				return err
			}
			proposals, err := pages(math.MaxInt, func(_ int, cursor string) ([]client.Proposal, string, error) {
				params.Cursor = cursor
				found, err := client.Content(api.ListProposalsWithResponse(cmd.Context(), &params))
				if err != nil {
					return nil, "", err
				}
				return found.Proposals, found.Next, nil
			})
			if err != nil {
				return err
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), proposals)
			}
			table := newTable("PROPOSAL", "KIND", "STATE", "BY", "AT", "LAPSES", "REASON")
			for _, proposal := range proposals {
				until := ""
				if !proposal.Until.IsZero() {
					until = stamp(proposal.Until)
				}
				table.row(proposal.Id, string(proposal.Kind), string(proposal.State), proposal.By.Name, stamp(proposal.At), until, proposal.Reason)
			}
			return table.write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringArrayVar(&states, "state", nil, "only this state: open, provisional, published, rejected, withdrawn or lapsed; can be given several times")
	return cmd
}

func proposalPublishCommand(c *connection) *cobra.Command {
	var shown string
	cmd := on(c, "publish PROPOSAL --shown DIGEST", "Make a proposal effective, as a second person", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Proposal, error) {
		return client.Content(api.PublishProposalWithResponse(ctx, args[0], &client.PublishProposalParams{IdempotencyKey: newKey()}, client.ProposalDecision{Shown: shown}))
	}, proposalText)
	shownFlag(cmd, &shown)
	return cmd
}

func proposalEnforceCommand(c *connection) *cobra.Command {
	var shown, reason string
	cmd := on(c, "enforce PROPOSAL --shown DIGEST --reason WHY", "Put a policy into force at once, in an emergency", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Proposal, error) {
		return client.Content(api.EnforceProposalWithResponse(ctx, args[0], &client.EnforceProposalParams{IdempotencyKey: newKey()}, client.ProposalDecision{Shown: shown, Reason: reason}))
	}, proposalText)
	cmd.Long = "Takes the power emergency-policy-author, which is held by break-glass. Whoever could\npublish it is told at once; without one of them within three days, the policy before\nit comes back by itself. Until then you ask for nothing and decide nothing."
	shownFlag(cmd, &shown)
	cmd.Flags().StringVar(&reason, "reason", "", "what the emergency is (required)")
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

func proposalRejectCommand(c *connection) *cobra.Command {
	var shown, reason string
	cmd := on(c, "reject PROPOSAL --shown DIGEST --reason WHY", "End a proposal without effect, as a second person", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Proposal, error) {
		return client.Content(api.RejectProposalWithResponse(ctx, args[0], &client.RejectProposalParams{IdempotencyKey: newKey()}, client.ProposalDecision{Shown: shown, Reason: reason}))
	}, proposalText)
	shownFlag(cmd, &shown)
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

// shownFlag makes the second person name what was looked at: a change of this
// weight is not decided on whatever it happens to say now.
func shownFlag(cmd *cobra.Command, shown *string) {
	cmd.Flags().StringVar(shown, "shown", "", "the digest that `proposal show` ends with (required)")
	must(cmd.MarkFlagRequired("shown"))
}

func proposalText(proposal *client.Proposal) string {
	var out strings.Builder
	kind := string(proposal.Kind)
	if proposal.System != "" {
		kind += " of " + proposal.System
	}
	fmt.Fprintf(&out, "%s  %s, %s\n", proposal.Id, kind, proposal.State)
	fmt.Fprintf(&out, "  proposed by %s, %s: %s\n", proposal.By.Name, stamp(proposal.At), proposal.Reason)
	if proposal.EnforcedBy.Id != "" {
		fmt.Fprintf(&out, "  put into force by %s alone: %s\n", proposal.EnforcedBy.Name, proposal.Emergency)
	}
	if !proposal.Until.IsZero() {
		fmt.Fprintf(&out, "  lapses %s, unless a second person decides\n", stamp(proposal.Until))
	}
	switch {
	case proposal.DecidedBy.Id != "":
		fmt.Fprintf(&out, "  %s by %s, %s %s\n", proposal.State, proposal.DecidedBy.Name, stamp(proposal.DecidedAt), proposal.Outcome)
	case !proposal.DecidedAt.IsZero():
		fmt.Fprintf(&out, "  %s %s %s\n", proposal.State, stamp(proposal.DecidedAt), proposal.Outcome)
	}
	for _, section := range []struct {
		title string
		lines []string
	}{{"would change", proposal.Changes}, {"standing", proposal.Standing}, {"PROBLEMS", proposal.Problems}} {
		if len(section.lines) > 0 {
			fmt.Fprintf(&out, "  %s\n", section.title)
		}
		for _, line := range section.lines {
			fmt.Fprintf(&out, "    %s\n", strings.ReplaceAll(line, "\n", "\n    "))
		}
	}
	if !countersign.ProposalState(proposal.State).Decided() {
		fmt.Fprintf(&out, "  shown %s\n", proposal.Shown)
	}
	return out.String()
}
