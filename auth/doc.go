// Package auth says who is calling: it issues bearer tokens, recognises them,
// lists and revokes them.
//
// It keeps its own shelf, named "auth", and never reads the directory: whether
// the identity of a token may still act is asked of desk by the door. It imports
// neither desk nor a door. After Issue returns nil the token works until its end
// and the house's stream says who ordered it; after Revoke returns nil it never
// works again. The token's text is returned once and kept nowhere: the shelf
// holds its SHA-256.
package auth
