package countersign_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign"
)

func TestTheNearestWordIsTheOneThatWasMeant(t *testing.T) {
	known := []string{"approvers", "else", "need", "within", "new", "show"}
	for word, want := range map[string]string{
		"aprovers": "approvers", "Approvers": "approvers", "wihtin": "within", "shw": "show", "nede": "need",
		"colour": "", "": "", "x": "", strings.Repeat("approvers", 1000): "",
	} {
		if got := countersign.Nearest(word, known); got != want {
			t.Errorf("for %q it is %q, want %q", countersign.Clip(word), got, want)
		}
	}
}

func TestForeignTextIsClippedBetweenLetters(t *testing.T) {
	long := strings.Repeat("ä", 40)
	if got := countersign.Clip(long); got != strings.Repeat("ä", 32)+"…" {
		t.Errorf("clipped to %q", got)
	}
	if got := countersign.Clip("short"); got != "short" {
		t.Errorf("clipped to %q", got)
	}
}
