package policy

import (
	"encoding/json"

	"github.com/countersign/countersign"
)

// Asking is what somebody asks for, before anything was looked up.
type Asking struct {
	// Type names the request type; "" lets the set find the one that matches.
	Type        string
	Requester   countersign.IdentityID
	Beneficiary countersign.IdentityID
	Reason      string
	// Duration and Until are alternatives; both zero means the type's default.
	Duration countersign.Seconds
	Until    countersign.Instant
	Answers  json.RawMessage
	// Evidence names the slots that are filled already.
	Evidence []string
}

// Query is one thing that a judgement needs to know. Exactly one field is set.
type Query struct {
	// Approvers is an approver rule, as "manager-of(requester)" or
	// "group(security)"; the answer is Facts.Approvers under the same text.
	Approvers string
	// Record is the key of a system record that an answer names; the answer is
	// Facts.Records under the same text.
	Record string
	// OpenRequests asks for the holder's open requests of the type; the answer is
	// Facts.OpenRequests.
	OpenRequests bool
	// Held asks for what everybody holds who counts as one person with the
	// beneficiary; the answer is Facts.Held.
	Held bool
	// Eligible asks which of the items the beneficiary has an eligible assignment
	// for, and which reviews of earlier use are overdue; the answers are
	// Facts.Eligible and Facts.OverdueReviews.
	Eligible bool
	// Ticket asks a source; the answer is Facts.Tickets under the name of the slot.
	Ticket TicketQuery
}

// Facts is the complete typed input of a judgement. It is kept with the
// request's event, so that the judgement can be taken again.
type Facts struct {
	Now         countersign.Instant `json:"now"`
	Requester   Party               `json:"requester"`
	Beneficiary Party               `json:"beneficiary"`
	// Answering are the owner and the sponsor of a beneficiary that is an agent.
	Answering []Party `json:"answering,omitempty"`
	// Items are the entitlements asked for; at least one.
	Items []Item `json:"items"`

	// Rotates says that a live grant is to get another credential, and nobody new access.
	Rotates bool `json:"rotates,omitempty"`

	Reason   string              `json:"reason"`
	Duration countersign.Seconds `json:"duration,omitempty"`
	Until    countersign.Instant `json:"until,omitempty"`
	Answers  json.RawMessage     `json:"answers,omitempty"`
	// Evidence names the slots that are filled.
	Evidence []string `json:"evidence,omitempty"`

	// Approvers answers each approver rule of the type with who it finds today,
	// active or not; a rule that finds nobody has an empty list.
	Approvers map[string][]Candidate `json:"approvers"`
	Records   map[string]RecordFact  `json:"records,omitempty"`
	// OpenRequests counts the holder's open requests of the type, this one not
	// included.
	OpenRequests int `json:"open_requests"`
	// SamePerson says who counts as the requester or the beneficiary for
	// separation of duties, and why ("the requester", "the owner of svc-billing").
	SamePerson map[countersign.IdentityID]string `json:"same_person"`
	// Held is what everybody who counts as one person with the beneficiary holds
	// now, this request's own grants not included.
	Held []HeldItem `json:"held,omitempty"`
	// Eligible are the items that the beneficiary has an eligible assignment for.
	Eligible       []countersign.EntitlementID `json:"eligible,omitempty"`
	OverdueReviews []OverdueReview             `json:"overdue_reviews,omitempty"`
	// Tickets answers for each evidence slot that names a ticket, at submit.
	Tickets map[string]TicketFact `json:"tickets,omitempty"`
	// Exception is the exception that is asked for; nil for none.
	Exception *ExceptionFact `json:"exception,omitempty"`
}

// Party is an identity as policies see it.
type Party struct {
	ID          countersign.IdentityID   `json:"id"`
	Kind        countersign.IdentityKind `json:"kind"`
	Name        string                   `json:"name"`
	Active      bool                     `json:"active"`
	Affiliation countersign.Affiliation  `json:"affiliation,omitempty"`
	Environment string                   `json:"environment,omitempty"`
	Teams       []string                 `json:"teams"`
	// Groups are the names of all groups that the identity is in, nested included.
	Groups []string `json:"groups"`
	// ContractEnd limits every grant of the party; 0 means none.
	ContractEnd countersign.Instant `json:"contract_end,omitempty"`
	// LastConfirmed is when the owner of an NHI confirmed it; 0 means never.
	LastConfirmed countersign.Instant `json:"last_confirmed,omitempty"`
	// Owner and Sponsor are the accountable people of an NHI or outsider; "" if none.
	Owner   countersign.IdentityID `json:"owner,omitempty"`
	Sponsor countersign.IdentityID `json:"sponsor,omitempty"`
	Purpose string                 `json:"purpose,omitempty"`
	// Record is the key of the NHI's system record; "" if none.
	Record string `json:"record,omitempty"`
}

// Item is one entitlement with the resource and system that it belongs to.
type Item struct {
	Entitlement EntitlementFact `json:"entitlement"`
	Resource    ResourceFact    `json:"resource"`
}

// EntitlementFact is an entitlement as policies see it.
type EntitlementFact struct {
	ID          countersign.EntitlementID   `json:"id"`
	Name        string                      `json:"name"`
	Kind        countersign.EntitlementKind `json:"kind"`
	Risk        countersign.Risk            `json:"risk"`
	MaxDuration countersign.Seconds         `json:"max_duration,omitempty"`
}

// ResourceFact is a resource as policies see it, with what it has from its system.
type ResourceFact struct {
	Name        string           `json:"name"`
	System      string           `json:"system"`
	Connector   string           `json:"connector"`
	Environment string           `json:"environment"`
	Risk        countersign.Risk `json:"risk"`
}

// Candidate is somebody whom an approver rule finds.
type Candidate struct {
	ID     countersign.IdentityID `json:"id"`
	Name   string                 `json:"name"`
	Active bool                   `json:"active"`
	Human  bool                   `json:"human"`
	// Path says how the rule found the person, as ["security", "security-eu"]
	// for a member of a nested group.
	Path []string `json:"path,omitempty"`
	// OnBehalfOf is whom the person stands in for by a delegation; "" for nobody.
	OnBehalfOf countersign.IdentityID `json:"on_behalf_of,omitempty"`
}

// RecordFact is a system record as policies see it.
type RecordFact struct {
	Key         string                 `json:"key"`
	Found       bool                   `json:"found"`
	Owner       countersign.IdentityID `json:"owner,omitempty"`
	Environment string                 `json:"environment,omitempty"`
	Scopes      []string               `json:"scopes,omitempty"`
	Retired     bool                   `json:"retired,omitempty"`
}
