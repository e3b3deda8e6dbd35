package ssh_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	hands "github.com/countersign/countersign/connector/ssh"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/pki"
)

// holder keeps the private keys, as people do on their machines.
type holder struct {
	lock sync.Mutex
	keys map[countersign.CredentialID]ssh.Signer
}

// signer makes a key, once for each credential.
func (h *holder) signer(t *testing.T, credential countersign.CredentialID) ssh.Signer {
	t.Helper()
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.keys == nil {
		h.keys = map[countersign.CredentialID]ssh.Signer{}
	}
	if h.keys[credential] == nil {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if h.keys[credential], err = ssh.NewSignerFromKey(key); err != nil {
			t.Fatal(err)
		}
	}
	return h.keys[credential]
}

func (h *holder) public(t *testing.T, credential countersign.CredentialID) string {
	return string(ssh.MarshalAuthorizedKey(h.signer(t, credential).PublicKey()))
}

// asking adds to each task the public key that its holder made for it.
type asking struct {
	connector.Connector
	t      *testing.T
	holder *holder
}

func (a *asking) with(task connector.Task) connector.Task {
	task.Parameters = map[string]string{"public_key": a.holder.public(a.t, task.Credential)}
	return task
}

func (a *asking) Plan(ctx context.Context, task connector.Task) (connector.Plan, error) {
	return a.Connector.Plan(ctx, a.with(task))
}

func (a *asking) Apply(ctx context.Context, task connector.Task) error {
	return a.Connector.Apply(ctx, a.with(task))
}

func (a *asking) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	return a.Connector.(connector.Inventory).List(ctx, of, found)
}

func newAuthority(t *testing.T, shelf store.Shelf, stops *target.Stops, clock connector.Clock) *pki.Authority {
	t.Helper()
	master, err := keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pki.New(shelf, master, stops, clock, rand.Reader, "https://desk.example")
}

// certificate returns what was signed for the task; nil for nothing.
func certificate(t *testing.T, authority *pki.Authority, task connector.Task) *ssh.Certificate {
	t.Helper()
	chain, err := authority.Chain(t.Context(), task.Credential)
	if err != nil {
		return nil
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(chain)
	if err != nil {
		t.Fatal(err)
	}
	return public.(*ssh.Certificate)
}

// works judges the certificate as a host does: authority, principal, time, list.
func works(t *testing.T, authority *pki.Authority, clock *connectortest.Clock, task connector.Task) bool {
	t.Helper()
	shown := certificate(t, authority, task)
	if shown == nil || !strings.HasSuffix(shown.KeyId, string(task.Holder)) {
		return false
	}
	text, err := authority.AuthorityKey(t.Context(), task.System)
	if err != nil {
		t.Fatal(err)
	}
	trusted, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		t.Fatal(err)
	}
	krl, err := authority.KRL(t.Context(), task.System)
	if err != nil {
		t.Fatal(err)
	}
	checker := &ssh.CertChecker{
		Clock: clock.Now,
		IsRevoked: func(c *ssh.Certificate) bool {
			return bytes.Contains(krl, binary.BigEndian.AppendUint64(nil, c.Serial))
		},
	}
	if !bytes.Equal(shown.SignatureKey.Marshal(), trusted.Marshal()) {
		return false
	}
	return checker.CheckCert(pki.Principal(task.SystemName, task.Resource, task.Entitlement), shown) == nil
}

func TestConformance(t *testing.T) {
	connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
		clock, keeper, shelf := connectortest.NewClock(), &holder{}, shelftest.New(pki.ShelfName)
		authority := newAuthority(t, shelf, target.NewStops(), clock)
		return &connectortest.Bench{
			Connector: &asking{hands.New(authority, clock, nil), t, keeper}, Clock: clock,
			Works: func(t *testing.T, task connector.Task) bool { return works(t, authority, clock, task) },
			Plant: func(t *testing.T, task connector.Task) {
				err := authority.Issue(t.Context(), pki.Order{
					Credential: task.Credential, Grant: task.Grant, Holder: task.Holder, System: task.System, SystemName: task.SystemName, Entitlement: task.EntitlementID,
					Resource: task.Resource, Name: task.Entitlement, Kind: pki.SSH, Key: keeper.public(t, task.Credential), Until: task.Until,
				})
				if err != nil {
					t.Fatal(err)
				}
			},
			Writes: func(t *testing.T, task connector.Task) int {
				item, err := shelf.Item(t.Context(), string(task.Credential))
				if countersign.KindOf(err) == countersign.NotFound {
					return 0
				}
				if err != nil {
					t.Fatal(err)
				}
				return int(item.Version)
			},
		}
	})
}

func TestACertificateThatTheDeskStopsIsNotGone(t *testing.T) {
	clock, stops := connectortest.NewClock(), target.NewStops()
	authority := newAuthority(t, shelftest.New(pki.ShelfName), stops, clock)
	connectortest.RunStopped(t, &asking{hands.New(authority, clock, nil), t, &holder{}}, clock, stops)
}

func TestASystemCanAllowLessAndAnUnknownSettingIsRejected(t *testing.T) {
	clock := connectortest.NewClock()
	made := &asking{hands.New(newAuthority(t, shelftest.New(pki.ShelfName), target.NewStops(), clock), clock, nil), t, &holder{}}
	mint := countersign.NewMint([32]byte{5}, clock.Instant())
	task := connector.Task{Action: "certify", Holder: mint.Identity(), System: mint.System(), SystemName: "hosts", Resource: "web-1", Entitlement: "deploy", Until: clock.Instant().Add(8 * countersign.Hour)}
	for setting, good := range map[[2]string]bool{{"longest", "8h"}: true, {"longest", "7h"}: false, {"longest", "all day"}: false, {"shortest", "1h"}: false} {
		task.Settings = map[string]string{setting[0]: setting[1]}
		if _, err := made.Plan(t.Context(), task); (err == nil) != good {
			t.Errorf("%v: got %v", setting, err)
		}
	}
	task.Settings, task.Until = nil, clock.Instant().Add(25*countersign.Hour)
	if _, err := made.Plan(t.Context(), task); err == nil {
		t.Error("a certificate for more than a day is given where the system says nothing")
	}
}
