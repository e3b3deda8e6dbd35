package workflow

import "github.com/countersign/countersign"

// RequestDue returns when time next matters to the request; zero for never.
func RequestDue(r *countersign.Request) countersign.Instant {
	due := r.CollectBy
	for i := range r.Stages {
		if r.Stages[i].State == countersign.StageOpen {
			due = countersign.Earliest(due, r.Stages[i].Deadline)
		}
	}
	for _, slot := range r.Evidence {
		if r.State == countersign.RequestClosing && slot.Held == nil {
			due = countersign.Earliest(due, slot.Deadline)
		}
	}
	if r.State.Final() {
		return 0
	}
	return due
}

// ProposalDue returns when time next matters to the proposal, zero for never: one that
// has no deadline yet is due since it was made.
func ProposalDue(p *countersign.Proposal) countersign.Instant {
	switch {
	case p.State.Decided():
		return 0
	case p.Until == 0:
		return p.At
	}
	return countersign.Earliest(p.Until, p.RemindAt)
}

// GrantDue returns when time next matters to the grant; zero for never.
// lastUsed is the latest use that the target reports, zero if none is known;
// useAgain and ticketAgain are the earliest moments to ask for use and ticket
// again. None of them delays an end.
func GrantDue(g *countersign.Grant, lastUsed, useAgain, ticketAgain countersign.Instant) countersign.Instant {
	switch g.State {
	case countersign.GrantProvisioning:
		return countersign.Earliest(g.LatestEnd, taskDue(g))
	case countersign.GrantLive:
		due := countersign.Earliest(g.Until, remindAt(g))
		for _, credential := range g.Credentials {
			if credential.State == countersign.CredentialLive {
				due = countersign.Earliest(due, credential.RetireAt)
			}
		}
		if unusedAt := UnusedAt(g, lastUsed); unusedAt != 0 {
			due = countersign.Earliest(due, max(unusedAt, useAgain))
		}
		if g.Terms.Has(countersign.WhenTicketClosed) {
			due = countersign.Earliest(due, max(g.From.Add(TicketInterval), ticketAgain))
		}
		return due
	case countersign.GrantRevoking:
		return taskDue(g)
	case countersign.GrantRevoked, countersign.GrantGone, countersign.GrantFailed:
	}
	return 0
}

// taskDue returns when a task escalates; zero where there is none, or where it
// waits for a person by name already.
func taskDue(g *countersign.Grant) countersign.Instant {
	if g.Task == nil || g.Parked != nil {
		return 0
	}
	return g.Task.Deadline
}

// remindAt returns when the holder is to be reminded of the end; zero where
// there is no reminder or it was given.
func remindAt(g *countersign.Grant) countersign.Instant {
	if g.Reminded || g.Terms.Remind == 0 || g.Until == 0 || g.State != countersign.GrantLive {
		return 0
	}
	// A grant shorter than the notice is not reminded at its very beginning.
	return max(g.Until.Add(-g.Terms.Remind), g.From.Add(1))
}

// TicketInterval is how often the source of a ticket is asked whether it is closed.
const TicketInterval = 5 * countersign.Minute

// UnusedAt returns when the grant ends if nobody uses it until then; zero where
// its terms do not say so.
func UnusedAt(g *countersign.Grant, lastUsed countersign.Instant) countersign.Instant {
	for _, condition := range g.Terms.EndsWhen {
		if condition.Kind == countersign.Unused {
			return max(g.From, lastUsed).Add(condition.Within)
		}
	}
	return 0
}

// ClaimedUntil fixes the end of a credential when its operation is claimed: the
// claim's time plus the duration for the first one, the grant's own end for a
// later one, and never beyond the latest end. An extension and an approved rotation move the end, and
// never to before where it is, unless nobody approved where it is.
func ClaimedUntil(g *countersign.Grant, claimedAt countersign.Instant) countersign.Instant {
	if g.Extending != nil && g.Intent != nil && g.Intent.Operation == countersign.ExtendOperation {
		until := countersign.Earliest(claimedAt.Add(g.Extending.Duration), g.Extending.LatestEnd)
		if g.Origin == countersign.FromBaseline {
			// The end that was approved takes the place of one that nobody approved.
			return until
		}
		return max(g.Until, until)
	}
	if g.Issuing() && g.Until != 0 && g.Intent != nil && g.Intent.Credential == g.Rotating.Credential {
		return max(g.Until, countersign.Earliest(claimedAt.Add(g.Rotating.Duration), g.Rotating.LatestEnd))
	}
	until := g.Until
	if until == 0 && g.Duration != 0 {
		until = claimedAt.Add(g.Duration)
	}
	return countersign.Earliest(until, g.LatestEnd)
}
