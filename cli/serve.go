package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/auth"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/httpapi"
	"github.com/countersign/countersign/metrics"
	"github.com/countersign/countersign/pdp"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/pki"
	"github.com/countersign/countersign/target/registry"
	"github.com/countersign/countersign/target/tickets"
	"github.com/countersign/countersign/target/vault"
)

// firstTokenName is the file in the data folder with a token to begin with.
const firstTokenName = "first-token"

// drainNotice is how long a replica that others share the work with says that it
// is not ready before it takes no more connections.
const drainNotice = 3 * time.Second

// drainTime is how long requests may take that were under way at SIGTERM.
const drainTime = 20 * time.Second

func serveCommand() *cobra.Command {
	var flags configuration
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Start the house",
		Long: `Starts the house that is kept in the data folder, or on PostgreSQL. An empty
database is founded first: with the files of --org, or with the sample
organisation where none is given. Later differences between those files and the
house are not loaded; see countersign directory plan.

The embedded database needs nothing installed. With --database, several replicas
can serve one house; migrate first, and give each the same --key-file.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&file, "config", "", "a configuration file (default: countersign.yaml, if there is one)")
	cmd.Flags().StringVar(&flags.Organisation, "org", "", "the organisation folder that an empty database is founded with")
	cmd.Flags().StringVar(&flags.Data, "data", "", "the data folder (default "+defaultData+")")
	cmd.Flags().StringVar(&flags.Listen, "listen", "", "host:port (default "+defaultListen+")")
	cmd.Flags().StringVar(&flags.Address, "address", "", "the URL under which others reach the house, as https://desk.example.org (default: where it listens)")
	cmd.Flags().StringVar(&flags.Database, "database", "", "a PostgreSQL URL instead of the embedded database")
	cmd.Flags().StringVar(&flags.KeyFile, "key-file", "", "the master key (default: master.key in the data folder)")
	cmd.Flags().StringVar(&flags.TLSCertificate, "tls-certificate", "", "a PEM file with the certificate chain")
	cmd.Flags().StringVar(&flags.TLSKey, "tls-key", "", "a PEM file with its key")
	cmd.Flags().StringVar(&flags.BehindProxy, "behind-proxy", "", "the network that a TLS-terminating proxy calls from, as 10.0.0.0/8")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		settings, err := mergedConfiguration(file, flags)
		if err != nil {
			return err
		}
		return serve(cmd.Context(), settings, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// mergedConfiguration reads the file, lets flags win, and checks the whole.
func mergedConfiguration(file string, flags configuration) (configuration, error) {
	var settings configuration
	if file == "" {
		if _, err := os.Stat("countersign.yaml"); err == nil {
			file = "countersign.yaml"
		}
	}
	if file != "" {
		var err error
		if settings, err = readConfiguration(file); err != nil {
			return settings, err
		}
	}
	for _, pair := range []struct {
		flag string
		into *string
	}{
		{flags.Organisation, &settings.Organisation}, {flags.Data, &settings.Data}, {flags.Listen, &settings.Listen}, {flags.Address, &settings.Address},
		{flags.Database, &settings.Database}, {flags.KeyFile, &settings.KeyFile}, {flags.TLSCertificate, &settings.TLSCertificate},
		{flags.TLSKey, &settings.TLSKey}, {flags.BehindProxy, &settings.BehindProxy},
	} {
		if pair.flag != "" {
			*pair.into = pair.flag
		}
	}
	settings.complete()
	return settings, settings.check()
}

func serve(ctx context.Context, settings configuration, stdout, stderr io.Writer) error {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	listener, err := net.Listen("tcp", settings.Listen)
	if err != nil {
		return countersign.Errorf(countersign.Unavailable, "cannot-listen", "The house cannot listen on %s: %v", settings.Listen, err)
	}
	defer listener.Close()
	scheme := "http"
	var pair *certificate
	if settings.TLSCertificate != "" {
		if pair, err = openCertificate(settings.TLSCertificate, settings.TLSKey, log); err != nil {
			return err
		}
		listener = tls.NewListener(listener, &tls.Config{GetCertificate: pair.get, MinVersion: tls.VersionTLS12})
		scheme = "https"
		defer pair.reloadOn(syscall.SIGHUP)()
	}
	url := scheme + "://" + listener.Addr().String()
	var organisation fs.FS
	if settings.Organisation != "" {
		organisation = os.DirFS(settings.Organisation)
	}
	replica, err := replicaName()
	if err != nil {
		return err
	}
	if err := settings.place().Prepare(); err != nil {
		return err
	}
	lock, err := settings.place().Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	channels, err := settings.channels()
	if err != nil {
		return err
	}
	credentials, err := settings.credentials()
	if err != nil {
		return err
	}
	_, ticketCredentials, err := settings.ticketing()
	if err != nil {
		return err
	}
	connectors, err := settings.connectors()
	if err != nil {
		return err
	}
	if err := settings.askConnectors(ctx); err != nil {
		// A target that is down keeps no house from starting.
		log.WarnContext(ctx, "a connector's program does not answer as it is configured", "error", err)
	}
	every, err := settings.Reconcile.every()
	if err != nil {
		return err
	}
	h, founded, err := house.Start(ctx, settings.place(), organisation, house.Options{
		ReconcileEvery: every, Clock: clock{}, Entropy: rand.Reader, Log: log, Replica: replica, Issuer: cmp.Or(settings.Address, url), Channels: channels, SourceCredentials: credentials,
		TicketCredentials: ticketCredentials, Page: func(id string) string { return cmp.Or(settings.Address, url) + httpapi.Prefix + "/requests/" + id },
		Connectors: moreConnectors(), OpenConnectors: connectors,
	})
	if err != nil {
		return err
	}
	defer h.Store.Close()
	house.AtRest()
	about, err := h.Store.House(ctx)
	if err != nil {
		return err
	}
	if host, _, _ := net.SplitHostPort(settings.Listen); about.Sample && !loopback(host) {
		return countersign.Errorf(countersign.Refused, "sample-is-local", "This is a house of the sample organisation: it serves on loopback only. Found your own with --org.")
	}
	if err := greet(ctx, stdout, h, settings, about, founded, url); err != nil {
		return err
	}
	return run(ctx, h, listener, settings, about.Sample, pair, log)
}

// run serves until the context ends, then lets what is under way end.
func run(ctx context.Context, h *house.House, listener net.Listener, settings configuration, isSample bool, pair *certificate, log *slog.Logger) error {
	var draining atomic.Bool
	proxy, err := settings.proxy()
	if err != nil {
		return err
	}
	ticketSecrets, _, err := settings.ticketing()
	if err != nil {
		return err
	}
	server := httpapi.Server(settings.Listen, doors(h, doorOptions{
		clock: clock{}, log: log, sample: isSample, draining: &draining,
		secure: pair != nil || proxy.IsValid(), proxy: proxy, limits: settings.Limits.limits(), ticketSecrets: ticketSecrets, certificateEnd: pair.end,
	}))
	server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	working, stop := context.WithCancel(context.Background())
	var engine sync.WaitGroup
	engine.Go(func() { h.Run(working) })
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err = <-failed:
	case <-ctx.Done():
		log.Info("draining", "for_at_most", drainTime)
		draining.Store(true)
		if settings.Database != "" {
			// A load balancer hears of it through /readyz before the door closes.
			<-time.After(drainNotice)
		}
		patience, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		err = server.Shutdown(patience)
	}
	stop()
	engine.Wait()
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// doorOptions are what the doors of one process are opened with.
type doorOptions struct {
	clock    connector.Clock
	log      *slog.Logger
	sample   bool
	draining *atomic.Bool
	// secure says that callers come over TLS.
	secure bool
	proxy  netip.Prefix
	limits httpapi.Limits
	// ticketSecrets are what ticket systems sign with, by name.
	ticketSecrets map[string]countersign.Secret
	// certificateEnd returns when the TLS certificate expires; the zero time for none.
	certificateEnd func() time.Time
}

// doors mounts the interface and the endpoints of the built-in targets.
func doors(h *house.House, options doorOptions) http.Handler {
	caller := target.AuthenticatorFunc(httpapi.Authenticated)
	person := h.PeopleOnly(caller)
	ready := func(ctx context.Context) error {
		if options.draining.Load() {
			return errDraining
		}
		return h.Ready(ctx)
	}
	figures := metrics.New(metrics.Config{
		Desk: h.Desk, Engine: h.Engine, Point: h.Point, Clock: options.clock, Log: options.log, Ready: ready, Version: Version, CertificateExpires: options.certificateEnd,
		AuthoritiesEnd: h.PKI.Ends,
	})
	mounts := []httpapi.Mount{
		{Path: vault.IntrospectPath, Scope: auth.Introspect, Handler: h.Vault.Introspect(caller), Limit: httpapi.Evaluates},
		{Path: vault.ReadPath, Scope: auth.Read, Handler: h.Vault.ReadSecret(caller)},
		{Path: tickets.OpenPath, Scope: auth.Request, Handler: h.Tickets.OpenTicket(person), Limit: httpapi.Submits},
		{Path: tickets.ListPath, Scope: auth.Read, Handler: h.Tickets.ListTickets(caller)},
		{Path: tickets.ReadPath, Scope: auth.Read, Handler: h.Tickets.ReadTicket(caller)},
		{Path: tickets.ClosePath, Scope: auth.Request, Handler: h.Tickets.CloseTicket(person)},
		{Path: pki.IssuedPath, Scope: auth.Read, Handler: h.PKI.ReadIssued(caller)},
		{Path: pki.RegisterPath, Scope: auth.Read, Handler: h.PKI.ReadRegister(caller)},
		{Path: pdp.EvaluationPath, Scope: auth.Evaluate, Handler: h.Point.Evaluation(caller), Limit: httpapi.Evaluates},
	}
	public := h.PKI.Public()
	maps.Copy(public, h.Registry.Public(httpapi.SignInFailed))
	for path, handler := range public {
		mounts = append(mounts, httpapi.Mount{Path: path, Public: true, SignsIn: path == registry.TokenPath, Handler: handler, Limit: httpapi.Evaluates})
	}
	return httpapi.New(httpapi.Config{
		Desk: h.Desk, Authenticate: h.Authenticate, Tokens: h.Auth, Clock: options.clock, Log: options.log, Sample: options.sample,
		Secure: options.secure, Proxy: options.proxy, Limits: options.limits, TicketSecrets: options.ticketSecrets, Answered: figures.Answered, Metrics: figures.Handler(),
		Wait:   func(ctx context.Context) error { return waitUnless(ctx, options.draining) },
		Ready:  ready,
		Mounts: mounts,
	})
}

// errDraining ends the streams that would keep a draining replica from stopping.
var errDraining = countersign.Errorf(countersign.Unavailable, "draining", "this replica is shutting down")

// waitUnless waits a second for a watched request to change.
func waitUnless(ctx context.Context, draining *atomic.Bool) error {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	if draining.Load() {
		return errDraining
	}
	return nil
}

// replicaName tells this process from others that share the database, also
// from an earlier one on the same host.
func replicaName() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s/%d/%d", host, os.Getpid(), time.Now().UnixNano()), nil
}

// greet says what was started, and what to do next.
func greet(ctx context.Context, out io.Writer, h *house.House, settings configuration, about *countersign.House, founded bool, url string) error {
	switch {
	case founded && about.Sample:
		fmt.Fprintf(out, "Founded a house of the sample organisation %s in %s. It is for trying out: it\nserves on loopback only, and it stays a sample.\n", about.Name, settings.where())
	case founded:
		fmt.Fprintf(out, "Founded the house of %s in %s, from %s.\n", about.Name, settings.where(), settings.Organisation)
	case settings.Organisation != "":
		fmt.Fprintf(out, "The house of %s is in %s; differences from %s are not loaded (countersign directory plan shows them).\n", about.Name, settings.where(), settings.Organisation)
	default:
		fmt.Fprintf(out, "The house of %s is in %s.\n", about.Name, settings.where())
	}
	fmt.Fprintf(out, "Listening on %s\n", url)
	at := ""
	if settings.Data != defaultData {
		at = " --data " + settings.Data
	}
	if settings.Database != "" {
		at = " --database … --key-file " + settings.KeyFile
	}
	if founded {
		login, path, err := firstToken(ctx, h, settings, about.Sample)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\nA token for %s, good for an hour, is in %s\n", login, path)
	}
	server := ""
	if settings.Listen != defaultListen {
		server = " --server " + url
	}
	fmt.Fprintf(out, "\nNext, in another terminal:\n  export COUNTERSIGN_TOKEN=$(countersign token issue%s --as LOGIN)\n", at)
	if about.Sample {
		fmt.Fprintf(out, "  countersign request preview%s --for svc-billing -e payments-api/payments/payments:read \\\n    --answer purpose=\"Match payments with invoices\" --answer consumer=SR-1042\n(LOGIN is ben.adeyemi, say. countersign tour plays the whole story.)\n", server)
	} else {
		fmt.Fprintf(out, "  countersign request ls%s\n", server)
	}
	return nil
}

// firstToken writes a token for the first administrator to a file that only its
// owner can read. In a sample house it is for a developer, who has something to
// ask for.
func firstToken(ctx context.Context, h *house.House, settings configuration, isSample bool) (login, path string, err error) {
	login = "ben.adeyemi"
	identity, known := h.Desk.Resolve(login)
	if !isSample {
		holders, err := h.Desk.FirstHolders(ctx)
		if err != nil {
			return "", "", err
		}
		login, identity, known = holders[0].Login, holders[0].ID, true
	}
	if !known {
		return "", "", countersign.Errorf(countersign.Internal, "no-first-person", "there is nobody to issue the first token for")
	}
	text, err := issueToken(ctx, h, identity, login, []string{"all"}, countersign.Hour)
	if err != nil {
		return "", "", err
	}
	folder := settings.Data
	if settings.Database != "" {
		folder = filepath.Dir(settings.KeyFile)
	}
	path = filepath.Join(folder, firstTokenName)
	return login, path, os.WriteFile(path, []byte(text.Reveal()+"\n"), 0o600)
}
