package countersign

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxInteger is the largest integer that every JSON reader keeps exactly.
const maxInteger = 1<<53 - 1

// Canonical returns the one byte form of v that enters hashes: RFC 8785 with
// the further rules that there are no floats, integers lie within ±(2^53-1),
// no object has a name twice, and invalid UTF-8 is refused. Times and durations
// take their form from Instant and Seconds.
func Canonical(v any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("canonical bytes: %w", err)
	}
	return canonicalize(buffer.Bytes())
}

// CanonicalJSON brings one JSON text into canonical form, or says why it has none.
func CanonicalJSON(text []byte) ([]byte, error) {
	if !json.Valid(text) {
		var value any
		err := json.Unmarshal(text, &value)
		return nil, fmt.Errorf("canonical bytes: not one JSON value: %w", err)
	}
	return canonicalize(text)
}

// canonicalize is CanonicalJSON of what is known to be one JSON value, as what an
// encoder wrote is.
func canonicalize(text []byte) ([]byte, error) {
	c := canonicalizer{text: text}
	out, err := c.value(make([]byte, 0, len(text)), 0)
	if err != nil {
		return nil, fmt.Errorf("canonical bytes: %w", err)
	}
	return out, nil
}

// canonicalizer reads one JSON text that is known to be well-formed.
type canonicalizer struct {
	text []byte
	at   int
}

const maxDepth = 32

// peek returns the next byte that is no white space.
func (c *canonicalizer) peek() byte {
	for {
		switch b := c.text[c.at]; b {
		case ' ', '\t', '\n', '\r':
			c.at++
		default:
			return b
		}
	}
}

func (c *canonicalizer) value(out []byte, depth int) ([]byte, error) {
	switch first := c.peek(); first {
	case '"':
		return c.string(out)
	case '{', '[':
		if depth == maxDepth {
			return nil, fmt.Errorf("nested deeper than %d", maxDepth)
		}
		c.at++
		if first == '[' {
			return c.array(append(out, '['), depth+1)
		}
		return c.object(append(out, '{'), depth+1)
	case 't', 'n':
		c.at += 4
		return append(out, c.text[c.at-4:c.at]...), nil
	case 'f':
		c.at += 5
		return append(out, "false"...), nil
	default:
		start := c.at
		for c.at < len(c.text) && bytes.IndexByte([]byte("+-.0123456789Ee"), c.text[c.at]) >= 0 {
			c.at++
		}
		return appendInteger(out, string(c.text[start:c.at]))
	}
}

// string copies a text, or writes it anew where it holds escapes.
func (c *canonicalizer) string(out []byte) ([]byte, error) {
	start, escaped := c.at, false
	for c.at++; c.text[c.at] != '"'; c.at++ {
		if c.text[c.at] == '\\' {
			escaped = true
			c.at++
		}
	}
	c.at++
	source := c.text[start:c.at]
	if !utf8.Valid(source) {
		return nil, errNotUTF8
	}
	if !escaped {
		// A well-formed text without escapes has no control characters and no
		// quotes: it is its own canonical form.
		return append(out, source...), nil
	}
	var token string
	if err := json.Unmarshal(source, &token); err != nil {
		return nil, err
	}
	// encoding/json replaces what is no UTF-8, and halves of surrogate pairs, with
	// U+FFFD: in its output as the escape \ufffd, in its input silently. A real
	// U+FFFD arrives as its three bytes.
	if strings.Count(token, "\uFFFD") != bytes.Count(source, []byte("\uFFFD")) {
		return nil, errNotUTF8
	}
	return appendString(out, token), nil
}

var errNotUTF8 = errors.New("text is not valid UTF-8")

func (c *canonicalizer) array(out []byte, depth int) ([]byte, error) {
	for c.peek() != ']' {
		var err error
		if out, err = c.value(out, depth); err != nil {
			return nil, err
		}
		if c.peek() == ',' {
			c.at++
			out = append(out, ',')
		}
	}
	c.at++
	return append(out, ']'), nil
}

// object writes the members one after the other, and then in the order of their
// names where they did not come so.
func (c *canonicalizer) object(out []byte, depth int) ([]byte, error) {
	type member struct {
		name       string
		start, end int
	}
	var room [16]member
	members, begin, sorted := room[:0], len(out), true
	for c.peek() != '}' {
		start := len(out)
		var err error
		if out, err = c.string(out); err != nil {
			return nil, err
		}
		name := string(out[start+1 : len(out)-1])
		if strings.IndexByte(name, '\\') >= 0 {
			if err := json.Unmarshal(out[start:], &name); err != nil {
				return nil, err
			}
		}
		c.peek()
		c.at++ // the colon
		if out, err = c.value(append(out, ':'), depth); err != nil {
			return nil, err
		}
		members = append(members, member{name, start, len(out)})
		if last := len(members) - 1; last > 0 && !lessUTF16(members[last-1].name, name) {
			sorted = false
		}
		out = append(out, ',')
		if c.peek() == ',' {
			c.at++
		}
	}
	c.at++
	if len(members) == 0 {
		return append(out, '}'), nil
	}
	if !sorted {
		slices.SortStableFunc(members, func(a, b member) int {
			switch {
			case lessUTF16(a.name, b.name):
				return -1
			case lessUTF16(b.name, a.name):
				return 1
			}
			return 0
		})
		ordered := make([]byte, 0, len(out)-begin)
		for i, m := range members {
			if i > 0 && members[i-1].name == m.name {
				return nil, fmt.Errorf("the name %q stands twice in one object", m.name)
			}
			ordered = append(append(ordered, out[m.start:m.end]...), ',')
		}
		out = append(out[:begin], ordered...)
	}
	out[len(out)-1] = '}'
	return out, nil
}

func lessUTF16(a, b string) bool {
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] >= 0x80 || b[i] >= 0x80 {
			left, right := utf16.Encode([]rune(a)), utf16.Encode([]rune(b))
			for k := 0; k < len(left) && k < len(right); k++ {
				if left[k] != right[k] {
					return left[k] < right[k]
				}
			}
			return len(left) < len(right)
		}
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return len(a) < len(b)
}

func appendInteger(out []byte, number string) ([]byte, error) {
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > maxInteger || n < -maxInteger || number == "-0" {
		return nil, fmt.Errorf("the number %s is not an integer within ±(2^53-1)", Clip(number))
	}
	return strconv.AppendInt(out, n, 10), nil
}

// appendString writes the escapes of RFC 8785, section 3.2.2.2, and no others.
func appendString(out []byte, s string) []byte {
	out = append(out, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c >= 0x20:
			out = append(out, c)
		case c == '\b':
			out = append(out, '\\', 'b')
		case c == '\t':
			out = append(out, '\\', 't')
		case c == '\n':
			out = append(out, '\\', 'n')
		case c == '\f':
			out = append(out, '\\', 'f')
		case c == '\r':
			out = append(out, '\\', 'r')
		default:
			out = append(out, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		}
	}
	return append(out, '"')
}

// Digest names bytes: "sha256:" and 64 hexadecimal digits. Digests of different
// things carry different domain prefixes, so that one can never pass for another.
type Digest string

// DigestBytes is SHA-256("countersign/" ‖ domain ‖ "/v1\n" ‖ data).
func DigestBytes(domain string, data []byte) Digest {
	hash := sha256.New()
	hash.Write([]byte("countersign/" + domain + "/v1\n"))
	hash.Write(data)
	return Digest("sha256:" + hex.EncodeToString(hash.Sum(nil)))
}

// DigestOf is DigestBytes over the canonical bytes of v.
func DigestOf(domain string, v any) (Digest, error) {
	data, err := Canonical(v)
	if err != nil {
		return "", err
	}
	return DigestBytes(domain, data), nil
}
