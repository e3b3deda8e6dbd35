package countersign

import (
	"errors"
	"fmt"
	"strings"
)

// Kind is the closed list of what can go wrong, as far as a caller must know
// to act. Doors turn it into a status in one place.
type Kind string

const (
	// Invalid: what was sent is malformed or breaks a rule about its form.
	Invalid Kind = "invalid"
	// Unauthenticated: nobody known is calling.
	Unauthenticated Kind = "unauthenticated"
	// Refused: the caller is known and may not do this, or policy refuses it.
	Refused Kind = "refused"
	// NotFound: there is no such thing, or the caller may not know of it.
	NotFound Kind = "not-found"
	// Conflict: the thing changed meanwhile, or is in a state that excludes this.
	Conflict Kind = "conflict"
	// Moved: the route shown in the preview is not the route of today.
	Moved Kind = "moved"
	// TooLarge: a limit on size or number was passed.
	TooLarge Kind = "too-large"
	// TooMany: a limit on rate was passed; try again later.
	TooMany Kind = "too-many"
	// Unavailable: the house cannot answer now (draining, clock off, database away).
	Unavailable Kind = "unavailable"
	// Internal: a fault of ours.
	Internal Kind = "internal"
)

// Error is the one error type that crosses rooms. Reason is a stable name in
// kebab case (a contract with scripts); Message is a sentence for a person that
// says what, where, and what would be right.
type Error struct {
	Kind    Kind
	Reason  string
	Message string
	// Field is the place in what was sent, as a JSON pointer or a flag; may be "".
	Field string
	// Detail carries what a door shows beside the message; may be nil.
	Detail any

	cause error
}

func (e *Error) Error() string {
	if e.Field != "" {
		return strings.TrimPrefix(e.Field, "/") + ": " + e.Message
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.cause }

// At returns a copy of the error that names the place it is about.
func (e *Error) At(field string) *Error {
	copied := *e
	copied.Field = field
	return &copied
}

// With returns a copy of the error that carries detail.
func (e *Error) With(detail any) *Error {
	copied := *e
	copied.Detail = detail
	return &copied
}

// Because returns a copy of the error that wraps its cause.
func (e *Error) Because(cause error) *Error {
	copied := *e
	copied.cause = cause
	return &copied
}

// Errorf builds an Error.
func Errorf(kind Kind, reason, format string, args ...any) *Error {
	return &Error{Kind: kind, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the first Error in err's chain, Internal for any
// other error, and "" for nil.
func KindOf(err error) Kind {
	var known *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &known):
		return known.Kind
	default:
		return Internal
	}
}

// ReasonOf returns the reason of the first Error in err's chain, or "".
func ReasonOf(err error) string {
	var known *Error
	if errors.As(err, &known) {
		return known.Reason
	}
	return ""
}
