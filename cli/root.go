package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
)

// Version and Commit are what `version` says; a release sets them with -ldflags "-X".
var (
	Version = "development"
	Commit  = ""
)

// Exit codes, a contract with scripts; docs/operating.md lists them.
const (
	exitFault           = 1
	exitInvalid         = 2
	exitRefused         = 3
	exitNotFound        = 4
	exitConflict        = 5
	exitUnauthenticated = 6
	exitUnavailable     = 7
	// exitDifferent: what was checked is not as it should be (audit verify, policy
	// test, tour), or what was waited for ended otherwise.
	exitDifferent = 8
)

// differs is the error of a check that found something.
type differs struct{ message string }

func (d *differs) Error() string { return d.message }

// clock is the real time.
type clock struct{}

func (clock) Now() time.Time { return time.Now() }

// Main runs the command line and returns the exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := command(stdin)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && strings.HasPrefix(err.Error(), "required flag(s)") {
		err = invalid("%v; see --help", err)
	}
	if err != nil {
		fmt.Fprintln(stderr, "countersign:", err)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var different *differs
	var known *countersign.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &different):
		return exitDifferent
	case !errors.As(err, &known):
		return exitFault
	}
	switch known.Kind {
	case countersign.Invalid, countersign.TooLarge:
		return exitInvalid
	case countersign.Refused:
		return exitRefused
	case countersign.NotFound:
		return exitNotFound
	case countersign.Conflict, countersign.Moved:
		return exitConflict
	case countersign.Unauthenticated:
		return exitUnauthenticated
	case countersign.Unavailable, countersign.TooMany:
		return exitUnavailable
	case countersign.Internal:
	}
	return exitFault
}

// invalid is a mistake on the command line.
func invalid(format string, args ...any) error {
	return countersign.Errorf(countersign.Invalid, "usage", format, args...)
}

func command(stdin io.Reader) *cobra.Command {
	root := &cobra.Command{
		Use:   "countersign",
		Short: "A self-hosted service desk for access",
		Long: `Countersign is a self-hosted service desk for access: somebody asks, policy
routes, the right people countersign, connectors carry it out, everything ends
on time, and every step can be proved.

  countersign tour      see it work, from nothing, in a few seconds
  countersign serve     start a house (the sample organisation, in an empty folder)

Exit codes: 0 done; 1 fault; 2 malformed; 3 refused; 4 not found; 5 conflict;
6 not signed in; 7 unavailable; 8 a check found a difference.`,
		Version:       Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return invalid("%v; see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(
		serveCommand(), initCommand(stdin), tourCommand(), migrateCommand(), tokenCommand(), signingKeyCommand(), recoverCommand(), backupCommand(), restoreCommand(),
		requestCommand(), grantCommand(), taskCommand(), holdCommand(), reconcileCommand(), findingCommand(), secretCommand(), certificateCommand(), ticketCommand(), identityCommand(), systemCommand(), catalogueCommand(), delegationCommand(), noticeCommand(), ticketingCommand(), directoryCommand(), proposalCommand(), policyCommand(), auditCommand(), configCommand(), versionCommand(),
	)
	for _, group := range root.Commands() {
		if group.HasSubCommands() {
			group.Args = noSuchSubcommand
			group.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	root.Args = noSuchSubcommand
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return root
}

// noSuchSubcommand refuses a word that is no command, and names the nearest.
func noSuchSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, known := range cmd.Commands() {
		names = append(names, known.Name())
	}
	near := ""
	if right := countersign.Nearest(args[0], names); right != "" {
		near = fmt.Sprintf("; did you mean %q?", right)
	}
	return invalid("%q is not a command of %s%s", args[0], cmd.CommandPath(), near)
}

// exactly wants n arguments, with a message that names them.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return invalid("%s takes %d argument(s) (%v), not %d; see --help", cmd.CommandPath(), len(names), names, len(args))
		}
		return nil
	}
}
