package pdp

import (
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target"
)

func BenchmarkEvaluateAmongAMillion(b *testing.B) {
	l := newLab(b, Options{})
	l.follow()
	subjects := make([]countersign.IdentityID, million/10)
	for i := range subjects {
		subjects[i] = l.mint.Identity()
	}
	for i := range uint32(million) {
		a := assignmentNumber(i, million/10, 5, 1000)
		a.until = 0
		var err error
		if a.subject, err = target.ParseID(subjects[i%(million/10)]); err != nil {
			b.Fatal(err)
		}
		l.index.put(a)
	}
	// The questions are few, and far apart in the index: the strings of a real
	// one come fresh from the network, so theirs shall be in the cache, and the
	// index's memory shall not.
	questions := make([]Evaluation, 10_000)
	for i := range questions {
		n := uint32(i) * 99
		a := assignmentNumber(n, million/10, 5, 1000)
		questions[i] = ask(Order{Subject: subjects[n%(million/10)], Action: a.action, Resource: a.resource})
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n = (n + 6_121) % len(questions)
		if !l.Evaluate(questions[n]).Allowed {
			b.Fatal("a right is refused")
		}
	}
}
