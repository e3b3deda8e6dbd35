package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/house"
)

func signingKeyCommand() *cobra.Command {
	var place house.Place
	group := &cobra.Command{Use: "signing-key", Short: "Renew the key that signs tokens of service accounts"}
	rotate := &cobra.Command{
		Use: "rotate", Short: "Renew the key before its time", Args: cobra.NoArgs,
		Long: `Makes a new key for the tokens of service accounts and publishes it at once. It
signs as soon as no verifier can go by keys that it read before; the older key
stays published until its last token is over. The house does this by itself when
a key is 90 days old.

It takes the house's data folder, or its database and key file; the house may
run, and takes the later steps. It is an event of the house that names the
operating-system user.`,
		Example: "  countersign signing-key rotate --data /var/lib/countersign",
		RunE: func(cmd *cobra.Command, _ []string) error {
			opened, err := house.Visit(cmd.Context(), place, hostOptions())
			if err != nil {
				return err
			}
			defer opened.Store.Close()
			from, err := opened.Registry.Rotate(cmd.Context(), house.OperatingSystemUser())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "A new key is published, and signs tokens from %s on.\n", from.Time().UTC().Format(time.RFC3339))
			return nil
		},
	}
	placeFlags(rotate, &place)
	group.AddCommand(rotate)
	return group
}
