package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func secretCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{Use: "secret", Short: "Read a secret from the vault", Long: "Read a secret from the vault.\n" + connectionHelp}
	c.flags(group)
	group.AddCommand(&cobra.Command{
		Use: "read CREDENTIAL", Short: "Print a secret, and nothing else; most can be read once", Args: exactly("CREDENTIAL"),
		Long: "CREDENTIAL is what `request show` and `grant show` name under the grant. The\nholder reads it, or the owner of a machine where the system says so. Each reading\nis an event.",
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			secret, err := api.ReadSecret(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), map[string]string{"secret": secret.Reveal()})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), secret.Reveal())
			return err
		},
	})
	return group
}
