package postgres

import (
	"testing"
	"time"
)

func TestATimeOfTheLogIsReadInTheServersZoneAlsoWhereAnHourComesTwice(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"2026-10-25 02:30:00.250 CEST": "2026-10-25T00:30:00.25Z",
		"2026-10-25 02:30:00.250 CET":  "2026-10-25T01:30:00.25Z",
		"2026-07-01 12:00:00.000 CEST": "2026-07-01T10:00:00Z",
		"2026-07-01 12:00:00.000 CET":  "",
		"2026-07-01 12:00:00.000 EST":  "",
		"2026-07-01":                   "",
	} {
		at, err := logTime(text, berlin)
		if want == "" && err == nil || want != "" && (err != nil || at.UTC().Format(time.RFC3339Nano) != want) {
			t.Errorf("%s is read as %s, %v", text, at.UTC(), err)
		}
	}
}
