package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
)

func certificateCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{
		Use: "certificate", Aliases: []string{"certificates"}, Short: "Fetch and list certificates of the built-in authorities",
		Long: "Fetch and list certificates of the built-in authorities.\n" + connectionHelp,
	}
	c.flags(group)
	group.AddCommand(&cobra.Command{
		Use: "show CREDENTIAL", Short: "Print the certificate of a credential, as its holder installs it", Args: exactly("CREDENTIAL"),
		Long: "CREDENTIAL is what `request show` and `grant show` name under the grant. A\ncertificate for TLS is printed as PEM, with that of its authority after it; one for\nSSH is the line of a -cert.pub file.",
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			certificate, err := api.ReadCertificate(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), map[string]string{"certificate": certificate})
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), certificate)
			return err
		},
	}, certificateListCommand(c))
	return group
}

func certificateListCommand(c *connection) *cobra.Command {
	var after string
	cmd := &cobra.Command{
		Use: "ls SYSTEM", Aliases: []string{"list"}, Short: "List the certificates that a system's authorities issued, by serial number", Args: exactly("SYSTEM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			system, err := client.Content(api.GetSystemWithResponse(cmd.Context(), args[0]))
			if err != nil {
				return err
			}
			certificates, err := api.Certificates(cmd.Context(), system.Id, after)
			if err != nil {
				return err
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), certificates)
			}
			table := newTable("SERIAL", "KIND", "NAME", "ISSUED", "UNTIL", "REVOKED")
			for _, one := range certificates {
				revoked := ""
				if !one.RevokedAt.IsZero() {
					revoked = stamp(one.RevokedAt)
				}
				table.row(one.Serial, one.Kind, one.Name, stamp(one.IssuedAt), stamp(one.Until), revoked)
			}
			return table.write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&after, "after", "", "go on after this one, written kind/serial; a hundred are listed at a time")
	return cmd
}
