package ticketing

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/countersign/countersign"
)

// jira writes comments and moves issues through REST version 3.
type jira struct{ *client }

// Bounds on looking for a comment of ours: the newest come first.
const (
	commentPage  = 100
	commentPages = 10
)

// Write moves the issue first, so that the comment can say where it could not be
// moved to. An issue that is there already is not moved again; nor is one that has
// the comment, which people may have moved on since.
func (j *jira) Write(ctx context.Context, note Note) error {
	lines := note.Lines
	issue := "/rest/api/3/issue/" + note.Ticket.ID
	if note.Again {
		there, err := j.written(ctx, issue, note.Mark)
		if there || err != nil {
			return err
		}
	}
	if note.State != "" {
		why, err := j.move(ctx, issue, note.State)
		if err != nil {
			return err
		}
		if why != "" {
			lines = append(lines[:len(lines):len(lines)], why)
		}
	}
	paragraphs := []any{}
	for _, line := range lines {
		paragraphs = append(paragraphs, paragraph(map[string]any{"type": "text", "text": line}))
	}
	if note.Link != "" {
		linked := []any{map[string]any{"type": "link", "attrs": map[string]any{"href": note.Link}}}
		paragraphs = append(paragraphs, paragraph(map[string]any{"type": "text", "text": note.Link, "marks": linked}))
	}
	paragraphs = append(paragraphs, paragraph(map[string]any{"type": "text", "text": note.Mark}))
	// The Atlassian Document Format, version 1.
	body := map[string]any{"body": map[string]any{"type": "doc", "version": 1, "content": paragraphs}}
	return j.call(ctx, http.MethodPost, issue+"/comment", nil, body, nil)
}

func paragraph(text map[string]any) any {
	return map[string]any{"type": "paragraph", "content": []any{text}}
}

// move brings the issue to the status with the name; why says that its workflow
// has no way there from where it is.
func (j *jira) move(ctx context.Context, issue, status string) (why string, err error) {
	var now struct {
		Fields struct {
			Status struct {
				Name string `json:"name"`
			} `json:"status"`
		} `json:"fields"`
	}
	if err := j.call(ctx, http.MethodGet, issue, url.Values{"fields": {"status"}}, nil, &now); err != nil {
		return "", err
	}
	if now.Fields.Status.Name == status {
		return "", nil
	}
	var ways struct {
		Transitions []struct {
			ID string `json:"id"`
			To struct {
				Name string `json:"name"`
			} `json:"to"`
		} `json:"transitions"`
	}
	if err := j.call(ctx, http.MethodGet, issue+"/transitions", nil, nil, &ways); err != nil {
		return "", err
	}
	stays := fmt.Sprintf("The status stays %q: the workflow has no transition from there to %q that can be taken now.", now.Fields.Status.Name, status)
	for _, way := range ways.Transitions {
		if way.To.Name != status {
			continue
		}
		err := j.call(ctx, http.MethodPost, issue+"/transitions", nil, map[string]any{"transition": map[string]string{"id": way.ID}}, nil)
		// A transition that a screen or a validator stops is for people of that workflow.
		if countersign.KindOf(err) == countersign.Refused {
			return stays, nil
		}
		return "", err
	}
	return stays, nil
}

// written looks for the mark among the comments, the newest first.
func (j *jira) written(ctx context.Context, issue, mark string) (bool, error) {
	for page := range commentPages {
		var found struct {
			Comments []struct {
				Body json.RawMessage `json:"body"`
			} `json:"comments"`
		}
		query := url.Values{"orderBy": {"-created"}, "maxResults": {strconv.Itoa(commentPage)}, "startAt": {strconv.Itoa(page * commentPage)}}
		if err := j.call(ctx, http.MethodGet, issue+"/comment", query, nil, &found); err != nil {
			return false, err
		}
		for _, comment := range found.Comments {
			if bytes.Contains(comment.Body, []byte(mark)) {
				return true, nil
			}
		}
		if len(found.Comments) < commentPage {
			break
		}
	}
	return false, nil
}
