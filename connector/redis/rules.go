package redis

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/connector"
	vaulthands "github.com/countersign/countersign/connector/vault"
)

// rules are what a user may do: no command but those, in the order of the text,
// because each rule changes what those before it gave.
type rules struct{ commands, keys, channels []string }

var (
	commandRule = regexp.MustCompile(`^[+-](@[a-z]+|[a-z][a-z0-9_.-]*(\|[a-z][a-z0-9_-]*)?)$`)
	// patterns are printable ASCII; a blank ends them.
	keyRule     = regexp.MustCompile(`^(%[RW])?~[!-~]+$`)
	channelRule = regexp.MustCompile(`^&[!-~]+$`)
)

// settingBegin begins the settings that say what an entitlement is on the server.
const settingBegin = "acl."

// parseRules takes exactly those rules of ACL SETUSER that give or take away
// commands, keys and channels. Who can sign in, and how, is the connector's.
func parseRules(text string) (rules, error) {
	var r rules
	gives := false
	for _, word := range strings.Fields(text) {
		list := &r.commands
		switch {
		case commandRule.MatchString(strings.ToLower(word)):
			word = strings.ToLower(word)
			gives = gives || word[0] == '+'
			if strings.HasSuffix(word, "@all") {
				return rules{}, rejected("%q is not given: name categories, as in +@read; nothing is allowed that no rule names", word)
			}
		case keyRule.MatchString(word):
			list = &r.keys
		case channelRule.MatchString(word):
			list = &r.channels
		default:
			return rules{}, rejected("%q is no rule: write +command, -command, +@category, ~keys, %%R~keys, %%W~keys or &channels", word)
		}
		if slices.Contains(*list, word) {
			return rules{}, rejected("%q stands twice", word)
		}
		*list = append(*list, word)
	}
	for _, all := range []struct {
		pattern string
		of      []string
	}{{"~*", r.keys}, {"&*", r.channels}} {
		if slices.Contains(all.of, all.pattern) && len(all.of) > 1 {
			return rules{}, rejected("%q is everything, so nothing can stand beside it", all.pattern)
		}
	}
	if !gives {
		return rules{}, rejected("no rule gives a command, as +get or +@read do")
	}
	return r, nil
}

func (r rules) all() []string { return slices.Concat(r.keys, r.channels, r.commands) }

// String is the rules in the order in which the server is told them.
func (r rules) String() string { return strings.Join(r.all(), " ") }

// rightOf are the rules that the settings have for the right.
func (c *Connector) rightOf(settings map[string]string, resource, entitlement string) (rules, error) {
	key := settingBegin + resource + "/" + entitlement
	text, there := settings[key]
	if !there {
		return rules{}, rejected("the system has no setting %q, which says what %s is, as in \"+@read ~%s:*\"", key, entitlement, resource)
	}
	right, err := parseRules(text)
	if err != nil {
		return rules{}, rejected("the setting %q: %v", key, err)
	}
	return right, nil
}

// check refuses what can be refused without asking the server.
func (c *Connector) check(task connector.Task) (vaulthands.Reading, rules, error) {
	if err := task.CheckRight(c.Describe()); err != nil {
		return vaulthands.Reading{}, rules{}, err
	}
	right, err := c.rightOf(task.Settings, task.Resource, task.Entitlement)
	if err != nil {
		return vaulthands.Reading{}, rules{}, err
	}
	rest := task
	rest.Settings = maps.Clone(task.Settings)
	maps.DeleteFunc(rest.Settings, func(key, _ string) bool { return strings.HasPrefix(key, settingBegin) })
	how, err := vaulthands.ReadingOf(c.Name, rest)
	return how, right, err
}

// needed are the commands without which what is given could not be taken back.
var needed = [][]any{{"acl", "getuser", "x"}, {"acl", "setuser", "x"}, {"acl", "deluser", "x"}, {"acl", "save"}}

// offered refuses what could not be given exactly, or not be taken away, and
// what would make somebody an administrator of the server.
func (c *Connector) offered(ctx context.Context, server *goredis.Client, task connector.Task, right rules) error {
	for _, command := range needed {
		answer, err := server.Do(ctx, append([]any{"acl", "dryrun", c.config.Username}, command...)...).Text()
		if err != nil {
			return failed(err)
		}
		if answer != "OK" {
			return rejected("the user %s of the connector %s cannot look after users on %s: %s", c.config.Username, c.Name, task.SystemName, answer)
		}
	}
	words := vocabulary{server: server, system: task.SystemName}
	given, err := words.effect(ctx, right.commands)
	if err != nil {
		return err
	}
	administers, err := words.members(ctx, "@admin")
	if err != nil {
		return err
	}
	for _, command := range administers {
		if given[command] {
			return rejected("%q gives %q, which administers the server and is never given: end the commands with -@admin", right, command)
		}
	}
	return nil
}

// vocabulary is what the server means by the names of commands and categories, as
// far as it was asked in one operation. The server shows the same commands in other
// words than it was told them, so commands are compared by what they come to.
type vocabulary struct {
	server *goredis.Client
	system string
	known  map[string][]string
}

// members are the commands that a name stands for: those of a category, the parts
// of a command that has parts, or the command.
func (v *vocabulary) members(ctx context.Context, name string) ([]string, error) {
	if members, known := v.known[name]; known {
		return members, nil
	}
	var members []string
	var err error
	if category, is := strings.CutPrefix(name, "@"); is {
		if category == "all" {
			members = []string{"@all"} // more than any list of names
		} else if members, err = v.server.Do(ctx, "acl", "cat", category).StringSlice(); err != nil {
			return nil, failed(err)
		}
	} else {
		about, err := v.server.Do(ctx, "command", "info", name).Slice()
		if err != nil {
			return nil, failed(err)
		}
		var fields []any
		if len(about) == 1 {
			fields, _ = about[0].([]any)
		}
		if len(fields) == 0 {
			return nil, rejected("the Redis server of %s has no command %q", v.system, name)
		}
		if len(fields) > partsOf {
			parts, _ := fields[partsOf].([]any)
			for _, part := range parts {
				if of, is := part.([]any); is && len(of) > 0 {
					members = append(members, fmt.Sprint(of[0]))
				}
			}
		}
		if members == nil {
			members = []string{name}
		}
	}
	if v.known == nil {
		v.known = map[string][]string{}
	}
	v.known[name] = members
	return members, nil
}

// partsOf is where COMMAND INFO has the parts of a command.
const partsOf = 9

// effect is the set of commands that the rules come to.
func (v *vocabulary) effect(ctx context.Context, commands []string) (map[string]bool, error) {
	given := map[string]bool{}
	for _, rule := range commands {
		if rule == nothing {
			clear(given)
			continue
		}
		members, err := v.members(ctx, rule[1:])
		if err != nil {
			return nil, err
		}
		for _, command := range members {
			if rule[0] == '+' {
				given[command] = true
			} else {
				delete(given, command)
			}
		}
	}
	return given, nil
}
