package connector_test

import (
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

func TestAListNamesOneAccountALine(t *testing.T) {
	login, err := countersign.NewHandle(countersign.Login, "", "ana")
	if err != nil {
		t.Fatal(err)
	}
	for list, want := range map[string]bool{"max\r\nAna \r\n": true, "removed: ana\nmax": false, "ana users": false, "": false} {
		if holds, err := (connector.Procedure{Handle: countersign.Login}).Holds([]byte(list), login.Value); err != nil || holds != want {
			t.Errorf("%q: %v, %v", list, holds, err)
		}
	}
}
