package ticketingtest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Jira is a fake of the issues, comments and transitions of REST version 3.
type Jira struct {
	faults
	URL string

	issues sync.Mutex
	status map[string]string
	// comments are bodies in the Atlassian Document Format, the oldest first.
	comments map[string][]json.RawMessage
	// ways are the transitions of the one workflow: from a status to others.
	ways map[string][]string
}

// NewJira starts a fake that knows issues with the ids, in status "To Do". Ways are
// the transitions of its workflow.
func NewJira(t testing.TB, credential string, ways map[string][]string, ids ...string) *Jira {
	j := &Jira{status: map[string]string{}, comments: map[string][]json.RawMessage{}, ways: ways}
	for _, id := range ids {
		j.status[id] = "To Do"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rest/api/3/issue/{id}", j.known(j.issue))
	mux.HandleFunc("GET /rest/api/3/issue/{id}/transitions", j.known(j.transitions))
	mux.HandleFunc("POST /rest/api/3/issue/{id}/transitions", j.known(j.transit))
	mux.HandleFunc("GET /rest/api/3/issue/{id}/comment", j.known(j.list))
	mux.HandleFunc("POST /rest/api/3/issue/{id}/comment", j.known(j.comment))
	server := httptest.NewServer(j.guarded(credential, mux))
	t.Cleanup(server.Close)
	j.URL = server.URL
	return j
}

// Comments are the texts of the issue's comments, the oldest first.
func (j *Jira) Comments(id string) []string {
	j.issues.Lock()
	defer j.issues.Unlock()
	var texts []string
	for _, body := range j.comments[id] {
		texts = append(texts, string(body))
	}
	return texts
}

// Status is the status of the issue.
func (j *Jira) Status(id string) string {
	j.issues.Lock()
	defer j.issues.Unlock()
	return j.status[id]
}

func (j *Jira) known(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		j.issues.Lock()
		defer j.issues.Unlock()
		if _, known := j.status[r.PathValue("id")]; !known {
			refuse(w, http.StatusNotFound, "Issue does not exist or you do not have permission to see it.")
			return
		}
		next(w, r)
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"errorMessages": []string{message}, "errors": map[string]any{}})
}

func (j *Jira) issue(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, map[string]any{"id": r.PathValue("id"), "fields": map[string]any{"status": map[string]any{"name": j.status[r.PathValue("id")]}}})
}

func (j *Jira) transitions(w http.ResponseWriter, r *http.Request) {
	found := []any{}
	for i, to := range j.ways[j.status[r.PathValue("id")]] {
		found = append(found, map[string]any{"id": strconv.Itoa(11 + i), "name": "Go to " + to, "to": map[string]any{"name": to}})
	}
	answer(w, http.StatusOK, map[string]any{"expand": "transitions", "transitions": found})
}

func (j *Jira) transit(w http.ResponseWriter, r *http.Request) {
	var sent struct {
		Transition struct {
			ID string `json:"id"`
		} `json:"transition"`
	}
	id := r.PathValue("id")
	ways := j.ways[j.status[id]]
	err := json.NewDecoder(r.Body).Decode(&sent)
	index, failed := strconv.Atoi(sent.Transition.ID)
	if index -= 11; err != nil || failed != nil || index < 0 || index >= len(ways) {
		refuse(w, http.StatusBadRequest, "It seems that you have tried to perform an illegal workflow operation.")
		return
	}
	j.status[id] = ways[index]
	w.WriteHeader(http.StatusNoContent)
}

func (j *Jira) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	start, _ := strconv.Atoi(query.Get("startAt"))
	most, err := strconv.Atoi(query.Get("maxResults"))
	if err != nil {
		most = 50
	}
	all := slices.Clone(j.comments[r.PathValue("id")])
	if query.Get("orderBy") == "-created" {
		slices.Reverse(all)
	}
	page := []any{}
	for _, body := range all[min(start, len(all)):min(start+most, len(all))] {
		page = append(page, map[string]any{"body": body})
	}
	answer(w, http.StatusOK, map[string]any{"startAt": start, "maxResults": most, "total": len(all), "comments": page})
}

// comment takes a document and nothing else, as version 3 does.
func (j *Jira) comment(w http.ResponseWriter, r *http.Request) {
	var sent struct {
		Body json.RawMessage `json:"body"`
	}
	var document struct {
		Type    string `json:"type"`
		Version int    `json:"version"`
		Content []struct {
			Type    string `json:"type"`
			Content []struct {
				Type string `json:"type"`
				Text string `json:"text"`
			} `json:"content"`
		} `json:"content"`
	}
	err := json.NewDecoder(r.Body).Decode(&sent)
	if err == nil {
		err = json.Unmarshal(sent.Body, &document)
	}
	good := err == nil && document.Type == "doc" && document.Version == 1 && len(document.Content) > 0
	for _, block := range document.Content {
		for _, inline := range block.Content {
			good = good && block.Type == "paragraph" && inline.Type == "text" && strings.TrimSpace(inline.Text) != ""
		}
	}
	if !good {
		refuse(w, http.StatusBadRequest, "Comment body is not valid!")
		return
	}
	j.comments[r.PathValue("id")] = append(j.comments[r.PathValue("id")], sent.Body)
	answer(w, http.StatusCreated, map[string]any{"id": strconv.Itoa(len(j.comments[r.PathValue("id")]))})
}
