package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
)

func noticeCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{
		Use: "notice", Aliases: []string{"notices"}, Short: "See what people could not be told, and have it sent",
		Long: "A notice that a channel refused a hundred times is parked: nothing tries it any\nmore. Repair the channel, then have what was parked sent.\n" + connectionHelp,
	}
	c.flags(group)
	group.AddCommand(&cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List parked notices, the oldest first (administrator or auditor)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			found, err := client.Content(api.ListParkedNoticesWithResponse(cmd.Context()))
			if err != nil {
				return err
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), found.Notices)
			}
			table := newTable("SINCE", "CHANNEL", "KIND", "TO", "ABOUT", "WHY")
			for _, notice := range found.Notices {
				table.row(stamp(notice.Since), notice.Channel, notice.Kind, notice.To.Name, notice.About, notice.Why)
			}
			return table.write(cmd.OutOrStdout())
		},
	}, &cobra.Command{
		Use: "retry", Short: "Have parked notices sent, the oldest 500 (administrator)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			done, err := client.Content(api.RetryNoticesWithResponse(cmd.Context()))
			if err != nil {
				return err
			}
			return c.print(cmd, done, func() string { return fmt.Sprintf("%d notice(s) are due now.\n", done.Retried) })
		},
	})
	return group
}
