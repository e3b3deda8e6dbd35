package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
)

func recoverCommand() *cobra.Command {
	var place house.Place
	recovery := desk.Recovery{OperatingSystemUser: house.OperatingSystemUser()}
	cmd := &cobra.Command{
		Use: "recover --administrator LOGIN --administrator LOGIN --reason TEXT", Short: "Name two administrators on the host, when nobody can any more", Args: cobra.NoArgs,
		Long: `Gives the power to administrate the desk to two people. It is for a house in
which nobody holds that power any more, or nobody who can still sign in.

It takes the house's data folder, or its database and key file, and the house
stopped. It is an event of the house that names the operating-system user, the
two people and the reason; nothing removes it. The power lasts as long as at the
founding of a house, and is given when the house runs again.`,
		Example: "  countersign recover --administrator mara.lindqvist --administrator jonas.weber --reason \"both administrators left\"",
		RunE: func(cmd *cobra.Command, _ []string) error {
			lock, err := place.Lock()
			if err != nil {
				return err
			}
			defer lock.Close()
			opened, err := house.Visit(cmd.Context(), place, hostOptions())
			if err != nil {
				return err
			}
			defer opened.Store.Close()
			if err := opened.Desk.Recover(cmd.Context(), recovery); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s administrate the desk from the next start on. It is on the record.\n", strings.Join(recovery.People, " and "))
			return nil
		},
	}
	placeFlags(cmd, &place)
	cmd.Flags().StringArrayVar(&recovery.People, "administrator", nil, "one of the two people, by login; give it twice")
	cmd.Flags().StringVar(&recovery.Reason, "reason", "", "why")
	must(cmd.MarkFlagRequired("administrator"))
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}
