package pdp

import (
	"bytes"
	"strconv"

	"github.com/countersign/countersign"
)

// decodePlain reads a record as put writes nearly all of them: members that are
// plain texts or a number, in any order. A replica reads every record before it
// answers anything, so that this is most of its start. Whatever is not plain is left
// to the general decoder: it says so by false, and the record is not to be used.
func decodePlain(body []byte) (held record, plain bool) {
	rest, opened := bytes.CutPrefix(body, []byte("{"))
	if !opened {
		return held, false
	}
	for {
		name, afterName, isText := plainText(rest)
		value, colon := bytes.CutPrefix(afterName, []byte(":"))
		if !isText || !colon {
			return held, false
		}
		if string(name) == "attempt" {
			end := bytes.IndexAny(value, ",}")
			if end < 1 || value[0] < '1' || value[0] > '9' {
				return held, false
			}
			attempt, err := strconv.Atoi(string(value[:end]))
			if err != nil {
				return held, false
			}
			held.Attempt, rest = attempt, value[end:]
		} else {
			text, afterText, isText := plainText(value)
			if !isText || !held.setPlain(string(name), text) {
				return held, false
			}
			rest = afterText
		}
		switch {
		case string(rest) == "}":
			return held, true
		case rest[0] != ',':
			return held, false
		}
		rest = rest[1:]
	}
}

// setPlain sets the member of that name; false if it is not one of those that put
// writes as a text.
func (r *record) setPlain(name string, text []byte) bool {
	switch name {
	case "intent":
		r.Intent = countersign.IntentID(text)
	case "grant":
		r.Grant = countersign.GrantID(text)
	case "subject":
		r.Subject = countersign.IdentityID(text)
	case "action":
		r.Action = string(text)
	case "system":
		r.System = countersign.SystemID(text)
	case "entitlement":
		r.Entitlement = countersign.EntitlementID(text)
	case "resource":
		r.Resource = string(text)
	case "until":
		return r.Until.UnmarshalText(text) == nil
	default:
		return false
	}
	return true
}

// plainText returns the text at the beginning, and what follows it; false for one that
// is anything but printable ASCII without escapes, or that nothing follows.
func plainText(from []byte) (text, rest []byte, plain bool) {
	if len(from) == 0 || from[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(from)-1; i++ {
		switch c := from[i]; {
		case c == '"':
			return from[1:i], from[i+1:], true
		case c == '\\' || c < ' ' || c > '~':
			return nil, nil, false
		}
	}
	return nil, nil, false
}
