package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/pki"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/httpapi"
	"github.com/countersign/countersign/sample"
)

// shifted is the real clock plus what the tour has moved it by. It belongs to the
// tour's own in-process house; nothing that serves others has one.
type shifted struct {
	lock sync.Mutex
	by   time.Duration
}

func (s *shifted) Now() time.Time {
	s.lock.Lock()
	defer s.lock.Unlock()
	return time.Now().Add(s.by)
}

func (s *shifted) move(by countersign.Seconds) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.by += by.Duration()
}

func tourCommand() *cobra.Command {
	var targets bool
	cmd := &cobra.Command{
		Use: "tour", Short: "Play the stories for real, in a house that exists only for the tour", Args: cobra.NoArgs,
		Long: "Founds a house with the sample organisation in a temporary folder, plays the\nstories through its public API as different people, and checks the record. It\nneeds nothing installed and leaves nothing behind. Exit code 8 says that something\nwas not as it should be.\n\nWith --targets it plays on real systems, too, as far as they are installed:\nPostgreSQL, Redis, slapd and sshd, which it starts for itself.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var systems []tourSystem
			if targets {
				var err error
				if systems, err = openTourSystems(cmd.Context(), cmd.ErrOrStderr()); err != nil {
					return err
				}
				defer closeTourSystems(systems)
			}
			stage, end, err := openStage(cmd.Context(), systems)
			if err != nil {
				return err
			}
			defer end()
			if err := sample.Tour(cmd.Context(), stage, cmd.OutOrStdout()); err != nil {
				return &differs{err.Error()}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&targets, "targets", false, "play on real systems, too, as far as they are installed")
	return cmd
}

// openStage founds a house in a temporary folder and opens its doors on a free
// loopback port.
func openStage(ctx context.Context, systems []tourSystem) (sample.Stage, func(), error) {
	none := sample.Stage{}
	folder, err := os.MkdirTemp("", "countersign-tour-")
	if err != nil {
		return none, nil, err
	}
	end := func() { os.RemoveAll(folder) }
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		end()
		return none, nil, err
	}
	web, err := sample.OpenWebServer()
	if err != nil {
		listener.Close()
		end()
		return none, nil, err
	}
	moved := &shifted{}
	deploying := func(targets house.Targets) (connector.Set, error) {
		hands, err := pki.New(targets.PKI, pki.Options{Deploy: web, Probe: web.Address(), Within: time.Second}, moved)
		set := connector.Set{"pki": hands}
		for _, system := range systems {
			if err == nil && system.connector != "" {
				set[system.connector], err = system.hands(targets, moved)
			}
		}
		return set, err
	}
	var beside []fs.FS
	for _, system := range systems {
		beside = append(beside, sample.Targets(system.folder))
	}
	place := house.Place{Data: folder}
	url := "http://" + listener.Addr().String()
	h, _, err := house.Start(ctx, place, nil, house.Options{
		Clock: moved, Entropy: rand.Reader, Log: slog.New(slog.DiscardHandler), Replica: "tour", Issuer: url, DeliverByClaim: true, OpenConnectors: deploying, Beside: beside,
	})
	if err != nil {
		web.Close()
		listener.Close()
		end()
		return none, nil, err
	}
	server := httpapi.Server("", doors(h, doorOptions{clock: moved, log: slog.New(slog.DiscardHandler), sample: true, draining: new(atomic.Bool), certificateEnd: (*certificate)(nil).end}))
	go server.Serve(listener)
	stage := sample.Stage{URL: url, Web: web, Now: moved.Now}
	stage.Settle = func() error { return h.Settle(ctx) }
	for _, system := range systems {
		system.show(&stage)
	}
	if len(systems) > 0 {
		stage.Settle = func() error {
			for {
				if read, err := h.Engine.Reconcile(ctx); err != nil || read == 0 {
					return errors.Join(err, h.Settle(ctx))
				}
			}
		}
	}
	stage.Pass = func(by countersign.Seconds) error {
		moved.move(by)
		return h.Settle(ctx)
	}
	stage.Token = func(login string) (countersign.Secret, error) {
		identity, known := h.Desk.Resolve(login)
		if !known {
			return countersign.Secret{}, fmt.Errorf("the sample organisation has no %s", login)
		}
		return issueToken(ctx, h, identity, login, []string{"all"}, countersign.Hour)
	}
	stage.Verify = func() (string, error) {
		found, err := house.VerifyRecord(ctx, place, func(int64) {})
		if err != nil {
			return "", err
		}
		if len(found.Findings) > 0 {
			return "", fmt.Errorf("the record is not what it should be: %v", found.Findings)
		}
		return fmt.Sprintf("%d events in %d streams chain, and replaying them gives all %d stored rows\n✓ nothing was changed behind the house's back", found.Events, found.Streams, found.Rows), nil
	}
	err = h.Settle(ctx)
	for _, system := range systems {
		if err == nil && system.founded != nil {
			err = system.founded(h)
		}
	}
	if err != nil {
		web.Close()
		listener.Close()
		end()
		return none, nil, err
	}
	return stage, func() {
		server.Close()
		web.Close()
		h.Store.Close()
		end()
	}, nil
}
