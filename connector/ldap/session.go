package ldap

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

func rejected(format string, args ...any) error {
	return &connector.Failure{Kind: connector.Rejected, Message: fmt.Sprintf(format, args...)}
}

// failed turns an error of the client into what the engine should do. What was
// sent is not repeated in it; an unknown one counts as worth a try.
func failed(err error) error {
	if err == nil {
		return nil
	}
	var told *goldap.Error
	if !errors.As(err, &told) || told.ResultCode >= goldap.ErrorNetwork {
		return &connector.Failure{Kind: connector.Transient, Message: "the directory did not answer", Cause: err}
	}
	switch told.ResultCode {
	case goldap.LDAPResultInsufficientAccessRights, goldap.LDAPResultObjectClassViolation, goldap.LDAPResultConstraintViolation,
		goldap.LDAPResultUndefinedAttributeType, goldap.LDAPResultInvalidAttributeSyntax, goldap.LDAPResultEntryAlreadyExists,
		goldap.LDAPResultAttributeOrValueExists, goldap.LDAPResultNoSuchAttribute, goldap.LDAPResultNoSuchObject, goldap.LDAPResultNamingViolation:
		return &connector.Failure{Kind: connector.Rejected, Message: "the directory refuses", Cause: err}
	}
	return &connector.Failure{Kind: connector.Transient, Message: "the directory did not do it", Cause: err}
}

// session is one connection, for one operation.
type session struct {
	of   *Connector
	conn *goldap.Conn
}

// patience is how long one answer may take; the client knows no contexts.
const patience = 5 * time.Second

func (c *Connector) connect(ctx context.Context) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	where, err := url.Parse(c.URL)
	if err != nil {
		return nil, rejected("the url of the connector %s cannot be read", c.Name)
	}
	secure := &tls.Config{ServerName: where.Hostname(), RootCAs: c.Roots, MinVersion: tls.VersionTLS12}
	conn, err := goldap.DialURL(c.URL, goldap.DialWithDialer(&net.Dialer{Timeout: patience}), goldap.DialWithTLSConfig(secure))
	if err != nil {
		return nil, failed(err)
	}
	conn.SetTimeout(patience)
	s := &session{c, conn}
	if c.StartTLS {
		err = conn.StartTLS(secure)
	}
	switch {
	case err != nil:
	case c.BindDN == "":
		err = conn.ExternalBind()
	default:
		err = conn.Bind(c.BindDN, c.Password.Reveal())
	}
	if err != nil {
		s.hangUp()
		return nil, failed(err)
	}
	return s, nil
}

// hangUp says good-bye; an answer to that changes nothing.
func (s *session) hangUp() { _ = s.conn.Close() }

// write sends one change, before the deadline or not at all.
func (s *session) write(ctx context.Context, task connector.Task, change any) error {
	if err := task.CheckDeadline(ctx, s.of.Clock); err != nil {
		return err
	}
	switch change := change.(type) {
	case *goldap.AddRequest:
		return failed(s.conn.Add(change))
	case *goldap.ModifyRequest:
		return failed(s.conn.Modify(change))
	case *goldap.DelRequest:
		return failed(s.conn.Del(change))
	}
	panic(fmt.Sprintf("ldap: %T is no change", change))
}

// entry is a person or a group as the directory has it.
type entry struct {
	dn, uuid string
	members  []string
}

func (e *entry) has(name string) bool {
	return slices.ContainsFunc(e.members, func(member string) bool { return sameDN(member, name) })
}

// find looks for at most two entries below the base.
func (s *session) find(base string, scope int, filter string) ([]*entry, error) {
	answer, err := s.conn.Search(goldap.NewSearchRequest(base, scope, goldap.NeverDerefAliases, 2, 0, false, filter, []string{"entryUUID", s.of.MemberAttribute}, nil))
	if goldap.IsErrorWithCode(err, goldap.LDAPResultNoSuchObject) {
		return nil, nil
	}
	if err != nil && !goldap.IsErrorWithCode(err, goldap.LDAPResultSizeLimitExceeded) {
		return nil, failed(err)
	}
	var found []*entry
	for _, one := range answer.Entries {
		found = append(found, &entry{one.DN, one.GetAttributeValue("entryUUID"), one.GetAttributeValues(s.of.MemberAttribute)})
	}
	return found, nil
}

func (s *session) only(base string, scope int, filter string) (*entry, error) {
	found, err := s.find(base, scope, filter)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

func (s *session) entry(dn string) (*entry, error) {
	return s.only(dn, goldap.ScopeBaseObject, "(objectClass=*)")
}

func (s *session) byUUID(base, uuid string) (*entry, error) {
	return s.only(base, goldap.ScopeWholeSubtree, "(entryUUID="+goldap.EscapeFilter(uuid)+")")
}

// sees fails where the account is not shown the subtree: a directory says of what
// somebody may not see that it is not there, which would pass for gone.
func (s *session) sees(base string) error {
	there, err := s.entry(base)
	if err == nil && there == nil {
		err = rejected("the directory shows the connector %s no entry %s: make it, and let its account read it", s.of.Name, base)
	}
	return err
}

// offered finds the person by the id of the identity, and the group by its name in
// the unit that has the resource's name.
func (s *session) offered(task connector.Task) (person, group *entry, err error) {
	people, err := s.find(s.of.People, goldap.ScopeWholeSubtree, "("+s.of.HolderAttribute+"="+goldap.EscapeFilter(string(task.Holder))+")")
	if err != nil {
		return nil, nil, err
	}
	if len(people) != 1 {
		return nil, nil, rejected("%s below %s belong to %s: exactly one entry must have %s: %s", []string{"no entries", "", "several entries"}[min(len(people), 2)], s.of.People, task.HolderName, s.of.HolderAttribute, task.Holder)
	}
	groups, err := s.find("ou="+goldap.EscapeDN(task.Resource)+","+s.of.Groups, goldap.ScopeSingleLevel, "(&(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames))(cn="+goldap.EscapeFilter(task.Entitlement)+"))")
	if err != nil {
		return nil, nil, err
	}
	if len(groups) != 1 {
		return nil, nil, rejected("%s cn=%s in ou=%s below %s of %s: exactly one must be there", []string{"no group is", "", "several groups are"}[min(len(groups), 2)], task.Entitlement, task.Resource, s.of.Groups, task.SystemName)
	}
	if people[0].uuid == "" || groups[0].uuid == "" {
		return nil, nil, rejected("the connector's account may not read entryUUID on %s, so nothing there could be told apart for good", task.SystemName)
	}
	return people[0], groups[0], s.sees(s.of.Marks)
}

// free refuses a membership that somebody else gave, unless it is to be taken over.
func (s *session) free(task connector.Task, person, group *entry) error {
	if task.TakesOver != "" && task.TakesOver != person.uuid {
		return rejected("the entryUUID of %s is %s, and not %s", task.HolderName, person.uuid, task.TakesOver)
	}
	if !group.has(person.dn) || task.TakesOver != "" {
		return nil
	}
	others, err := s.marksOn(group.uuid, person.uuid)
	if err == nil && len(others) == 0 {
		err = rejected("%s is a member of %s already, by somebody else, which is not touched: adopt it, or take it away by hand", person.dn, group.dn)
	}
	return err
}

// mark is the content of a credential's entry.
type mark struct {
	connector.Mark
	Credential countersign.CredentialID `json:"credential"`
	// Group and Person are entryUUIDs, which never change hands; Member is the name
	// that was written into the group.
	Group  string `json:"group"`
	Person string `json:"person"`
	Member string `json:"member"`
}

// The entry of a credential is a device of the standard schema: named, with a
// serial number that says which membership it is about, and a description.
const markClass = "device"

func markDN(credential countersign.CredentialID, marks string) string {
	return "cn=" + string(credential) + "," + marks
}

func (m mark) text() string {
	text, err := json.Marshal(m)
	if err != nil {
		// A struct of strings and numbers always marshals.
		panic("ldap: " + err.Error())
	}
	return string(text)
}

func (m mark) add(marks string) *goldap.AddRequest {
	request := goldap.NewAddRequest(markDN(m.Credential, marks), nil)
	request.Attribute("objectClass", []string{markClass})
	request.Attribute("cn", []string{string(m.Credential)})
	request.Attribute("serialNumber", []string{m.Group + "/" + m.Person})
	request.Attribute("description", []string{m.text()})
	return request
}

func (m mark) move(dn string) *goldap.ModifyRequest {
	request := goldap.NewModifyRequest(dn, nil)
	request.Replace("description", []string{m.text()})
	return request
}

func join(group, attribute, person string) *goldap.ModifyRequest {
	request := goldap.NewModifyRequest(group, nil)
	request.Add(attribute, []string{person})
	return request
}

// part takes the name out. A group of the standard classes cannot be without a
// member: the last one's place is taken, in the same step, by the subtree of marks,
// which is nobody and can never sign in.
func part(group *entry, attribute, name, marks string) *goldap.ModifyRequest {
	request := goldap.NewModifyRequest(group.dn, nil)
	if len(group.members) == 1 {
		request.Add(attribute, []string{marks})
	}
	request.Delete(attribute, []string{name})
	return request
}

// marked is the entry of a credential; made is nil where it does not say so.
type marked struct {
	dn   string
	made *mark
}

func (s *session) marks(base string, scope int, filter string) ([]marked, error) {
	request := goldap.NewSearchRequest(base, scope, goldap.NeverDerefAliases, 0, 0, false, filter, []string{"cn", "description"}, nil)
	answer, err := s.conn.SearchWithPaging(request, pageSize)
	if goldap.IsErrorWithCode(err, goldap.LDAPResultNoSuchObject) || err == nil && len(answer.Entries) == 0 {
		return nil, s.sees(s.of.Marks)
	}
	if err != nil {
		return nil, failed(err)
	}
	var found []marked
	for _, one := range answer.Entries {
		held := marked{dn: one.DN}
		var made mark
		if json.Unmarshal([]byte(one.GetAttributeValue("description")), &made) == nil && countersign.CheckID("grt", string(made.Grant)) == nil &&
			sameDN(one.DN, markDN(made.Credential, s.of.Marks)) {
			held.made = &made
		}
		found = append(found, held)
	}
	return found, nil
}

// pageSize is below what servers give at once by default.
const pageSize = 500

func (s *session) readMark(credential countersign.CredentialID) (*marked, error) {
	found, err := s.marks(markDN(credential, s.of.Marks), goldap.ScopeBaseObject, "(objectClass=*)")
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// marksOn are the marks that a membership has.
func (s *session) marksOn(group, person string) ([]marked, error) {
	found, err := s.marks(s.of.Marks, goldap.ScopeSingleLevel, "(serialNumber="+goldap.EscapeFilter(group+"/"+person)+")")
	return slices.DeleteFunc(found, func(one marked) bool {
		return one.made == nil || one.made.Group != group || one.made.Person != person
	}), err
}

// differs says in what the mark is not for exactly what the task asks for, or "".
func (m *marked) differs(task connector.Task, person, group *entry) string {
	switch {
	case m.made == nil:
		return "countersign did not make it"
	case !m.made.MadeFor(task):
		return fmt.Sprintf("it was made for %s on %s for %s, under %s", m.made.Entitlement, m.made.Resource, m.made.Holder, m.made.Grant)
	case m.made.Group != group.uuid:
		return "the group was made anew since"
	case m.made.Person != person.uuid:
		return "the entry of the person was made anew since"
	}
	return ""
}

func (s *session) lookUp(task connector.Task) (*marked, connector.Reading, error) {
	held, err := s.readMark(task.Credential)
	if err != nil {
		return nil, connector.Reading{}, err
	}
	reading := connector.Reading{How: "a search for " + markDN(task.Credential, s.of.Marks)}
	if held == nil {
		reading.How += ": no such entry"
		return nil, reading, nil
	}
	reading.Present, reading.Reference = true, string(task.Credential)
	if held.made != nil {
		reading.Until = held.made.Until
		reading.Reference = "entryUUID " + held.made.Person + " in the group " + held.made.Group
		reading.How += fmt.Sprintf(": made for %s on %s for %s", held.made.Entitlement, held.made.Resource, held.made.Holder)
	}
	return held, reading, nil
}

func (s *session) verify(task connector.Task) (connector.Reading, error) {
	held, reading, err := s.lookUp(task)
	if err != nil || held == nil {
		return reading, err
	}
	wrong := "countersign did not make it"
	if held.made != nil && !held.made.MadeFor(task) {
		wrong = held.differs(task, nil, nil)
	} else if held.made != nil {
		person, group, refused := s.offered(task)
		var failure *connector.Failure
		switch {
		case errors.As(refused, &failure) && failure.Kind == connector.Rejected:
			wrong = failure.Error()
		case refused != nil:
			return connector.Reading{}, refused
		default:
			if wrong = held.differs(task, person, group); wrong == "" && !group.has(person.dn) {
				wrong = person.dn + " is no member of " + group.dn
			}
			reading.How += "; and the " + s.of.MemberAttribute + " values of " + group.dn
		}
	}
	if wrong != "" {
		reading.Present = false
		reading.How += ", which is not what was asked for: " + wrong
	}
	return reading, nil
}

// pages shows every entry that the filter finds, and keeps none.
func (s *session) pages(ctx context.Context, base, filter string, attributes []string, each func(*goldap.Entry) error) error {
	paging := goldap.NewControlPaging(pageSize)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		request := goldap.NewSearchRequest(base, goldap.ScopeWholeSubtree, goldap.NeverDerefAliases, 0, 0, false, filter, attributes, []goldap.Control{paging})
		answer, err := s.conn.Search(request)
		if err != nil {
			return failed(err)
		}
		for _, one := range answer.Entries {
			if err := each(one); err != nil {
				return err
			}
		}
		next, _ := goldap.FindControl(answer.Controls, goldap.ControlTypePaging).(*goldap.ControlPaging)
		if next == nil || len(next.Cookie) == 0 {
			return nil
		}
		paging.SetCookie(next.Cookie)
	}
}

func rdn(dn string) (name, parent string) {
	parsed, err := goldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) < 2 || len(parsed.RDNs[0].Attributes) != 1 || len(parsed.RDNs[1].Attributes) != 1 {
		return dn, ""
	}
	if above := parsed.RDNs[1].Attributes[0]; strings.EqualFold(above.Type, "ou") {
		parent = above.Value
	}
	return parsed.RDNs[0].Attributes[0].Value, parent
}
