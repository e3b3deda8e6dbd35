package countersign_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign"
)

// FuzzCanonicalJSON: a text has no canonical form, or one that is its own and that
// every JSON reader reads as the same value.
func FuzzCanonicalJSON(f *testing.F) {
	for _, text := range []string{`{}`, `{"b":[1,-2,{"a":null}],"a":"é\ud83d\ude00\n"}`, `{"a":1,"a":2}`, `1.5`, `9007199254740992`, `"\ud800"`, "\"\xff\"", `{"\u20ac":1,"\r":2,"` + "\U0001F600" + `":3}`, strings.Repeat("[", 40)} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		canonical, err := countersign.CanonicalJSON(text)
		if err != nil {
			return
		}
		if again, err := countersign.CanonicalJSON(canonical); err != nil || !bytes.Equal(again, canonical) {
			t.Fatalf("%q is not its own canonical form: %q, %v", canonical, again, err)
		}
		was, is := readAnything(t, text), readAnything(t, canonical)
		if !reflect.DeepEqual(was, is) {
			t.Fatalf("%q is read as %v, and its canonical form %q as %v", text, was, canonical, is)
		}
		if encoded, err := countersign.Canonical(was); err != nil || !bytes.Equal(encoded, canonical) {
			t.Fatalf("the value of %q is written as %q (%v), and not as %q", text, encoded, err, canonical)
		}
	})
}

func readAnything(t *testing.T, text []byte) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%q is no JSON: %v", text, err)
	}
	return value
}

// FuzzID: what passes for an id is one text only, and sorts where it belongs.
func FuzzID(f *testing.F) {
	for _, text := range []string{"req_01h2xcejqtf2nbrexx3vqjhp41", "REQ_01h2xcejqtf2nbrexx3vqjhp41", "req_81h2xcejqtf2nbrexx3vqjhp41", "req__01h2xcejqtf2nbrexx3vqjhp41", "_", "nil_00000000000000000000000000"} {
		f.Add("req", text)
	}
	f.Fuzz(func(t *testing.T, prefix, text string) {
		err := countersign.CheckID(prefix, text)
		_, known := countersign.Prefixes[prefix]
		switch kind := countersign.KindOf(err); {
		case err == nil:
			if rest, cut := strings.CutPrefix(text, prefix+"_"); !known || !cut || len(rest) != 26 || rest != strings.ToLower(rest) || countersign.PrefixOf(text) != prefix {
				t.Fatalf("%q passes for an id with the prefix %q", text, prefix)
			}
		case known && kind != countersign.Invalid || !known && kind != countersign.Internal:
			t.Fatalf("%q with the prefix %q: %v has the kind %v", text, prefix, err, kind)
		}
	})
}

// FuzzInstant: what is read as a time is written as one that is read as the same.
func FuzzInstant(f *testing.F) {
	for _, text := range []string{"", "2026-01-31T09:00:00Z", "2026-01-31T09:00:00.123456789+14:00", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00", "2026-02-30T00:00:00Z", "2016-12-31T23:59:60Z"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var instant, again countersign.Instant
		if err := instant.UnmarshalText([]byte(text)); err != nil {
			if countersign.KindOf(err) != countersign.Invalid {
				t.Fatalf("%q: %v is not Invalid", text, err)
			}
			return
		}
		if err := again.UnmarshalText([]byte(instant.String())); err != nil || again != instant {
			t.Fatalf("%q is written as %q, which is read as %d and not %d: %v", text, instant, again, instant, err)
		}
	})
}

// FuzzSeconds: what is read as a duration is written as one that is read as the same.
func FuzzSeconds(f *testing.F) {
	for _, text := range []string{"30d", "1h", "90m", "15s", "0s", "-1h", "9223372036854775807d", "1h30m", "1.5h", "P1D"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		seconds, err := countersign.ParseSeconds(text)
		if err != nil {
			if countersign.KindOf(err) != countersign.Invalid {
				t.Fatalf("%q: %v is not Invalid", text, err)
			}
			return
		}
		if again, err := countersign.ParseSeconds(seconds.String()); err != nil || again != seconds {
			t.Fatalf("%q is %d seconds, written as %q, which is read as %d: %v", text, seconds, seconds, again, err)
		}
	})
}

// Every fuzz target is in the soak run, and has seeds that are kept.
func TestEveryFuzzTargetIsSoaked(t *testing.T) {
	var found []string
	eachTestFile(t, func(folder, text string) {
		for _, target := range regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`).FindAllStringSubmatch(text, -1) {
			found = append(found, folder+":"+target[1])
			if seeds, _ := os.ReadDir(filepath.Join(folder, "testdata", "fuzz", target[1])); len(seeds) == 0 {
				t.Errorf("%s has no seeds in testdata/fuzz", target[1])
			}
		}
	})
	if listed := makefileList(t, "FUZZ"); !slices.Equal(slices.Sorted(slices.Values(found)), listed) {
		t.Errorf("fuzz targets are\n%v\nand the Makefile soaks\n%v", found, listed)
	}
}

// Every room with properties is in the soak run, with more of them than otherwise. The
// flags of rapid stand after the rooms: go test takes what follows a flag that it does
// not know for the test's own.
func TestEveryPropertyIsSoaked(t *testing.T) {
	rooms := map[string]bool{}
	eachTestFile(t, func(folder, text string) {
		if strings.Contains(text, `"pgregory.net/rapid"`) && folder != "sim" {
			rooms[strings.TrimSuffix("./"+folder, "/.")] = true
		}
	})
	if found, listed := slices.Sorted(maps.Keys(rooms)), makefileList(t, "RAPID"); !slices.Equal(found, listed) {
		t.Errorf("rooms with properties are\n%v\nand the Makefile soaks\n%v", found, listed)
	}
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	soaked := regexp.MustCompile(`(?m)^.*test .*-rapid\..*$`).FindAllString(string(makefile), -1)
	if len(soaked) != 2 {
		t.Fatalf("%d lines of the Makefile soak properties", len(soaked))
	}
	for _, line := range soaked {
		if before, _, _ := strings.Cut(line, "-rapid."); !regexp.MustCompile(`\$\(RAPID\) $|\./sim $`).MatchString(before) {
			t.Errorf("the rooms do not stand before the flags of rapid: %s", line)
		}
	}
}

// eachTestFile calls visit with each file of tests.
func eachTestFile(t *testing.T, visit func(folder, text string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		visit(filepath.ToSlash(filepath.Dir(path)), string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// makefileList returns what a variable of the Makefile lists, sorted.
func makefileList(t *testing.T, variable string) []string {
	t.Helper()
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(makefile), "\n"+variable+" = ")
	if !found {
		t.Fatalf("the Makefile has no %s", variable)
	}
	list, _, _ := strings.Cut(strings.ReplaceAll(rest, "\\\n", " "), "\n")
	return slices.Sorted(slices.Values(strings.Fields(list)))
}
