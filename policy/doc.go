// Package policy is the judge: it loads a policy set, says what a judgement
// needs to know (Needs), and judges one asking by the facts it is given (Judge,
// Recheck, Explain).
//
// It reads no clock, no randomness, no disk and no database, and it imports
// neither store, desk nor workflow: a judge who looks things up cannot be
// simulated, and one who reads the world cannot be replayed. Time, time zones
// and facts are arguments. The same set and the same facts give the same plan.
//
// It writes nothing. A Set never changes once it is loaded, and may be used by
// many at once.
package policy
