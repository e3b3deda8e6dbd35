package directory_test

import (
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/store"
)

// FuzzParse: whatever the bytes are, there is either an organisation that can be
// compared or a problem that names its place.
func FuzzParse(f *testing.F) {
	f.Add(base)
	f.Add(houseWith("auditor: [mara, jonas]"))
	f.Add("people: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		organisation, problems := directory.Parse([]directory.File{{Path: "f.yaml", Bytes: []byte(text)}})
		if (organisation == nil) == (len(problems) == 0) {
			t.Fatalf("an organisation: %v, and %d problems", organisation != nil, len(problems))
		}
		for _, problem := range problems {
			if problem.File != "f.yaml" || problem.Line < 1 || problem.Column < 1 || problem.Message == "" {
				t.Fatalf("a problem without a place: %s", problem)
			}
		}
		if organisation != nil {
			if _, err := directory.Compare(store.Directory{}, organisation, countersign.NewMint([32]byte{}, today)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
