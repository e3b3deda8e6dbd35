// Package cli is the command line: it starts the house (serve), plays the tour,
// and is a door for people and scripts, which calls the API like any other
// client.
//
// It is the only room of ours that reads the clock. It decides nothing: what a
// command may do is decided by the desk behind the API. Commands that work on
// the host (serve, init, migrate, token, audit) need the house's data folder, or
// its database and key file.
package cli
