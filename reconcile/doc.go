// Package reconcile compares what a target holds with what the record says: one
// pass over the list, against the live grants by their marks and rights.
//
// It is pure: it reads no clock, no storage and no target. It imports the root and
// package connector for the form of an item. It knows what is missing only after
// the whole list was shown to it, which the caller vouches for.
package reconcile
