package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/auth"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
)

// hostOptions are those of a house that is opened for one command on its host.
func hostOptions() house.Options {
	return house.Options{Clock: clock{}, Entropy: rand.Reader, Log: slog.New(slog.DiscardHandler), Replica: "host command", DeliverByClaim: true}
}

func migrateCommand() *cobra.Command {
	var place house.Place
	cmd := &cobra.Command{
		Use: "migrate --database URL", Short: "Bring a PostgreSQL database to this version's schema",
		Long: "Run it as the role that owns the schema, before `serve` of a new version. The\nembedded database needs no such step: it migrates itself, after a backup.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := house.Migrate(cmd.Context(), place); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "The schema is up to date.")
			return nil
		},
	}
	placeFlags(cmd, &place)
	return cmd
}

func tokenCommand() *cobra.Command {
	group := &cobra.Command{
		Use: "token", Short: "Issue, list and revoke tokens on the house's host",
		Long: "A token stands for a person for at most an hour. Issuing one takes the house's\ndata folder, or its database and key file; it is an event that names the\noperating-system user, and the person can see it.",
	}
	group.AddCommand(tokenIssueCommand(), tokenListCommand(), tokenRevokeCommand())
	return group
}

// atHost opens the house and the named identity for one command.
func atHost(ctx context.Context, place house.Place, login string, do func(*house.House, countersign.IdentityID) error) error {
	opened, err := house.Visit(ctx, place, hostOptions())
	if err != nil {
		return err
	}
	defer opened.Store.Close()
	identity, known := opened.Desk.Resolve(login)
	if !known {
		return countersign.Errorf(countersign.NotFound, "no-such-identity", "There is nobody called %q: give a login, an e-mail address or an id.", login)
	}
	return do(opened, identity)
}

func tokenIssueCommand() *cobra.Command {
	var place house.Place
	var login, duration string
	var scopes []string
	cmd := &cobra.Command{
		Use: "issue --as HANDLE", Short: "Print a new token, and nothing else", Args: cobra.NoArgs,
		Example: "  export COUNTERSIGN_TOKEN=$(countersign token issue --as ben.adeyemi)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			lifetime, err := countersign.ParseSeconds(duration)
			if err != nil {
				return err
			}
			return atHost(cmd.Context(), place, login, func(opened *house.House, identity countersign.IdentityID) error {
				text, err := issueToken(cmd.Context(), opened, identity, login, scopes, lifetime)
				if err == nil {
					fmt.Fprintln(cmd.OutOrStdout(), text.Reveal())
				}
				return err
			})
		},
	}
	placeFlags(cmd, &place)
	cmd.Flags().StringVar(&login, "as", "", "whom the token stands for: a login, an e-mail address or an id (required)")
	cmd.Flags().StringVar(&duration, "duration", "1h", "how long it works, at most 1h")
	cmd.Flags().StringArrayVar(&scopes, "scope", []string{"all"}, "what it opens: read, request, decide, grant, directory, introspect, evaluate, metrics or all; can be given several times")
	must(cmd.MarkFlagRequired("as"))
	return cmd
}

// issueToken checks who may have a token of the host.
func issueToken(ctx context.Context, opened *house.House, identity countersign.IdentityID, login string, names []string, lifetime countersign.Seconds) (countersign.Secret, error) {
	var none countersign.Secret
	scopes, err := auth.ParseScopes(names)
	if err != nil {
		return none, err
	}
	view, err := opened.Desk.Identity(ctx, string(identity))
	if err != nil {
		return none, err
	}
	about, err := opened.Store.House(ctx)
	if err != nil {
		return none, err
	}
	switch {
	case !view.Active:
		return none, countersign.Errorf(countersign.Refused, "inactive", "%s is %s and gets no token.", view.Name, view.Status)
	case view.Kind != countersign.Person && !about.Sample:
		return none, countersign.Errorf(countersign.Refused, "machines-ask", "%s is a %s: machine identities get their credentials by request, not from the host. Only a sample house makes an exception.", view.Name, view.Kind)
	}
	text, _, err := opened.Auth.Issue(ctx, auth.Order{Identity: identity, Login: login, Scopes: scopes, Duration: lifetime, OperatingSystemUser: house.OperatingSystemUser()})
	return text, err
}

func tokenListCommand() *cobra.Command {
	var place house.Place
	var login string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "ls --as HANDLE", Short: "List somebody's tokens that work now", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return atHost(cmd.Context(), place, login, func(opened *house.House, identity countersign.IdentityID) error {
				tokens, err := opened.Auth.List(cmd.Context(), identity)
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), tokens)
				}
				table := newTable("TOKEN", "SCOPES", "ISSUED", "EXPIRES", "BY")
				for _, token := range tokens {
					scopes := make([]string, len(token.Scopes))
					for i, scope := range token.Scopes {
						scopes[i] = string(scope)
					}
					table.row(string(token.ID), strings.Join(scopes, " "), shortTime(token.IssuedAt), shortTime(token.ExpiresAt), token.OperatingSystemUser)
				}
				return table.write(cmd.OutOrStdout())
			})
		},
	}
	placeFlags(cmd, &place)
	cmd.Flags().StringVar(&login, "as", "", "whose tokens (required)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	must(cmd.MarkFlagRequired("as"))
	return cmd
}

func tokenRevokeCommand() *cobra.Command {
	var place house.Place
	var login string
	cmd := &cobra.Command{
		Use: "revoke TOKEN --as HANDLE", Short: "End a token at once", Args: exactly("TOKEN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return atHost(cmd.Context(), place, login, func(opened *house.House, identity countersign.IdentityID) error {
				if err := opened.Auth.Revoke(cmd.Context(), countersign.TokenID(args[0]), identity); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), "The token is revoked.")
				return nil
			})
		},
	}
	placeFlags(cmd, &place)
	cmd.Flags().StringVar(&login, "as", "", "whose token it is (required)")
	must(cmd.MarkFlagRequired("as"))
	return cmd
}

func auditCommand() *cobra.Command {
	group := &cobra.Command{Use: "audit", Short: "Check the record"}
	var place house.Place
	var asJSON bool
	verify := &cobra.Command{
		Use: "verify", Short: "Check every chain of events, and that replaying them gives every stored row", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			progress := progressOn(cmd.ErrOrStderr(), asJSON)
			found, err := house.VerifyRecord(cmd.Context(), place, func(streams int64) { progress("%d streams checked", streams) })
			if err != nil {
				return err
			}
			progress("")
			if asJSON {
				if err := writeJSON(cmd.OutOrStdout(), found); err != nil {
					return err
				}
				return foundNothing(found)
			}
			return tellRecord(cmd.OutOrStdout(), found)
		},
	}
	placeFlags(verify, &place)
	verify.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	group.AddCommand(verify)
	return group
}

// tellRecord prints what a check of the record found; findings are an error.
func tellRecord(out io.Writer, found *desk.Verification) error {
	for _, finding := range found.Findings {
		fmt.Fprintln(out, "WRONG", finding)
	}
	fmt.Fprintf(out, "%d events in %d streams, %d stored rows: %d finding(s).\n", found.Events, found.Streams, found.Rows, len(found.Findings))
	return foundNothing(found)
}

func foundNothing(found *desk.Verification) error {
	if len(found.Findings) > 0 {
		return &differs{"the record is not what it should be"}
	}
	return nil
}

// must is for mistakes in our own command definitions.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// progressOn returns a function that keeps one line up to date on a terminal,
// and does nothing elsewhere.
func progressOn(out io.Writer, quiet bool) func(format string, args ...any) {
	file, isFile := out.(*os.File)
	if quiet || !isFile || !isTerminal(file) {
		return func(string, ...any) {}
	}
	return func(format string, args ...any) { fmt.Fprintf(out, "\r\x1b[2K"+format, args...) }
}
