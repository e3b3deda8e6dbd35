package openbao

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	vaulthands "github.com/countersign/countersign/connector/vault"
)

// secretIDs are those of AppRoles. Each has the mark in its metadata, which the
// server also gives to every token that is signed in with it; by the mark it is
// found again where the answer with its accessor was lost.
type secretIDs struct{ *Connector }

func (i secretIDs) action() string { return "issue-secret-id" }

func (i secretIDs) path(task connector.Task) string {
	return "auth/" + task.Resource + "/role/" + task.Entitlement
}

// paths of the token are under mounts that only entitlements name.
func (i secretIDs) paths() []string { return nil }

// appRole is what the connector reads of a role, in seconds.
type appRole struct {
	BindSecretID        bool  `json:"bind_secret_id"`
	SecretIDTTL         int64 `json:"secret_id_ttl"`
	TokenMaxTTL         int64 `json:"token_max_ttl"`
	TokenExplicitMaxTTL int64 `json:"token_explicit_max_ttl"`
	TokenPeriod         int64 `json:"token_period"`
}

// offered refuses a role whose tokens would outlive what the house counts with.
func (i secretIDs) offered(ctx context.Context, s *server, task connector.Task) (string, error) {
	path := i.path(task)
	said, err := s.ask(ctx, http.MethodGet, path, nil)
	if refused(err, http.StatusNotFound, "") {
		return "", rejected("%s has no role %s", task.SystemName, path)
	}
	if err != nil {
		return "", err
	}
	var role appRole
	if err := json.Unmarshal(said.Data, &role); err != nil {
		return "", rejected("%s is no AppRole: %v", path, err)
	}
	longest := role.TokenMaxTTL
	if role.TokenExplicitMaxTTL > 0 && (longest == 0 || role.TokenExplicitMaxTTL < longest) {
		longest = role.TokenExplicitMaxTTL
	}
	switch {
	case !role.BindSecretID:
		return "", rejected("%s is signed in to without a secret id: set bind_secret_id", path)
	case role.TokenPeriod > 0:
		return "", rejected("tokens of %s can be renewed for ever, also after their secret id has ended: set token_period=0", path)
	case longest == 0 || countersign.Seconds(longest) > i.Residual:
		return "", rejected("tokens of %s live up to %d s (0 is the server's longest), and the connector %s counts with %d s after a revoke: lower token_max_ttl, or raise residual", path, longest, i.Name, i.Residual)
	case role.SecretIDTTL > 0 && task.Until != 0 && i.secondsUntil(task.Until) > role.SecretIDTTL:
		return "", rejected("the secret_id_ttl of %s is %d s, and a secret id lives no longer: ask for less, or raise it", path, role.SecretIDTTL)
	}
	if err := s.mayAll(ctx, path+"/secret-id", path+"/secret-id-accessor/lookup", path+"/secret-id-accessor/destroy"); err != nil {
		return "", err
	}
	return fmt.Sprintf("A secret id of %s, with which tokens of up to %d s can be signed in,", path, longest), nil
}

func (i secretIDs) give(ctx context.Context, s *server, task connector.Task, how vaulthands.Reading, former string) error {
	cluster, err := s.cluster(ctx)
	if err != nil {
		return err
	}
	at := place{Mark: connector.MarkOf(task), Cluster: cluster, Namespace: i.Namespace, Path: i.path(task)}
	said, err := s.ask(ctx, http.MethodGet, at.Path+"/role-id", nil)
	if err != nil {
		return err
	}
	var login struct {
		RoleID   string `json:"role_id"`
		SecretID string `json:"secret_id"`
	}
	if err := json.Unmarshal(said.Data, &login); err != nil || login.RoleID == "" {
		return rejected("%s/role-id tells no role id", at.Path)
	}
	if err := task.CheckDeadline(ctx, i.Clock); err != nil {
		return err
	}
	if former, err = i.keep(ctx, task, how, at, former); err != nil {
		return err
	}
	if err := task.CheckDeadline(ctx, i.Clock); err != nil {
		return err
	}
	meta, err := json.Marshal(metaOf(task))
	if err != nil {
		return err
	}
	if said, err = s.ask(ctx, http.MethodPost, at.Path+"/secret-id", map[string]any{"metadata": string(meta), "ttl": i.secondsUntil(task.Until)}); err != nil {
		return err
	}
	var made struct {
		SecretID string `json:"secret_id"`
		Accessor string `json:"secret_id_accessor"`
	}
	if err := json.Unmarshal(said.Data, &made); err != nil || made.SecretID == "" || made.Accessor == "" {
		return transient("%s/secret-id gave no secret id", at.Path)
	}
	at.Accessor, login.SecretID = made.Accessor, made.SecretID
	content, err := json.Marshal(login)
	if err != nil {
		return err
	}
	if err := i.deposit(ctx, task, how, at, former, countersign.NewSecret(string(content))); err != nil {
		return undone(err, i.take(ctx, s, task, at))
	}
	return nil
}

// move says no: a secret id has the end that it was made with.
func (i secretIDs) move(context.Context, *server, connector.Task, vaulthands.Reading, place, string) (bool, error) {
	return false, nil
}

// secretID is one as the server has it.
type secretID struct {
	Metadata       map[string]string   `json:"metadata"`
	ExpirationTime countersign.Instant `json:"expiration_time"`
}

// read returns the secret id with the accessor, nil for none. A role that was
// removed took its secret ids along.
func (i secretIDs) read(ctx context.Context, s *server, path, accessor string) (*secretID, error) {
	said, err := s.ask(ctx, http.MethodPost, path+"/secret-id-accessor/lookup", map[string]any{"secret_id_accessor": accessor})
	if refused(err, http.StatusNotFound, "failed to find accessor") {
		return nil, nil
	}
	if refused(err, http.StatusInternalServerError, "does not exist") {
		if _, none := s.ask(ctx, http.MethodGet, path, nil); refused(none, http.StatusNotFound, "") {
			return nil, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if len(said.Data) == 0 || string(said.Data) == "null" {
		return nil, nil
	}
	var read secretID
	if err := json.Unmarshal(said.Data, &read); err != nil {
		return nil, &connector.Failure{Kind: connector.Transient, Message: path + "/secret-id-accessor/lookup has no form that is known", Cause: err}
	}
	return &read, nil
}

// find returns what the place leads to: by its accessor, or by the mark among all
// secret ids of the role.
func (i secretIDs) find(ctx context.Context, s *server, task connector.Task, at place) (accessor string, held *secretID, err error) {
	if at.Accessor != "" {
		held, err = i.read(ctx, s, at.Path, at.Accessor)
		return at.Accessor, held, err
	}
	said, err := s.ask(ctx, "LIST", at.Path+"/secret-id", nil)
	if refused(err, http.StatusNotFound, "") {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	var all struct {
		Keys []string `json:"keys"`
	}
	if err := json.Unmarshal(said.Data, &all); err != nil {
		return "", nil, transient("the list of %s/secret-id has no form that is known", at.Path)
	}
	for _, accessor := range all.Keys {
		held, err := i.read(ctx, s, at.Path, accessor)
		if err != nil {
			return "", nil, err
		}
		if held != nil && held.Metadata["countersign_credential"] == string(task.Credential) {
			return accessor, held, nil
		}
	}
	return "", nil, nil
}

func (i secretIDs) look(ctx context.Context, s *server, task connector.Task, at place) (found, error) {
	accessor, held, err := i.find(ctx, s, task, at)
	if err != nil {
		return found{}, err
	}
	there := found{how: fmt.Sprintf("POST %s/secret-id-accessor/lookup of %s", at.Path, accessor)}
	if accessor == "" {
		there.how = fmt.Sprintf("LIST %s/secret-id, looking for the mark", at.Path)
	}
	switch now := countersign.InstantOf(i.Clock.Now()); {
	case held == nil:
		there.how += ": not found"
	case held.ExpirationTime != 0 && held.ExpirationTime <= now:
		there.how += fmt.Sprintf(": ended at %s", held.ExpirationTime)
	default:
		there.present, there.until, there.wrong = true, held.ExpirationTime, differs(held.Metadata, task)
		there.how += fmt.Sprintf(": there until %s", held.ExpirationTime)
	}
	return there, nil
}

func (i secretIDs) take(ctx context.Context, s *server, task connector.Task, at place) error {
	accessor, held, err := i.find(ctx, s, task, at)
	if held == nil || err != nil {
		return err
	}
	if held.Metadata["countersign_credential"] != string(task.Credential) {
		return rejected("the secret id %s of %s does not say that countersign made it for %s, so it is not touched: look who made it, and destroy it by hand", accessor, at.Path, task.Credential)
	}
	if err := task.CheckDeadline(ctx, i.Clock); err != nil {
		return err
	}
	if _, err := s.ask(ctx, http.MethodPost, at.Path+"/secret-id-accessor/destroy", map[string]any{"secret_id_accessor": accessor}); err != nil {
		return err
	}
	held, err = i.read(ctx, s, at.Path, accessor)
	if err == nil && held != nil {
		return transient("the OpenBao server took the revoke, and has the secret id still")
	}
	return err
}
