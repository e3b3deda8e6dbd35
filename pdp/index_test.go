package pdp

import (
	"fmt"
	"runtime"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target"
)

func smallID(kind byte, n uint32) target.ID {
	return target.ID{0: kind, 1: byte(n >> 24), 2: byte(n >> 16), 3: byte(n >> 8), 4: byte(n)}
}

func assignmentNumber(n uint32, subjects, actions, resources uint32) assigned {
	return assigned{
		subject: smallID('i', n%subjects), credential: smallID('c', n), grant: smallID('g', n), of: scope{smallID('s', n%7), smallID('e', n%11), 0},
		action:   fmt.Sprintf("action-%d", n/subjects%actions),
		resource: fmt.Sprintf("system-%d/resource-%d", n%7, n%resources), until: countersign.Instant(n),
	}
}

// The index says the same as a plain map, whatever is put and removed.
func TestTheIndexAgreesWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		index, model := newIndex(), make(map[target.ID]assigned)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				a := assignmentNumber(rapid.Uint32Range(0, 40).Draw(t, "content"), 3, 3, 4)
				a.credential = smallID('c', rapid.Uint32Range(0, 30).Draw(t, "credential"))
				index.put(a)
				model[a.credential] = a
			},
			"remove": func(t *rapid.T) {
				credential := smallID('c', rapid.Uint32Range(0, 30).Draw(t, "credential"))
				index.remove(credential)
				delete(model, credential)
			},
			"": func(t *rapid.T) {
				if index.count != len(model) {
					t.Fatalf("the index counts %d, the map %d", index.count, len(model))
				}
				for n := range uint32(41) {
					probe := assignmentNumber(n, 3, 3, 4)
					want := make(map[target.ID]countersign.Instant)
					for _, a := range model {
						if a.subject == probe.subject && a.action == probe.action && a.resource == probe.resource {
							want[a.credential] = a.until
						}
					}
					got := make(map[target.ID]countersign.Instant)
					if wanted, named := index.right(probe.subject, probe.action, probe.resource); named {
						for e := range index.each(wanted) {
							if _, twice := got[e.credential]; twice {
								t.Fatal("one assignment is found twice")
							}
							got[e.credential] = e.until
						}
					}
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Fatalf("the index finds %v, the map %v", got, want)
					}
				}
				for n := range uint32(31) {
					credential := smallID('c', n)
					a, there := model[credential]
					if e := index.find(credential); (e != nil) != there || there && (e.until != a.until || index.byScope[e.scope] != a.of || e.grant != a.grant) {
						t.Fatalf("credential %d: the index finds %v, the map %v", n, e, there)
					}
				}
			},
		})
	})
}

const million = 1_000_000

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func fill(n uint32) *index {
	index := newIndex()
	for i := range n {
		index.put(assignmentNumber(i, n/10, 5, 1000))
	}
	return index
}

func TestAMillionAssignmentsTakeAtMostAHundredBytesEach(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a million assignments")
	}
	before := heap()
	index := fill(million)
	perAssignment := float64(heap()-before) / million
	t.Logf("%.1f bytes per assignment", perAssignment)
	if perAssignment > 100 {
		t.Errorf("%.1f bytes per assignment, want at most 100", perAssignment)
	}
	if index.count != million {
		t.Errorf("%d assignments are held", index.count)
	}
}
