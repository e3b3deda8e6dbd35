package cli

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/sample"
)

func policyCommand() *cobra.Command {
	group := &cobra.Command{Use: "policy", Short: "Check, test and explain policy files, without a server"}
	group.AddCommand(policyCheckCommand(), policyTestCommand(), policyExplainCommand())
	return group
}

const folderHelp = "FOLDER holds the policy files (*.yaml), or is an organisation folder with a\nfolder policies in it. Without FOLDER, the sample organisation's policies are used."

// policyFiles reads the policy files of a folder.
func policyFiles(args []string) ([]policy.File, error) {
	var root fs.FS = sample.Organisation()
	prefix := ""
	if len(args) > 0 {
		if info, err := os.Stat(args[0]); err != nil || !info.IsDir() {
			return nil, invalid("%s is not a folder", args[0])
		}
		root, prefix = os.DirFS(args[0]), args[0]
	}
	if inside, err := fs.Stat(root, "policies"); err == nil && inside.IsDir() {
		if root, err = fs.Sub(root, "policies"); err != nil {
			return nil, err
		}
		prefix = filepath.Join(prefix, "policies")
	}
	names, err := fs.Glob(root, "*.yaml")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, invalid("%s holds no policy files (*.yaml)", prefix)
	}
	var files []policy.File
	for _, name := range names {
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return nil, err
		}
		files = append(files, policy.File{Path: filepath.Join(prefix, name), Bytes: content})
	}
	return files, nil
}

func loadPolicies(args []string) (*policy.Set, error) {
	files, err := policyFiles(args)
	if err != nil {
		return nil, err
	}
	set, problems := policy.Load(files, time.LoadLocation)
	if len(problems) > 0 {
		lines := make([]string, len(problems))
		for i, problem := range problems {
			lines[i] = problem.String()
		}
		return nil, countersign.Errorf(countersign.Invalid, "malformed-policy", "%d problem(s):\n%s", len(lines), strings.Join(lines, "\n"))
	}
	return set, nil
}

func policyCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check [FOLDER]", Short: "Load policy files, name every mistake, and what loads and is odd all the same",
		Long: folderHelp + `

What does not load is named with file, line and column. What loads is looked at: stages
that never open, conditions that are always true, askings that nobody decides,
escalations that lead nowhere. Where FOLDER is an organisation folder, its people and
systems are looked at, too: stages that nobody could decide today. The findings stand in
docs/policy.md, under "What check finds".

The command fails where something is WRONG; what only deserves a look does not count.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := loadPolicies(args)
			if err != nil {
				return err
			}
			files, found, err := organisationFiles(args)
			if err != nil {
				return err
			}
			findings := set.Check()
			if found {
				if findings, err = desk.CheckFiles(set, files, countersign.InstantOf(clock{}.Now())); err != nil {
					return err
				}
			}
			out, wrong := cmd.OutOrStdout(), 0
			for _, finding := range findings {
				mark := "look "
				if finding.Wrong {
					mark = "WRONG"
					wrong++
				}
				fmt.Fprintf(out, "%s %s\n", mark, finding)
			}
			fmt.Fprintf(out, "%d request type(s) load; %d finding(s), %d of them wrong. The set's digest is %s.\n", len(set.Types()), len(findings), wrong, set.Digest())
			if wrong > 0 {
				return &differs{fmt.Sprintf("%d finding(s) are wrong", wrong)}
			}
			return nil
		},
	}
}

// organisationFiles returns the directory files of an organisation folder, if it is
// one.
func organisationFiles(args []string) (files []directory.File, found bool, err error) {
	organisation := sample.Organisation()
	if len(args) > 0 {
		organisation = os.DirFS(args[0])
		if info, err := fs.Stat(organisation, "directory"); err != nil || !info.IsDir() {
			return nil, false, nil
		}
	}
	read, err := directory.ReadOrganisation(organisation)
	return read.Directory, err == nil, err
}

func policyTestCommand() *cobra.Command {
	return &cobra.Command{
		Use: "test [FOLDER]", Short: "Run the tests that stand in policy files", Long: folderHelp,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := loadPolicies(args)
			if err != nil {
				return err
			}
			out, failed := cmd.OutOrStdout(), 0
			results := set.Test()
			for _, result := range results {
				if len(result.Failures) == 0 {
					fmt.Fprintf(out, "ok    %s: %s\n", result.Type, result.Name)
					continue
				}
				failed++
				fmt.Fprintf(out, "FAIL  %s: %s (%s:%d)\n", result.Type, result.Name, result.File, result.Line)
				for _, failure := range result.Failures {
					fmt.Fprintf(out, "      %s\n", failure)
				}
			}
			fmt.Fprintf(out, "%d test(s), %d failed.\n", len(results), failed)
			if failed > 0 {
				return &differs{fmt.Sprintf("%d policy test(s) failed", failed)}
			}
			return nil
		},
	}
}

func policyExplainCommand() *cobra.Command {
	var requester, reason, duration, until, answers, typeName, beneficiary string
	cmd := &cobra.Command{
		Use:   "explain [ORGANISATION] --as LOGIN --for NAME --entitlement SYSTEM/RESOURCE/RIGHT",
		Short: "Tell what the policies say of one asking, and why",
		Long: `Judges one asking against the files of an organisation folder (the sample's, if
none is given) and tells the request type, every condition with its value, the
limits, and who could decide. Nothing is sent anywhere.`,
		Example: "  countersign policy explain --as mara.lindqvist --for svc-billing --entitlement payments-api/payments/payments:read",
		Args:    cobra.MaximumNArgs(1),
	}
	var entitlements []string
	cmd.Flags().StringVar(&requester, "as", "", "who asks: a login or e-mail address")
	cmd.Flags().StringVar(&beneficiary, "for", "", "who the access is for (default: who asks)")
	cmd.Flags().StringArrayVar(&entitlements, "entitlement", nil, "what is asked for; can be given several times")
	cmd.Flags().StringVar(&typeName, "type", "", "the request type (default: the one that fits)")
	cmd.Flags().StringVar(&reason, "reason", "", "the reason")
	cmd.Flags().StringVar(&duration, "duration", "", "how long, as 30d or 8h")
	cmd.Flags().StringVar(&until, "until", "", "or until when, as 2026-12-31T18:00:00Z")
	cmd.Flags().StringVar(&answers, "answers", "", "the answers as a JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		set, err := loadPolicies(args)
		if err != nil {
			return err
		}
		organisation := sample.Organisation()
		if len(args) > 0 {
			organisation = os.DirFS(args[0])
		}
		files, err := directory.ReadOrganisation(organisation)
		if err != nil {
			return err
		}
		asking := desk.Asking{Type: typeName, Beneficiary: beneficiary, Entitlements: entitlements, Reason: reason}
		if asking.Duration, asking.Until, err = parseEnd(duration, until); err != nil {
			return err
		}
		if answers != "" {
			asking.Answers = []byte(answers)
		}
		text, err := desk.Explain(set, files.Directory, requester, asking, countersign.InstantOf(clock{}.Now()))
		if err != nil {
			return err
		}
		fmt.Fprint(cmd.OutOrStdout(), text)
		return nil
	}
	return cmd
}

// parseEnd reads --duration and --until.
func parseEnd(duration, until string) (seconds countersign.Seconds, end countersign.Instant, err error) {
	if duration != "" {
		if seconds, err = countersign.ParseSeconds(duration); err != nil {
			return 0, 0, err
		}
	}
	if until != "" {
		err = end.UnmarshalText([]byte(until))
	}
	return seconds, end, err
}
