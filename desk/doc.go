// Package desk is the clerk: the only place where a command is authorised,
// judged, decided and committed.
//
// Each command follows one path: load the object and what policy needs to know,
// judge, decide, commit with guards on everything that the verdict relied on,
// push stops to the decision point, answer. A guard that changed meanwhile means
// that all of it is taken again, at most three times.
//
// It never imports a door, the engine, or a database driver, and it calls no
// target but to ask a connector what it would do. After a command returned nil
// its events, rows, intents and timers are durable in one transaction.
package desk
