package httpapi_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/auth"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/httpapi"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/workflow"
)

// description is the interface's description, with every object closed: what an
// answer holds must be described.
var description = sync.OnceValue(func() *openapi3.T {
	doc, err := openapi3.NewLoader().LoadFromFile("../docs/api/openapi.yaml")
	if err != nil {
		panic(err)
	}
	seen := map[*openapi3.Schema]bool{}
	for _, ref := range doc.Components.Schemas {
		closeObjects(ref, seen)
	}
	return doc
})

func closeObjects(ref *openapi3.SchemaRef, seen map[*openapi3.Schema]bool) {
	if ref == nil || seen[ref.Value] {
		return
	}
	schema := ref.Value
	seen[schema] = true
	if len(schema.Properties) > 0 {
		no := false
		schema.AdditionalProperties.Has = &no
	}
	for _, property := range schema.Properties {
		closeObjects(property, seen)
	}
	closeObjects(schema.Items, seen)
}

func fits(schema *openapi3.Schema, body []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	var value any
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	return schema.VisitJSON(value, openapi3.MultiErrors(), openapi3.EnableFormatValidation())
}

// checkAnswer compares an answer with what is described for its operation.
func checkAnswer(t *testing.T, r *http.Request, got *answer) {
	t.Helper()
	operation := operationOf(r)
	if operation == nil {
		return
	}
	described := operation.Responses.Status(got.Status)
	if described == nil {
		described = operation.Responses.Default()
	}
	media, _, _ := strings.Cut(got.Header.Get("Content-Type"), ";")
	content := described.Value.Content.Get(media)
	if content == nil {
		if len(got.Body) > 0 {
			t.Errorf("%s: status %d with %q is not described", got.what, got.Status, media)
		}
		return
	}
	for name, header := range described.Value.Headers {
		if header.Value.Required && got.Header.Get(name) == "" {
			t.Errorf("%s: the header %s is missing", got.what, name)
		}
	}
	if media == "text/event-stream" {
		return
	}
	if err := fits(content.Schema.Value, got.Body); err != nil {
		t.Errorf("%s: the answer is not what is described: %v\n%s", got.what, err, got.Body)
	}
}

func operationOf(r *http.Request) *openapi3.Operation {
	path, inside := strings.CutPrefix(r.URL.Path, httpapi.Prefix)
	if !inside {
		return nil
	}
	sent := strings.Split(path, "/")
	// A path that is written out goes before one with a parameter.
	var found *openapi3.PathItem
	for template, item := range description().Paths.Map() {
		segments := strings.Split(template, "/")
		if len(segments) != len(sent) {
			continue
		}
		same := true
		for i := range segments {
			same = same && (segments[i] == sent[i] || strings.HasPrefix(segments[i], "{"))
		}
		if same && (found == nil || template == path) {
			found = item
		}
	}
	if found == nil {
		return nil
	}
	return found.GetOperation(r.Method)
}

// views are the Go types that answer for a schema.
var views = map[string]any{
	"Ref": desk.Ref{}, "EntitlementRef": desk.EntitlementRef{}, "Identity": desk.IdentityView{}, "Catalogue": desk.Catalogue{},
	"RequestType": policy.TypeInfo{}, "Request": desk.RequestView{}, "RequestLine": desk.RequestLine{}, "Consent": desk.ConsentView{},
	"EvidenceSlot": desk.SlotView{}, "Evidence": desk.EvidenceView{}, "Stage": desk.StageView{}, "Asked": desk.AskedView{},
	"Decision": desk.DecisionView{}, "Grant": desk.GrantView{}, "Proposal": desk.ProposalView{}, "Hold": desk.HoldView{}, "AccessFinding": desk.FindingView{}, "Reconciliation": desk.ReconciliationView{}, "Claim": desk.ClaimView{}, "Machine": desk.MachineView{}, "Comparison": countersign.Comparison{}, "Baseline": countersign.Baseline{}, "BaselinePair": desk.BaselinePair{}, "Credential": desk.CredentialView{}, "Parked": desk.ParkedView{},
	"TimelineEntry": desk.TimelineEntry{}, "Token": auth.Token{}, "Refusal": policy.Refusal{}, "DurationLimit": policy.Limit{},
	"Preview": httpapi.Preview{}, "AppliedDirectory": httpapi.AppliedDirectory{}, "Me": httpapi.Me{}, "House": httpapi.House{},
	"RequestPage": httpapi.RequestPage{}, "GrantPage": httpapi.GrantPage{}, "Timeline": httpapi.Timeline{}, "TokenList": httpapi.TokenList{},
	"Exception": desk.ExceptionView{}, "Waived": countersign.Waived{}, "Question": desk.QuestionView{}, "OpenedEvidence": httpapi.OpenedEvidence{},
}

// neverShown are fields of root nouns that are always empty where they are shown.
var neverShown = []string{"RequestType/evidence/deadline", "RequestType/evidence/overdue", "RequestType/evidence/held",
	"Preview/evidence/deadline", "Preview/evidence/overdue", "Preview/evidence/held",
	"Catalogue/types/evidence/deadline", "Catalogue/types/evidence/overdue", "Catalogue/types/evidence/held",
	"RequestType/evidence/written_off_by", "Preview/evidence/written_off_by", "Catalogue/types/evidence/written_off_by"}

func TestEveryViewIsWhatItsSchemaDescribes(t *testing.T) {
	for name, view := range views {
		t.Run(name, func(t *testing.T) {
			filled := reflect.New(reflect.TypeOf(view)).Elem()
			fill(filled, name)
			body, err := json.Marshal(filled.Interface())
			if err != nil {
				t.Fatal(err)
			}
			schema := description().Components.Schemas[name].Value
			if err := fits(schema, body); err != nil {
				t.Errorf("a filled %T is not what is described: %v\n%s", view, err, body)
			}
			var keys map[string]any
			if err := json.Unmarshal(body, &keys); err != nil {
				t.Fatal(err)
			}
			for property := range schema.Properties {
				if _, there := keys[property]; !there {
					t.Errorf("%q is described, and no %T has it", property, view)
				}
			}
		})
	}
}

// words are values of closed lists.
var words = map[reflect.Type]string{
	reflect.TypeFor[countersign.IdentityKind](): "agent", reflect.TypeFor[countersign.IdentityStatus](): "departed",
	reflect.TypeFor[countersign.Affiliation](): "vendor", reflect.TypeFor[countersign.RequestState](): "deciding",
	reflect.TypeFor[countersign.ProposalState](): "open", reflect.TypeFor[countersign.HoldState](): "active", reflect.TypeFor[countersign.ProposalKind](): "policy",
	reflect.TypeFor[countersign.Phase](): "approval", reflect.TypeFor[countersign.Risk](): "high",
	reflect.TypeFor[countersign.EntitlementKind](): "role", reflect.TypeFor[countersign.GrantState](): "live",
	reflect.TypeFor[countersign.Origin](): "genesis", reflect.TypeFor[countersign.CredentialState](): "retiring",
	reflect.TypeFor[countersign.StageState](): "open", reflect.TypeFor[countersign.EvidenceKind](): "scan-report",
	reflect.TypeFor[countersign.EvidenceDue](): "at-closure", reflect.TypeFor[countersign.Outcome](): "not-in-order", reflect.TypeFor[countersign.TicketState](): "closed",
	reflect.TypeFor[countersign.EndConditionKind](): "unused", reflect.TypeFor[countersign.Answering](): "owner", reflect.TypeFor[workflow.Command](): "approve",
	reflect.TypeFor[auth.Scope](): "evaluate", reflect.TypeFor[countersign.FindingKind](): "lost", reflect.TypeFor[countersign.FindingState](): "open", reflect.TypeFor[countersign.ClosedBecause](): "removed",
	reflect.TypeFor[desk.SystemState](): "late", reflect.TypeFor[desk.Verdict](): "holds",
	reflect.TypeFor[desk.OwnerState](): "overdue", reflect.TypeFor[desk.MachineFlag](): "long-lived",
}

// fill puts something into every field, lists of one element included.
func fill(value reflect.Value, at string) {
	switch value.Kind() {
	case reflect.Struct:
		for i := range value.NumField() {
			field := value.Type().Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if here := at + "/" + name; !slices.Contains(neverShown, here) {
				fill(value.Field(i), here)
			}
		}
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fill(value.Elem(), at)
	case reflect.Slice:
		if value.Type() == reflect.TypeFor[json.RawMessage]() {
			value.SetBytes([]byte(`{"purpose":"x"}`))
			return
		}
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		fill(value.Index(0), at)
	case reflect.Array:
		value.Index(0).SetUint(1)
	case reflect.String:
		word, closed := words[value.Type()]
		switch {
		case closed:
			value.SetString(word)
		case strings.HasSuffix(at, "/verb"):
			value.SetString("change")
		case strings.HasSuffix(at, "/noun"):
			value.SetString("group")
		default:
			value.SetString("x")
		}
	case reflect.Int, reflect.Int64:
		value.SetInt(1)
	case reflect.Bool:
		value.SetBool(true)
	default:
		panic("fill: " + value.Type().String())
	}
}
