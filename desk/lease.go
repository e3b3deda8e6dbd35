//go:build !shortlease

package desk

import "github.com/countersign/countersign"

// Lease is how long a claim of work lasts; OperationTime is how long after its
// claim an operation may write to a target. What lies between is the margin for
// a write that was on its way.
const (
	Lease         countersign.Seconds = 60
	OperationTime countersign.Seconds = 30
)
