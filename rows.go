package countersign

// Row is a noun that is stored as a snapshot. It names the stream that it
// replays from, its key, and its version: the sequence number of the last event
// of the stream that touched it.
type Row interface {
	RowStream() Stream
	RowKey() string
	RowVersion() int64
}

// PolicyRow names the active policy set.
type PolicyRow struct {
	Version     int64   `json:"version"`
	Active      Digest  `json:"active"`
	ActivatedAt Instant `json:"activated_at"`
	// Emergency is set while a set is active that one person has put into force.
	Emergency *EmergencyPolicy `json:"emergency,omitempty"`
}

// EmergencyPolicy says who put the active set into force alone, and by which
// proposal.
type EmergencyPolicy struct {
	Proposal ProposalID `json:"proposal"`
	By       IdentityID `json:"by"`
}

// House is the row of the house itself.
type House struct {
	Version int64   `json:"version"`
	Name    string  `json:"name"`
	Founded Instant `json:"founded"`
	// Sample marks a house born from the sample organisation; it stays.
	Sample bool `json:"sample"`
}

func (i *Identity) RowStream() Stream    { return Stream(i.ID) }
func (i *Identity) RowKey() string       { return string(i.ID) }
func (i *Identity) RowVersion() int64    { return i.Version }
func (g *Group) RowStream() Stream       { return Stream(g.ID) }
func (g *Group) RowKey() string          { return string(g.ID) }
func (g *Group) RowVersion() int64       { return g.Version }
func (r *Record) RowStream() Stream      { return Stream(r.ID) }
func (r *Record) RowKey() string         { return string(r.ID) }
func (r *Record) RowVersion() int64      { return r.Version }
func (s *System) RowStream() Stream      { return Stream(s.ID) }
func (s *System) RowKey() string         { return string(s.ID) }
func (s *System) RowVersion() int64      { return s.Version }
func (e *Entitlement) RowStream() Stream { return Stream(e.System) }
func (e *Entitlement) RowKey() string    { return string(e.ID) }
func (e *Entitlement) RowVersion() int64 { return e.Version }
func (r *Request) RowStream() Stream     { return Stream(r.ID) }
func (r *Request) RowKey() string        { return string(r.ID) }
func (r *Request) RowVersion() int64     { return r.Version }
func (g *Grant) RowStream() Stream       { return Stream(g.ID) }
func (g *Grant) RowKey() string          { return string(g.ID) }
func (g *Grant) RowVersion() int64       { return g.Version }
func (p *PolicyRow) RowStream() Stream   { return StreamPolicy }
func (p *PolicyRow) RowKey() string      { return "policy" }
func (p *PolicyRow) RowVersion() int64   { return p.Version }
func (h *House) RowStream() Stream       { return StreamHouse }
func (h *House) RowKey() string          { return "house" }
func (h *House) RowVersion() int64       { return h.Version }
