package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
)

func catalogueCommand() *cobra.Command {
	group := &cobra.Command{Use: "catalogue", Short: "Turn lists of what a target can grant into entitlements"}
	group.AddCommand(catalogueImportCommand())
	return group
}

// listImport is what one import was told.
type listImport struct{ system, resource, mapping, kind, out string }

func catalogueImportCommand() *cobra.Command {
	i := listImport{}
	cmd := &cobra.Command{
		Use: "import FILE --system NAME", Short: "Write a directory file from a list in JSON lines", Args: exactly("FILE"),
		Long: `Reads one entitlement a line, each a JSON object with name, and perhaps title,
version and risk (low, medium, high); a mapping says how other members are meant.
FILE - is standard input. It writes a directory file that adds the entitlements to
the system, and changes nothing else: put it into the organisation's folder, and
go on with directory plan and directory apply, or proposal new, as with any change.

The mapping is a file of yours, or one of:
  ` + strings.Join(directory.KnownMappings(), "\n  "),
		RunE: func(cmd *cobra.Command, args []string) error { return i.run(cmd, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&i.system, "system", "", "the system that grants them (required)")
	flags.StringVar(&i.resource, "resource", "", "the resource that they are on; as the mapping says, if absent")
	flags.StringVar(&i.mapping, "mapping", "", "how the lines are meant: a name or a file")
	flags.StringVar(&i.kind, "kind", string(countersign.RoleKind), "role or credential")
	flags.StringVar(&i.out, "out", "", "the file to write; standard output, if absent")
	must(cmd.MarkFlagRequired("system"))
	return cmd
}

func (i listImport) run(cmd *cobra.Command, file string) error {
	kind := countersign.EntitlementKind(i.kind)
	if kind != countersign.RoleKind && kind != countersign.CredentialKind {
		return invalid("--kind is %s or %s, not %q", countersign.RoleKind, countersign.CredentialKind, i.kind)
	}
	mapping, err := i.readMapping()
	if err != nil {
		return err
	}
	from, name := cmd.InOrStdin(), "standard input"
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return invalid("the list cannot be read: %v", err)
		}
		defer opened.Close()
		from, name = opened, file
	}
	listing, problems := directory.ReadList(name, from, mapping, kind, func(lines int) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d lines read\n", lines)
	})
	if len(problems) > 0 {
		return problemsText("malformed-list", problems)
	}
	listing.System = i.system
	if i.resource != "" {
		listing.Resource = i.resource
	}
	content, err := listing.Catalogue(name)
	if err != nil {
		return err
	}
	if err := i.write(cmd.OutOrStdout(), content); err != nil {
		return err
	}
	risks := listing.Risks()
	fmt.Fprintf(cmd.ErrOrStderr(), "%d entitlements on %s/%s: %d high, %d medium, %d low, %d without a risk of their own; %d left out.\n", len(listing.Entitlements), listing.System, listing.Resource,
		risks[countersign.HighRisk], risks[countersign.MediumRisk], risks[countersign.LowRisk], risks[""], listing.LeftOut)
	return nil
}

func (i listImport) write(stdout io.Writer, content []byte) error {
	if i.out == "" {
		_, err := stdout.Write(content)
		return err
	}
	if err := os.WriteFile(i.out, content, 0o644); err != nil {
		return invalid("the catalogue cannot be written: %v", err)
	}
	return nil
}

func (i listImport) readMapping() (directory.Mapping, error) {
	if i.mapping == "" {
		return directory.PlainMapping(), nil
	}
	content, err := os.ReadFile(i.mapping)
	if os.IsNotExist(err) {
		return directory.KnownMapping(i.mapping)
	}
	if err != nil {
		return directory.Mapping{}, invalid("the mapping cannot be read: %v", err)
	}
	mapping, problems := directory.ParseMapping(directory.File{Path: i.mapping, Bytes: content})
	if len(problems) > 0 {
		return mapping, problemsText("malformed-mapping", problems)
	}
	return mapping, nil
}

// problemsText puts the problems of a file into one error, each on its line.
func problemsText(reason string, problems []directory.Problem) error {
	lines := make([]string, len(problems))
	for i, problem := range problems {
		lines[i] = problem.String()
	}
	return countersign.Errorf(countersign.Invalid, reason, "%s", strings.Join(lines, "\n")).With(lines)
}
