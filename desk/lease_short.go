//go:build shortlease

package desk

import "github.com/countersign/countersign"

// A tenth of the times of lease.go: a test that kills the program waits for leases.
const (
	Lease         countersign.Seconds = 6
	OperationTime countersign.Seconds = 3
)
