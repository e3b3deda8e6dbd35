package reconcile

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// MaxItems is how many items one list may have.
const MaxItems = 2_000_000

// Granted is one credential of a grant that has not ended.
type Granted struct {
	Grant       countersign.GrantID
	Credential  countersign.CredentialID
	Holder      countersign.IdentityID
	Resource    string
	Entitlement string
	// Settled says that the target has to hold it: it was read back, and nothing
	// that is under way could change that while the target is read.
	Settled bool
	// Principal is set for access that a baseline adopted: the target has no mark on
	// it, and Resource and Entitlement are as it lists them.
	Principal string
}

// Standing is what the directory says of who holds something.
type Standing struct {
	// Active says that there is such an identity and that it may hold something.
	Active bool
	// Unowned says that it is a machine, and that no active person answers for it.
	Unowned bool
}

// Directory answers for identities.
type Directory interface {
	// Find returns the identity that a target names so, or "".
	Find(principal string) countersign.IdentityID
	Standing(id countersign.IdentityID) Standing
}

// Difference is one thing that a person has to look at.
type Difference struct {
	Kind        countersign.FindingKind
	Principal   string
	Holder      countersign.IdentityID
	Resource    string
	Entitlement string
	Credential  countersign.CredentialID
	// Grant is the one that lost its access, or whose mark something bears that it
	// does not give.
	Grant countersign.GrantID
	// Unmarkable says that the access could turn out to be a grant's that was opened
	// while the target was read.
	Unmarkable bool
}

// Key tells a difference from every other one of its system.
type Key [sha256.Size]byte

// Key returns what is the same each time that the same difference is seen.
func (d Difference) Key() Key {
	return digest(string(d.Kind), d.Principal, string(d.Holder), d.Resource, d.Entitlement, string(d.Credential), string(d.Grant))
}

// KeyOf returns the key of the difference that a finding is about.
func KeyOf(f *countersign.Finding) Key {
	return Difference{
		Kind: f.Kind, Principal: f.Principal, Holder: f.Holder, Resource: f.Resource, Entitlement: f.Entitlement, Credential: f.Credential, Grant: f.Grant,
	}.Key()
}

func digest(texts ...string) [sha256.Size]byte {
	var bytes []byte
	for _, text := range texts {
		bytes = binary.AppendUvarint(bytes, uint64(len(text)))
		bytes = append(bytes, text...)
	}
	return sha256.Sum256(bytes)
}

// right is a pair of holder and right, interned: names of rights are few.
type right struct {
	holder countersign.IdentityID
	named  uint32
}

// listed is how a target names access.
type listed struct{ principal, resource, entitlement string }

// Comparison takes a list, item by item. It keeps what is granted and what
// differs; what agrees leaves 32 bytes.
type Comparison struct {
	directory Directory
	// A mark that was made from fresh on and before future may be of a grant that was
	// opened too late to be among those that are known. One of later times was made up.
	fresh, future countersign.Instant

	granted      []Granted
	seen         []bool
	byCredential map[countersign.CredentialID]int32
	byListed     map[listed]int32
	byRight      map[right]int32
	names        map[[2]string]uint32

	items           [][sha256.Size]byte
	accounts, pairs int
	ours, unsettled int
	different       []Difference
	unowned         map[countersign.IdentityID]bool
}

// New begins a comparison of a list that is read from an instant on with what was
// granted before that. Marks that were made within a margin before it are judged
// next time.
func New(directory Directory, granted []Granted, began countersign.Instant) *Comparison {
	c := &Comparison{
		directory: directory, fresh: began.Add(-margin), future: began.Add(longest + margin), granted: granted, seen: make([]bool, len(granted)),
		byCredential: make(map[countersign.CredentialID]int32, len(granted)), byListed: map[listed]int32{}, byRight: map[right]int32{}, names: map[[2]string]uint32{},
		unowned: map[countersign.IdentityID]bool{},
	}
	for i, one := range granted {
		c.byCredential[one.Credential] = int32(i)
		if one.Principal != "" {
			c.byListed[listed{one.Principal, one.Resource, one.Entitlement}] = int32(i)
		}
	}
	return c
}

// longest is more than reading a list takes.
const longest = 10 * countersign.Minute

// margin is more than the clocks of two replicas may differ by.
const margin = countersign.Minute

// Found takes the next item of the list.
func (c *Comparison) Found(item connector.Item) error {
	if err := item.Check(); err != nil {
		return err
	}
	if len(c.items) == MaxItems {
		return &connector.Failure{Kind: connector.Rejected, Message: "the list has more items than a comparison takes"}
	}
	c.items = append(c.items, digest(item.Principal, string(item.Holder), item.Resource, item.Entitlement, string(item.Credential), item.Until.String()))
	holder := item.Holder
	if holder == "" {
		holder = c.directory.Find(item.Principal)
	}
	found := Difference{
		Principal: item.Principal, Holder: holder, Resource: item.Resource, Entitlement: item.Entitlement, Credential: item.Credential, Unmarkable: item.Unmarkable,
	}
	standing := Standing{}
	if holder != "" {
		standing = c.directory.Standing(holder)
	}
	if standing.Unowned && !c.unowned[holder] {
		c.unowned[holder] = true
		c.different = append(c.different, Difference{Kind: countersign.UnownedFinding, Principal: string(holder), Holder: holder})
	}
	if item.Entitlement == "" {
		c.accounts++
		if _, ours := c.byCredential[item.Credential]; !standing.Active && !(item.Credential != "" && ours) {
			found.Kind = countersign.OrphanedFinding
			c.different = append(c.different, found)
		}
		return nil
	}
	c.pairs++
	found.Kind = countersign.OutOfBandFinding
	if item.Credential != "" {
		c.marked(item, holder, found)
		return nil
	}
	// A name that belongs to somebody else by now is not what was adopted.
	if i, adopted := c.byListed[listed{item.Principal, item.Resource, item.Entitlement}]; adopted && (holder == "" || holder == c.granted[i].Holder) {
		c.seen[i] = true
		c.count(i)
		return nil
	}
	if item.Unmarkable {
		if i, ours := c.ofRight(holder, item.Resource, item.Entitlement); ours {
			c.seen[i] = true
			c.count(i)
			return nil
		}
	}
	c.different = append(c.different, found)
	return nil
}

// marked takes an item that bears a mark of ours.
func (c *Comparison) marked(item connector.Item, holder countersign.IdentityID, found Difference) {
	i, known := c.byCredential[item.Credential]
	if !known {
		if made := countersign.TimeOfID(string(item.Credential)); made < c.fresh || made >= c.future {
			c.different = append(c.different, found)
			return
		}
		c.unsettled++
		return
	}
	granted := c.granted[i]
	// A target that does not say whose it is has the mark alone to go by.
	same := (item.Holder == "" || holder == granted.Holder) && item.Resource == granted.Resource && item.Entitlement == granted.Entitlement
	switch {
	case same && granted.Principal == "":
		c.seen[i] = true
		c.count(i)
	case granted.Settled:
		found.Grant = granted.Grant
		c.different = append(c.different, found)
	default:
		c.unsettled++
	}
}

func (c *Comparison) count(i int32) {
	if c.granted[i].Settled {
		c.ours++
	} else {
		c.unsettled++
	}
}

// ofRight finds a grant by holder and right; the index is made when the first item
// asks for it, since most targets have marks.
func (c *Comparison) ofRight(holder countersign.IdentityID, resource, entitlement string) (int32, bool) {
	if len(c.byRight) == 0 {
		for i, one := range c.granted {
			c.byRight[right{one.Holder, c.name(one.Resource, one.Entitlement)}] = int32(i)
		}
	}
	named, known := c.names[[2]string{resource, entitlement}]
	if !known {
		return 0, false
	}
	i, ours := c.byRight[right{holder, named}]
	return i, ours
}

func (c *Comparison) name(resource, entitlement string) uint32 {
	key := [2]string{resource, entitlement}
	named, known := c.names[key]
	if !known {
		named = uint32(len(c.names))
		c.names[key] = named
	}
	return named
}

// Differences returns all that differs, in an order that is the same each time.
// It is to be called when the list was read to its end.
func (c *Comparison) Differences() []Difference {
	all := slices.Clone(c.different)
	for i, one := range c.granted {
		if one.Settled && !c.seen[i] {
			all = append(all, Difference{
				Kind: countersign.LostFinding, Principal: string(one.Holder), Holder: one.Holder, Resource: one.Resource, Entitlement: one.Entitlement,
				Credential: one.Credential, Grant: one.Grant,
			})
		}
	}
	slices.SortFunc(all, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Entitlement, b.Entitlement),
			cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Credential, b.Credential), cmp.Compare(a.Holder, b.Holder))
	})
	// A target may list one thing twice.
	return slices.CompactFunc(all, func(a, b Difference) bool { return a == b })
}

// Counts are the figures of the list: accounts, pairs, pairs of settled grants, and
// pairs of what was on its way.
func (c *Comparison) Counts() (accounts, pairs, ours, unsettled int) {
	return c.accounts, c.pairs, c.ours, c.unsettled
}

// List is the digest of everything that was listed, in whatever order.
func (c *Comparison) List() countersign.Digest {
	slices.SortFunc(c.items, func(a, b [sha256.Size]byte) int { return slices.Compare(a[:], b[:]) })
	bytes := make([]byte, 0, len(c.items)*sha256.Size)
	for _, item := range c.items {
		bytes = append(bytes, item[:]...)
	}
	return countersign.DigestBytes("inventory", bytes)
}
