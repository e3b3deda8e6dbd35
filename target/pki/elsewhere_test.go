package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/countersign/countersign"
)

// signedElsewhere deposits a certificate for the order that ends at an instant.
func (w *world) signedElsewhere(order Order, key crypto.Signer, ends time.Time) {
	w.Helper()
	reserved, err := w.Reserve(w.Context(), order)
	if err != nil {
		w.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), DNSNames: []string{order.Name}, NotBefore: w.clock.Now(), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		w.Fatal(err)
	}
	if err := w.Deposit(w.Context(), order.Credential, reserved.Asked, [][]byte{der}, 0); err != nil {
		w.Fatal(err)
	}
}

func TestACertificateFromElsewhereIsGoodUntilItsOwnEndOrOursWhicheverComesFirst(t *testing.T) {
	for name, own := range map[string]time.Duration{"its own first": time.Hour, "ours first": 48 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			key := ecKey(t)
			order := w.order(Elsewhere)
			order.Key = request(t, key, x509.CertificateRequest{DNSNames: []string{order.Name}})
			// Certificates tell time in whole seconds, the last of which is good.
			last := w.clock.Now().Truncate(time.Second).Add(own)
			w.signedElsewhere(order, key, last)
			end := min(countersign.InstantOf(last.Add(time.Second)), order.Until)
			if check := w.check(order); check.State != Good || check.Until != end {
				t.Errorf("it is %s until %s, want %s", check.State, check.Until, end)
			}
			listed := func() (found []countersign.Instant) {
				if err := w.List(t.Context(), Elsewhere, order.System, func(one Listed) error { found = append(found, one.Until); return nil }); err != nil {
					t.Fatal(err)
				}
				return found
			}
			if found := listed(); len(found) != 1 || found[0] != end {
				t.Errorf("the register lists the ends %v", found)
			}
			// A later end of the access moves no certificate's own.
			order.Attempt, order.Until = 2, order.Until.Add(countersign.Minute)
			if _, err := w.Reserve(t.Context(), order); err != nil {
				t.Fatal(err)
			}
			end = min(countersign.InstantOf(last.Add(time.Second)), order.Until)
			if check, found := w.check(order), listed(); check.Until != end || len(found) != 1 || found[0] != end {
				t.Errorf("after the end moved it is until %s, and listed until %v; want %s", check.Until, found, end)
			}
			w.clock.Advance(end.Time().Sub(w.clock.Now()) - time.Millisecond)
			if check := w.check(order); check.State != Good {
				t.Errorf("a millisecond before its end it is %s", check.State)
			}
			w.clock.Advance(time.Millisecond)
			if check := w.check(order); check.State != Expired || len(listed()) != 0 {
				t.Errorf("at its end it is %s", check.State)
			}
		})
	}
}
