package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// session is one operation on a server that said what it can do.
type session struct {
	*Connector
	can struct {
		message
		Patch, Filter, ETag struct{ Supported bool }
	}
}

const configPath = "/ServiceProviderConfig"

func (c *Connector) begin(ctx context.Context) (*session, error) {
	s := &session{Connector: c}
	_, _, found, err := c.get(ctx, configPath, &s.can)
	if err == nil && (!found || !s.can.is(schemaBegin+"ServiceProviderConfig")) {
		err = transient("the server of the connector %s does not say under %s what it can do: it must be a SCIM 2.0 server", c.Name, configPath)
	}
	return s, err
}

type user struct {
	ID       string
	UserName string
	Active   *bool
	Meta     struct{ Version string }

	raw json.RawMessage
}

type member struct {
	Value string
}

// group has nil members where the server shows none.
type group struct {
	ID          string
	DisplayName string
	Members     *[]member
	Meta        struct{ Version string }

	raw json.RawMessage
}

func (g *group) has(user string) bool {
	return g.Members != nil && slices.ContainsFunc(*g.Members, func(one member) bool { return one.Value == user })
}

func userPath(id string) string  { return "/Users/" + url.PathEscape(id) }
func groupPath(id string) string { return "/Groups/" + url.PathEscape(id) }

// user reads the user with the id, nil for none.
func (c *Connector) user(ctx context.Context, id string) (*user, error) {
	one := &user{}
	raw, version, found, err := c.get(ctx, userPath(id), one)
	if err != nil || !found {
		return nil, err
	}
	if one.ID != id {
		return nil, transient("the SCIM server answers %s with the user %q", userPath(id), countersign.Clip(one.ID))
	}
	if one.raw = raw; one.Meta.Version == "" {
		one.Meta.Version = version
	}
	return one, nil
}

// group reads the group with the id, nil for none.
func (c *Connector) group(ctx context.Context, id string) (*group, error) {
	one := &group{}
	raw, version, found, err := c.get(ctx, groupPath(id), one)
	if err != nil || !found {
		return nil, err
	}
	if one.ID != id {
		return nil, transient("the SCIM server answers %s with the group %q", groupPath(id), countersign.Clip(one.ID))
	}
	if one.raw = raw; one.Meta.Version == "" {
		one.Meta.Version = version
	}
	return one, nil
}

// holderOf is whose the user is, "" where the attribute has no id of an identity.
func (c *Connector) holderOf(raw json.RawMessage) countersign.IdentityID {
	name := c.HolderAttribute
	if colon := strings.LastIndexByte(name, ':'); colon >= 0 {
		raw, name = attribute(raw, name[:colon]), name[colon+1:]
	}
	var value string
	if json.Unmarshal(attribute(raw, name), &value) != nil || countersign.CheckID("idn", value) != nil {
		return ""
	}
	return countersign.IdentityID(value)
}

// attribute finds one in an object; names of attributes have no case.
func attribute(raw json.RawMessage, name string) json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	for key, value := range all {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return nil
}

// usersOf finds the users that have the holder's id, and reads each by its own. A
// server may find more than it was asked for, so what it found is compared.
func (s *session) usersOf(ctx context.Context, holder countersign.IdentityID) ([]*user, error) {
	filter := ""
	if s.can.Filter.Supported {
		filter = s.HolderAttribute + " eq " + quote(string(holder))
	}
	var found []*user
	err := s.pages(ctx, "/Users", filter, func(raw json.RawMessage) error {
		if s.holderOf(raw) != holder {
			return nil
		}
		var named user
		if err := json.Unmarshal(raw, &named); err != nil {
			return transient("the SCIM server lists a user that cannot be read: %v", err)
		}
		one, err := s.user(ctx, named.ID)
		if one != nil {
			found = append(found, one)
		}
		return err
	})
	return found, err
}

// state is what the server has of a right of a user.
type state struct {
	// id is the user's; user is nil where it was not looked at or is not there.
	id    string
	user  *user
	group *group
	// Gives says that the right is there for certain, works that it is not for certain
	// gone.
	gives, works bool
	how          string
}

func (n *state) ofGroup(id string) {
	n.gives = n.group != nil && n.group.has(n.id)
	n.works = n.gives
	switch {
	case n.group == nil:
		n.how = "GET " + groupPath(id) + ": there is no such group"
	case n.gives:
		n.how = "GET " + groupPath(id) + ": the user " + n.id + " is a member"
	default:
		n.how = "GET " + groupPath(id) + ": the user " + n.id + " is no member"
	}
}

func (n *state) ofAccount() {
	switch {
	case n.user == nil:
		n.how = "a search for the user: there is none"
	case n.user.Active == nil:
		n.works = true
		n.how = "GET " + userPath(n.id) + ": it does not say whether it is active"
	default:
		n.gives, n.works = *n.user.Active, *n.user.Active
		n.how = fmt.Sprintf("GET %s: active is %v", userPath(n.id), n.gives)
	}
}

// offered reads whom and what the task names, and refuses what is not exactly one.
func (s *session) offered(ctx context.Context, task connector.Task, of right) (*state, error) {
	users, err := s.usersOf(ctx, task.Holder)
	if err != nil {
		return nil, err
	}
	if len(users) > 1 {
		return nil, rejected("several users on %s have %s %s of %s: exactly one must have it", task.SystemName, s.HolderAttribute, task.Holder, task.HolderName)
	}
	now := &state{}
	if len(users) == 1 {
		now.user, now.id = users[0], users[0].ID
	}
	if of.group == "" {
		now.ofAccount()
		return now, s.account(task, now)
	}
	switch {
	case now.user == nil:
		return nil, rejected("no user on %s belongs to %s: exactly one must have %s %s", task.SystemName, task.HolderName, s.HolderAttribute, task.Holder)
	case now.user.Active != nil && !*now.user.Active:
		return nil, rejected("the account of %s on %s (user %s) is not active, so a membership would give nothing", task.HolderName, task.SystemName, now.id)
	}
	if now.group, err = s.group(ctx, of.group); err != nil {
		return nil, err
	}
	if now.group == nil {
		return nil, rejected("there is no group %s on %s, which its settings name for %s on %s", of.group, task.SystemName, task.Entitlement, task.Resource)
	}
	now.ofGroup(of.group)
	return now, nil
}

// account refuses an account that could not be made or read back exactly.
func (s *session) account(task connector.Task, now *state) error {
	name := task.Parameters[userNameParameter]
	switch {
	case now.user == nil && s.HolderAttribute != externalID:
		return rejected("no user on %s belongs to %s, and none can be made by the connector: it writes no %s", task.SystemName, task.HolderName, s.HolderAttribute)
	case now.user == nil && strings.TrimSpace(name) == "":
		return rejected("no user on %s belongs to %s: to make one, the form must ask for %s and the policy give it to the connector", task.SystemName, task.HolderName, userNameParameter)
	case now.user == nil:
	case now.user.Active == nil:
		return rejected("%s does not say whether the user %s is active, so that could not be read back", task.SystemName, now.id)
	case name != "" && !strings.EqualFold(name, now.user.UserName):
		return rejected("the user of %s on %s is named %q, and not %q", task.HolderName, task.SystemName, countersign.Clip(now.user.UserName), countersign.Clip(name))
	}
	return nil
}

// given reads what a mark is about, by the ids in it.
func (s *session) given(ctx context.Context, held *mark) (*state, error) {
	now := &state{id: held.User}
	var err error
	if held.Group != "" {
		now.group, err = s.group(ctx, held.Group)
		now.ofGroup(held.Group)
		return now, err
	}
	if held.User != "" {
		now.user, err = s.user(ctx, held.User)
	} else {
		// It was being made, and nobody heard of its id.
		var users []*user
		if users, err = s.usersOf(ctx, held.Holder); len(users) > 1 {
			return nil, rejected("several users on %s have %s %s: take away by hand which is too many", s.Name, s.HolderAttribute, held.Holder)
		} else if len(users) == 1 {
			now.user, now.id = users[0], users[0].ID
		}
	}
	now.ofAccount()
	return now, err
}

// free refuses what somebody else gave, unless it is to be taken over.
func (s *session) free(ctx context.Context, task connector.Task, of right, now *state) error {
	if task.TakesOver != "" && task.TakesOver != now.id {
		return rejected("the user of %s on %s is %s, and not %s", task.HolderName, task.SystemName, now.id, task.TakesOver)
	}
	if !now.gives || task.TakesOver != "" {
		return nil
	}
	like := &mark{Mark: connector.MarkOf(task), Connector: s.Name, Group: of.group, User: now.id}
	others, err := s.others(ctx, task.Credential, like)
	if err == nil && others == 0 {
		err = rejected("%s has %s (user %s) on %s already, by somebody else, which is not touched: adopt it, or take it away by hand", task.HolderName, of, now.id, task.SystemName)
	}
	return err
}

func (n *state) effect(task connector.Task, of right) string {
	what := fmt.Sprintf("%s on %s of %s", task.Entitlement, task.Resource, task.SystemName)
	switch {
	case of.group != "":
		return fmt.Sprintf("%s (%s, user %s) becomes a member of the group %q (%s), which is %s", task.HolderName, task.Holder, n.id, countersign.Clip(n.group.DisplayName), of.group, what)
	case n.user == nil:
		return fmt.Sprintf("An account %q is made for %s (%s) and is active, which is %s", countersign.Clip(task.Parameters[userNameParameter]), task.HolderName, task.Holder, what)
	}
	return fmt.Sprintf("The account %q (user %s) of %s (%s) becomes active, which is %s", countersign.Clip(n.user.UserName), n.id, task.HolderName, task.Holder, what)
}

// verify reads the mark, and whether the server gives what it is for.
func (s *session) verify(ctx context.Context, task connector.Task, of right) (connector.Reading, error) {
	reading := connector.Reading{How: "the mark of " + string(task.Credential)}
	held, err := s.readMark(ctx, task.Credential)
	if err != nil {
		return connector.Reading{}, err
	}
	if held == nil || held.RevokedAt != 0 {
		reading.How += ": it gives nothing"
		return reading, nil
	}
	reading.Until, reading.Reference = held.Until, held.reference()
	now, refused := s.offered(ctx, task, of)
	var failure *connector.Failure
	wrong := ""
	switch {
	case errors.As(refused, &failure) && failure.Kind == connector.Rejected:
		wrong = failure.Error()
	case refused != nil:
		return connector.Reading{}, refused
	default:
		reading.How += ", and " + now.how
		if wrong = held.differs(task, of, now); wrong == "" && !now.gives {
			wrong = "it does not give " + of.String()
		}
	}
	reading.Present = wrong == ""
	if wrong != "" {
		reading.How += ", which is not what was asked for: " + wrong
	}
	return reading, nil
}

// write sends one change, before the deadline or not at all.
func (s *session) write(ctx context.Context, task connector.Task, method, path, version string, body any) ([]byte, error) {
	if err := task.CheckDeadline(ctx, s.Clock); err != nil {
		return nil, err
	}
	if !s.can.ETag.Supported {
		version = "" // an ETag that is there all the same is one of HTTP, of the text of an answer
	}
	answer, _, err := s.ask(ctx, method, path, nil, version, body)
	return answer, err
}
