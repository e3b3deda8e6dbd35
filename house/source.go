package house

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/source"
	"github.com/countersign/countersign/ticketing"
)

// sources finds what answers for the sources of tickets that policy sets name.
type sources struct {
	built       source.Source
	credentials map[string]countersign.Secret
}

func (s sources) find(info policy.SourceInfo) (source.Source, error) {
	if info.BuiltIn != "" {
		return s.built, nil
	}
	return source.NewHTTP(info.Name, source.Settings{
		URL: info.URL, Key: info.Key, State: info.State, Open: info.Open, Closed: info.Closed,
		Title: info.Title, OpenedBy: info.OpenedBy, Assignee: info.Assignee,
	}, s.credentials[info.Name], nil)
}

// ticketSystems opens the ticket systems that policy sets name, with what each
// takes as Authorization.
type ticketSystems map[string]countersign.Secret

func (t ticketSystems) open(info policy.TicketingInfo) (ticketing.System, error) {
	return ticketing.New(ticketing.Settings{Name: info.Name, Kind: info.Kind, URL: info.URL, Journal: info.Journal}, t[info.Name], nil)
}

// document gets what lies at the address of a verifier.
func (s sources) document(ctx context.Context, info policy.VerifierInfo, digest string) (*source.Document, error) {
	place, err := source.NewPlace(info.Name, info.URL, s.credentials[info.Name], nil)
	if err != nil {
		return nil, err
	}
	return place.Get(ctx, digest)
}
