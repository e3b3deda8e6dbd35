package cli

import (
	"context"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
)

func holdCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{
		Use: "hold", Aliases: []string{"holds"}, Short: "Stop an identity, a system, an entitlement or a grant at once",
		Long: "A hold makes every check refuse when the command returns. It takes nothing away\nby itself, and can be lifted by somebody else than who is held; with --revoke,\neverything under it is revoked afterwards, and stays so.\n" + connectionHelp,
	}
	c.flags(group)
	group.AddCommand(
		holdNewCommand(c), holdListCommand(c),
		on(c, "show HOLD", "Show a hold, and what is left under it", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Hold, error) {
			return client.Content(api.GetHoldWithResponse(ctx, args[0]))
		}, holdText),
		holdLiftCommand(c),
	)
	return group
}

func holdNewCommand(c *connection) *cobra.Command {
	var draft client.HoldDraft
	cmd := &cobra.Command{
		Use: "new IDENTITY|SYSTEM|ENTITLEMENT|GRANT --reason WHY", Short: "Put a hold", Args: exactly("IDENTITY|SYSTEM|ENTITLEMENT|GRANT"),
		Example: "  countersign hold new svc-billing --reason \"its key is on a paste site\" --revoke\n  countersign hold new orders-db/orders/writer --reason \"under investigation\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			draft.On = args[0]
			api, err := c.open()
			if err != nil {
				return err
			}
			response, err := api.HoldWithResponse(cmd.Context(), &client.HoldParams{IdempotencyKey: newKey()}, draft)
			if err != nil {
				return err
			}
			return c.print(cmd, response.JSON201, func() string { return holdText(response.JSON201) })
		},
	}
	cmd.Flags().StringVar(&draft.Reason, "reason", "", "why (required)")
	cmd.Flags().BoolVar(&draft.Revoke, "revoke", false, "revoke everything under it as well")
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

func holdListCommand(c *connection) *cobra.Command {
	var params client.ListHoldsParams
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List holds, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			holds, err := pages(math.MaxInt, func(_ int, cursor string) ([]client.Hold, string, error) {
				params.Cursor = cursor
				found, err := client.Content(api.ListHoldsWithResponse(cmd.Context(), &params))
				if err != nil {
					return nil, "", err
				}
				return found.Holds, found.Next, nil
			})
			if err != nil {
				return err
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), holds)
			}
			table := newTable("HOLD", "STATE", "ON", "BY", "SINCE", "REASON")
			for _, hold := range holds {
				table.row(hold.Id, string(hold.State), hold.Name, hold.By.Name, stamp(hold.At), hold.Reason)
			}
			return table.write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&params.All, "all", false, "lifted holds, too")
	return cmd
}

func holdLiftCommand(c *connection) *cobra.Command {
	var reason string
	cmd := on(c, "lift HOLD", "End a hold", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Hold, error) {
		return client.Content(api.LiftHoldWithResponse(ctx, args[0], &client.LiftHoldParams{IdempotencyKey: newKey()}, client.Revocation{Reason: reason}))
	}, holdText)
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

func holdText(hold *client.Hold) string {
	text := fmt.Sprintf("%s  %s: %s\n  put by %s, %s: %s\n", hold.Id, hold.Name, hold.State, hold.By.Name, stamp(hold.At), hold.Reason)
	if hold.Revoke {
		text += fmt.Sprintf("  revokes everything under it; %d grant(s) not yet read back as gone\n", hold.Left)
	}
	if hold.LiftedBy.Id != "" {
		text += fmt.Sprintf("  lifted by %s, %s: %s\n", hold.LiftedBy.Name, stamp(hold.LiftedAt), hold.Outcome)
	}
	return text
}
