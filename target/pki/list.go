package pki

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

// list is the body of an item: what was published last for a system.
type list struct {
	Number  int64               `json:"number"`
	At      countersign.Instant `json:"at"`
	Entries []entry             `json:"entries"`
	Content []byte              `json:"content"`
}

// entry is one certificate on a list, by its serial number.
type entry struct {
	Serial string              `json:"serial"`
	Reason Reason              `json:"reason"`
	Since  countersign.Instant `json:"since"`
}

// follow reads what has changed of the serial numbers, so that publishing costs
// no walk through everything that was ever issued.
func (a *Authority) follow(ctx context.Context) error {
	a.lock.Lock()
	defer a.lock.Unlock()
	const step = 500
	for {
		items, position, err := a.shelf.Changes(ctx, a.position, step)
		if err != nil {
			return err
		}
		for _, item := range items {
			if !strings.HasPrefix(item.Key, serialPrefix) {
				continue
			}
			var read issued
			if err := json.Unmarshal(item.Body, &read); err != nil {
				return fmt.Errorf("pki item %s: %w", item.Key, err)
			}
			if read.Kind != Elsewhere {
				a.issued[item.Key] = read
			}
		}
		a.position = position
		if len(items) < step {
			return nil
		}
	}
}

// listed returns what a list of today has, sorted by serial number: what is
// revoked, and what a stop covers. What has ended needs no place on it, a while
// after its end.
func (a *Authority) listed(kind Kind, system countersign.SystemID, now countersign.Instant, former []entry) []entry {
	a.lock.Lock()
	defer a.lock.Unlock()
	entries := []entry{}
	for key, one := range a.issued {
		if one.System != system || one.Kind != kind {
			continue
		}
		if now >= one.Until.Add(2*CRLInterval) {
			delete(a.issued, key)
			continue
		}
		switch {
		case one.RevokedAt != 0:
			entries = append(entries, entry{one.Serial, one.Reason, one.RevokedAt})
		case a.stopped(one):
			since := now
			for _, was := range former {
				if was.Serial == one.Serial && was.Reason == CertificateHold {
					since = was.Since
				}
			}
			entries = append(entries, entry{one.Serial, CertificateHold, since})
		}
	}
	slices.SortFunc(entries, func(x, y entry) int { return strings.Compare(x.Serial, y.Serial) })
	return entries
}

// publish returns the list of a system, and makes the next one where something
// has changed or the last one is half over.
func (a *Authority) publish(ctx context.Context, kind Kind, system countersign.SystemID, write func(signer *signer, next list) ([]byte, error)) (list, error) {
	if err := a.stops.Answers(); err != nil {
		return list{}, err
	}
	var published list
	key := listPrefix + string(kind) + "/" + string(system)
	err := target.Commit(ctx, a.shelf, a.clock, 0, func(now countersign.Instant) (*store.ShelfChange, error) {
		published = list{}
		item, err := a.shelf.Item(ctx, key)
		if err == nil {
			err = json.Unmarshal(item.Body, &published)
		}
		if err != nil && countersign.KindOf(err) != countersign.NotFound {
			return nil, err
		}
		if err := a.follow(ctx); err != nil {
			return nil, err
		}
		entries := a.listed(kind, system, now, published.Entries)
		if published.Number > 0 && slices.Equal(entries, published.Entries) && now >= published.At && now < published.At.Add(CRLInterval/2) {
			return nil, nil
		}
		signer, err := a.loadAuthority(ctx, kind, system)
		if err != nil {
			return nil, err
		}
		// By the time, and always more: what was published before an old copy of the
		// database was restored has a lower number, too.
		next := list{Number: max(published.Number+1, now.Time().Unix()), At: now, Entries: entries}
		if next.Content, err = write(signer, next); err != nil {
			return nil, err
		}
		published = next
		put, err := target.Next(store.Item{Key: key, Version: item.Version}, next)
		return &store.ShelfChange{Puts: []store.Item{put}}, err
	})
	return published, err
}

// CRL returns the list of revoked certificates of a system's X.509 authority, in
// DER, with the number that only grows and the time at which the next one is there
// at the latest.
func (a *Authority) CRL(ctx context.Context, system countersign.SystemID) ([]byte, error) {
	published, err := a.publish(ctx, X509, system, func(signer *signer, next list) ([]byte, error) {
		template := &x509.RevocationList{
			Number: big.NewInt(next.Number), ThisUpdate: next.At.Time(), NextUpdate: next.At.Time().Add(CRLInterval.Duration()),
		}
		for _, one := range next.Entries {
			serial, ok := new(big.Int).SetString(one.Serial, 16)
			if !ok {
				return nil, fmt.Errorf("%q is no serial number", one.Serial)
			}
			template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{
				SerialNumber: serial, RevocationTime: one.Since.Time().Truncate(time.Second), ReasonCode: int(one.Reason),
			})
		}
		return x509.CreateRevocationList(a.random, template, signer.certificate, signer.key)
	})
	return published.Content, err
}

// KRL returns the list of revoked certificates of a system's SSH authority, as
// sshd reads it.
func (a *Authority) KRL(ctx context.Context, system countersign.SystemID) ([]byte, error) {
	published, err := a.publish(ctx, SSH, system, func(signer *signer, next list) ([]byte, error) {
		serials := make([]uint64, 0, len(next.Entries))
		for _, one := range next.Entries {
			serial, err := strconv.ParseUint(one.Serial, 10, 64)
			if err != nil {
				return nil, err
			}
			serials = append(serials, serial)
		}
		return marshalKRL(signer.ssh.PublicKey(), uint64(next.Number), uint64(next.At.Time().Unix()), serials), nil
	})
	return published.Content, err
}

// marshalKRL writes a key revocation list by OpenSSH's PROTOCOL.krl: one section
// about certificates of one authority, with their serial numbers.
func marshalKRL(authority ssh.PublicKey, number, at uint64, serials []uint64) []byte {
	const (
		formatVersion      = 1
		certificateSection = 1
		serialListSection  = 0x20
	)
	text := func(to, content []byte) []byte {
		return append(binary.BigEndian.AppendUint32(to, uint32(len(content))), content...)
	}
	krl := binary.BigEndian.AppendUint32([]byte("SSHKRL\n\x00"), formatVersion)
	for _, value := range []uint64{number, at, 0} { // the last are flags
		krl = binary.BigEndian.AppendUint64(krl, value)
	}
	krl = text(text(krl, nil), []byte("Countersign"))
	if len(serials) == 0 {
		return krl
	}
	slices.Sort(serials)
	var listed []byte
	for _, serial := range slices.Compact(serials) {
		listed = binary.BigEndian.AppendUint64(listed, serial)
	}
	section := text(text(nil, authority.Marshal()), nil)
	section = text(append(section, serialListSection), listed)
	return text(append(krl, certificateSection), section)
}
