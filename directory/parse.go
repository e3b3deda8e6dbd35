package directory

import (
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// File is one file of an organisation folder.
type File struct {
	// Path names the file in problems; slash-separated, relative to the folder.
	Path  string
	Bytes []byte
}

// Parse reads the files of a directory folder as one organisation. With any
// problem there is no organisation; all problems are returned at once (at most
// 200), in the order of the files.
func Parse(files []File) (*Organisation, []Problem) {
	var found problems
	organisation := &Organisation{}
	for _, file := range files {
		r := &reader{file: file.Path, problems: &found}
		if root := r.root(file.Bytes); root != nil {
			r.organisation(root, organisation)
		}
	}
	organisation.takeIn(&found)
	check(organisation, &found)
	if len(found.list) > 0 {
		return nil, found.sorted()
	}
	return organisation, nil
}

func (r *reader) organisation(node *yaml.Node, o *Organisation) {
	r.mapping(node, "a directory file", nil, fields{
		"people":     r.each(func(n *yaml.Node) { o.Identities = append(o.Identities, r.person(n)) }),
		"services":   r.each(func(n *yaml.Node) { o.Identities = append(o.Identities, r.machine(n, countersign.Service)) }),
		"workloads":  r.each(func(n *yaml.Node) { o.Identities = append(o.Identities, r.machine(n, countersign.Workload)) }),
		"agents":     r.each(func(n *yaml.Node) { o.Identities = append(o.Identities, r.machine(n, countersign.Agent)) }),
		"groups":     r.each(func(n *yaml.Node) { o.Groups = append(o.Groups, r.group(n, false)) }),
		"teams":      r.each(func(n *yaml.Node) { o.Groups = append(o.Groups, r.group(n, true)) }),
		"systems":    r.each(func(n *yaml.Node) { o.Systems = append(o.Systems, r.system(n)) }),
		"catalogues": r.each(func(n *yaml.Node) { o.Catalogues = append(o.Catalogues, r.catalogue(n)) }),
		"records":    r.each(func(n *yaml.Node) { o.Records = append(o.Records, r.record(n)) }),
		"powers":     func(n *yaml.Node, _ string, _ spots) { r.powers(n, o) },
	})
}

func (r *reader) person(node *yaml.Node) Identity {
	p := Identity{Kind: countersign.Person, Affiliation: countersign.Employee}
	r.identity(node, &p, "a person", []string{"login", "name"}, fields{
		"affiliation":  choice(r, &p.Affiliation, countersign.Employee, countersign.Contractor, countersign.Vendor, countersign.Partner),
		"manager":      r.login(&p.Manager),
		"contract_end": r.date(&p.ContractEnd, countersign.Day),
	})
	if p.Affiliation != countersign.Employee && p.Sponsor == "" {
		r.problem(node, "a %s needs a sponsor: a person who answers for %s", p.Affiliation, countersign.Clip(p.Login))
	}
	if (p.Affiliation == countersign.Contractor || p.Affiliation == countersign.Vendor) && p.ContractEnd == 0 {
		r.problem(node, "a %s needs a contract_end", p.Affiliation)
	}
	return p
}

func (r *reader) machine(node *yaml.Node, kind countersign.IdentityKind) Identity {
	m := Identity{Kind: kind}
	what, required := "a "+string(kind), []string{"login", "name", "owner"}
	if kind == countersign.Agent {
		what, required = "an agent", append(required, "sponsor")
	}
	r.identity(node, &m, what, required, fields{
		"owner":          r.login(&m.Owner),
		"second_owner":   r.login(&m.SecondOwner),
		"purpose":        r.line(&m.Purpose),
		"record":         r.word(&m.Record),
		"environment":    r.environment(&m.Environment),
		"last_confirmed": r.date(&m.LastConfirmed, 0),
		"confirm_every":  r.interval(&m.ConfirmEvery),
	})
	return m
}

// identity reads what all identities have, beside the keys of their kind.
func (r *reader) identity(node *yaml.Node, into *Identity, what string, required []string, known fields) {
	into.Status = countersign.IdentityActive
	var email string
	var more []countersign.Handle
	known["login"] = r.login(&into.Login)
	known["name"] = r.line(&into.Name)
	known["email"] = r.line(&email)
	known["sponsor"] = r.login(&into.Sponsor)
	known["status"] = choice(r, &into.Status, countersign.IdentityActive, countersign.IdentitySuspended, countersign.IdentityDeparted)
	known["handles"] = r.each(func(n *yaml.Node) { more = append(more, r.handle(n)) })
	at := r.mapping(node, what, required, known)
	into.spots = at

	add := func(handle countersign.Handle, where spot) {
		at[elementKey("handle", len(into.Handles))] = where
		into.Handles = append(into.Handles, handle)
	}
	if into.Login != "" {
		add(countersign.Handle{Kind: countersign.Login, Value: into.Login}, at["login"])
	}
	if email != "" {
		handle, err := countersign.NewHandle(countersign.Email, "", email)
		if err != nil {
			r.problems.add(at["email"], "%s", err)
		} else {
			add(handle, at["email"])
		}
	}
	for i, handle := range more {
		if handle.Kind != "" {
			add(handle, at.element("handles", i))
		}
	}
}

func (r *reader) handle(node *yaml.Node) countersign.Handle {
	var kind countersign.HandleKind
	var namespace, value string
	before := len(r.problems.list)
	r.mapping(node, "a handle", []string{"kind", "value"}, fields{
		"kind":      choice(r, &kind, countersign.Login, countersign.Email, countersign.OIDC, countersign.SPIFFE, countersign.Ticketing),
		"namespace": r.line(&namespace),
		"value":     r.line(&value),
	})
	if len(r.problems.list) > before {
		return countersign.Handle{}
	}
	handle, err := countersign.NewHandle(kind, namespace, value)
	if err != nil {
		r.problem(node, "%s", err)
	}
	return handle
}

func (r *reader) group(node *yaml.Node, team bool) Group {
	g := Group{Team: team}
	what := "a group"
	if team {
		what = "a team"
	}
	g.spots = r.mapping(node, what, []string{"name"}, fields{
		"name":    r.slug(&g.Name),
		"owner":   r.login(&g.Owner),
		"members": r.words(&g.Members, r.login),
		"groups":  r.words(&g.Groups, r.slug),
	})
	return g
}

func (r *reader) system(node *yaml.Node) System {
	var s System
	s.spots = r.mapping(node, "a system", []string{"name", "owner", "environment", "risk", "connector"}, fields{
		"name":           r.slug(&s.Name),
		"title":          r.line(&s.Title),
		"owner":          r.login(&s.Owner),
		"second_owner":   r.login(&s.SecondOwner),
		"environment":    r.environment(&s.Environment),
		"risk":           r.risk(&s.Risk),
		"connector":      r.slug(&s.Connector),
		"settings":       r.settings(&s.Settings),
		"last_confirmed": r.date(&s.LastConfirmed, 0),
		"confirm_every":  r.interval(&s.ConfirmEvery),
		"resources":      r.each(func(n *yaml.Node) { s.Resources = append(s.Resources, r.resource(n)) }),
	})
	return s
}

func (r *reader) resource(node *yaml.Node) Resource {
	var s Resource
	s.spots = r.mapping(node, "a resource", []string{"name"}, fields{
		"name":         r.word(&s.Name),
		"title":        r.line(&s.Title),
		"risk":         r.risk(&s.Risk),
		"owner":        r.login(&s.Owner),
		"entitlements": r.each(func(n *yaml.Node) { s.Entitlements = append(s.Entitlements, r.entitlement(n)) }),
	})
	return s
}

func (r *reader) catalogue(node *yaml.Node) Catalogue {
	var c Catalogue
	c.spots = r.mapping(node, "a catalogue", []string{"system", "resource"}, fields{
		"system":   r.slug(&c.System),
		"resource": func(n *yaml.Node, _ string, _ spots) { c.Resource = r.resource(n) },
	})
	return c
}

func (r *reader) entitlement(node *yaml.Node) Entitlement {
	var e Entitlement
	e.spots = r.mapping(node, "an entitlement", []string{"name", "kind"}, fields{
		"name":         r.word(&e.Name),
		"title":        r.line(&e.Title),
		"kind":         choice(r, &e.Kind, countersign.CredentialKind, countersign.RoleKind),
		"risk":         r.risk(&e.Risk),
		"max_duration": r.duration(&e.MaxDuration),
		"eligible_for": r.word(&e.EligibleFor),
		"version":      r.word(&e.Version),
	})
	return e
}

func (r *reader) record(node *yaml.Node) Record {
	var c Record
	c.spots = r.mapping(node, "a record", []string{"key", "title", "owner"}, fields{
		"key":         r.word(&c.Key),
		"title":       r.line(&c.Title),
		"owner":       r.login(&c.Owner),
		"environment": r.environment(&c.Environment),
		"scopes":      r.words(&c.Scopes, r.word),
		"retired":     r.flag(&c.Retired),
	})
	return c
}

// powers reads who holds which power; a power that several files name is held
// by all whom they name.
func (r *reader) powers(node *yaml.Node, o *Organisation) {
	known := fields{}
	for _, name := range PowerNames {
		known[name] = func(n *yaml.Node, key string, at spots) {
			power := Power{Name: name, spots: at}
			r.words(&power.Holders, r.login)(n, key, at)
			o.Powers = append(o.Powers, power)
		}
	}
	r.mapping(node, "powers", nil, known)
}
