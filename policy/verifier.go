package policy

import (
	"fmt"
	"slices"

	"github.com/theory/jsonpath"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/attest"
)

// VerifierInfo says whose signed statements about artifacts serve as evidence, and
// what they have to say.
type VerifierInfo struct {
	Name string `json:"name"`
	// URL is where statements lie, with {key} for the digest of the artifact; "" where
	// who asks brings them.
	URL        string              `json:"url,omitempty"`
	Keys       []VerifierKey       `json:"keys"`
	Predicates []string            `json:"predicates"`
	MaxAge     countersign.Seconds `json:"max_age,omitempty"`
	// Time, Has and Lacks are JSON paths into the predicate.
	Time  string   `json:"time,omitempty"`
	Has   []string `json:"has,omitempty"`
	Lacks []string `json:"lacks,omitempty"`
}

// VerifierKey is a public key that a verifier trusts.
type VerifierKey struct {
	ID string `json:"id"`
	// Fingerprint is the SHA-256 of its DER form.
	Fingerprint string `json:"fingerprint"`
}

type verifier struct {
	VerifierInfo
	terms attest.Terms
}

// Verifiers returns the verifiers, in the order of names.
func (s *Set) Verifiers() []VerifierInfo {
	infos := make([]VerifierInfo, len(s.verifiers))
	for i, one := range s.verifiers {
		infos[i] = one.VerifierInfo
	}
	return infos
}

// Verifier returns a verifier with what it asks of statements; known says whether
// the set has it.
func (s *Set) Verifier(name string) (info VerifierInfo, terms attest.Terms, known bool) {
	for _, one := range s.verifiers {
		if one.Name == name {
			return one.VerifierInfo, one.terms, true
		}
	}
	return VerifierInfo{}, attest.Terms{}, false
}

func (s *Set) verifierNames() []string {
	names := make([]string, len(s.verifiers))
	for i, one := range s.verifiers {
		names[i] = one.Name
	}
	return names
}

func (l *loader) readVerifiers(s *source, root *yaml.Node) {
	for _, node := range l.entries(s, root, "verifiers") {
		m := s.mapping(node, "a verifier", "name", "url", "keys", "predicates", "max_age", "time", "has", "lacks")
		m.require("name", "keys", "predicates")
		// Evidence names a source or a verifier by the same key.
		read := verifier{VerifierInfo: VerifierInfo{Name: l.named(m, "source"), Predicates: m.some("predicates")}}
		if read.Name == directoryVerifier {
			m.problem(m.values["name"], "`%s` is the house's own: give the verifier another name", directoryVerifier)
		}
		read.terms.Predicates = read.Predicates
		if m.has("url") {
			if read.URL = m.text("url"); wrongAddress(read.URL) != "" {
				m.problem(m.values["url"], "%s: write it as in https://builds.example/attestations/{key}", wrongAddress(read.URL))
			}
		}
		for _, key := range m.list("keys") {
			m.readKey(key, &read)
		}
		if m.has("keys") && len(m.list("keys")) == 0 {
			m.problem(m.values["keys"], "`keys` names nothing")
		}
		if m.has("max_age") != m.has("time") {
			m.problem(node, "`max_age` and `time` stand together: how old a statement may be, and where it says of when it is")
		}
		if m.has("max_age") && m.has("time") {
			read.MaxAge = m.between("max_age", countersign.Minute, 1100*countersign.Day)
			read.terms.MaxAge = read.MaxAge
			read.Time = m.text("time")
			read.terms.Time = m.predicatePath(m.values["time"])
		}
		read.Has, read.terms.Has = m.predicatePaths("has")
		read.Lacks, read.terms.Lacks = m.predicatePaths("lacks")
		if m.has("lacks") && !m.has("has") {
			m.problem(m.keys["lacks"], "`lacks` needs `has`, a path to what every such statement has: in one of another form nothing would be found, and it would pass")
		}
		l.set.verifiers = append(l.set.verifiers, read)
	}
}

func (m *mapping) readKey(node *yaml.Node, into *verifier) {
	k := m.mapping(node, "a key", "id", "key")
	k.require("id", "key")
	if !k.has("id") || !k.has("key") {
		return
	}
	key, err := attest.ParseKey(k.text("id"), k.text("key"))
	switch {
	case err != nil:
		m.problem(k.values["key"], "%s", err)
		return
	case key.ID == "" || len(key.ID) > 200:
		m.problem(k.values["id"], "`id` has 1 to 200 bytes: what signatures name it by, or what people call it")
	case slices.ContainsFunc(into.Keys, func(other VerifierKey) bool { return other.ID == key.ID || other.Fingerprint == key.Fingerprint }):
		m.problem(node, "this key or its `id` stands twice")
	}
	into.Keys = append(into.Keys, VerifierKey{key.ID, key.Fingerprint})
	into.terms.Keys = append(into.terms.Keys, key)
}

func (m *mapping) predicatePaths(key string) (texts []string, paths []*jsonpath.Path) {
	if !m.has(key) {
		return nil, nil
	}
	texts = m.some(key)
	for _, node := range m.each(m.values[key], "`"+key+"`") {
		if path := m.predicatePath(node); path != nil {
			paths = append(paths, path)
		}
	}
	return texts, paths
}

func (m *mapping) predicatePath(node *yaml.Node) *jsonpath.Path {
	path, err := jsonpath.Parse(m.scalar(node, "a path"))
	if err != nil {
		m.problem(node, "this is no JSON path (RFC 9535) into the predicate, as in $.scanner.result: %v", err)
		return nil
	}
	return path
}

// readAttestedField settles which answer declares the artifact that a verifier's
// statement is about.
func (t *requestType) readAttestedField(m *mapping, read *slot, brought bool) {
	if read.Kind != countersign.ScanEvidence && read.Kind != countersign.AttestationEvidence {
		m.problem(m.values["verified_by"], "a verifier verifies evidence of the kinds `scan-report` and `attestation` only")
	}
	if m.has("ticket") {
		m.problem(m.keys["ticket"], "`ticket` belongs to evidence that a source verifies")
	}
	var fields []string
	for _, field := range t.form.fields {
		if field.kind == "string" && !field.optional {
			fields = append(fields, field.name)
		}
	}
	switch {
	case !m.has("from"):
		m.problem(m.node, "evidence of a verifier needs `from`, the answer that declares the artifact's digest, as sha256:…")
	case !slices.Contains(fields, read.from):
		m.problem(m.values["from"], "%s", unknown("required field of `ask`", read.from, fields))
	}
	read.Brought = brought
}

// judgeAttested notes which artifact evidence is about, and refuses what is no
// digest.
func (j *judgement) judgeAttested() {
	for i := range j.plan.Evidence {
		slot, from := &j.plan.Evidence[i], j.kind.evidence[i].from
		declared, given := j.answers.values[from].(string)
		if !slot.Attested() || !given {
			continue
		}
		if slot.Record = declared; !attest.IsDigest(declared) {
			j.refuse(Refusal{Reason: ReasonInvalidAnswer, Field: "/answers/" + from, Because: fmt.Sprintf("The answer %s should be the digest of an artifact: sha256: and 64 hexadecimal digits.", from)})
		}
	}
}
