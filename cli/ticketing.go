package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
)

func ticketingCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{
		Use: "ticketing", Short: "See tickets of other systems that wait for somebody",
		Long: "A ticket that asks for what cannot be asked for, and one that could not be\nwritten to, wait for somebody to look. Mend the cause; then have the ticket saved\nagain over there, or what was given up written.\n" + connectionHelp,
	}
	c.flags(group)
	group.AddCommand(&cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List them, the oldest first (operator, administrator or auditor)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			found, err := client.Content(api.ListParkedTicketsWithResponse(cmd.Context()))
			if err != nil {
				return err
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), found.Tickets)
			}
			table := newTable("SINCE", "SYSTEM", "TICKET", "ID", "REQUEST", "REASON", "WHY")
			for _, ticket := range found.Tickets {
				table.row(stamp(ticket.Since), ticket.System, ticket.Key, ticket.Id, ticket.Request, ticket.Reason, ticket.Why)
			}
			return table.write(cmd.OutOrStdout())
		},
	}, &cobra.Command{
		Use: "retry", Short: "Have written what was given up (operator or administrator)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			done, err := client.Content(api.RetryTicketsWithResponse(cmd.Context()))
			if err != nil {
				return err
			}
			return c.print(cmd, done, func() string { return fmt.Sprintf("%d comment(s) are due now.\n", done.Retried) })
		},
	}, &cobra.Command{
		Use: "dismiss SYSTEM ID", Short: "Take a ticket off the list, refused or given up (operator or administrator)", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			if _, err := api.DismissTicketWithResponse(cmd.Context(), client.DismissedTicket{System: args[0], Id: args[1]}); err != nil {
				return err
			}
			return c.print(cmd, struct{}{}, func() string {
				return fmt.Sprintf("The ticket %s of %s waits for nobody any more.\n", args[1], args[0])
			})
		},
	})
	return group
}
