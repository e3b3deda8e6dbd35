package openbao

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	vaulthands "github.com/countersign/countersign/connector/vault"
	"github.com/countersign/countersign/connector/wire"
)

// leases are what engines make for a time. The server keeps no mark on a lease, and
// an answer that is lost takes the lease's id with it. So each is asked for by a
// token of its own, an orphan that has the mark in its metadata and ends with the
// access, and whose accessor is known before: a lease never outlives its token.
type leases struct{ *Connector }

func (l leases) action() string                  { return "issue-lease" }
func (l leases) path(task connector.Task) string { return task.Resource + "/creds/" + task.Entitlement }

func (l leases) paths() []string {
	return []string{"auth/token/create/" + l.TokenRole, "auth/token/lookup-accessor", "auth/token/revoke-accessor", "auth/token/renew-accessor", "sys/leases/lookup"}
}

// offered reads the engine's role where engines keep those and the token may; not
// every engine does, and only asking for a lease would tell the rest.
func (l leases) offered(ctx context.Context, s *server, task connector.Task) (string, error) {
	said, err := s.ask(ctx, http.MethodGet, task.Resource+"/roles/"+task.Entitlement, nil)
	var no *refusal
	switch {
	case err == nil:
		var role struct {
			MaxTTL any `json:"max_ttl"`
		}
		if most, is := seconds(said.Data, &role, &role.MaxTTL); is && most > 0 && task.Until != 0 && l.secondsUntil(task.Until) > most {
			return "", rejected("the max_ttl of %s/roles/%s is %d s, and a lease lives no longer: ask for less, or raise it", task.Resource, task.Entitlement, most)
		}
	case refused(err, http.StatusNotFound, "no handler for route"):
		return "", rejected("no engine is mounted at %q of %s", task.Resource, task.SystemName)
	case errors.As(err, &no) && no.status == http.StatusNotFound && no.said == "":
		return "", rejected("the engine at %s of %s has no role %q", task.Resource, task.SystemName, task.Entitlement)
	case !errors.As(err, &no) || no.status != http.StatusForbidden && no.status != http.StatusNotFound && no.status != http.StatusMethodNotAllowed:
		return "", err
	}
	// Policies know no single leases: what holds for one of the role holds for all.
	if err := s.mayAll(ctx, append(l.paths(), "sys/leases/revoke/"+l.path(task)+"/any", "sys/leases/renew/"+l.path(task)+"/any")...); err != nil {
		return "", err
	}
	return "A lease of " + l.path(task) + ", which the server takes back at its end,", nil
}

// seconds reads one member of data, which is a number of seconds.
func seconds(data json.RawMessage, into any, member *any) (int64, bool) {
	if json.Unmarshal(data, into) != nil {
		return 0, false
	}
	number, is := (*member).(float64)
	return int64(number), is
}

// give asks for a token, writes its accessor down, asks for the lease, and writes
// its id down before the secret can be read.
func (l leases) give(ctx context.Context, s *server, task connector.Task, how vaulthands.Reading, former string) error {
	cluster, err := s.cluster(ctx)
	if err != nil {
		return err
	}
	if err := task.CheckDeadline(ctx, l.Clock); err != nil {
		return err
	}
	wanted := l.secondsUntil(task.Until)
	said, err := s.ask(ctx, http.MethodPost, "auth/token/create/"+l.TokenRole, map[string]any{
		"ttl": fmt.Sprintf("%ds", wanted), "renewable": true, "display_name": string(task.Credential), "meta": metaOf(task),
	})
	if err != nil {
		return err
	}
	if said.Auth == nil || said.Auth.ClientToken == "" || said.Auth.Accessor == "" {
		return transient("auth/token/create/%s gave no service token: set token_type=service on the role", l.TokenRole)
	}
	at := place{Mark: connector.MarkOf(task), Cluster: cluster, Namespace: l.Namespace, Path: l.path(task), Accessor: said.Auth.Accessor}
	if former, err = l.keep(ctx, task, how, at, former); err != nil {
		return undone(err, l.takeToken(ctx, s, task, at.Accessor))
	}
	if said.Auth.LeaseDuration < wanted {
		return undone(rejected("tokens of the role %s live %d s at most, and a lease no longer than its token: ask for less, or raise token_explicit_max_ttl and max_lease_ttl", l.TokenRole, said.Auth.LeaseDuration), l.takeToken(ctx, s, task, at.Accessor))
	}
	if err := task.CheckDeadline(ctx, l.Clock); err != nil {
		return err
	}
	made, err := s.askAs(ctx, countersign.NewSecret(said.Auth.ClientToken), http.MethodGet, at.Path, nil)
	if refused(err, http.StatusForbidden, "") {
		// Unless another operation has revoked that token, it never will.
		if token, _, lost := s.tokenOf(ctx, at.Accessor); lost == nil && token {
			return undone(rejected("tokens of the role %s may not read %s: add it to the policy in the role's allowed_policies", l.TokenRole, at.Path), l.takeToken(ctx, s, task, at.Accessor))
		}
	}
	if err != nil {
		return err
	}
	if !strings.HasPrefix(made.LeaseID, at.Path+"/") || !mountName.MatchString(made.LeaseID) {
		return undone(rejected("%s gives no lease that could be revoked (its lease id is %q): only engines that lease are of use here", at.Path, countersign.Clip(made.LeaseID)), l.takeToken(ctx, s, task, at.Accessor))
	}
	at.Lease = made.LeaseID
	if former, err = l.keep(ctx, task, how, at, former); err != nil {
		return undone(err, l.take(ctx, s, task, at))
	}
	if err := l.last(ctx, s, task, at, made, wanted); err != nil {
		return err
	}
	if err := l.deposit(ctx, task, how, at, former, countersign.NewSecret(string(made.Data))); err != nil {
		return undone(err, l.take(ctx, s, task, at))
	}
	return nil
}

// meanwhile is how many seconds may pass between the making of a lease, from which
// its max_ttl counts, and its renewal. What it ends earlier by is read back.
const meanwhile = 10

// last has a new lease last as long as the access; it begins with its role's
// default.
func (l leases) last(ctx context.Context, s *server, task connector.Task, at place, made answer, wanted int64) error {
	if made.LeaseDuration == wanted {
		return nil
	}
	if made.Renewable {
		if err := task.CheckDeadline(ctx, l.Clock); err != nil {
			return err
		}
		renewed, err := s.ask(ctx, http.MethodPost, "sys/leases/renew/"+at.Lease, map[string]any{"increment": wanted})
		if err != nil {
			return err
		}
		made.LeaseDuration = renewed.LeaseDuration
	}
	if made.LeaseDuration < wanted-meanwhile {
		return undone(rejected("the server gives a lease of %s for %d s, and %d s were asked for: ask for less, or raise the max_ttl of the role and of its engine", at.Path, made.LeaseDuration, wanted), l.take(ctx, s, task, at))
	}
	// A longer one that cannot be renewed ends with its token.
	return nil
}

// move renews token and lease up to the new end and no further.
func (l leases) move(ctx context.Context, s *server, task connector.Task, how vaulthands.Reading, at place, former string) (bool, error) {
	wanted := l.secondsUntil(task.Until)
	if err := task.CheckDeadline(ctx, l.Clock); err != nil {
		return false, err
	}
	said, err := s.ask(ctx, http.MethodPost, "auth/token/renew-accessor", map[string]any{"accessor": at.Accessor, "increment": wanted})
	if err != nil {
		return false, err
	}
	if said.Auth == nil || said.Auth.LeaseDuration < wanted {
		return false, rejected("the token of %s cannot live longer: ask for a new credential, or raise token_explicit_max_ttl of the role %s", at.Lease, l.TokenRole)
	}
	if err := task.CheckDeadline(ctx, l.Clock); err != nil {
		return false, err
	}
	said, err = s.ask(ctx, http.MethodPost, "sys/leases/renew/"+at.Lease, map[string]any{"increment": wanted})
	if err != nil {
		return false, err
	}
	if said.LeaseDuration < wanted {
		return false, rejected("the lease %s cannot last longer than another %d s: ask for a new credential, or raise the max_ttl of its role", at.Lease, said.LeaseDuration)
	}
	at.Mark = at.Moved(task)
	order := vaulthands.OrderOf(task, how)
	order.Place, order.Former = at.text(), former
	return true, kept(l.Vault.MoveEnd(ctx, order))
}

func (l leases) look(ctx context.Context, s *server, task connector.Task, at place) (found, error) {
	token, meta, err := s.tokenOf(ctx, at.Accessor)
	if err != nil {
		return found{}, err
	}
	there := found{present: token, how: fmt.Sprintf("POST auth/token/lookup-accessor, token there %v; the server never told the id of a lease", token)}
	if at.Lease != "" {
		if there, err = s.lease(ctx, at.Lease); err != nil {
			return found{}, err
		}
	}
	if there.wrong = "its token was revoked"; token {
		there.wrong = differs(meta, task)
	}
	return there, nil
}

// lease reads back one lease, and not its token.
func (s *server) lease(ctx context.Context, id string) (found, error) {
	said, err := s.ask(ctx, http.MethodPost, "sys/leases/lookup", map[string]any{"lease_id": id})
	there := found{how: "POST sys/leases/lookup of " + id}
	if refused(err, http.StatusBadRequest, "invalid lease") {
		there.how += ": invalid lease"
		return there, nil
	}
	if err != nil {
		return found{}, err
	}
	var lease struct {
		ExpireTime  countersign.Instant `json:"expire_time"`
		TTL         int64               `json:"ttl"`
		RevokeError string              `json:"revoke_error"`
	}
	if err := json.Unmarshal(said.Data, &lease); err != nil {
		return found{}, &connector.Failure{Kind: connector.Transient, Message: "sys/leases/lookup of " + id + " has no form that is known", Cause: err}
	}
	there.present, there.until = true, lease.ExpireTime
	there.how += fmt.Sprintf(": there until %s", lease.ExpireTime)
	switch {
	case lease.RevokeError != "":
		there.ending = true
		there.how += fmt.Sprintf(", irrevocable: the server gave up taking it away (%s)", wire.OneLine(lease.RevokeError))
	case lease.ExpireTime != 0 && lease.TTL <= 0:
		there.ending = true
		there.how += ", which has passed: the server has its revoke in a queue, or gave it up"
	}
	return there, nil
}

// tokenOf reads the mark of a lease's token.
func (s *server) tokenOf(ctx context.Context, accessor string) (there bool, meta map[string]string, err error) {
	said, err := s.ask(ctx, http.MethodPost, "auth/token/lookup-accessor", map[string]any{"accessor": accessor})
	if refused(err, http.StatusBadRequest, "invalid accessor") || refused(err, http.StatusForbidden, "invalid accessor") || refused(err, http.StatusForbidden, "bad token") {
		return false, nil, nil
	}
	if err != nil {
		return false, nil, err
	}
	var token struct {
		Meta map[string]string `json:"meta"`
	}
	if err := json.Unmarshal(said.Data, &token); err != nil {
		return false, nil, &connector.Failure{Kind: connector.Transient, Message: "auth/token/lookup-accessor has no form that is known", Cause: err}
	}
	return true, token.Meta, nil
}

// take revokes the lease while the request waits, and its token only once the
// lease is gone: a token's end would put the lease into the server's queue, which
// gives up after six tries.
func (l leases) take(ctx context.Context, s *server, task connector.Task, at place) error {
	token, meta, err := s.tokenOf(ctx, at.Accessor)
	if err != nil {
		return err
	}
	if token && meta["countersign_credential"] != string(task.Credential) {
		return rejected("the token of %s does not say that countersign made it for %s, so it is not touched: look who made it, and revoke it by hand", at.Path, task.Credential)
	}
	if at.Lease != "" {
		if err := task.CheckDeadline(ctx, l.Clock); err != nil {
			return err
		}
		_, err := s.ask(ctx, http.MethodPost, "sys/leases/revoke/"+at.Lease, map[string]any{"sync": true})
		if refused(err, http.StatusBadRequest, "") {
			// The engine could not: its target may be down.
			err = &connector.Failure{Kind: connector.Transient, Message: "the OpenBao server could not take the lease back", Cause: err}
		}
		if err != nil {
			return err
		}
		there, err := s.lease(ctx, at.Lease)
		if err != nil {
			return err
		}
		if there.present {
			return transient("the OpenBao server took the revoke, and has the lease still: %s", there.how)
		}
	}
	if !token {
		return nil
	}
	return l.takeToken(ctx, s, task, at.Accessor)
}

// takeToken revokes a lease's token. That it is gone is success.
func (l leases) takeToken(ctx context.Context, s *server, task connector.Task, accessor string) error {
	if err := task.CheckDeadline(ctx, l.Clock); err != nil {
		return err
	}
	_, err := s.ask(ctx, http.MethodPost, "auth/token/revoke-accessor", map[string]any{"accessor": accessor})
	if refused(err, http.StatusBadRequest, "invalid accessor") || refused(err, http.StatusForbidden, "invalid accessor") {
		return nil
	}
	return err
}
