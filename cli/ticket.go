package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
)

func ticketCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{
		Use: "ticket", Aliases: []string{"tickets"}, Short: "Open, read and close tickets of the built-in register",
		Long: "A small register of incidents, changes and tasks, for houses without a ticket\nsystem. Only people open and close tickets; machines read them.\n" + connectionHelp,
	}
	c.flags(group)
	group.AddCommand(ticketOpenCommand(c),
		onTicket(c, "show KEY", "Show a ticket", func(ctx context.Context, api *client.Client, args []string) (*client.Ticket, error) {
			return api.Ticket(ctx, args[0])
		}),
		ticketListCommand(c), ticketCloseCommand(c))
	return group
}

func ticketOpenCommand(c *connection) *cobra.Command {
	var title string
	cmd := onTicket(c, "open incident|change|task --title WHAT", "Open a ticket", func(ctx context.Context, api *client.Client, args []string) (*client.Ticket, error) {
		return api.OpenTicket(ctx, args[0], title)
	})
	cmd.Flags().StringVar(&title, "title", "", "what it is about (required)")
	must(cmd.MarkFlagRequired("title"))
	return cmd
}

func ticketCloseCommand(c *connection) *cobra.Command {
	var resolution string
	cmd := onTicket(c, "close KEY --resolution HOW", "Close a ticket", func(ctx context.Context, api *client.Client, args []string) (*client.Ticket, error) {
		return api.CloseTicket(ctx, args[0], resolution)
	})
	cmd.Flags().StringVar(&resolution, "resolution", "", "how it ended (required)")
	must(cmd.MarkFlagRequired("resolution"))
	return cmd
}

// onTicket is on for one ticket, shown with the names of people where the house
// tells them.
func onTicket(c *connection, use, short string, do func(context.Context, *client.Client, []string) (*client.Ticket, error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: exactly(strings.Fields(use)[1]),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			ticket, err := do(cmd.Context(), api, args)
			if err != nil {
				return err
			}
			return c.print(cmd, ticket, func() string {
				name := func(id string) string {
					if identity, err := client.Content(api.GetIdentityWithResponse(cmd.Context(), id)); err == nil {
						return identity.Name
					}
					return id
				}
				return ticketText(ticket, name)
			})
		},
	}
}

func ticketListCommand(c *connection) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List open tickets, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			state := "open"
			if all {
				state = ""
			}
			tickets, more, err := api.Tickets(cmd.Context(), state)
			if err != nil {
				return err
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), tickets)
			}
			table := newTable("TICKET", "STATE", "SINCE", "TITLE")
			for _, ticket := range tickets {
				since := ticket.OpenedAt
				if !ticket.ClosedAt.IsZero() {
					since = ticket.ClosedAt
				}
				table.row(ticket.Key, ticket.State, stamp(since), ticket.Title)
			}
			if err := table.write(cmd.OutOrStdout()); err != nil || !more {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "There are older ones; show them by their keys.")
			return err
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "closed tickets, too")
	return cmd
}

func ticketText(ticket *client.Ticket, name func(id string) string) string {
	text := fmt.Sprintf("%s  %s: %s\n  %s\n  opened by %s, %s\n", ticket.Key, ticket.Kind, ticket.State, ticket.Title, name(ticket.OpenedBy), stamp(ticket.OpenedAt))
	if ticket.ClosedBy != "" {
		text += fmt.Sprintf("  closed by %s, %s: %s\n", name(ticket.ClosedBy), stamp(ticket.ClosedAt), ticket.Resolution)
	}
	return text
}
