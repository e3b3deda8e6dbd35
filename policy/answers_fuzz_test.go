package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// everyField is a form with a field of each type and each limit.
const everyField = `
request: form
title: A form
grants: {system: any, kind: credential}
beneficiary: [person]
limits: {duration: {default: 10d, max: 30d}}
ask:
  purpose:  {type: string, minLength: 3, maxLength: 40, title: "What for?"}
  colour:   {type: string, enum: [red, green], default: red}
  code:     {type: string, pattern: "^[A-Z]{2}[0-9]+$", optional: true}
  consumer: {type: string, format: system-record, optional: true}
  day:      {type: string, format: date, optional: true}
  mail:     {type: string, format: email, optional: true}
  page:     {type: string, format: uri, optional: true}
  seats:    {type: integer, minimum: 1, maximum: 9, default: 1}
  urgent:   {type: boolean, optional: true}
  hosts:    {type: array, items: {type: string}, maxItems: 3, optional: true}
stages:
  - {name: manager, approvers: [manager-of(requester)]}
fulfil: [noop.apply]
`

// FuzzAnswers: answers are refused with a field and a sentence, or are what the
// schema that is published says, and conditions see each with its type.
func FuzzAnswers(f *testing.F) {
	set, problems := Load([]File{{"p.yaml", []byte(everyField)}}, time.LoadLocation)
	if set == nil {
		f.Fatal(problems)
	}
	form := set.find("form").form
	for _, text := range []string{
		`{"purpose":"to look"}`, `{"purpose":"to look","colour":"green","code":"AB12","consumer":"SR-1","day":"2026-01-31","mail":"a@b.example","page":"https://a.example/","seats":3,"urgent":true,"hosts":["a","b"]}`,
		`{"purpose":"to look","seats":1.0}`, `{"purpose":"to look","seats":"3"}`, `{"purpose":null}`, `{"purpose":"to look","hosts":[1]}`, `[]`, `{"purpose":"to look","a/b~c":1}`, `{"purpose":"\ud800"}`, `{"purpose":"to look","day":"2026-02-30"}`, ``, `null`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		answers, refusal := form.decode(json.RawMessage(text))
		if refusal != nil {
			wellRefused(t, *refusal)
			return
		}
		refusals := form.check(answers, "")
		for _, refusal := range refusals {
			wellRefused(t, refusal)
		}
		view := form.view(answers)
		if len(refusals) > 0 {
			return
		}
		for _, field := range form.fields {
			_, given := answers[field.name]
			_, seen := view.values[field.name]
			if seen != (given || field.standard != nil) {
				t.Fatalf("%q is taken, and conditions see %s: %t", text, field.name, seen)
			}
		}
	})
}

func wellRefused(t *testing.T, refusal Refusal) {
	t.Helper()
	if refusal.Reason == "" || !strings.HasPrefix(refusal.Field, "/answers") || len(refusal.Because) < 10 {
		t.Fatalf("the refusal %+v says too little", refusal)
	}
}
