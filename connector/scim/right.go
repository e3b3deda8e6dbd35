package scim

import (
	"strings"
	"unicode"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// right is what an entitlement is on the server: a group by its id, or, without
// one, the account itself.
type right struct{ group string }

func (r right) String() string {
	if r.group == "" {
		return "the active account"
	}
	return "the membership in the group " + r.group
}

// thing is what a change of the right for the holder writes to.
func (r right) thing(holder countersign.IdentityID) string {
	if r.group == "" {
		return "user of " + string(holder)
	}
	return "group " + r.group
}

// The settings of a system: group.RESOURCE/ENTITLEMENT is the SCIM id of a group,
// account is the RESOURCE/ENTITLEMENT that is the account itself.
const (
	groupSetting   = "group."
	accountSetting = "account"
)

// rights reads the settings: which group is which right, and which is the account.
func rights(settings map[string]string) (groups map[string][2]string, account [2]string, err error) {
	groups = map[string][2]string{}
	for key, value := range settings {
		path, isGroup := strings.CutPrefix(key, groupSetting)
		switch {
		case isGroup:
			if err := checkID(value); err != nil {
				return nil, account, rejected("the setting %s: %v", key, err)
			}
			named, known := groups[value]
			if known {
				return nil, account, rejected("the settings name the group %s twice, for %s/%s and for %s: one right has one name", value, named[0], named[1], path)
			}
		case key == accountSetting:
			path = value
		default:
			return nil, account, rejected("the connector knows no setting %q: write %sRESOURCE/ENTITLEMENT: ID of a group, or %s: RESOURCE/ENTITLEMENT", key, groupSetting, accountSetting)
		}
		// Names of entitlements have no slash; those of resources may.
		slash := strings.LastIndexByte(path, '/')
		if slash < 1 || slash == len(path)-1 {
			return nil, account, rejected("the setting %s: %q is not RESOURCE/ENTITLEMENT", key, path)
		}
		if named := [2]string{path[:slash], path[slash+1:]}; isGroup {
			groups[value] = named
		} else {
			account = named
		}
	}
	return groups, account, nil
}

// right refuses what can be refused without asking the server.
func (c *Connector) right(task connector.Task) (right, error) {
	if err := task.CheckRight(c.Describe()); err != nil {
		return right{}, err
	}
	_, account, err := rights(task.Settings)
	if err != nil {
		return right{}, err
	}
	if task.Action == activateAccount {
		if account != [2]string{task.Resource, task.Entitlement} {
			return right{}, rejected("%s on %s is not the account of %s: its settings must say %s: %s/%s", task.Entitlement, task.Resource, task.SystemName, accountSetting, task.Resource, task.Entitlement)
		}
		return right{}, nil
	}
	if len(task.Parameters) > 0 {
		return right{}, rejected("%s takes no parameters; those are for %s", addMember, activateAccount)
	}
	key := groupSetting + task.Resource + "/" + task.Entitlement
	group, named := task.Settings[key]
	if !named {
		return right{}, rejected("the settings of %s do not say which group %s on %s is: set %s to its SCIM id", task.SystemName, task.Entitlement, task.Resource, key)
	}
	return right{group}, nil
}

// checkID refuses what could not be one part of a path.
func checkID(id string) error {
	if id == "" || id == "." || id == ".." || len(id) > 256 || strings.ContainsFunc(id, func(r rune) bool { return r == ' ' || !unicode.IsGraphic(r) }) {
		return rejected("%q is not the SCIM id of a user or group", countersign.Clip(id))
	}
	return nil
}
