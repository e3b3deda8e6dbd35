package connector

import "github.com/countersign/countersign"

// Mark is what a connector writes on a target beside what it makes: that it made
// it, and for what. What has no mark was made by somebody else.
type Mark struct {
	Grant       countersign.GrantID    `json:"grant"`
	Holder      countersign.IdentityID `json:"holder"`
	System      countersign.SystemID   `json:"system"`
	Resource    string                 `json:"resource"`
	Entitlement string                 `json:"entitlement"`
	Intent      countersign.IntentID   `json:"intent"`
	Attempt     int                    `json:"attempt"`
	Until       countersign.Instant    `json:"until,omitempty"`
}

// MarkOf is the mark of what the task makes.
func MarkOf(task Task) Mark {
	return Mark{
		Grant: task.Grant, Holder: task.Holder, System: task.System, Resource: task.Resource, Entitlement: task.Entitlement,
		Intent: task.Intent, Attempt: task.Attempt, Until: task.Until,
	}
}

// MadeFor says that what has the mark was made for what the task names.
func (m Mark) MadeFor(task Task) bool {
	return m.Grant == task.Grant && m.Holder == task.Holder && m.System == task.System && m.Resource == task.Resource && m.Entitlement == task.Entitlement
}

// Stays says that the task gives what has the mark no other end: the end is the
// same, or the task is an older attempt.
func (m Mark) Stays(task Task) bool {
	return m.Until == task.Until || m.Intent == task.Intent && m.Attempt >= task.Attempt
}

// Moved is the mark with the end that the task gives.
func (m Mark) Moved(task Task) Mark {
	m.Intent, m.Attempt, m.Until = task.Intent, task.Attempt, task.Until
	return m
}
