package ldap

import (
	"context"
	"fmt"
	"slices"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connector"
)

// byOthers returns the group that the task names, and the name under which its
// principal is a member there without a mark of ours; nil and "" for neither.
func (s *session) byOthers(task connector.Task) (group *entry, member string, err error) {
	groups, err := s.find("ou="+goldap.EscapeDN(task.Resource)+","+s.of.Groups, goldap.ScopeSingleLevel, "(&(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames))(cn="+goldap.EscapeFilter(task.Entitlement)+"))")
	if err != nil || len(groups) == 0 {
		return nil, "", err
	}
	if len(groups) > 1 {
		return nil, "", rejected("several groups are cn=%s in ou=%s below %s of %s: exactly one must be there", task.Entitlement, task.Resource, s.of.Groups, task.SystemName)
	}
	// A person is named by the entryUUID, whatever else is a member by its name.
	name := task.Principal
	person, err := s.byUUID(s.of.People, task.Principal)
	if err != nil {
		return nil, "", err
	}
	if person != nil {
		name = person.dn
	}
	at := slices.IndexFunc(groups[0].members, func(member string) bool { return sameDN(member, name) })
	if at < 0 || sameDN(name, s.of.Marks) {
		return groups[0], "", nil
	}
	marks, err := s.marksOn(groups[0].uuid, task.Principal)
	if err != nil || len(marks) > 0 {
		return groups[0], "", err
	}
	return groups[0], groups[0].members[at], nil
}

// Remove implements connector.Remover. The entry of the person stays.
func (c *Connector) Remove(ctx context.Context, task connector.Task) error {
	defer c.apart.Alone(string(task.Holder))()
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	server, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer server.hangUp()
	group, member, err := server.byOthers(task)
	if err != nil || member == "" {
		return err
	}
	return server.write(ctx, task, part(group, c.MemberAttribute, member, c.Marks))
}

// Held implements connector.Remover.
func (c *Connector) Held(ctx context.Context, task connector.Task) (connector.Reading, error) {
	server, err := c.connect(ctx)
	if err != nil {
		return connector.Reading{}, err
	}
	defer server.hangUp()
	group, member, err := server.byOthers(task)
	if err == nil {
		// What somebody may not see would pass for gone.
		err = server.sees(c.Groups)
	}
	if err != nil {
		return connector.Reading{}, err
	}
	reading := connector.Reading{Present: member != "", Reference: "entryUUID " + task.Principal, How: fmt.Sprintf("a search for %s in the group cn=%s", task.Principal, task.Entitlement)}
	switch {
	case group == nil:
		reading.How += ": no such group"
	case member == "":
		reading.How += ": no member of it without a mark"
	}
	return reading, nil
}
