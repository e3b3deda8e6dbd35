package pdp

import (
	"hash/maphash"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target"
)

// index holds the assignments in memory: about 100 bytes each, found by subject,
// action and resource, and by credential. Two chained hash tables share one
// slab of entries, so that an assignment costs its entry and one link per table.
// Names of actions and resources, and scopes, are kept once; they are few, and stay
// until the process ends.
type index struct {
	seed  maphash.Seed
	pages []*[pageSize]entry
	// used is how many places of the pages were ever taken; free chains the ones
	// that were given back.
	used, free place
	count      int
	// The tables' buckets; their number is a power of two, at least count.
	byRight, byCredential []place

	names   map[string]uint32
	byName  []string
	scopes  map[scope]uint32
	byScope []scope
	// Bounds are few, too: those of the policies in force.
	bounds   map[string]uint32
	byBounds [][]bound
}

// scope is what an assignment is stopped with, beside its holder and itself; bounds
// is one above the position of what it is bounded by, 0 for nothing.
type scope struct {
	system, entitlement target.ID
	bounds              uint32
}

const pageSize = 4096

// place is one above an entry's position in the slab; 0 is none.
type place uint32

// right is what an assignment allows: a subject may do an action on a resource.
type right struct {
	subject          target.ID
	action, resource uint32
}

// entry is 88 bytes.
type entry struct {
	subject, credential, grant target.ID
	action, resource, scope    uint32
	// used is the hour of the last use that was noted, read and written atomically.
	used uint32
	// The next entries in the chains of the two tables.
	nextRight, nextCredential place
	until                     countersign.Instant
}

func (e *entry) right() right { return right{e.subject, e.action, e.resource} }

func newIndex() *index {
	return &index{
		seed: maphash.MakeSeed(), byRight: make([]place, 1), byCredential: make([]place, 1),
		names: make(map[string]uint32), scopes: make(map[scope]uint32), bounds: make(map[string]uint32),
	}
}

// assigned is an assignment in the small form of its ids.
type assigned struct {
	subject, credential, grant target.ID
	of                         scope
	action, resource           string
	until                      countersign.Instant
}

// put adds the assignment, in place of the one that its credential had.
func (x *index) put(a assigned) {
	x.remove(a.credential)
	if x.count == len(x.byRight) {
		x.grow()
	}
	at := x.take()
	e := x.at(at)
	*e = entry{
		subject: a.subject, credential: a.credential, grant: a.grant,
		action: x.name(a.action), resource: x.name(a.resource), scope: x.scope(a.of), until: a.until,
	}
	x.link(at, e)
	x.count++
}

// remove takes away the assignment of the credential, if it is there.
func (x *index) remove(credential target.ID) {
	link := x.credentialBucket(credential)
	for *link != 0 && x.at(*link).credential != credential {
		link = &x.at(*link).nextCredential
	}
	gone := *link
	if gone == 0 {
		return
	}
	e := x.at(gone)
	*link = e.nextCredential
	link = x.rightBucket(e.right())
	for *link != gone {
		link = &x.at(*link).nextRight
	}
	*link = e.nextRight
	*e = entry{nextRight: x.free}
	x.free = gone
	x.count--
}

// find returns the assignment of the credential, or nil.
func (x *index) find(credential target.ID) *entry {
	for at := *x.credentialBucket(credential); at != 0; at = x.at(at).nextCredential {
		if x.at(at).credential == credential {
			return x.at(at)
		}
	}
	return nil
}

// right returns the small form of a right, or false when no assignment ever
// named its action or resource.
func (x *index) right(subject target.ID, action, resource string) (right, bool) {
	a, knownAction := x.names[action]
	r, knownResource := x.names[resource]
	return right{subject, a, r}, knownAction && knownResource
}

// each yields the assignments that give the right.
func (x *index) each(wanted right) func(yield func(*entry) bool) {
	return func(yield func(*entry) bool) {
		for at := *x.rightBucket(wanted); at != 0; at = x.at(at).nextRight {
			if e := x.at(at); e.right() == wanted && !yield(e) {
				return
			}
		}
	}
}

func (x *index) at(p place) *entry { return &x.pages[(p-1)/pageSize][(p-1)%pageSize] }

func (x *index) take() place {
	if at := x.free; at != 0 {
		x.free = x.at(at).nextRight
		return at
	}
	if int(x.used) == len(x.pages)*pageSize {
		x.pages = append(x.pages, new([pageSize]entry))
	}
	x.used++
	return x.used
}

func (x *index) grow() {
	x.byRight = make([]place, 2*len(x.byRight))
	x.byCredential = make([]place, len(x.byRight))
	for at := place(1); at <= x.used; at++ {
		// Growing happens only when no place is free, so every entry is in use.
		x.link(at, x.at(at))
	}
}

func (x *index) link(at place, e *entry) {
	bucket := x.rightBucket(e.right())
	e.nextRight, *bucket = *bucket, at
	bucket = x.credentialBucket(e.credential)
	e.nextCredential, *bucket = *bucket, at
}

func (x *index) rightBucket(r right) *place {
	return &x.byRight[maphash.Comparable(x.seed, r)&uint64(len(x.byRight)-1)]
}

func (x *index) credentialBucket(credential target.ID) *place {
	return &x.byCredential[maphash.Comparable(x.seed, credential)&uint64(len(x.byCredential)-1)]
}

func (x *index) name(text string) uint32 {
	small, known := x.names[text]
	if !known {
		small = uint32(len(x.byName))
		x.names[text] = small
		x.byName = append(x.byName, text)
	}
	return small
}

func (x *index) scope(of scope) uint32 {
	small, known := x.scopes[of]
	if !known {
		small = uint32(len(x.byScope))
		x.scopes[of] = small
		x.byScope = append(x.byScope, of)
	}
	return small
}
