// Package countersign holds the nouns of the house: typed ids, instants,
// canonical bytes, errors, the event envelope, and the things that events are
// about (identities, systems, requests, grants, intents).
//
// It reads no clock, no randomness and no disk, and it imports no other room:
// a law that reads the world cannot be replayed. What it settles (ids,
// canonical bytes, digests, the event header) enters hashes and contracts, so a
// change here is a new version of an encoding, never an edit of an old one.
package countersign
