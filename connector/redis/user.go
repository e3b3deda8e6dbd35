package redis

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// A user of Redis has no place for a comment. It may have further selectors, each
// a set of rules of its own: one with a key pattern and no command allows nothing,
// and is shown, kept and removed with the user. Its pattern is the mark.
const (
	markBegin = "~countersign:made:"
	nothing   = "-@all"
)

// mark is what was made, for whom, and with which password, by its hash.
type mark struct {
	connector.Mark
	Credential countersign.CredentialID `json:"credential"`
	Password   string                   `json:"password"`
}

func (m mark) selector() string {
	text, err := json.Marshal(m)
	if err != nil {
		// A struct of strings and numbers always marshals.
		panic("redis: " + err.Error())
	}
	return "(" + markBegin + base64.RawURLEncoding.EncodeToString(text) + " " + nothing + ")"
}

// user is a user as the server has it.
type user struct {
	name                     string
	flags, passwords         []string
	commands, keys, channels string
	selectors                int
	// made is nil where no selector says that this credential made the user.
	made *mark
}

// read returns the user, nil where there is none.
func read(ctx context.Context, server *goredis.Client, name string) (*user, error) {
	answer, err := server.Do(ctx, "acl", "getuser", name).Slice()
	if errors.Is(err, goredis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, failed(err)
	}
	found := &user{name: name}
	for key, value := range pairs(answer) {
		switch key {
		case "flags":
			found.flags = texts(value)
		case "passwords":
			found.passwords = texts(value)
		case "commands":
			found.commands, _ = value.(string)
		case "keys":
			found.keys, _ = value.(string)
		case "channels":
			found.channels, _ = value.(string)
		case "selectors":
			list, _ := value.([]any)
			found.selectors = len(list)
			for _, selector := range list {
				fields, _ := selector.([]any)
				if made := readMark(pairs(fields)); made != nil && string(made.Credential) == name {
					found.made = made
				}
			}
		}
	}
	return found, nil
}

func readMark(selector map[string]any) *mark {
	keys, _ := selector["keys"].(string)
	text, is := strings.CutPrefix(keys, markBegin)
	if !is || selector["commands"] != nothing || selector["channels"] != "" {
		return nil
	}
	content, err := base64.RawURLEncoding.DecodeString(text)
	var made mark
	if err != nil || json.Unmarshal(content, &made) != nil || countersign.CheckID("grt", string(made.Grant)) != nil || countersign.CheckID("crd", string(made.Credential)) != nil {
		return nil
	}
	return &made
}

// pairs reads a map of the server's, which comes as a list of names and values.
func pairs(list []any) map[string]any {
	read := map[string]any{}
	for i := 0; i+1 < len(list); i += 2 {
		if name, is := list[i].(string); is {
			read[name] = list[i+1]
		}
	}
	return read
}

func texts(value any) []string {
	var all []string
	list, _ := value.([]any)
	for _, one := range list {
		if text, is := one.(string); is {
			all = append(all, text)
		}
	}
	return all
}

// does is what the user may do, in the words of a setting.
func (u *user) does() string {
	return strings.Join(strings.Fields(u.keys+" "+u.channels+" "+strings.TrimPrefix(u.commands, nothing)), " ")
}

func (u *user) describe() string {
	text := fmt.Sprintf("%s, %d passwords, %s", strings.Join(u.flags, " "), len(u.passwords), u.does())
	if u.made != nil {
		text += fmt.Sprintf(", made for %s on %s for %s", u.made.Entitlement, u.made.Resource, u.made.Holder)
	}
	return text
}

// differs says in what the user is not exactly what the task asks for, or "".
func (u *user) differs(ctx context.Context, server *goredis.Client, task connector.Task, right rules) (string, error) {
	switch {
	case u.made == nil:
		return "countersign did not make it", nil
	case !u.made.MadeFor(task):
		return fmt.Sprintf("it was made for %s on %s for %s, under %s", u.made.Entitlement, u.made.Resource, u.made.Holder, u.made.Grant), nil
	case !slices.Contains(u.flags, "on"), slices.Contains(u.flags, "nopass"):
		return "whether and how it can sign in was changed to " + strings.Join(u.flags, " "), nil
	case !slices.Equal(u.passwords, []string{u.made.Password}):
		return "its password was changed", nil
	}
	same, err := u.may(ctx, &vocabulary{server: server, system: task.SystemName}, right)
	if err != nil || same {
		return "", err
	}
	return fmt.Sprintf("it may %q, and not %q", u.does(), right), nil
}

// may says that the user may do exactly that, and has no rules beside.
func (u *user) may(ctx context.Context, words *vocabulary, right rules) (bool, error) {
	if u.selectors != 1 || u.keys != strings.Join(right.keys, " ") || u.channels != strings.Join(right.channels, " ") {
		return false, nil
	}
	is, err := words.effect(ctx, strings.Fields(u.commands))
	if err != nil {
		return false, err
	}
	wanted, err := words.effect(ctx, right.commands)
	return maps.Equal(is, wanted), err
}
