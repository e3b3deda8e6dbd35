package desk

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/audit"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// Verification is what a check of the record found.
type Verification struct {
	Streams int64 `json:"streams"`
	Events  int64 `json:"events"`
	Rows    int64 `json:"rows"`
	// Findings name each place that is not as it should be; empty means that all
	// of it is.
	Findings []string `json:"findings"`
}

// maxFindings bounds the report of a record that is wrong in many places.
const maxFindings = 100

func (v *Verification) found(finding string) {
	if len(v.Findings) < maxFindings && !slices.Contains(v.Findings, finding) {
		v.Findings = append(v.Findings, finding)
	}
}

// Verify checks every chain, that replaying the events gives every stored row,
// and that the policy sets, evidence and proposed files that rows name by digest
// are what the digests say. It reads only, and the house may go on meanwhile: a row
// that is ahead of what was read of its stream has its stream read once more.
// progress is told the number of streams done so far.
func Verify(ctx context.Context, reader store.Reader, progress func(streams int64)) (*Verification, error) {
	v := &Verification{Findings: []string{}}
	replayed := map[string]rowAt{}
	ahead := map[countersign.Stream]map[string]rowAt{}
	named := map[countersign.Digest]string{}
	var after countersign.Stream
	for {
		streams, err := reader.Streams(ctx, after, 200)
		if err != nil {
			return nil, err
		}
		for _, stream := range streams {
			rows, err := v.stream(ctx, reader, stream, nil)
			if err != nil {
				return nil, err
			}
			maps.Copy(replayed, rows)
			v.Streams++
			progress(v.Streams)
			after = stream
		}
		if len(streams) == 0 {
			break
		}
	}
	err := reader.Rows(ctx, func(stream countersign.Stream, row countersign.Row, wrong string) error {
		v.Rows++
		key := row.RowKey()
		name(row, named)
		is, err := at(row)
		if err != nil {
			return err
		}
		expected := replayed[key]
		delete(replayed, key)
		switch {
		case is.version > expected.version:
			if ahead[stream] == nil {
				ahead[stream] = map[string]rowAt{}
			}
			ahead[stream][key] = is
		case is != expected:
			v.found("row " + key + ": it is not what replaying the stream " + string(stream) + " gives")
			return nil
		}
		if wrong != "" {
			v.found("row " + key + ": its column " + wrong + " does not follow from the row")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, key := range sortedKeys(replayed) {
		v.found("row " + key + ": its events are there, and the row is missing")
	}
	for _, stream := range sortedKeys(ahead) {
		if _, err := v.stream(ctx, reader, stream, ahead[stream]); err != nil {
			return nil, err
		}
		for _, key := range sortedKeys(ahead[stream]) {
			v.found("row " + key + ": no event of the stream " + string(stream) + " made it")
		}
	}
	return v, v.kept(ctx, reader, named)
}

// rowAt is a row of one version.
type rowAt struct {
	version int64
	digest  countersign.Digest
}

func at(row countersign.Row) (rowAt, error) {
	body, err := countersign.Canonical(row)
	return rowAt{row.RowVersion(), countersign.DigestBytes("row", body)}, err
}

// name collects the digests that a row names, with the domain of each.
func name(row countersign.Row, named map[countersign.Digest]string) {
	switch row := row.(type) {
	case *countersign.PolicyRow:
		named[row.Active] = policySetDomain
	case *countersign.Proposal:
		named[row.Files] = proposalDomain
		if row.Kind == countersign.BaselineProposal {
			named[row.Files] = baselineDomain
		}
	case *countersign.Request:
		named[row.PolicySet] = policySetDomain
		for _, slot := range row.Evidence {
			if slot.Held != nil {
				named[slot.Held.Digest] = evidenceDomain
			}
		}
	}
}

// kept checks what is kept as bytes.
func (v *Verification) kept(ctx context.Context, reader store.Reader, named map[countersign.Digest]string) error {
	for digest, domain := range named {
		read := reader.Content
		if domain == policySetDomain {
			read = reader.PolicySet
		}
		content, err := read(ctx, digest)
		switch {
		case countersign.KindOf(err) == countersign.NotFound:
			v.found(domain + " " + string(digest) + ": a row names it, and it is missing")
		case err != nil:
			return err
		case countersign.DigestBytes(domain, content) != digest:
			v.found(domain + " " + string(digest) + ": what is kept has another digest")
		case domain == baselineDomain:
			if err := v.parts(ctx, reader, content); err != nil {
				return err
			}
		}
	}
	return nil
}

// parts checks the pairs of a baseline, which stand by themselves.
func (v *Verification) parts(ctx context.Context, reader store.Reader, list []byte) error {
	var named struct {
		Parts []countersign.Digest `json:"parts"`
	}
	if err := json.Unmarshal(list, &named); err != nil {
		return err
	}
	for _, digest := range named.Parts {
		content, err := reader.Content(ctx, digest)
		switch {
		case countersign.KindOf(err) == countersign.NotFound:
			v.found(baselineDomain + " part " + string(digest) + ": a baseline names it, and it is missing")
		case err != nil:
			return err
		case countersign.DigestBytes(baselineDomain, content) != digest:
			v.found(baselineDomain + " part " + string(digest) + ": what is kept has another digest")
		}
	}
	return nil
}

// stream checks one chain and returns the rows that it gives. With rows that are ahead
// of an earlier reading, it takes each away that it gives on the way, and counts nothing
// twice.
func (v *Verification) stream(ctx context.Context, reader store.Reader, stream countersign.Stream, ahead map[string]rowAt) (map[string]rowAt, error) {
	chain, replay := audit.NewChain(stream), workflow.NewReplay()
	var after int64
	for {
		events, err := reader.Events(ctx, stream, after, 500)
		if countersign.ReasonOf(err) == "damaged-event" {
			v.found(err.Error())
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, event := range events {
			if ahead == nil {
				v.Events++
			}
			if err := chain.Add(event); err != nil {
				v.found(err.Error())
				return nil, nil
			}
			after = event.Header.Seq
			if kind := event.Header.Kind; sideRoom(kind) {
				continue
			}
			payload, err := workflow.Registry.Decode(event)
			if err == nil {
				err = replay.Apply(event.Header, payload)
			}
			if err != nil {
				v.found(err.Error())
				return nil, nil
			}
			for key, is := range ahead {
				row := replay.Rows[key]
				if row == nil || is.version != after {
					continue
				}
				was, err := at(row)
				if err != nil {
					return nil, err
				}
				if delete(ahead, key); was != is {
					v.found("row " + key + ": it is not what replaying the stream " + string(stream) + " gives")
				}
			}
		}
		if len(events) == 0 {
			break
		}
	}
	rows := map[string]rowAt{}
	for key, row := range replay.Rows {
		var err error
		if rows[key], err = at(row); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// sideRoom reports whether the kind belongs to a target or to auth, whose events
// touch none of our rows.
func sideRoom(kind string) bool {
	return strings.HasPrefix(kind, "vault.") || strings.HasPrefix(kind, "pki.") || strings.HasPrefix(kind, "registry.") || strings.HasPrefix(kind, "auth.") || strings.HasPrefix(kind, "assignment.")
}
