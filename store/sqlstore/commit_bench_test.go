package sqlstore

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

const began countersign.Instant = 1_772_020_800_000

// submission is a change as a submit makes it: one request, one event with
// three values, six guards of which two move on, and one timer.
func submission(mint *countersign.Mint, n int64) store.Change {
	request := &countersign.Request{ID: mint.Request(), Version: 1, Type: "api-key", Title: "API key", State: countersign.RequestDeciding,
		Requester: countersign.IdentityID(fmt.Sprintf("idn_%d", n)), Beneficiary: countersign.IdentityID(fmt.Sprintf("idn_%d", n)),
		SamePerson: []countersign.IdentityID{"idn_owner"}, Entitlements: []countersign.EntitlementID{"ent_1"}, Reason: "to send invoices", Answers: []byte(`{"purpose":"billing"}`),
		Stages: []countersign.Stage{{Name: "manager", State: countersign.StageOpen, Asked: []countersign.Asked{{Person: "idn_manager"}}}}}
	event := countersign.SealedEvent{Header: countersign.Header{Stream: request.RowStream(), Seq: 1, Kind: "request.submitted@1", Time: began, Actor: "idn_1",
		Commitments: map[countersign.ValueGroup]countersign.Hash{}}}
	for _, group := range []countersign.ValueGroup{countersign.ValueChange, countersign.ValueFacts, countersign.ValueReason} {
		value := countersign.Value{Group: group, Salt: mint.Salt(), Bytes: make([]byte, 300)}
		event.Values = append(event.Values, value)
		event.Header.Commitments[group] = value.Commitment()
	}
	event.Hash = sha256.Sum256([]byte(request.ID))
	holder := store.GuardHolder(request.Beneficiary)
	return store.Change{Now: began,
		Guards: []store.Guard{{Key: holder, Next: 1}, {Key: holder + "'s owner", Next: 1}, {Key: "policy"}, {Key: "idn_owner"}, {Key: "grp_security"}, {Key: "idn_manager"}},
		Writes: []store.Write{{Row: request}}, Events: []countersign.SealedEvent{event},
		Work: []store.WorkWrite{{Work: store.Work{Key: string(request.ID), Kind: store.RequestWork, DueAt: began}, Attempt: store.AnyAttempt}}}
}

func BenchmarkCommit(b *testing.B) {
	for name, prepare := range databases {
		for _, callers := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/%d", name, callers), func(b *testing.B) {
				s := prepare(b)()
				defer s.Close()
				var count atomic.Int64
				one := func() error {
					n := count.Add(1)
					return s.Commit(background, submission(countersign.NewMint([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}, began), n))
				}
				b.ResetTimer()
				if callers == 1 {
					for b.Loop() {
						if err := one(); err != nil {
							b.Fatal(err)
						}
					}
				} else {
					b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							if err := one(); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			})
		}
	}
}

// BenchmarkClaim looks for due work among a million items of the future, and
// claims one.
func BenchmarkClaim(b *testing.B) {
	const items, together = 1_000_000, 10_000
	for name, prepare := range databases {
		b.Run(name, func(b *testing.B) {
			s := prepare(b)()
			defer s.Close()
			for first := 0; first < items; first += together {
				var change store.Change
				for n := first; n < first+together; n++ {
					work := store.Work{Key: fmt.Sprintf("grt_%07d", n), Kind: store.GrantWork, DueAt: began + countersign.Instant(n)}
					change.Work = append(change.Work, store.WorkWrite{Work: work, Attempt: store.AnyAttempt})
				}
				if err := s.Commit(background, change); err != nil {
					b.Fatal(err)
				}
			}
			claim := func(now countersign.Instant, want int) {
				claimed, err := s.Claim(background, store.Claim{Now: now, Owner: "r", Kinds: []store.WorkKind{store.GrantWork}, Limit: 1, Lease: countersign.Day})
				if err != nil || len(claimed) != want {
					b.Fatalf("claimed %d: %v", len(claimed), err)
				}
			}
			b.Run("nothing due", func(b *testing.B) {
				for b.Loop() {
					claim(began-1, 0)
				}
			})
			b.Run("all due", func(b *testing.B) {
				for b.Loop() {
					claim(began+items, 1)
				}
			})
		})
	}
}
