package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/directory"
)

func grantCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{Use: "grant", Aliases: []string{"grants"}, Short: "See live access, extend it, rotate it, end it", Long: "See live access, extend it, rotate it, end it.\n" + connectionHelp}
	c.flags(group)
	group.AddCommand(grantListCommand(c), grantShowCommand(c), grantExtendCommand(c), grantRotateCommand(c), grantRevokeCommand(c), grantRetryCommand(c))
	return group
}

func grantListCommand(c *connection) *cobra.Command {
	var params client.ListGrantsParams
	var limit int
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List what you hold, and what the identities hold that you answer for", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			grants, err := pages(limit, func(page int, cursor string) ([]client.Grant, string, error) {
				params.Limit, params.Cursor = &page, cursor
				found, err := client.Content(api.ListGrantsWithResponse(cmd.Context(), &params))
				if err != nil {
					return nil, "", err
				}
				return found.Grants, found.Next, nil
			})
			if err != nil {
				return err
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), grants)
			}
			table := newTable("GRANT", "STATE", "HOLDER", "WHAT", "UNTIL", "NOTE")
			for _, grant := range grants {
				note := grant.Ending
				switch {
				case grant.Parked.Person.Id != "":
					note = "parked, " + grant.Parked.Person.Name + " has to look"
				case grant.Ending == "" && grant.Lapsing.Cause != "":
					note = "lapsing: " + grant.Lapsing.Because
				case grant.Ending == "" && !grant.Redefined.Since.IsZero():
					note = "redefined: version " + grant.Redefined.Definition
				case grant.Ending == "" && grant.Origin == client.GrantOriginLegacy:
					note = "legacy: nobody approved it"
				case grant.Ending == "" && grant.Birthright.Rule != "":
					note = "birthright by the rule " + grant.Birthright.Rule
				}
				table.row(grant.Id, string(grant.State), grant.Holder.Name, grant.Entitlement.Name, stamp(grant.Until), note)
			}
			return table.write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&params.Holder, "holder", "", "only this holder")
	cmd.Flags().StringVar(&params.System, "system", "", "only this system")
	cmd.Flags().BoolVar(&params.All, "all", false, "ended grants, too")
	cmd.Flags().IntVar(&limit, "limit", 50, "at most so many, up to 200")
	return cmd
}

func grantShowCommand(c *connection) *cobra.Command {
	return on(c, "show GRANT", "Show a grant", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Grant, error) {
		return client.Content(api.GetGrantWithResponse(ctx, args[0]))
	}, shownGrant)
}

func grantRotateCommand(c *connection) *cobra.Command {
	var overlap, reason string
	cmd := on(c, "rotate GRANT", "Add a new credential, and end the older ones after an overlap", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Grant, error) {
		rotation := client.Rotation{Reason: reason}
		seconds := countersign.Seconds(0)
		if overlap != "0" && overlap != "0s" {
			var err error
			if seconds, err = countersign.ParseSeconds(overlap); err != nil {
				return nil, err
			}
		}
		whole := int64(seconds)
		rotation.Overlap = &whole
		return client.Content(api.RotateGrantWithResponse(ctx, args[0], &client.RotateGrantParams{IdempotencyKey: newKey()}, rotation))
	}, shownGrant)
	cmd.Flags().StringVar(&overlap, "overlap", "1d", "how long the older credentials go on, as 1d or 0s")
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	return cmd
}

func grantRevokeCommand(c *connection) *cobra.Command {
	var reason string
	cmd := on(c, "revoke GRANT", "End access at once", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Grant, error) {
		return client.Content(api.RevokeGrantWithResponse(ctx, args[0], &client.RevokeGrantParams{IdempotencyKey: newKey()}, client.Revocation{Reason: reason}))
	}, shownGrant)
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

// shownGrant is a grant on its own.
func shownGrant(grant *client.Grant) string {
	return fmt.Sprintf("%s for %s\n%s", grant.Entitlement.Name, grant.Holder.Name, grantText(grant))
}

func grantRetryCommand(c *connection) *cobra.Command {
	return on(c, "retry GRANT", "Put a parked operation back to work", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Grant, error) {
		return client.Content(api.RetryGrantWithResponse(ctx, args[0], &client.RetryGrantParams{IdempotencyKey: newKey()}))
	}, shownGrant)
}

func directoryCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{Use: "directory", Short: "Compare organisation files with the directory, and apply what may be", Long: "Files are proposals. plan shows how they differ from the directory; apply takes\nover what gives nobody standing and names the rest, which takes a second person.\n" + connectionHelp}
	c.flags(group)
	plan := &cobra.Command{
		Use: "plan FOLDER", Short: "Show how an organisation folder differs from the directory", Args: exactly("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, files, err := c.openDirectory(args[0])
			if err != nil {
				return err
			}
			difference, err := client.Content(api.PlanDirectoryWithResponse(cmd.Context(), files))
			if err != nil {
				return err
			}
			return c.print(cmd, difference, func() string { return differenceText(difference.Changes) })
		},
	}
	apply := &cobra.Command{
		Use: "apply FOLDER", Short: "Apply what gives nobody standing, and name the rest", Args: exactly("FOLDER"),
		Long: "Exit code 3 says that something was left because it takes a second person.",
		RunE: func(cmd *cobra.Command, args []string) error {
			api, files, err := c.openDirectory(args[0])
			if err != nil {
				return err
			}
			applied, err := client.Content(api.ApplyDirectoryWithResponse(cmd.Context(), files))
			if err != nil {
				return err
			}
			err = c.print(cmd, applied, func() string { return "Applied:\n" + differenceText(applied.Applied.Changes) })
			if err == nil && len(applied.Refused.Changes) > 0 {
				err = countersign.Errorf(countersign.Refused, "needs-a-second-person", "%d change(s) were left, because they take a second person (propose them: countersign proposal new %s --kind directory --reason …):\n%s", len(applied.Refused.Changes), args[0], firstOf(applied.Refused.Changes))
			}
			return err
		},
	}
	group.AddCommand(plan, apply)
	return group
}

func (c *connection) openDirectory(folder string) (*client.Client, client.DirectoryFiles, error) {
	read, err := directory.ReadOrganisation(os.DirFS(folder))
	if err != nil {
		return nil, client.DirectoryFiles{}, err
	}
	var files client.DirectoryFiles
	for _, file := range read.Directory {
		files.Files = append(files.Files, client.DirectoryFile{Path: file.Path, Content: string(file.Bytes)})
	}
	api, err := c.open()
	return api, files, err
}

func differenceText(changes []client.DirectoryChange) string {
	if len(changes) == 0 {
		return "No differences.\n"
	}
	signs := map[client.DirectoryChangeVerb]string{"add": "+", "change": "~", "remove": "-"}
	var out strings.Builder
	for _, change := range changes {
		fmt.Fprintf(&out, "%s %s %s\n", signs[change.Verb], change.Noun, change.Name)
		for _, field := range change.Fields {
			fmt.Fprintf(&out, "    %s: %s → %s\n", field.Name, orNone(field.Before), orNone(field.After))
		}
		if change.Standing != "" {
			fmt.Fprintf(&out, "    ! takes a second person: %s\n", change.Standing)
		}
	}
	return out.String()
}

// firstOf names the first changes of a list that may be long.
func firstOf(changes []client.DirectoryChange) string {
	const shown = 20
	text := strings.TrimSpace(differenceText(changes[:min(shown, len(changes))]))
	if len(changes) > shown {
		text += fmt.Sprintf("\n… and %d more: countersign directory plan shows all", len(changes)-shown)
	}
	return text
}

func orNone(text string) string {
	if text == "" {
		return "(none)"
	}
	return text
}
