package exec_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign/connector"
)

func TestAListIsReadPageByPageAndNeverHalfBelieved(t *testing.T) {
	const first = `{"principal":"alex","resource":"invoices","entitlement":"reader"}`
	page := func(items, next string) string {
		return `{"protocol":1,"answer":"inventory","items":[` + items + `],"next":"` + next + `"}`
	}
	for name, test := range map[string]struct {
		script string
		items  int
		says   string
	}{
		"two pages":         {`case "$(cat)" in *'"after":""'*) echo '` + page(first, "alex") + `';; *) echo '` + page(`{"principal":"sam"}`, "") + `';; esac`, 2, ""},
		"the second failed": {`case "$(cat)" in *'"after":""'*) echo '` + page(first, "alex") + `';; *) exit 1;; esac`, 1, "exit status 1"},
		"going in circles":  {`echo '` + page(first, "alex") + `'`, 2, "is the one that was asked for"},
		"a misspelt mark":   {`echo '` + page(`{"principal":"alex","entitlement":"reader","credentials":"crd_1"}`, "") + `'`, 0, `"credentials"`},
		"a mark twice":      {`echo '` + page(`{"principal":"alex","credential":"","credential":"crd_1"}`, "") + `'`, 0, "stands twice"},
		"nobody":            {`echo '` + page(`{"principal":""}`, "") + `'`, 0, "no principal"},
		"no list":           {`echo '{"protocol":1,"answer":"inventory","items":{},"next":""}'`, 0, "list of objects"},
		"no end":            {`echo '{"protocol":1,"answer":"inventory","items":[]}'`, 0, `lacks the member "next"`},
	} {
		made, task := shell(t, test.script)
		found := 0
		err := made.(connector.Inventory).List(t.Context(), connector.Scope{System: task.System, SystemName: task.SystemName}, func(connector.Item) error {
			found++
			return nil
		})
		var failure *connector.Failure
		if test.says == "" && err != nil || test.says != "" && (!errors.As(err, &failure) || failure.Kind != connector.Transient || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: got %v, want one that says %q", name, err, test.says)
		}
		if found != test.items {
			t.Errorf("%s: %d items, want %d", name, found, test.items)
		}
	}
}
