package policy

import (
	"testing"
	"time"
)

// FuzzLoad feeds arbitrary files: Load must return problems with a place, or a
// set that can be kept, read back, judged and tested, and never panic.
func FuzzLoad(f *testing.F) {
	for _, file := range sampleFiles(f) {
		f.Add(file.Bytes)
	}
	for _, file := range []string{rightFile, separationFile, exceptionsFile, packagesFile, birthrightsFile, sourcesFile} {
		f.Add([]byte(file))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, problems := Load([]File{{"p.yaml", data}}, time.LoadLocation)
		if besides, _ := Load([]File{{"p.yaml", data}, {"q.yaml", []byte(packagesFile)}}, time.LoadLocation); besides != nil {
			besides.Birthright(facts().Beneficiary, monday)
		}
		if (set == nil) != (len(problems) > 0) {
			t.Fatalf("a set and problems: %v", problems)
		}
		for _, problem := range problems {
			if problem.Line < 1 || problem.Column < 1 || problem.Message == "" {
				t.Fatalf("the problem %+v has no place", problem)
			}
		}
		if set == nil {
			return
		}
		again, err := Parse(set.Bytes(), time.LoadLocation)
		if err != nil || again.Digest() != set.Digest() {
			t.Fatalf("the set cannot be read back: %v", err)
		}
		set.Test()
		for _, info := range set.Types() {
			if _, err := set.Needs(info.Name, facts()); err != nil {
				t.Fatal(err)
			}
			set.Recheck(info.Name, facts())
			_, _ = set.Judge(info.Name, facts())
			_, _ = set.Judge(info.Name, exceptional())
		}
	})
}

func BenchmarkGuard(b *testing.B) {
	set := sample(b)
	kind := set.find("api-key")
	j := &judgement{kind: kind, facts: facts()}
	answers, _ := kind.form.decode(j.facts.Answers)
	j.see(answers)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := j.items[0].run(kind.stages[1].when); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	set, f := sample(b), facts()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := set.Judge("api-key", f); err != nil {
			b.Fatal(err)
		}
	}
}
