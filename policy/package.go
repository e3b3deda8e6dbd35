package policy

import (
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// PackageInfo is an access package: entitlements that are asked for together.
type PackageInfo struct {
	Name        string `json:"name"`
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	// Entitlements are written system/resource/entitlement.
	Entitlements []string `json:"entitlements"`
	// Beneficiary lists the kinds of identity that can get it; empty for any.
	Beneficiary []countersign.IdentityKind `json:"beneficiary"`
	// Rule is the digest of the package's file.
	Rule countersign.Digest `json:"rule"`
}

// Packages returns the access packages, in the order of names.
func (s *Set) Packages() []PackageInfo {
	infos := make([]PackageInfo, len(s.packages))
	for i, info := range s.packages {
		infos[i] = info.clone()
	}
	return infos
}

// Package returns one access package. Error: no-package.
func (s *Set) Package(name string) (PackageInfo, error) {
	for _, info := range s.packages {
		if info.Name == name {
			return info.clone(), nil
		}
	}
	return PackageInfo{}, countersign.Errorf(countersign.NotFound, "no-package", "%s", unknown("package", name, s.packageNames())).At("/package")
}

func (s *Set) packageNames() []string {
	names := make([]string, len(s.packages))
	for i, info := range s.packages {
		names[i] = info.Name
	}
	return names
}

func (p PackageInfo) clone() PackageInfo {
	p.Entitlements, p.Beneficiary = slices.Clone(p.Entitlements), slices.Clone(p.Beneficiary)
	return p
}

const maxPerPackage = 50

// A name of a resource or entitlement may have slashes itself.
var entitlementForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}/[^\s,()]+/[^\s,()]+$`)

func (l *loader) readPackages(s *source, root *yaml.Node) {
	for _, node := range l.entries(s, root, "packages") {
		m := s.mapping(node, "a package", "name", "title", "description", "entitlements", "beneficiary")
		m.require("name", "entitlements")
		m.sentences("title")
		read := PackageInfo{Name: l.named(m, "package"), Title: m.text("title"), Description: m.text("description"), Beneficiary: m.kinds("beneficiary"), Rule: s.digest()}
		if node := m.values["entitlements"]; node != nil {
			for _, entry := range s.each(node, "`entitlements`") {
				switch {
				case !entitlementForm.MatchString(entry.Value):
					s.problem(entry, "`%s` is not an entitlement: write it as system/resource/entitlement", countersign.Clip(entry.Value))
				case slices.Contains(read.Entitlements, entry.Value):
					s.problem(entry, "`%s` stands twice", countersign.Clip(entry.Value))
				}
				read.Entitlements = append(read.Entitlements, entry.Value)
			}
			if n := len(read.Entitlements); n == 0 || n > maxPerPackage {
				s.problem(node, "a package has from 1 to %d entitlements, and this one has %d", maxPerPackage, n)
			}
		}
		l.set.packages = append(l.set.packages, read)
	}
}

// kinds returns the kinds of identity under the key, at least one where it is
// given.
func (m *mapping) kinds(key string) []countersign.IdentityKind {
	if !m.has(key) {
		return nil
	}
	var kinds []countersign.IdentityKind
	for _, node := range m.each(m.values[key], "`"+key+"`") {
		if contains(identityKinds, node.Value) {
			kinds = append(kinds, countersign.IdentityKind(node.Value))
		} else {
			m.problem(node, "%s", unknown("kind", node.Value, words(identityKinds)))
		}
	}
	if len(kinds) == 0 {
		m.problem(m.values[key], "`%s` names no kind: use %s", key, enumerate(words(identityKinds), "or"))
	}
	return kinds
}
