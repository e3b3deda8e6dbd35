package pdp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"unicode/utf8"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target"
)

// EvaluationPath is where the decision point answers.
const EvaluationPath = "/access/v1/evaluation"

// Bounds on what a caller may send: bytes, and levels of nesting.
const (
	maxBody  = 1 << 20
	maxDepth = 32
)

// answer is the response of AuthZEN; a deny is an answer like any other.
type answer struct {
	Decision bool          `json:"decision"`
	Context  answerContext `json:"context"`
}

type answerContext struct {
	Reason      Reason              `json:"reason,omitempty"`
	EvaluatedAt countersign.Instant `json:"evaluated_at"`
	// FreshnessMS is how old what the answer relies on may be; absent before the
	// first look at the shelf. FreshnessBoundMS is the age from which on the
	// answer is stale.
	FreshnessMS      *int64 `json:"freshness_ms,omitempty"`
	FreshnessBoundMS int64  `json:"freshness_bound_ms"`
}

// Evaluation is the Access Evaluation endpoint of AuthZEN Authorization API 1.0.
func (p *Point) Evaluation(callers target.Authenticator) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := r.Header.Get("X-Request-ID"); id != "" {
			w.Header().Set("X-Request-ID", id)
		}
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			target.Refuse(w, http.StatusMethodNotAllowed, "wrong-method", "use POST")
			return
		}
		if _, known := target.Caller(w, r, callers); !known {
			return
		}
		media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || media != "application/json" {
			target.Refuse(w, http.StatusBadRequest, "wrong-content-type", "send the evaluation as application/json")
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			target.RefuseBody(w, err)
			return
		}
		evaluation, err := ReadEvaluation(body)
		if err != nil {
			target.Refuse(w, http.StatusBadRequest, countersign.ReasonOf(err), err.Error())
			return
		}
		target.Answer(w, http.StatusOK, p.Evaluate(evaluation).answer())
	})
}

func (d Decision) answer() answer {
	written := answer{Decision: d.Allowed, Context: answerContext{
		Reason: d.Reason, EvaluatedAt: d.EvaluatedAt, FreshnessBoundMS: d.Bound.Milliseconds(),
	}}
	if d.FreshAt != 0 {
		age := d.Age.Milliseconds()
		written.Context.FreshnessMS = &age
	}
	return written
}

// ReadEvaluation reads an AuthZEN evaluation: members that are not known are
// ignored, as the text asks; a required one that is missing or of another type,
// a name that stands twice in one object, anything but one JSON object is an
// Invalid error. Names are matched letter by letter.
func ReadEvaluation(body []byte) (Evaluation, error) {
	top, err := strictObject(body)
	if err != nil {
		return Evaluation{}, err
	}
	var evaluation Evaluation
	type field struct {
		name string
		into *string
	}
	for _, part := range []struct {
		name   string
		fields []field
	}{
		{"subject", []field{{"type", &evaluation.SubjectType}, {"id", &evaluation.SubjectID}}},
		{"action", []field{{"name", &evaluation.Action}}},
		{"resource", []field{{"type", &evaluation.ResourceType}, {"id", &evaluation.ResourceID}}},
	} {
		entity, err := object(top, "/"+part.name, part.name)
		if err != nil {
			return Evaluation{}, err
		}
		if entity == nil {
			return Evaluation{}, malformed("the member %q is missing", part.name).At("/" + part.name)
		}
		if _, err := object(entity, "/"+part.name+"/properties", "properties"); err != nil {
			return Evaluation{}, err
		}
		for _, field := range part.fields {
			if err := text(entity, "/"+part.name+"/"+field.name, field.name, field.into); err != nil {
				return Evaluation{}, err
			}
		}
	}
	context, err := object(top, "/context", "context")
	if err != nil || evaluation.ResourceType != ToolType {
		return evaluation, err
	}
	return evaluation, readCall(top, context, &evaluation)
}

// readCall reads what only a call of a tool has: a scope, and who calls.
func readCall(top, context map[string]json.RawMessage, evaluation *Evaluation) error {
	if context["agent"] != nil {
		if err := text(context, "/context/agent", "agent", &evaluation.Agent); err != nil {
			return err
		}
	}
	action, err := object(top, "/action", "action")
	if err != nil {
		return err
	}
	properties, err := object(action, "/action/properties", "properties")
	if err != nil || properties["scope"] == nil {
		return err
	}
	return text(properties, "/action/properties/scope", "scope", &evaluation.Scope)
}

// object returns the member as an object; nil if it is not there.
func object(in map[string]json.RawMessage, place, name string) (map[string]json.RawMessage, error) {
	raw, there := in[name]
	if !there {
		return nil, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return nil, malformed("this must be an object").At(place)
	}
	return members, nil
}

func text(in map[string]json.RawMessage, place, name string, into *string) error {
	raw, there := in[name]
	if !there {
		return malformed("the member %q is missing", name).At(place)
	}
	if raw[0] != '"' || json.Unmarshal(raw, into) != nil || *into == "" {
		return malformed("this must be a text that is not empty").At(place)
	}
	return nil
}

func malformed(format string, args ...any) *countersign.Error {
	return countersign.Errorf(countersign.Invalid, "malformed-evaluation", format, args...)
}

// strictObject refuses what encoding/json would let pass: names that stand
// twice, text that is not UTF-8, deep nesting, and what follows the object.
func strictObject(body []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(body) {
		return nil, malformed("the body is not valid UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := walk(decoder, 0); err != nil {
		return nil, malformed("the body is not one JSON object: %v", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("something follows after the JSON object")
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(body, &top); err != nil || top == nil {
		return nil, malformed("the body is not a JSON object")
	}
	return top, nil
}

func walk(decoder *json.Decoder, depth int) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	opening, nested := token.(json.Delim)
	if !nested {
		return nil
	}
	if depth == maxDepth {
		return fmt.Errorf("it is nested deeper than %d", maxDepth)
	}
	seen := make(map[string]bool)
	for decoder.More() {
		if opening == '{' {
			name, err := decoder.Token()
			if err != nil {
				return err
			}
			if seen[name.(string)] {
				return fmt.Errorf("the name %q stands twice in one object", name)
			}
			seen[name.(string)] = true
		}
		if err := walk(decoder, depth+1); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}
