package sample

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

// Stage is the house that the tour plays in. The tour reaches it through its
// public API alone; only the clock and the record are moved and checked from
// behind.
type Stage struct {
	URL string
	// Token signs somebody in.
	Token func(login string) (countersign.Secret, error)
	// Database, Cache, Groups and Host are real systems; nil where the tour has none.
	Database Database
	Cache    Cache
	Groups   Groups
	Host     Host
	// Web is the web server whose certificates the house deploys.
	Web *WebServer
	// Now is the house's time, by which clients judge certificates.
	Now func() time.Time
	// Settle lets the house do what is due now.
	Settle func() error
	// Pass moves the house's clock and lets it do what falls due.
	Pass func(by countersign.Seconds) error
	// Verify checks the whole record and says in one line what was found; findings
	// are an error.
	Verify func() (string, error)
}

// tour is one playing of the stories.
type tour struct {
	ctx   context.Context
	stage Stage
	out   io.Writer
	names map[string]*client.Client
	step  int
}

// Tour plays the stories and tells them. It returns an error at the first thing
// that is not as it should be.
func Tour(ctx context.Context, stage Stage, out io.Writer) error {
	t := &tour{ctx: ctx, stage: stage, out: out, names: map[string]*client.Client{}}
	t.say("Countersign, a tour. Everything below happens for real, in a house of the sample\n" +
		"organisation Meridian that exists only now: through the public API, as different\n" +
		"people, with the clock of this house moved forward where time has to pass.\n")
	// The host has the time of this machine, so it comes before time is moved.
	if stage.Host != nil {
		if err := t.host(); err != nil {
			return fmt.Errorf("the story of the host: %w", err)
		}
	}
	if err := t.apiKey(); err != nil {
		return fmt.Errorf("the story of the API key: %w", err)
	}
	if err := t.role(); err != nil {
		return fmt.Errorf("the story of the role: %w", err)
	}
	if err := t.emergency(); err != nil {
		return fmt.Errorf("the story of break-glass: %w", err)
	}
	if err := t.agent(); err != nil {
		return fmt.Errorf("the story of the agent: %w", err)
	}
	if err := t.certificate(); err != nil {
		return fmt.Errorf("the story of the certificate: %w", err)
	}
	if err := t.byHand(); err != nil {
		return fmt.Errorf("the story of the account by hand: %w", err)
	}
	if stage.Database != nil {
		if err := t.database(); err != nil {
			return fmt.Errorf("the story of the login: %w", err)
		}
	}
	if stage.Cache != nil {
		if err := t.cache(); err != nil {
			return fmt.Errorf("the story of the cache: %w", err)
		}
	}
	if stage.Groups != nil {
		if err := t.group(); err != nil {
			return fmt.Errorf("the story of the group: %w", err)
		}
	}
	// George leaves in it, so it comes after every story that he is in.
	if err := t.serviceAccount(); err != nil {
		return fmt.Errorf("the story of the service account: %w", err)
	}
	t.title("The record")
	line, err := stage.Verify()
	if err != nil {
		return err
	}
	t.did("audit verify", "%s", line)
	t.say("\nThat was it. Next: countersign serve")
	return nil
}

func (t *tour) say(text string) { fmt.Fprintln(t.out, text) }

func (t *tour) title(text string) {
	fmt.Fprintf(t.out, "\n%s\n%s\n", text, strings.Repeat("─", len([]rune(text))))
}

// did tells what somebody did and what came of it.
func (t *tour) did(who, format string, args ...any) {
	t.step++
	fmt.Fprintf(t.out, "%3d  %-18s %s\n", t.step, who, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n"+strings.Repeat(" ", 24)))
}

// refused tells a refusal, and fails if there was none or another one.
func (t *tour) refused(who, what string, err error, reason string) error {
	if countersign.ReasonOf(err) != reason {
		return fmt.Errorf("%s %s: the answer is %v, and it should be refused as %q", who, what, err, reason)
	}
	t.did(who, "%s\n✗ refused: %s", what, err.Error())
	return nil
}

// as signs somebody in, once.
func (t *tour) as(login string) (*client.Client, error) {
	if api := t.names[login]; api != nil {
		return api, nil
	}
	token, err := t.stage.Token(login)
	if err != nil {
		return nil, err
	}
	api, err := client.New(t.stage.URL, token)
	if err != nil {
		return nil, err
	}
	t.names[login] = api
	return api, nil
}

// signedOut forgets who signed in: tokens live an hour, and more has passed.
func (t *tour) signedOut() { t.names = map[string]*client.Client{} }

func (t *tour) pass(by countersign.Seconds, why string) error {
	t.signedOut()
	t.did("the clock", "%s pass%s", by, why)
	return t.stage.Pass(by)
}

func (t *tour) show(login, id string) (*client.Request, error) {
	api, err := t.as(login)
	if err != nil {
		return nil, err
	}
	return client.Content(api.GetRequestWithResponse(t.ctx, id))
}

// approve decides on what the request says now.
func (t *tour) approve(login, id string) (*client.Request, error) {
	api, err := t.as(login)
	if err != nil {
		return nil, err
	}
	request, err := t.show(login, id)
	if err != nil {
		return nil, err
	}
	return client.Content(api.ApproveRequestWithResponse(t.ctx, id, &client.ApproveRequestParams{}, client.Approval{Shown: request.Shown}))
}

// expect fails when a request is not in the state that it should be in.
func (t *tour) expect(login, id string, state client.RequestState) (*client.Request, error) {
	request, err := t.show(login, id)
	if err == nil && request.State != state {
		err = fmt.Errorf("the request is %s (%s), and it should be %s", request.State, request.WaitsFor+request.Outcome, state)
	}
	return request, err
}

// post sends a form or JSON to an endpoint of a target, as somebody.
func (t *tour) post(login, path, contentType, content string) (int, map[string]any, error) {
	token, err := t.stage.Token(login)
	if err != nil {
		return 0, nil, err
	}
	request, err := http.NewRequestWithContext(t.ctx, http.MethodPost, t.stage.URL+path, strings.NewReader(content))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token.Reveal())
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&answer); err != nil {
		return response.StatusCode, nil, fmt.Errorf("%s answers %s without a JSON object: %w", path, response.Status, err)
	}
	return response.StatusCode, answer, nil
}

// works asks the vault, as the payments interface does with every call, whether
// a key works; question puts it into words.
func (t *tour) works(key countersign.Secret, want bool, question string) error {
	_, answer, err := t.post("svc-checkout", "/targets/vault/introspect", "application/x-www-form-urlencoded", url.Values{"token": {key.Reveal()}}.Encode())
	if err != nil {
		return err
	}
	active, _ := answer["active"].(bool)
	if active != want {
		return fmt.Errorf("%s The vault says active: %t, and it should say %t", question, active, want)
	}
	mark := "✓"
	if !want {
		mark = "✗"
	}
	t.did("payments interface", "asks the vault: %s\n%s active: %t", question, mark, active)
	return nil
}

// decides asks the decision point whether somebody may do something now; question
// puts it into words.
func (t *tour) decides(question, login, action, resource string, want bool) error {
	asked, err := json.Marshal(map[string]any{
		"subject":  map[string]string{"type": "identity", "id": login + "@meridian.example"},
		"action":   map[string]string{"name": action},
		"resource": map[string]string{"type": "resource", "id": resource},
	})
	if err != nil {
		return err
	}
	_, answer, err := t.post("svc-checkout", "/access/v1/evaluation", "application/json", string(asked))
	if err != nil {
		return err
	}
	decision, isBool := answer["decision"].(bool)
	if !isBool || decision != want {
		return fmt.Errorf("the decision point answers %v, and the decision should be %t", answer, want)
	}
	why := ""
	if context, ok := answer["context"].(map[string]any); ok && !want {
		why = fmt.Sprintf(" (%v)", context["reason"])
	}
	mark := map[bool]string{true: "✓", false: "✗"}[want]
	t.did("decision point", "%s\n%s decision: %t%s", question, mark, decision, why)
	return nil
}

// readSecret reads a new key as its holder.
func (t *tour) readSecret(login, reference string) (countersign.Secret, error) {
	api, err := t.as(login)
	if err != nil {
		return countersign.Secret{}, err
	}
	return api.ReadSecret(t.ctx, reference)
}
