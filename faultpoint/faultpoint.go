// Package faultpoint names the moments at which a process is to die in tests of the
// real program.
//
// Reach is empty, and costs nothing, unless the program is built with the tag
// faultpoint; then COUNTERSIGN_FAULTPOINT=after-decision:3 kills the process by
// SIGKILL the third time that it comes to that point. It imports no room of the
// house and writes nothing.
package faultpoint

// Point is one moment.
type Point string

// What is done and what is not, at each point.
const (
	// BeforeDecision: an approve or deny was judged, and nothing of it is written.
	BeforeDecision Point = "before-decision"
	// AfterDecision: it is committed, and nobody was answered.
	AfterDecision Point = "after-decision"
	// AfterClaim: an intent is leased to this process, which has not looked at it.
	AfterClaim Point = "after-claim"
	// BeforeApply: the task is made, and the target was told nothing.
	BeforeApply Point = "before-apply"
	// AfterApply: the target has done what it was told, and was not read back.
	AfterApply Point = "after-apply"
	// AfterIssue: a certificate is signed, and nothing of its deployment is written.
	AfterIssue Point = "after-issue"
	// AfterDeploy: it was given to the deploy program, and nobody has looked.
	AfterDeploy Point = "after-deploy"
	// AfterRestore: the former certificate was put back, and nothing of it is written.
	AfterRestore Point = "after-restore"
	// AfterAccount: an account is made in the registry, and its secret lies nowhere else.
	AfterAccount Point = "after-account"
	// AfterDeposit: its secret lies in the vault, and the registry does not know.
	AfterDeposit Point = "after-deposit"
	// AfterRevoke: the target has taken away, and was not read back.
	AfterRevoke Point = "after-revoke"
	// BeforeObserve: the target was read back, and nothing of it is written.
	BeforeObserve Point = "before-observe"
	// AfterObserve: what was read back is committed.
	AfterObserve Point = "after-observe"
	// InSweep: some grants of a sweep are judged, and nothing of it is written.
	InSweep Point = "in-sweep"
	// InBatch: some requests of a batch are opened, and others are not.
	InBatch Point = "in-batch"
)
