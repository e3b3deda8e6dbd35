package desk

import (
	"maps"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
)

// CheckFiles says what is odd about a policy set among the people and systems of
// an organisation's files, without a house.
func CheckFiles(set *policy.Set, files []directory.File, now countersign.Instant) ([]policy.Finding, error) {
	wanted, problems := directory.Parse(files)
	if len(problems) > 0 {
		return nil, problemsError("malformed-directory", problems)
	}
	difference, err := directory.Compare(store.Directory{}, wanted, countersign.NewMint([32]byte{}, now))
	if err != nil {
		return nil, err
	}
	return set.CheckIn(worldOf(difference).population(now)), nil
}

// population is everybody and everything as policies are checked against it. A
// person asks for themselves, and the owner for a machine.
func (d *snapshot) population(now countersign.Instant) policy.Population {
	candidate := func(paths []path) policy.Candidate {
		if len(paths) == 0 {
			return policy.Candidate{}
		}
		identity := d.identities[paths[0].identity]
		return policy.Candidate{ID: identity.ID, Name: identity.Name, Active: identity.ActiveAt(now), Human: identity.Human()}
	}
	people := policy.Population{Find: func(rule string) []policy.Candidate {
		return d.resolver(matter{}, now, "").answer(rule)[rule]
	}}
	for _, id := range slices.Sorted(maps.Keys(d.identities)) {
		m := matter{beneficiary: d.identities[id], requester: d.identities[id]}
		if !m.beneficiary.Human() {
			m.requester = d.identities[m.beneficiary.Owner]
		}
		if m.requester == nil || !m.requester.ActiveAt(now) || !m.beneficiary.ActiveAt(now) {
			// Nothing can be asked for, and the desk lists it as unowned.
			continue
		}
		asker := policy.Asker{
			Requester: d.party(m.requester, now), Beneficiary: d.party(m.beneficiary, now),
			SamePerson: d.onePerson(m, nil), Found: map[string]policy.Candidate{},
		}
		for _, rule := range policy.AskerRules() {
			if found := candidate(d.candidates(rule, m)); found.ID != "" {
				asker.Found[rule] = found
			}
		}
		if !m.beneficiary.Human() {
			asker.SecondOwner = asker.Found["second-owner-of(beneficiary)"]
		}
		people.Askers = append(people.Askers, asker)
	}
	for _, name := range sortedKeys(d.rights) {
		item, err := d.rightOf(d.rights[name])
		if err != nil || item.entitlement.Retired || item.system.Retired {
			continue
		}
		m := matter{items: []right{item}}
		people.Items = append(people.Items, policy.OwnedItem{
			Item: item.item(), Owner: candidate(d.candidates("owner-of(resource)", m)), SecondOwner: candidate(d.candidates("second-owner-of(resource)", m)),
		})
	}
	return people
}
