package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"
)

// caller speaks to the house over HTTP and keeps its connections.
type caller struct {
	house  *process
	client *http.Client
}

func newCaller(house *process) *caller {
	return &caller{house, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}, Timeout: time.Minute}}
}

// patience is how long a caller asks again while the house answers that it cannot
// now, as a replica rightly does on a machine too busy to let it beat.
const patience = time.Minute

// call sends one request as somebody and reads the answer into result, which may
// be nil. Any other status than wanted is an error.
func (c *caller) call(who, method, path string, sent, result any, wanted int) error {
	var body []byte
	if sent != nil {
		var err error
		if body, err = json.Marshal(sent); err != nil {
			return err
		}
	}
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		status, text, err := c.once(who, method, path, body)
		switch {
		case err != nil:
			return err
		case status == wanted && result != nil:
			return json.Unmarshal(text, result)
		case status == wanted:
			return nil
		case status != http.StatusServiceUnavailable || time.Since(began) > patience:
			return fmt.Errorf("%s %s is answered with %d: %s", method, path, status, text)
		}
	}
}

func (c *caller) once(who, method, path string, body []byte) (int, []byte, error) {
	request, err := http.NewRequest(method, c.house.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Authorization", "Bearer "+c.house.tokens[who])
	answer, err := c.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, text, err
}

type shown struct {
	ID    string `json:"id"`
	Shown string `json:"shown"`
	State string `json:"state"`
}

// asking is one of the pairs to make: no two share a holder and a right.
type asking struct{ requester, manager, holder, right string }

func (o organisation) asking(n int) asking {
	right := n / o.People % (o.Systems * o.Entitlements)
	requester := n % min(32, o.People)
	return asking{
		requester: fmt.Sprintf("p%d", requester), manager: fmt.Sprintf("m%d", requester%managers),
		holder: fmt.Sprintf("p%d", n%o.People), right: fmt.Sprintf("s%d/r/e%d", right/o.Entitlements, right%o.Entitlements),
	}
}

// callers are the logins that pairs need tokens of.
func (o organisation) callers() []string {
	logins := []string{"admin", "auditor"}
	for i := range managers {
		logins = append(logins, fmt.Sprintf("m%d", i))
	}
	for i := range min(32, o.People) {
		logins = append(logins, fmt.Sprintf("p%d", i))
	}
	return logins
}

func (c *caller) submit(a asking) (shown, error) {
	var made shown
	err := c.call(a.requester, http.MethodPost, "/api/v1/requests", map[string]any{
		"beneficiary": a.holder, "entitlements": []string{a.right}, "reason": "the books of the month are due", "duration": 86400,
	}, &made, http.StatusCreated)
	return made, err
}

// pair creates one request and approves it, as the requester's manager was shown it.
func (c *caller) pair(a asking) error {
	made, err := c.submit(a)
	if err != nil {
		return err
	}
	return c.call(a.manager, http.MethodPost, "/api/v1/requests/"+made.ID+"/approve", map[string]any{"shown": made.Shown}, nil, http.StatusOK)
}

// drain waits until everything that was approved is carried out.
func (c *caller) drain(t *testing.T) {
	t.Helper()
	for {
		var list struct {
			Requests []shown `json:"requests"`
		}
		if err := c.call("auditor", http.MethodGet, "/api/v1/requests?state=fulfilling&limit=1", nil, &list, http.StatusOK); err != nil {
			t.Fatal(err)
		}
		if len(list.Requests) == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// quantile of durations that need not be sorted; 0.99 is the p99.
func quantile(of []time.Duration, q float64) time.Duration {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
