package desk

import (
	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
)

// Explain judges an asking against the files of an organisation, without a
// house, and tells in words what the set says and why. Nobody holds or has asked
// for anything yet in such a world.
func Explain(set *policy.Set, files []directory.File, requester string, asking Asking, now countersign.Instant) (string, error) {
	wanted, problems := directory.Parse(files)
	if len(problems) > 0 {
		return "", problemsError("malformed-directory", problems)
	}
	difference, err := directory.Compare(store.Directory{}, wanted, countersign.NewMint([32]byte{}, now))
	if err != nil {
		return "", err
	}
	known := worldOf(difference)
	asker := known.findIdentity(requester)
	if asker == nil {
		return "", countersign.Errorf(countersign.Invalid, "no-such-identity", "There is no identity %q in the directory files.", requester).At("requester")
	}
	tx := &transaction{directory: known, policy: &activeSet{set: set}}
	tx.occasion.Now = now
	m, err := tx.resolve(Caller{Identity: asker.ID}, asking)
	if err != nil {
		return "", err
	}
	r := known.resolver(m, now, asking.Type)
	r.rotates = set.Rotates(asking.Type)
	base := r.baseFacts(asking.Reason, asking.Duration, asking.Until, asking.Answers, known.onePerson(m, nil))
	typeName, err := set.Find(asking.Type, base)
	if err != nil {
		return "", err
	}
	facts, err := explained(set, typeName, r, base)
	if err != nil {
		return "", err
	}
	return set.Explain(asking.Type, facts)
}

// explained answers what the policy needs out of the files alone: nobody holds
// anything, and every ticket is as it must be.
func explained(set *policy.Set, typeName string, r *resolved, base policy.Facts) (policy.Facts, error) {
	queries, err := set.Needs(typeName, base)
	if err != nil {
		return base, err
	}
	base.Approvers, base.Records, base.Tickets = map[string][]policy.Candidate{}, map[string]policy.RecordFact{}, map[string]policy.TicketFact{}
	for _, query := range queries {
		switch {
		case query.Approvers != "":
			base.Approvers[query.Approvers] = r.answer(query.Approvers)[query.Approvers]
		case query.Record != "":
			base.Records[query.Record] = r.record(query.Record)
		case query.Ticket.Key != "":
			base.Tickets[query.Ticket.Slot] = policy.TicketFact{Key: query.Ticket.Key, Found: true, Open: true}
		}
	}
	return base, nil
}

// worldOf is the directory as a difference from nothing would make it.
func worldOf(difference directory.Difference) *snapshot {
	var world store.Directory
	for _, change := range difference.Changes {
		world.Add(change.After)
	}
	return (*snapshot)(nil).with(world)
}
