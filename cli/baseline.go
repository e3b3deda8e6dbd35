package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

func systemBaselineCommand(c *connection) *cobra.Command {
	var reason, lasts string
	cmd := on(c, "baseline SYSTEM", "Propose to take on the record what a system held before", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Proposal, error) {
		draft := client.BaselineDraft{Reason: reason}
		if lasts != "" {
			seconds, err := countersign.ParseSeconds(lasts)
			if err != nil {
				return nil, err
			}
			draft.Duration = int64(seconds)
		}
		response, err := api.ProposeBaselineWithResponse(ctx, args[0], &client.ProposeBaselineParams{IdempotencyKey: newKey()}, draft)
		if err != nil {
			return nil, err
		}
		return response.JSON201, nil
	}, proposalText)
	cmd.Long = "The target is listed now. A second person reads `proposal show` and `proposal pairs`,\nand signs exactly that list with `proposal publish`. What is still there then becomes\ngrants of the origin legacy: with an end, and approved by nobody. What is not known\nhere, or came since, stays a finding. Nothing is changed on the target. A system has\none baseline."
	cmd.Example = "  countersign system baseline orders-db --reason \"what was there before the house\""
	cmd.Flags().StringVar(&reason, "reason", "", "why; the second person reads it (required)")
	cmd.Flags().StringVar(&lasts, "duration", "", "how long what is adopted lasts, as 30d (default: 90d, at most 180d)")
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

func proposalPairsCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "pairs PROPOSAL", Short: "List every pair that a baseline is about", Args: exactly("PROPOSAL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			var all []client.BaselinePair
			out := bufio.NewWriter(cmd.OutOrStdout())
			for part := 0; ; part++ {
				found, err := client.Content(api.ListBaselinePairsWithResponse(cmd.Context(), args[0], &client.ListBaselinePairsParams{Part: part}))
				if err != nil {
					return err
				}
				if c.json {
					all = append(all, found.Pairs...)
				} else {
					for _, pair := range found.Pairs {
						fmt.Fprintln(out, pairText(pair))
					}
				}
				if part+1 >= found.Parts {
					break
				}
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), all)
			}
			return out.Flush()
		},
	}
}

// pairText is one pair on one line: who, what, and whether it is adopted.
func pairText(pair client.BaselinePair) string {
	right := pair.Right
	if pair.Resource != "" {
		right = pair.Resource + "/" + right
	}
	words := []string{pair.Principal, right}
	if pair.Holder != "" {
		words = append(words, pair.Holder)
	}
	if pair.Left == "" {
		return strings.Join(append(words, "adopted"), "\t")
	}
	return strings.Join(append(words, "left: "+pair.Left), "\t")
}
