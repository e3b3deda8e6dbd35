package sqlstore

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// Look answers several questions in one round trip; see store.Reader.
func (s *Store) Look(ctx context.Context, asked store.Questions) (store.Answers, error) {
	var answers store.Answers
	var questions []question
	ask := func(visit func(row) error, query string, args ...any) {
		questions = append(questions, question{query, args, visit})
	}
	if len(asked.Guards) > 0 {
		var guards question
		answers.Guards, guards = guardsQuestion(asked.Guards)
		questions = append(questions, guards)
	}
	if asked.Holds > 0 {
		text, args := holdsText(false, "", asked.Holds)
		ask(nounsInto(holdTable, &answers.Holds), text, args...)
	}
	if len(asked.GrantIDs) > 0 {
		ask(nounsInto(grantTable, &answers.GrantsByID), `SELECT body FROM access_grant WHERE id {any}`, texts(asked.GrantIDs))
	}
	if len(asked.RequestIDs) > 0 {
		ask(nounsInto(requestTable, &answers.RequestsByID), `SELECT body FROM request WHERE id {any}`, texts(asked.RequestIDs))
	}
	if len(asked.RequestsOf) > 0 {
		ask(nounsInto(requestTable, &answers.RequestsByID), `SELECT body FROM request WHERE id IN (SELECT request FROM access_grant WHERE id {any})`, texts(asked.RequestsOf))
	}
	if len(asked.Works) > 0 {
		ask(func(row row) error {
			item, err := scanWork(row)
			answers.Works = append(answers.Works, item)
			return err
		}, `SELECT `+workColumns+` FROM work WHERE key {any}`, list(asked.Works))
	}
	answers.Requests, answers.Grants = make([][]*countersign.Request, len(asked.Requests)), make([][]*countersign.Grant, len(asked.Grants))
	for i, query := range asked.Requests {
		text, args := requestsText(query)
		ask(nounsInto(requestTable, &answers.Requests[i]), text, args...)
	}
	for i, query := range asked.Grants {
		text, args := grantsText(query)
		ask(nounsInto(grantTable, &answers.Grants[i]), text, args...)
	}
	if len(asked.Heads) > 0 {
		var heads question
		answers.Heads, heads = headsQuestion(asked.Heads)
		questions = append(questions, heads)
	}
	if len(questions) == 0 {
		return answers, nil
	}
	return answers, s.database.ask(ctx, questions)
}
