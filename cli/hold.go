package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
)

func holdCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{
		Use: "hold", Aliases: []string{"holds"}, Short: "Stop an identity, a system or a grant at once",
		Long: "A hold makes every check refuse when the command returns. It takes nothing away\nby itself, and can be lifted by somebody else than who is held; with --revoke,\neverything under it is revoked afterwards, and stays so.\n" + connectionHelp,
	}
	c.flags(group)
	group.AddCommand(
		holdNewCommand(c), holdListCommand(c),
		c.onHold("show HOLD", "Show a hold, and what is left under it", func(ctx context.Context, api *client.Client, id string) (*client.Hold, error) {
			return client.Content(api.GetHoldWithResponse(ctx, id))
		}),
		holdLiftCommand(c),
	)
	return group
}

func holdNewCommand(c *connection) *cobra.Command {
	var draft client.HoldDraft
	cmd := &cobra.Command{
		Use: "new IDENTITY|SYSTEM|GRANT --reason WHY", Short: "Put a hold", Args: exactly("IDENTITY|SYSTEM|GRANT"),
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
			found, err := client.Content(api.ListHoldsWithResponse(cmd.Context(), &params))
			if err != nil {
				return err
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), found.Holds)
			}
			table := newTable("HOLD", "STATE", "ON", "BY", "SINCE", "REASON")
			for _, hold := range found.Holds {
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
	cmd := c.onHold("lift HOLD", "End a hold", func(ctx context.Context, api *client.Client, id string) (*client.Hold, error) {
		return client.Content(api.LiftHoldWithResponse(ctx, id, &client.LiftHoldParams{IdempotencyKey: newKey()}, client.Revocation{Reason: reason}))
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

// onHold builds a command that ends with showing a hold.
func (c *connection) onHold(use, short string, do func(context.Context, *client.Client, string) (*client.Hold, error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: exactly("HOLD"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			hold, err := do(cmd.Context(), api, args[0])
			if err != nil {
				return err
			}
			return c.print(cmd, hold, func() string { return holdText(hold) })
		},
	}
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
