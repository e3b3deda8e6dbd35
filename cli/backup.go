package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/house"
)

func backupCommand() *cobra.Command {
	var place house.Place
	var asJSON bool
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Copy the house into one file, while it is served", Args: exactly("FILE"),
		Long: `Copies the whole house, as it stands at one moment, into a new file. The house
can be served meanwhile, and several replicas can. It takes the house's data
folder, or its database and key file, and it is an event of the house that names
the operating-system user.

The file is a ZIP file with a manifest: the house, the time, the schema, and the
digest of each part. It is read back before it takes its name. It is the same for
both databases: what is copied from one can be restored into the other.

The master key is NOT in it. Without that key the secrets in it cannot be opened,
and nothing can be restored: copy the key file once, and keep it somewhere else.
Everything else is in it, in the clear: requests, reasons, names. Guard the file
as you guard the database.

countersign restore makes a house out of it again.`,
		Example: `  countersign backup --data countersign-data house-2026-11-26.backup
  countersign backup --database postgres://cs_serve@db/countersign --key-file /etc/countersign/master.key house.backup`,
		RunE: func(cmd *cobra.Command, args []string) error {
			copied, err := house.Backup(cmd.Context(), place, hostOptions(), args[0])
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return writeJSON(out, copied)
			}
			fmt.Fprintf(out, "Copied the house of %s, as of %s, into %s:\n%d rows of schema %d, %d bytes.\n  archive     %s\n  master key  %s (not in the file: keep it apart)\n",
				copied.House, copied.TakenAt, args[0], copied.Rows(), copied.Schema, copied.Size, copied.Archive, copied.MasterKey)
			return nil
		},
	}
	placeFlags(cmd, &place)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func restoreCommand() *cobra.Command {
	var place house.Place
	var asJSON bool
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Make a house out of a backup, at an empty place", Args: exactly("FILE"),
		Long: `Makes the house anew out of a file that countersign backup wrote: in a data
folder without a database, or in an empty PostgreSQL database, as the role that
owns it. The key file that the house had must be there already; the message says
which key it takes.

First the whole file is compared with its manifest, and its schema and its key are
looked at; a file that does not fit changes nothing. Then the rows are loaded, an
older schema is brought up to date, the record is checked as by audit verify, and
what it found is printed (exit code 8 if anything). It is an event of the house.

The restored house knows nothing of what happened after the copy. What has ended
by time since ends at once. What was being given when the copy was taken is parked
until the owner of the system looks. But what was revoked, held or suspended since
is as it was before, and that you must do again, BEFORE you serve the house to
others: see "After a restore" in docs/operating.md.

Never serve the old house and the restored one at the same time.`,
		Example: `  install -d -m 700 restored && cp -p /safe/master.key restored/
  countersign restore --data restored house-2026-11-26.backup
  countersign restore --database postgres://cs_owner@db/new --key-file /etc/countersign/master.key house.backup`,
		RunE: func(cmd *cobra.Command, args []string) error {
			progress := progressOn(cmd.ErrOrStderr(), asJSON)
			restored, err := house.Restore(cmd.Context(), place, hostOptions(), args[0], func(streams int64) { progress("%d streams checked", streams) })
			if err != nil {
				return err
			}
			progress("")
			out := cmd.OutOrStdout()
			if asJSON {
				if err := writeJSON(out, restored); err != nil {
					return err
				}
				return foundNothing(restored.Record)
			}
			fmt.Fprintf(out, "Restored the house of %s, as of %s: %d rows.\n", restored.House, restored.TakenAt, restored.Rows())
			if restored.Parked > 0 {
				fmt.Fprintf(out, "%d operation(s) that would give access are parked: their system's owner looks at the target, then runs\n  countersign grant retry GRANT, or grant revoke GRANT\n", restored.Parked)
			}
			fmt.Fprintf(out, "What was revoked, held or suspended after %s is as it was before: do it again before others use the house.\n", restored.TakenAt)
			return tellRecord(out, restored.Record)
		},
	}
	placeFlags(cmd, &place)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
