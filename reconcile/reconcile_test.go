package reconcile_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/reconcile"
)

// everybody is a directory in which everybody is active, and knows logins as
// "login-" and the id.
type everybody struct{}

func (everybody) Find(principal string) countersign.IdentityID {
	return countersign.IdentityID(strings.TrimPrefix(principal, "login-"))
}
func (everybody) Standing(countersign.IdentityID) reconcile.Standing {
	return reconcile.Standing{Active: true}
}

var (
	began = countersign.InstantOf(time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC))
	// early makes ids of grants that were there before the list was read, late of
	// those that were opened meanwhile.
	early = countersign.NewMint([32]byte{1}, began.Add(-countersign.Day))
	late  = countersign.NewMint([32]byte{2}, began)
)

func granted(mint *countersign.Mint, holder countersign.IdentityID, entitlement string) reconcile.Granted {
	return reconcile.Granted{Grant: mint.Grant(), Credential: mint.Credential(), Holder: holder, Resource: "books", Entitlement: entitlement, Settled: true}
}

// itemOf is what a target lists for it.
func itemOf(g reconcile.Granted) connector.Item {
	return connector.Item{Principal: "login-" + string(g.Holder), Holder: g.Holder, Resource: g.Resource, Entitlement: g.Entitlement, Credential: g.Credential}
}

// compare returns the kinds and principals of what differs.
func compare(t testing.TB, known []reconcile.Granted, items ...connector.Item) []string {
	t.Helper()
	c := reconcile.New(everybody{}, known, began)
	for _, item := range items {
		if err := c.Found(item); err != nil {
			t.Fatal(err)
		}
	}
	var told []string
	for _, difference := range c.Differences() {
		told = append(told, fmt.Sprintf("%s %s %s", difference.Kind, strings.TrimPrefix(difference.Principal, "login-"), difference.Entitlement))
	}
	return told
}

func TestOnlyWhatDiffersIsFound(t *testing.T) {
	ana, max := early.Identity(), early.Identity()
	read, write := granted(early, ana, "read"), granted(early, max, "write")
	unsettled := read
	unsettled.Settled = false
	byHand := connector.Item{Principal: "login-" + string(ana), Holder: ana, Resource: "books", Entitlement: "read"}
	unmarkable := byHand
	unmarkable.Unmarkable = true
	stolen := itemOf(read)
	stolen.Holder = max
	wider := itemOf(read)
	wider.Entitlement = "write"
	for name, test := range map[string]struct {
		known []reconcile.Granted
		items []connector.Item
		want  []string
	}{
		"all is as it should be":                 {[]reconcile.Granted{read, write}, []connector.Item{itemOf(write), itemOf(read)}, nil},
		"lost":                                   {[]reconcile.Granted{read, write}, []connector.Item{itemOf(write)}, []string{"lost " + string(ana) + " read"}},
		"on its way, and not there yet":          {[]reconcile.Granted{unsettled}, nil, nil},
		"on its way, and there":                  {[]reconcile.Granted{unsettled}, []connector.Item{itemOf(read)}, nil},
		"given by hand":                          {nil, []connector.Item{byHand}, []string{"out-of-band " + string(ana) + " read"}},
		"given by hand beside ours":              {[]reconcile.Granted{read}, []connector.Item{itemOf(read), byHand}, []string{"out-of-band " + string(ana) + " read"}},
		"given by hand in place of ours":         {[]reconcile.Granted{read}, []connector.Item{byHand}, []string{"lost " + string(ana) + " read", "out-of-band " + string(ana) + " read"}},
		"no place for a mark":                    {[]reconcile.Granted{read}, []connector.Item{unmarkable}, nil},
		"no place for a mark, and nobody's":      {[]reconcile.Granted{write}, []connector.Item{unmarkable, itemOf(write)}, []string{"out-of-band " + string(ana) + " read"}},
		"our mark on somebody else":              {[]reconcile.Granted{read}, []connector.Item{stolen}, []string{"lost " + string(ana) + " read", "out-of-band " + string(ana) + " read"}},
		"our mark on a wider right":              {[]reconcile.Granted{read}, []connector.Item{itemOf(read), wider}, []string{"out-of-band " + string(ana) + " write"}},
		"the mark of what is gone":               {nil, []connector.Item{itemOf(granted(early, ana, "read"))}, []string{"out-of-band " + string(ana) + " read"}},
		"the mark of what was opened meanwhile":  {nil, []connector.Item{itemOf(granted(late, ana, "read"))}, nil},
		"the mark of a time to come":             {nil, []connector.Item{itemOf(granted(countersign.NewMint([32]byte{6}, began.Add(countersign.Hour)), ana, "read"))}, []string{"out-of-band " + string(ana) + " read"}},
		"listed twice is one difference":         {nil, []connector.Item{byHand, byHand}, []string{"out-of-band " + string(ana) + " read"}},
		"an account of somebody is no entitling": {nil, []connector.Item{{Principal: "login-" + string(ana)}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := compare(t, test.known, test.items...)
			slices.Sort(got)
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestExactlyWhatWasPutInIsFound takes rights away and adds others, in any order,
// and wants those and no other.
func TestExactlyWhatWasPutInIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mint := countersign.NewMint([32]byte{3}, began.Add(-countersign.Day))
		var known []reconcile.Granted
		var items []connector.Item
		want := map[string]int{}
		for i := range rapid.IntRange(0, 40).Draw(t, "grants") {
			one := granted(mint, mint.Identity(), fmt.Sprint("right-", i%5))
			one.Settled = rapid.Bool().Draw(t, "settled")
			known = append(known, one)
			switch {
			case rapid.Bool().Draw(t, "there"):
				items = append(items, itemOf(one))
			case one.Settled:
				want["lost "+string(one.Grant)]++
			}
		}
		for i := range rapid.IntRange(0, 10).Draw(t, "others") {
			item := itemOf(granted(mint, mint.Identity(), fmt.Sprint("right-", i%5)))
			if rapid.Bool().Draw(t, "unmarked") {
				item.Credential = ""
			}
			items = append(items, item)
			want["out-of-band "+item.Principal]++
		}
		compared := func(items []connector.Item) (countersign.Digest, []reconcile.Difference) {
			c := reconcile.New(everybody{}, known, began)
			for _, item := range items {
				if err := c.Found(item); err != nil {
					t.Fatal(err)
				}
			}
			return c.List(), c.Differences()
		}
		list, found := compared(items)
		for _, difference := range found {
			if difference.Kind == countersign.LostFinding {
				want["lost "+string(difference.Grant)]--
			} else {
				want[string(difference.Kind)+" "+difference.Principal]--
			}
		}
		for what, missing := range want {
			if missing != 0 {
				t.Errorf("%s: found %d too few", what, missing)
			}
		}
		again, foundAgain := compared(rapid.Permutation(items).Draw(t, "order"))
		if list != again || !slices.Equal(found, foundAgain) {
			t.Error("another order of the list gives something else")
		}
	})
}

// organisation is one of the HP Labs role-mining sets as grants, with their items.
func organisation(t testing.TB, name string) (known []reconcile.Granted, items []connector.Item) {
	t.Helper()
	folder := os.Getenv("COUNTERSIGN_TEST_DATA")
	if folder == "" {
		t.Skip("COUNTERSIGN_TEST_DATA names no folder with hp-labs/" + name + ".txt (HP Labs role-mining data)")
	}
	file, err := os.Open(filepath.Join(folder, "hp-labs", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	mint := countersign.NewMint([32]byte{4}, began.Add(-countersign.Day))
	users := map[string]countersign.IdentityID{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 2 {
			continue
		}
		if users[fields[0]] == "" {
			users[fields[0]] = mint.Identity()
		}
		known = append(known, granted(mint, users[fields[0]], "permission-"+fields[1]))
	}
	for _, one := range known {
		items = append(items, itemOf(one))
	}
	return known, items
}

func TestRealOrganisationsAreComparedExactly(t *testing.T) {
	for name, pairs := range map[string]int{"hc": 1486, "domino": 730, "emea": 7220, "apj": 6841, "fire1": 31951, "fire2": 36428, "customer": 45427, "americas_small": 105205} {
		t.Run(name, func(t *testing.T) {
			known, items := organisation(t, name)
			if len(items) != pairs {
				t.Fatalf("%d pairs in the data, want %d", len(items), pairs)
			}
			// Every hundredth is missing on the target, and every hundredth of the rest was
			// given there by hand.
			var listed []connector.Item
			lost, byHand := 0, 0
			for i, item := range items {
				switch {
				case i%100 == 7:
					lost++
					continue
				case i%100 == 9:
					byHand++
					other := item
					other.Entitlement, other.Credential = "by-hand-"+item.Entitlement, ""
					listed = append(listed, other)
				}
				listed = append(listed, item)
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			c := reconcile.New(everybody{}, known, began)
			for _, item := range listed {
				if err := c.Found(item); err != nil {
					t.Fatal(err)
				}
			}
			differences := c.Differences()
			c.List()
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			kinds := map[countersign.FindingKind]int{}
			for _, difference := range differences {
				kinds[difference.Kind]++
				if (difference.Kind == countersign.OutOfBandFinding) != strings.HasPrefix(difference.Entitlement, "by-hand-") {
					t.Fatalf("this is not what was put in: %+v", difference)
				}
			}
			if kinds[countersign.LostFinding] != lost || kinds[countersign.OutOfBandFinding] != byHand || len(differences) != lost+byHand {
				t.Errorf("found %v, put in %d lost and %d by hand", kinds, lost, byHand)
			}
			t.Logf("%d pairs in %s, %d MB allocated in all", len(listed), took, (after.TotalAlloc-before.TotalAlloc)>>20)
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 200<<20 {
				t.Errorf("%d bytes were allocated", allocated)
			}
		})
	}
}

// BenchmarkCompare compares a made-up organisation of 105,205 pairs, the size of the
// largest of the real ones here.
func BenchmarkCompare(b *testing.B) {
	const pairs = 105_205
	mint := countersign.NewMint([32]byte{5}, began.Add(-countersign.Day))
	var known []reconcile.Granted
	var items []connector.Item
	var holder countersign.IdentityID
	for i := range pairs {
		if i%30 == 0 {
			holder = mint.Identity()
		}
		known = append(known, granted(mint, holder, fmt.Sprint("permission-", i%1587)))
		items = append(items, itemOf(known[i]))
	}
	b.ReportAllocs()
	for b.Loop() {
		c := reconcile.New(everybody{}, known, began)
		for _, item := range items {
			if err := c.Found(item); err != nil {
				b.Fatal(err)
			}
		}
		if len(c.Differences()) > 0 {
			b.Fatal("there is nothing that differs")
		}
		c.List()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/pairs, "ns/pair")
}
