package sim

import (
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/target/registry"
)

// Each of these breaks one thing that the checker is there to find, in a story that
// is otherwise as any other: a checker that finds nothing proves nothing.
func TestTheCheckerFindsWhatIsWrong(t *testing.T) {
	for name, wrong := range map[string]struct {
		law    string
		tamper func(*story)
	}{
		"a target that ignores revokes": {"nothing is open for ever", func(s *story) { s.target.deafToRevokes = true }},
		"a target that ignores revokes and says otherwise": {"no access after its end", func(s *story) {
			s.target.deafToRevokes, s.target.liar = true, true
			s.laws.only = "no access after its end"
		}},
		"access that nobody decided": {"no access without a decision", func(s *story) {
			for _, task := range s.target.held {
				task.Credential, task.Grant = "crd_00000000000000000000000000", "grt_00000000000000000000000000"
				s.target.held[task.Credential] = task
				return
			}
		}},
		"a grant that is hidden": {"no access without a decision", func(s *story) {
			for _, task := range s.target.held {
				s.laws.hidden = task.Grant
			}
		}},
		"more than was asked for": {"no access without a decision", func(s *story) {
			for credential, task := range s.target.held {
				task.EntitlementID = "ent_00000000000000000000000000"
				s.target.held[credential] = task
			}
		}},
		"an intent that gives twice": {"one effect", func(s *story) {
			for _, note := range s.target.notes {
				if note.gave {
					s.target.notes = append(s.target.notes, note, note)
					return
				}
			}
		}},
		"an intent that was never committed": {"no access without a decision", func(s *story) {
			for _, task := range s.target.held {
				task.Intent = "int_00000000000000000000000000"
				s.target.gives(task)
			}
		}},
		"a timer that is lost": {"an owner and a clock", func(s *story) {
			s.harm(`DELETE FROM work WHERE kind = 'request'`)
		}},
		"an intent that is nobody's work": {"an owner and a clock", func(s *story) {
			s.harm(`DELETE FROM work WHERE kind = 'deliver'`)
		}},
		"a request that is lost": {"nothing is lost", func(s *story) {
			s.harm(`PRAGMA foreign_keys = 0; DELETE FROM request WHERE state = 'closed' OR state = 'denied' OR state = 'cancelled'`)
		}},
		"a row that no event made": {"every row is the replay of its stream", func(s *story) {
			s.harm(`UPDATE identity SET body = replace(body, 'Olga', 'Olge')`)
		}},
		"somebody who approves for herself": {"nobody decides for themselves", func(s *story) {
			s.laws.see = func(l *look) {
				for _, request := range l.requests {
					for _, stage := range request.Stages {
						for i := range stage.Decisions {
							stage.Decisions[i].By = request.Requester
						}
					}
				}
			}
		}},
		"a request that comes back from its end": {"what has ended stays so", func(s *story) {
			for id := range s.laws.final {
				s.laws.final[id] = "another"
			}
		}},
		"an end beyond the latest one": {"ends", func(s *story) {
			s.laws.see = func(l *look) {
				for _, grant := range l.grants {
					if grant.State == countersign.GrantLive {
						grant.LatestEnd = grant.Until.Add(-1)
					}
				}
			}
			s.laws.only = "ends"
		}},
		"evidence that is overdue and has no clock": {"an owner and a clock", func(s *story) {
			s.laws.see = func(l *look) {
				for _, request := range l.requests {
					if request.State == countersign.RequestClosing {
						request.Evidence = append(request.Evidence, countersign.Slot{Name: "other", Due: countersign.DueAtClosure, Overdue: true, Deadline: 1})
					}
				}
			}
			s.endsOne()
		}},
		"evidence that is overdue and nobody hears of": {"an owner and a clock", func(s *story) {
			s.settled()
			for _, request := range s.look().requests {
				if request.State == countersign.RequestClosing {
					s.laws.see = func(l *look) {
						for _, person := range l.identities {
							person.Status = countersign.IdentityDeparted
							s.laws.rows[string(person.ID)] = person.Version
						}
						l.requests[request.ID].Evidence[0].Overdue = true
					}
					return
				}
			}
			s.endsOne()
		}},
		"an older credential that goes on": {"an old credential ends", func(s *story) {
			s.laws.see = func(l *look) {
				for _, grant := range l.grants {
					if grant.State == countersign.GrantLive {
						grant.Credentials = append(grant.Credentials, countersign.Credential{ID: "crd_other", State: countersign.CredentialLive})
					}
				}
			}
		}},
		"an older credential that lasts too long": {"an old credential ends", func(s *story) {
			s.laws.see = func(l *look) {
				for _, grant := range l.grants {
					if grant.State == countersign.GrantLive {
						grant.Credentials[0].RetireAt = grant.Credentials[0].From.Add(4 * countersign.Day)
					}
				}
			}
		}},
		"an older credential whose overlap has passed": {"an old credential ends", func(s *story) {
			s.laws.see = func(l *look) {
				for _, grant := range l.grants {
					if grant.State == countersign.GrantLive {
						grant.Credentials[0].RetireAt = l.now
					}
				}
			}
			s.laws.only = "an old credential ends"
			s.checkRetired(s.look())
		}},
		"an older credential that nothing ends": {"an owner and a clock", func(s *story) {
			s.laws.see = func(l *look) {
				for _, grant := range l.grants {
					if grant.State == countersign.GrantLive {
						grant.Credentials[0].RetireAt = 1
					}
				}
			}
		}},
		"a finding that is nobody's": {"an owner and a clock", func(s *story) {
			s.laws.see = func(l *look) {
				l.findings = append(l.findings, &countersign.Finding{ID: "fnd_other", Kind: countersign.UnownedFinding, OpenedAt: l.now, Deadline: l.now.Add(1)})
			}
		}},
		"a finding without a deadline": {"an owner and a clock", func(s *story) {
			s.laws.see = func(l *look) {
				l.findings = append(l.findings, &countersign.Finding{ID: "fnd_other", Kind: countersign.UnownedFinding, Owner: s.as("otto").Identity, OpenedAt: l.now})
			}
		}},
		"somebody who looks at what he or she did": {"who did it does not look", func(s *story) {
			s.laws.see = s.byHand(countersign.Check{Operation: countersign.ApplyOperation, Present: true, By: s.as("oda").Identity, DoneBy: s.as("oda").Identity})
		}},
		"somebody who looks at what he or she asked for": {"who did it does not look", func(s *story) {
			s.laws.see = s.byHand(countersign.Check{Operation: countersign.ApplyOperation, Present: true, By: s.as("ana").Identity, DoneBy: s.as("oda").Identity})
		}},
		"somebody who gives what he decided": {"who did it does not look", func(s *story) {
			s.laws.see = s.byHand(countersign.Check{Operation: countersign.ApplyOperation, Present: true, By: s.as("oda").Identity, DoneBy: s.as("max").Identity})
		}},
		"what is live and nobody looked at": {"who did it does not look", func(s *story) { s.laws.see = s.byHand() }},
		"what is gone and nobody looked at": {"who did it does not look", func(s *story) {
			given := s.byHand(countersign.Check{Operation: countersign.ApplyOperation, Present: true, By: s.as("oda").Identity, DoneBy: s.as("odo").Identity})
			s.laws.see = func(l *look) {
				given(l)
				l.manual(func(grant *countersign.Grant) { grant.State = countersign.GrantGone })
			}
			s.laws.only = "who did it does not look"
		}},
		"what is gone and still in the archive": {"no access after its end", func(s *story) {
			for _, grant := range s.grants() {
				s.archive[grant.ID] = true
			}
			s.laws.see = func(l *look) {
				s.byHand()(l)
				l.manual(func(grant *countersign.Grant) { grant.State = countersign.GrantGone })
			}
			s.laws.only = "no access after its end"
		}},
		"a task of nobody": {"an owner and a clock", func(s *story) {
			s.laws.see = func(l *look) {
				s.byHand(countersign.Check{Operation: countersign.ApplyOperation, Present: true, By: s.as("oda").Identity, DoneBy: s.as("odo").Identity})(l)
				l.manual(func(grant *countersign.Grant) {
					grant.Task = &countersign.Task{Deadline: l.now.Add(400 * countersign.Day)}
				})
			}
		}},
		"a task that nothing wakes": {"an owner and a clock", func(s *story) {
			s.laws.see = func(l *look) {
				s.byHand(countersign.Check{Operation: countersign.ApplyOperation, Present: true, By: s.as("oda").Identity, DoneBy: s.as("odo").Identity})(l)
				l.manual(func(grant *countersign.Grant) {
					grant.Task = &countersign.Task{Deadline: 1, Told: []countersign.IdentityID{s.as("oda").Identity}}
				})
			}
		}},
		"a removal that nobody asked for": {"a removal is asked for by name", func(s *story) {
			s.target.takes(taskOf{Principal: string(s.as("ana").Identity), Entitlement: "read"})
		}},
		"a removal of what a grant gives": {"a removal is asked for by name", func(s *story) {
			s.laws.see = s.legacy("pro_other")
			for _, grant := range s.look().grants {
				if grant.Adopted == nil {
					continue
				}
				by, legacy := adoptedAs(grant), s.laws.see
				s.laws.see = func(l *look) {
					legacy(l)
					l.findings = append(l.findings, &countersign.Finding{Holder: by.holder, System: by.system, Entitlement: by.entitlement, Removal: &countersign.Removal{Intent: "int_other"}})
				}
				s.target.takes(taskOf{Intent: "int_other", Principal: string(by.holder), System: by.system, Entitlement: by.entitlement})
				return
			}
		}},
		"a removal that somebody else asked for": {"a removal is asked for by name", func(s *story) {
			s.laws.see = func(l *look) {
				l.findings = append(l.findings, &countersign.Finding{ID: "fnd_other", Kind: countersign.OutOfBandFinding, State: countersign.FindingOpen, Removal: &countersign.Removal{By: s.as("ana").Identity, At: l.now}})
			}
			s.laws.only = "a removal is asked for by name"
		}},
		"a removal that is nobody's work": {"an owner and a clock", func(s *story) {
			s.laws.see = func(l *look) {
				l.findings = append(l.findings, &countersign.Finding{ID: "fnd_other", Kind: countersign.OutOfBandFinding, State: countersign.FindingOpen, Owner: s.as("otto").Identity, Deadline: l.now, OpenedAt: l.now - 1, Removal: &countersign.Removal{By: s.as("otto").Identity, At: l.now}})
			}
			s.laws.only = "an owner and a clock"
		}},
		"legacy that nobody signed": {"legacy is signed by a second person", func(s *story) { s.laws.see = s.legacy("pro_other") }},
		"legacy that was never there": {"legacy is signed by a second person", func(s *story) {
			s.laws.see = s.signed("adam", "alma", countersign.ProposalPublished, 400*countersign.Day)
			s.laws.only = "legacy is signed by a second person"
		}},
		"legacy that lasts too long": {"legacy is signed by a second person", func(s *story) {
			s.laws.see = s.signed("adam", "alma", countersign.ProposalPublished, -400*countersign.Day)
			for _, grant := range s.look().grants {
				if grant.Adopted != nil {
					s.target.ever[adoptedAs(grant)] = true
				}
			}
			s.laws.only = "legacy is signed by a second person"
		}},
		"legacy that one person signs": {"a proposal takes a second person", func(s *story) {
			s.laws.see = s.signed("adam", "adam", countersign.ProposalPublished, 0)
		}},
		"a proposal that somebody else withdraws": {"a proposal takes a second person", func(s *story) {
			s.laws.see = s.signed("adam", "alma", countersign.ProposalWithdrawn, 0)
		}},
		"a proposal that comes back": {"what has ended stays so", func(s *story) {
			s.laws.final["pro_other"] = "withdrawn"
			s.laws.see = s.signed("adam", "alma", countersign.ProposalPublished, 0)
			s.laws.only = "what has ended stays so"
		}},
		"an end that passed": {"ends", func(s *story) {
			s.laws.see = func(l *look) { l.now = l.now.Add(400 * countersign.Day) }
		}},
		"both halves of a toxic combination": {"separation of duties", func(s *story) {
			s.laws.see = func(l *look) {
				for _, entitlement := range l.directory.Entitlements {
					for _, grant := range l.grants {
						if entitlement.Name == "open" && grant.State == countersign.GrantLive && grant.System == entitlement.System {
							other := *grant
							other.ID, other.Entitlement = "grt_other", entitlement.ID
							l.grants[other.ID] = &other
						}
						if entitlement.Name == "write" && grant.ID != "grt_other" && grant.State == countersign.GrantLive && grant.System == entitlement.System {
							grant.Entitlement = entitlement.ID
						}
					}
				}
			}
		}},
		"access that outlives its exception": {"an exception is bounded", func(s *story) {
			s.laws.see = func(l *look) {
				for _, grant := range l.grants {
					if request := l.requests[grant.Request]; request != nil && grant.State == countersign.GrantLive {
						request.Exception = excepted(request, grant.Until.Add(-1))
						request.Stages = append(request.Stages, countersign.Stage{Name: "exception", State: countersign.StageOpen})
					}
				}
			}
		}},
		"an exception that nobody decided": {"an exception is bounded", func(s *story) {
			s.laws.see = func(l *look) {
				for _, request := range l.requests {
					request.Exception = excepted(request, request.SubmittedAt.Add(20*countersign.Day))
				}
				clear(l.grants)
			}
			s.laws.only = "an exception is bounded"
		}},
		"an exception that who approved before decides": {"an exception is bounded", func(s *story) {
			s.laws.see = func(l *look) {
				for _, request := range l.requests {
					request.Exception = excepted(request, request.SubmittedAt.Add(20*countersign.Day))
					stage := countersign.Stage{Name: "exception", State: countersign.StagePassed, Quorums: []countersign.Quorum{{Need: 2}}}
					for _, other := range []countersign.IdentityID{"idn_other", request.Beneficiary} {
						stage.Decisions = append(stage.Decisions, countersign.Decision{By: request.Requester, Outcome: countersign.Approve, Standing: []countersign.Asked{{Person: other}}})
					}
					for _, earlier := range request.Stages {
						stage.Decisions = append(stage.Decisions, earlier.Decisions...)
					}
					request.Stages = append(request.Stages, stage)
				}
				clear(l.grants)
			}
			s.laws.only = "an exception is bounded"
		}},
		"what a rule gave and gives no more": {"birthrights follow their rules", func(s *story) {
			s.laws.see = func(l *look) {
				for _, identity := range l.identities {
					identity.Affiliation = countersign.Employee
				}
			}
			s.laws.only = "birthrights follow their rules"
			s.checkBirthrights(s.look())
		}},
		"what a rule gives and nobody has": {"birthrights follow their rules", func(s *story) {
			s.laws.see = func(l *look) {
				for id, grant := range l.grants {
					if grant.Birthright != nil {
						delete(l.grants, id)
					}
				}
			}
			s.laws.only = "birthrights follow their rules"
		}},
		"what was revoked and is given again": {"birthrights follow their rules", func(s *story) {
			s.laws.see = func(l *look) {
				for _, grant := range l.grants {
					if grant.Birthright != nil {
						earlier := *grant
						earlier.ID, earlier.State, earlier.EndCause, earlier.EndAt = "grt_other", countersign.GrantGone, "revoked", grant.OpenedAt.Add(-1)
						l.grants[earlier.ID] = &earlier
						return
					}
				}
			}
		}},
		"access that goes on for who moved": {"who moves is judged anew", func(s *story) {
			s.laws.see = func(l *look) {
				for _, identity := range l.identities {
					identity.Affiliation = "vendor"
				}
			}
			s.laws.only = "who moves is judged anew"
			s.checkMoves(s.look())
		}},
		"a request that asks nobody of a move": {"who moves is judged anew", func(s *story) {
			s.laws.see = func(l *look) {
				for _, identity := range l.identities {
					identity.Affiliation = "contractor"
				}
				clear(l.grants)
			}
			s.laws.only = "who moves is judged anew"
			_, _ = s.houses[0].Desk.Submit(s.ctx, s.as("max"), desk.Key{}, desk.Asking{Entitlements: []string{"ledger/books/brief"}, Reason: "the books of the month are due"})
			s.checkMoves(s.look())
		}},
		"a manager of somebody else who decides": {"who decides may", func(s *story) {
			s.laws.see = func(l *look) {
				for _, identity := range l.identities {
					identity.Manager = "idn_other"
				}
			}
		}},
		"a package that lacks something": {"a package is asked for whole", func(s *story) {
			s.laws.see = func(l *look) {
				for id := range l.names {
					l.batches = append(l.batches, &countersign.Batch{ID: "bat_other", Package: "starter", Reason: "another", Items: []countersign.BatchItem{{Entitlement: id}}})
					return
				}
			}
		}},
		"a finding of what was never there": {"no false finding", func(s *story) {
			s.laws.see = func(l *look) {
				l.findings = append(l.findings, &countersign.Finding{ID: "fnd_other", Kind: countersign.OutOfBandFinding, Holder: "idn_other", Entitlement: "read"})
			}
		}},
		"what is given by hand and nobody finds": {"what is given by hand is found", func(s *story) {
			s.laws.see = func(l *look) {
				l.findings = nil
				for _, grant := range l.grants {
					grant.Adopted, grant.Origin = nil, countersign.FromRequest
				}
			}
			s.laws.only = "what is given by hand is found"
			_ = s.giveByHand()
		}},
		"what was adopted and is still there by hand": {"what is adopted is taken over", func(s *story) {
			s.laws.see = func(l *look) {
				for _, task := range s.target.held {
					by := handedOf(task)
					s.target.byHand[by], s.target.ever[by] = true, true
					l.requests[l.grants[task.Grant].Request].Adopts = "fnd_other"
					l.findings = append(l.findings, &countersign.Finding{ID: "fnd_other", Kind: countersign.OutOfBandFinding, Holder: by.holder, System: by.system, Resource: by.resource, Entitlement: by.entitlement})
				}
			}
			s.laws.only = "what is adopted is taken over"
		}},
		"access by what was turned down": {"what was turned down gives nothing", func(s *story) {
			s.laws.see = func(l *look) {
				for _, request := range l.requests {
					request.State = countersign.RequestDenied
				}
			}
		}},
		"two requests that are merged with each other": {"what is merged goes on", func(s *story) {
			s.laws.see = func(l *look) {
				for id, request := range l.requests {
					request.Outcome = "Merged with " + string(id) + ": it asks for the same"
				}
			}
		}},
		"an operator who decides what he or she sorted": {"who sorts decides nothing", func(s *story) {
			s.laws.see = func(l *look) {
				for _, request := range l.requests {
					for _, stage := range request.Stages {
						for _, decision := range stage.Decisions {
							request.ClassifiedBy = decision.By
						}
					}
				}
			}
		}},
		"an item that was refused and opened": {"what a batch refuses is not there", func(s *story) {
			s.laws.see = func(l *look) {
				for _, request := range l.requests {
					l.batches = append(l.batches, &countersign.Batch{ID: "bat_other", By: request.Requester, Reason: request.Reason, Items: []countersign.BatchItem{
						{Beneficiary: request.Beneficiary, Entitlement: request.Entitlements[0], Refused: "no-such-type"},
					}})
					return
				}
			}
		}},
		"an emergency policy that outlives its time": {"an emergency policy is bounded", func(s *story) {
			s.laws.see = func(l *look) {
				proposal := &countersign.Proposal{ID: "pro_other", State: countersign.ProposalProvisional, EnforcedBy: "idn_other", Until: l.now.Add(-countersign.Day)}
				l.proposals = append(l.proposals, proposal)
				l.policy.Emergency = &countersign.EmergencyPolicy{Proposal: proposal.ID, By: proposal.EnforcedBy}
			}
			s.laws.only = "an emergency policy is bounded"
			s.checkEnds(s.look())
		}},
		"an emergency policy that is in force and recorded as over": {"an emergency policy is bounded", func(s *story) {
			s.laws.see = func(l *look) {
				l.policy.Emergency = &countersign.EmergencyPolicy{Proposal: "pro_other"}
				l.proposals = append(l.proposals, &countersign.Proposal{ID: "pro_other", State: countersign.ProposalLapsed, EnforcedBy: "idn_other", Until: l.now})
			}
		}},
		"an emergency policy that lets somebody decide": {"an emergency policy is bounded", func(s *story) {
			s.widening["pro_other"] = true
			s.laws.see = func(l *look) {
				l.proposals = append(l.proposals, &countersign.Proposal{ID: "pro_other", State: countersign.ProposalLapsed, EnforcedBy: "idn_other", Until: l.now})
			}
		}},
		"an author who decides while the emergency lasts": {"an emergency policy is bounded", func(s *story) {
			s.laws.see = func(l *look) {
				for _, request := range l.requests {
					for _, stage := range request.Stages {
						for _, decision := range stage.Decisions {
							until := decision.At.Add(countersign.Day)
							l.proposals = append(l.proposals, &countersign.Proposal{ID: "pro_other", State: countersign.ProposalLapsed, EnforcedBy: decision.By, Until: until, DecidedAt: until})
						}
					}
				}
			}
		}},
		"a proposal that waits for ever": {"nothing is open for ever", func(s *story) {
			s.harm(`INSERT OR IGNORE INTO proposal (id, version, body, state) VALUES ('prp_01m6dqs9m0ecyt200h9ksmz6gw', 1,
				'{"at":"2026-11-02T09:00:00.000Z","by":"idn_other","files":"","id":"prp_01m6dqs9m0ecyt200h9ksmz6gw","kind":"policy","reason":"x","state":"open","until":"2099-01-01T00:00:00.000Z","version":1}', 'open')`)
			s.laws.only = "nothing is open for ever"
		}},
		"a proposal that nothing wakes": {"an owner and a clock", func(s *story) {
			s.laws.see = func(l *look) {
				l.proposals = append(l.proposals, &countersign.Proposal{ID: "pro_other", State: countersign.ProposalOpen, Until: l.now.Add(countersign.Day)})
			}
		}},
		"a proposal that was published after its time": {"nobody decides what has lapsed", func(s *story) {
			s.laws.see = func(l *look) {
				l.proposals = append(l.proposals, &countersign.Proposal{ID: "pro_other", State: countersign.ProposalPublished, Until: l.now, DecidedAt: l.now})
			}
		}},
		"a proposal that outlives its time": {"ends", func(s *story) {
			s.laws.see = func(l *look) {
				l.proposals = append(l.proposals, &countersign.Proposal{ID: "pro_other", State: countersign.ProposalOpen, Until: l.now})
			}
			s.laws.only = "ends"
			s.checkEnds(s.look())
		}},
		"an offer without a time": {"an owner and a clock", func(s *story) {
			s.laws.see = func(l *look) {
				offered := *l.directory.Systems[0]
				offered.Offer = &countersign.OwnershipOffer{To: "idn_other"}
				l.directory.Systems = append(l.directory.Systems, &offered)
			}
		}},
		"an offer that outlives its time": {"ends", func(s *story) {
			s.laws.see = func(l *look) {
				offered := *l.directory.Systems[0]
				offered.Offer = &countersign.OwnershipOffer{To: "idn_other", Until: 1}
				l.directory.Systems = append(l.directory.Systems, &offered)
			}
			s.laws.only = "ends"
			s.checkEnds(s.look())
		}},
		"a check that lets through what is stopped": {"checks refuse", func(s *story) {
			s.laws.see = func(l *look) {
				for _, grant := range l.grants {
					if grant.System != l.powers {
						grant.State = countersign.GrantGone
					}
				}
			}
			s.laws.only = "checks refuse"
			for _, h := range s.houses {
				s.checkStops(h)
			}
		}},
		"an account that nobody asked for": {"no access without a decision", func(s *story) {
			for _, system := range s.look().directory.Systems {
				if system.Name == "gateway" {
					_, err := s.houses[0].Registry.Create(s.ctx, registry.Order{
						Intent: "int_00000000000000000000000000", Attempt: 1, Credential: "crd_00000000000000000000000000", Grant: "grt_00000000000000000000000000",
						Holder: s.as("svc").Identity, System: system.ID, SystemName: "gateway", Entitlement: "ent_00000000000000000000000000", Resource: "routes", Scope: "call",
					})
					s.checkAnswer(err)
				}
			}
			s.laws.only = "no access without a decision"
		}},
		"an account that outlives its grant":        {"no access after its end", func(s *story) { s.endsMachines("registry", "no access after its end") }},
		"an account that works without a grant":     {"checks refuse", func(s *story) { s.endsMachines("registry", "checks refuse") }},
		"a tool that can be called without a grant": {"checks refuse", func(s *story) { s.endsMachines("tools", "checks refuse") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			short := rush
			short.steps = 30
			// Not every story comes to what is tampered with.
			for seed := uint64(1); seed <= 4; seed++ {
				for _, one := range play(t, seed, &short, func(s *story) {
					s.tamper = func(s *story) {
						s.patience = 20
						wrong.tamper(s)
					}
				}).broken {
					if one.law == wrong.law {
						return
					}
					t.Logf("found instead: %s", one)
				}
			}
			t.Errorf("nothing was found of %q", wrong.law)
		})
	}
}

// byHand shows what was given first as if people had given it, and looked so.
func (s *story) byHand(checks ...countersign.Check) func(*look) {
	return func(l *look) {
		for _, grant := range l.grants {
			if l.names[grant.Entitlement] == "read" && grant.Request != "" {
				grant.Step.Connector, grant.Checks, grant.State = "manual", checks, countersign.GrantLive
			}
		}
	}
}

// manual does something to what people give.
func (l *look) manual(change func(*countersign.Grant)) {
	for _, grant := range l.grants {
		if grant.Step.Connector == "manual" {
			change(grant)
		}
	}
}

// legacy shows what was given first as if a baseline had taken it on the record.
func (s *story) legacy(baseline countersign.ProposalID) func(*look) {
	return func(l *look) {
		for _, grant := range l.grants {
			if l.names[grant.Entitlement] == "read" && grant.Request != "" && grant.State == countersign.GrantLive {
				grant.Origin, grant.Request = countersign.FromBaseline, ""
				grant.Adopted = &countersign.Adopted{Baseline: baseline, Principal: string(grant.Holder), Entitlement: "read"}
			}
		}
	}
}

// signed shows a baseline, signed so long after now, and what it took on the record.
func (s *story) signed(by, decided string, state countersign.ProposalState, after countersign.Seconds) func(*look) {
	legacy := s.legacy("pro_other")
	return func(l *look) {
		legacy(l)
		proposal := &countersign.Proposal{ID: "pro_other", Kind: countersign.BaselineProposal, State: state, By: s.as(by).Identity, DecidedBy: s.as(decided).Identity, DecidedAt: l.now.Add(after)}
		for _, system := range l.directory.Systems {
			if system.Name == "ledger" {
				proposal.System = system.ID
			}
		}
		l.proposals = append(l.proposals, proposal)
	}
}

// endsOne takes away what was given first, so that evidence is owed.
func (s *story) endsOne() {
	l := s.look()
	for _, grant := range l.grants {
		if l.names[grant.Entitlement] == "read" && grant.State == countersign.GrantLive {
			_ = s.houses[0].Desk.Revoke(s.ctx, s.as("adam"), desk.Key{}, grant.ID, "not needed any more")
		}
	}
}

// endsMachines gives an account and a tool, and shows those of the connector as if they
// had ended.
func (s *story) endsMachines(connector, law string) {
	for _, asking := range []desk.Asking{{Beneficiary: "svc", Entitlements: []string{"gateway/routes/call"}}, {Beneficiary: "agent", Entitlements: []string{"tools/search/query"}}} {
		asking.Reason = "there is something to tamper with"
		id, err := s.houses[0].Desk.Submit(s.ctx, s.as(map[string]string{"svc": "olga", "agent": "ana"}[asking.Beneficiary]), desk.Key{}, asking)
		if err != nil {
			continue
		}
		if view, err := s.houses[0].Desk.Request(s.ctx, s.as("pia"), id); err == nil {
			_ = s.houses[0].Desk.Approve(s.ctx, s.as("pia"), desk.Key{}, id, desk.Decision{Shown: view.Shown})
		}
	}
	s.settled()
	s.laws.see = func(l *look) {
		for _, grant := range l.grants {
			if grant.Step.Connector == connector {
				grant.State = countersign.GrantGone
			}
		}
	}
	s.laws.only = law
	for _, h := range s.houses {
		s.checkStops(h)
	}
}

// excepted is an exception as it should be, but for what is shown of the request.
func excepted(request *countersign.Request, until countersign.Instant) *countersign.Exception {
	return &countersign.Exception{Control: "somebody else reads the log each evening", Owner: request.Requester, Until: until,
		Waives: []countersign.Waived{{Reason: "toxic-combination", Rule: "write-and-open"}}}
}

// harm changes the database behind the house's back.
func (s *story) harm(query string) {
	writers.Lock()
	defer writers.Unlock()
	_, err := writers.of[s.path].ExecContext(s.ctx, query, nil)
	if err != nil && !strings.Contains(err.Error(), "full") {
		s.t.Fatal(err)
	}
}
