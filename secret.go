package countersign

import "log/slog"

// Secret is text that must never reach a log, an event or a message. It prints
// and marshals as "[redacted]"; Reveal is the one way to its content.
type Secret struct{ content string }

// NewSecret wraps content.
func NewSecret(content string) Secret { return Secret{content} }

// Reveal returns the content. Call it only where it goes to its one reader.
func (s Secret) Reveal() string { return s.content }

const redacted = "[redacted]"

func (s Secret) String() string               { return redacted }
func (s Secret) GoString() string             { return redacted }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
