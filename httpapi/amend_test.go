package httpapi_test

import (
	"net/http"
	"testing"
)

func TestAnApproverAsksAndIsAnswered(t *testing.T) {
	w := newWorld(t)
	made := w.submit("mina.park", roleAsking())
	type talk struct {
		WaitsFor  string `json:"waits_for"`
		Questions []struct {
			By           struct{ Name string }
			Text, Answer string
		}
	}
	var asked, answered talk
	question, reply := object{"question": "Which chapter?"}, object{"answer": "The one on refunds."}
	w.command("mina.park", made.ID, "answer", reply).refused(http.StatusConflict, "no-question")
	w.command("mina.park", made.ID, "ask", question).refused(http.StatusForbidden, "separation-of-duties")
	w.command("keiko.mori", made.ID, "ask", object{"reason": "x"}).refused(http.StatusBadRequest, "unknown-key")
	for _, test := range []struct {
		login, command string
		body           object
		reason, field  string
	}{
		{"keiko.mori", "ask", object{"question": " "}, "question-missing", "/question"},
		{"keiko.mori", "ask", object{"question": "-----BEGIN RSA PRIVATE KEY-----"}, "secret-pasted", "/question"},
	} {
		if got := w.command(test.login, made.ID, test.command, test.body).refused(http.StatusBadRequest, test.reason); got.Field != test.field {
			t.Errorf("%s: the field is %q, want %q", test.reason, got.Field, test.field)
		}
	}
	w.command("keiko.mori", made.ID, "ask", question, "Idempotency-Key", "q1").want(http.StatusOK, &asked)
	w.command("keiko.mori", made.ID, "ask", question, "Idempotency-Key", "q1").want(http.StatusOK, &asked)
	if len(asked.Questions) != 1 || asked.Questions[0].By.Name != "Keiko Mori" || asked.Questions[0].Answer != "" || asked.WaitsFor != "an answer to Keiko Mori" {
		t.Errorf("after the question: %+v", asked)
	}
	w.command("keiko.mori", made.ID, "ask", question).refused(http.StatusConflict, "question-is-open")
	if got := w.command("mina.park", made.ID, "answer", object{"answer": ""}).refused(http.StatusBadRequest, "answer-missing"); got.Field != "/answer" {
		t.Errorf("the field is %q", got.Field)
	}
	w.command("mina.park", made.ID, "answer", reply).want(http.StatusOK, &answered)
	if answered.Questions[0].Answer != "The one on refunds." {
		t.Errorf("after the answer: %+v", answered)
	}
	// What was read before is not what is decided on now.
	w.command("keiko.mori", made.ID, "approve", object{"shown": made.Shown}).refused(http.StatusConflict, "shown-has-changed")
}

func TestAnAmendmentThatTakesAwayKeepsApprovalsAndOneThatAddsVoidsThem(t *testing.T) {
	w := newWorld(t)
	asking := roleAsking()
	asking["duration"] = 20 * 86400
	made := w.submit("mina.park", asking)
	w.approve("keiko.mori", made.ID).want(http.StatusOK, nil)
	amend := func(days int, headers ...string) *answer {
		t.Helper()
		asking["duration"] = days * 86400
		return w.command("mina.park", made.ID, "amend", asking, headers...)
	}
	var amended struct {
		State, Shown string
		Duration     int
		Stages       []struct {
			State     string
			Decisions []struct{ Outcome string }
		}
	}
	amend(10, "If-Match", `"1"`).refused(http.StatusPreconditionFailed, "precondition-failed")
	amend(10, "Idempotency-Key", "a1").want(http.StatusOK, &amended)
	amend(10, "Idempotency-Key", "a1").want(http.StatusOK, nil)
	if amended.Duration != 10*86400 || amended.Stages[0].State != "passed" || amended.Shown == made.Shown {
		t.Errorf("after taking away: %+v", amended)
	}
	amend(30).want(http.StatusOK, &amended)
	if amended.State != "deciding" || amended.Stages[0].State != "open" || len(amended.Stages[0].Decisions) != 0 {
		t.Errorf("after adding: %+v", amended)
	}
	w.command("keiko.mori", made.ID, "amend", asking).refused(http.StatusForbidden, "not-the-asker")
	asking["duration"] = 4000 * 86400
	w.command("mina.park", made.ID, "amend", asking).refused(http.StatusForbidden, "duration-not-offered")
	asking["beneficiary"] = "leo.martin"
	if got := w.command("mina.park", made.ID, "amend", asking).refused(http.StatusBadRequest, "unknown-key"); got.Field != "/beneficiary" {
		t.Errorf("the field is %q", got.Field)
	}
}
