package pki

import (
	"context"
	"encoding/json"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

// Stage is how far the deployment of a certificate has come.
type Stage string

const (
	// Deploying: it is to be put where it is used, or perhaps is there already.
	Deploying Stage = "deploying"
	// Restoring: it was not seen there, and what was there before is to be put back.
	Restoring Stage = "restoring"
	// Deployed: it was seen there.
	Deployed Stage = "deployed"
)

// Deployment is what is to be done next about a certificate. Whoever does it asks
// again after each step, also after a crash: each step can be done twice.
type Deployment struct {
	Stage Stage
	// Chain is the certificate with its authority (PEM); Former is what was seen last
	// in its place, nil for nothing.
	Chain, Former []byte
	Serial        string
	// Trouble is why it is taken back, while restoring.
	Trouble string
}

// deployment is the body of an item, under system, resource and name.
type deployment struct {
	// Serial and Chain are what was seen last; "" and nil for nothing.
	Serial string `json:"serial,omitempty"`
	Chain  []byte `json:"chain,omitempty"`
	// Pending is the credential whose certificate is on its way; "" for none.
	Pending       countersign.CredentialID `json:"pending,omitempty"`
	PendingSerial string                   `json:"pending_serial,omitempty"`
	Stage         Stage                    `json:"stage,omitempty"`
	Trouble       string                   `json:"trouble,omitempty"`
}

func notDeployed(credential countersign.CredentialID, trouble string) error {
	return countersign.Errorf(countersign.Conflict, "not-deployed", "the certificate of %s was taken back, and what was there before was put back: %s", credential, trouble)
}

// Deploy begins the deployment of a credential's certificate, or says how far it
// has come. While another certificate for the same name is on its way, it is
// Unavailable.
func (a *Authority) Deploy(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) (Deployment, error) {
	var next Deployment
	err := a.onDeployment(ctx, credential, notAfter, func(now countersign.Instant, held record, kept *deployment) (countersign.Payload, error) {
		chain, err := a.Chain(ctx, credential)
		if err != nil {
			return nil, err
		}
		next = Deployment{Stage: Deploying, Chain: chain, Former: kept.Chain, Serial: held.Serial}
		switch {
		case kept.Pending == "" && kept.Serial == held.Serial:
			next.Stage = Deployed
			return nil, nil
		// What is being taken back is taken back, also where a later attempt has another
		// end, and so another serial number.
		case kept.Pending == credential && (kept.PendingSerial == held.Serial || kept.Stage == Restoring):
			next.Stage, next.Trouble = kept.Stage, kept.Trouble
			return nil, nil
		case kept.Pending != "" && kept.Pending != credential:
			_, other, err := a.load(ctx, kept.Pending)
			if err != nil {
				return nil, err
			}
			if other.RevokedAt == 0 && now < other.end() {
				return nil, countersign.Errorf(countersign.Unavailable, "deploying-another", "another certificate for %s is being deployed, that of %s", held.Name, kept.Pending)
			}
		}
		kept.Pending, kept.PendingSerial, kept.Stage, kept.Trouble = credential, held.Serial, Deploying, ""
		return nil, nil
	})
	return next, err
}

// Seen says that the certificate of a credential was seen where it is used.
func (a *Authority) Seen(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error {
	return a.onDeployment(ctx, credential, notAfter, func(_ countersign.Instant, held record, kept *deployment) (countersign.Payload, error) {
		if kept.Pending != credential || kept.Stage != Deploying {
			return nil, nil
		}
		chain, err := a.Chain(ctx, credential)
		if err != nil {
			return nil, err
		}
		*kept = deployment{Serial: held.Serial, Chain: chain}
		return &CertificateDeployed{CertificateDeployedChange{Credential: credential, Serial: held.Serial}}, nil
	})
}

// Restore says that the certificate of a credential was not seen, and why: what
// was there before is to be put back.
func (a *Authority) Restore(ctx context.Context, credential countersign.CredentialID, trouble string, notAfter countersign.Instant) error {
	return a.onDeployment(ctx, credential, notAfter, func(_ countersign.Instant, _ record, kept *deployment) (countersign.Payload, error) {
		if kept.Pending == credential && kept.Stage == Deploying {
			kept.Stage, kept.Trouble = Restoring, trouble
		}
		return nil, nil
	})
}

// Restored says that what was there before was put back. The certificate is
// revoked for good, with the reason.
func (a *Authority) Restored(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error {
	return target.Commit(ctx, a.shelf, a.clock, notAfter, func(now countersign.Instant) (*store.ShelfChange, error) {
		item, held, err := a.load(ctx, credential)
		if err != nil {
			return nil, err
		}
		place, kept, err := a.deployment(ctx, held)
		if err != nil || kept.Pending != credential || kept.Stage != Restoring {
			return nil, err
		}
		change := &store.ShelfChange{}
		if held.RevokedAt == 0 {
			entry, err := a.mark(ctx, held, now, CessationOfOperation)
			if err != nil {
				return nil, err
			}
			held.RevokedAt = now
			change.Puts = append(change.Puts, entry)
		}
		held.Trouble = kept.Trouble
		put, err := target.Next(item, held)
		if err != nil {
			return nil, err
		}
		back, err := target.Next(place, deployment{Serial: kept.Serial, Chain: kept.Chain})
		if err != nil {
			return nil, err
		}
		change.Puts = append(change.Puts, put, back)
		return change, a.record(ctx, change, now, held.System, &DeploymentUndone{CertificateRevokedChange{Credential: credential, Grant: held.Grant, Serial: held.Serial}})
	})
}

// onDeployment lets decide change what is deployed under the name of a
// credential's certificate; an unchanged one is not written.
func (a *Authority) onDeployment(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant,
	decide func(now countersign.Instant, held record, kept *deployment) (countersign.Payload, error)) error {
	return target.Commit(ctx, a.shelf, a.clock, notAfter, func(now countersign.Instant) (*store.ShelfChange, error) {
		_, held, err := a.load(ctx, credential)
		if err != nil {
			return nil, err
		}
		switch {
		case held.Trouble != "":
			return nil, notDeployed(credential, held.Trouble)
		case held.RevokedAt != 0:
			return nil, countersign.Errorf(countersign.Conflict, "revoked", "the certificate of %s was revoked at %s and is not deployed", credential, held.RevokedAt)
		}
		place, kept, err := a.deployment(ctx, held)
		if err != nil {
			return nil, err
		}
		before, err := json.Marshal(kept)
		if err != nil {
			return nil, err
		}
		event, err := decide(now, held, &kept)
		if err != nil {
			return nil, err
		}
		put, err := target.Next(place, kept)
		if err != nil || string(put.Body) == string(before) {
			return nil, err
		}
		change := &store.ShelfChange{Puts: []store.Item{put}}
		if event != nil {
			err = a.record(ctx, change, now, held.System, event)
		}
		return change, err
	})
}

func (a *Authority) deployment(ctx context.Context, held record) (store.Item, deployment, error) {
	var kept deployment
	item, err := a.shelf.Item(ctx, deploymentPrefix+Principal(string(held.System), held.Resource, held.Name))
	switch {
	case countersign.KindOf(err) == countersign.NotFound:
		return store.Item{Key: deploymentPrefix + Principal(string(held.System), held.Resource, held.Name)}, kept, nil
	case err != nil:
		return item, kept, err
	}
	return item, kept, json.Unmarshal(item.Body, &kept)
}
