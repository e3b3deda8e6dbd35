package countersign

// Rotates is a grant whose credential a request replaces.
type Rotates struct {
	Grant GrantID `json:"grant"`
	// Overlap is how long the older credential works beside the new one.
	Overlap Seconds `json:"overlap,omitempty"`
}

// Changes returns the grant that the request extends or rotates; "" where it asks
// for new access.
func (r *Request) Changes() GrantID {
	if r.Rotates != nil {
		return r.Rotates.Grant
	}
	return r.Extends
}

// Rotation is another credential that was approved. With its read-back the grant
// has the end of that credential, where it is later.
type Rotation struct {
	Request    RequestID    `json:"request"`
	Credential CredentialID `json:"credential"`
	// Duration counts from the claim of the operation; LatestEnd limits it.
	Duration  Seconds `json:"duration"`
	LatestEnd Instant `json:"latest_end,omitempty"`
	// Definition is the version of the entitlement that it was approved for.
	Definition string `json:"definition,omitempty"`
	// Live says that the new credential was read back: only the older ones are still
	// to go.
	Live bool `json:"live,omitempty"`
}

// Issuing reports whether an approved rotation's credential is not read back yet.
func (g *Grant) Issuing() bool { return g.Rotating != nil && !g.Rotating.Live }
