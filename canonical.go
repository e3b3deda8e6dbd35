package countersign

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"
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
	return CanonicalJSON(buffer.Bytes())
}

// CanonicalJSON brings one JSON text into canonical form, or says why it has none.
func CanonicalJSON(text []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	c := canonicalizer{decoder: decoder, text: text}
	out, err := c.value(make([]byte, 0, len(text)), 0)
	if err != nil {
		return nil, fmt.Errorf("canonical bytes: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("canonical bytes: more than one JSON value")
	}
	return out, nil
}

type canonicalizer struct {
	decoder *json.Decoder
	text    []byte
}

const maxDepth = 32

func (c canonicalizer) value(out []byte, depth int) ([]byte, error) {
	start := c.decoder.InputOffset()
	token, err := c.decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case nil:
		return append(out, "null"...), nil
	case bool:
		return strconv.AppendBool(out, token), nil
	case json.Number:
		return appendInteger(out, token)
	case string:
		if err := c.checkText(start, token); err != nil {
			return nil, err
		}
		return appendString(out, token), nil
	case json.Delim:
		if depth == maxDepth {
			return nil, fmt.Errorf("nested deeper than %d", maxDepth)
		}
		if token == '[' {
			return c.array(out, depth+1)
		}
		return c.object(out, depth+1)
	default:
		return nil, fmt.Errorf("unexpected token %v", token)
	}
}

func (c canonicalizer) array(out []byte, depth int) ([]byte, error) {
	out = append(out, '[')
	for first := true; c.decoder.More(); first = false {
		if !first {
			out = append(out, ',')
		}
		var err error
		if out, err = c.value(out, depth); err != nil {
			return nil, err
		}
	}
	_, err := c.decoder.Token()
	return append(out, ']'), err
}

func (c canonicalizer) object(out []byte, depth int) ([]byte, error) {
	type member struct {
		name  string
		value []byte
	}
	var members []member
	for c.decoder.More() {
		start := c.decoder.InputOffset()
		token, err := c.decoder.Token()
		if err != nil {
			return nil, err
		}
		name := token.(string)
		if err := c.checkText(start, name); err != nil {
			return nil, err
		}
		value, err := c.value(nil, depth)
		if err != nil {
			return nil, err
		}
		members = append(members, member{name, value})
	}
	if _, err := c.decoder.Token(); err != nil {
		return nil, err
	}
	sort.SliceStable(members, func(i, j int) bool { return lessUTF16(members[i].name, members[j].name) })
	out = append(out, '{')
	for i, m := range members {
		if i > 0 {
			if members[i-1].name == m.name {
				return nil, fmt.Errorf("the name %q stands twice in one object", m.name)
			}
			out = append(out, ',')
		}
		out = append(appendString(out, m.name), ':')
		out = append(out, m.value...)
	}
	return append(out, '}'), nil
}

// checkText refuses text that was not valid UTF-8. encoding/json replaces an
// invalid byte with U+FFFD: in its output as the escape \ufffd, in its input
// silently. A real U+FFFD arrives as its three bytes, so a replacement that has
// no such bytes in the source is a damaged text.
func (c canonicalizer) checkText(start int64, token string) error {
	wanted := strings.Count(token, "\uFFFD")
	if wanted == 0 {
		return nil
	}
	source := c.text[start:c.decoder.InputOffset()]
	if bytes.Count(source, []byte("\uFFFD")) != wanted {
		return fmt.Errorf("text is not valid UTF-8")
	}
	return nil
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

func appendInteger(out []byte, number json.Number) ([]byte, error) {
	n, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil || n > maxInteger || n < -maxInteger || string(number) == "-0" {
		return nil, fmt.Errorf("the number %s is not an integer within ±(2^53-1)", Clip(string(number)))
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
