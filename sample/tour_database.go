package sample

import (
	"fmt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

// Database is a real PostgreSQL server on which the tour gives a login: its database
// orders has a table orders, which the role app_reader can read.
type Database interface {
	// Query runs one query as a login, and returns what it gives.
	Query(login string, password countersign.Secret, query string) (string, error)
	// Stay opens a session as a login and keeps it. Open tells whether it still is.
	Stay(login string, password countersign.Secret) (Session, error)
	// ByHand makes a login that nobody asked for.
	ByHand(login string) error
}

// Session is an open session on a database.
type Session interface{ Open() bool }

// database plays a login on a real PostgreSQL, from its password in the vault to the
// end of its open session.
func (t *tour) database() error {
	t.title("A login on PostgreSQL: its password in the vault, its open session ended with it")
	t.say("This PostgreSQL runs beside the tour, with a table of orders and a role that can read\n" +
		"it. The reports of George's team need a login of their own.\n")
	request, err := t.askedOnTarget(client.Asking{
		Beneficiary: "svc-orders", Entitlements: []string{"orders-server/orders/app_reader"}, Reason: "The weekly reports read the orders.",
		Answers: map[string]any{"consumer": "SR-1043"},
	})
	if err != nil {
		return err
	}
	return t.useDatabase(request)
}

// useDatabase reads with the login what it may read, and gives it back.
func (t *tour) useDatabase(request *client.Request) error {
	login, password, err := t.takesPassword(request)
	if err != nil {
		return err
	}
	rows, err := t.stage.Database.Query(login, password, "SELECT count(*) FROM orders")
	if err != nil {
		return err
	}
	t.did("Orders", "takes its password from the vault, signs in and counts\n✓ %s orders", rows)
	if _, err := t.stage.Database.Query(login, password, "DELETE FROM orders"); err == nil {
		return fmt.Errorf("the login may delete what it should only read")
	} else {
		t.did("Orders", "tries to delete them\n✗ refused by PostgreSQL: %s", err)
	}
	session, err := t.stage.Database.Stay(login, password)
	if err != nil {
		return err
	}
	t.did("Orders", "keeps a session open")
	if err := t.compareDatabase(); err != nil {
		return err
	}
	if err := t.givenBack(request, "The reports moved to the warehouse."); err != nil {
		return err
	}
	if session.Open() {
		return fmt.Errorf("the session is open after the login was dropped")
	}
	if _, err := t.stage.Database.Query(login, password, "SELECT 1"); err == nil {
		return fmt.Errorf("the login works after its end")
	} else {
		t.did("George", "gives the login back\n✓ read back as gone, the open session was ended\n✗ refused by PostgreSQL: %s", err)
	}
	return nil
}

// compareDatabase makes a login by hand and has it found.
func (t *tour) compareDatabase() error {
	if err := t.stage.Database.ByHand("left_over"); err != nil {
		return err
	}
	david, err := t.as("david.kim")
	if err != nil {
		return err
	}
	if _, err := client.Content(david.RunReconciliationWithResponse(t.ctx, "orders-server")); err != nil {
		return err
	}
	if err := t.stage.Settle(); err != nil {
		return err
	}
	list, err := client.Content(david.ListFindingsWithResponse(t.ctx, &client.ListFindingsParams{System: "orders-server"}))
	if err != nil {
		return err
	}
	t.did("somebody", "makes a login left_over on the server by hand")
	for _, finding := range list.Findings {
		if finding.Principal == "left_over" && finding.Kind == "out-of-band" {
			t.did("David", "has the server compared with the record\n✗ %s: %s", finding.Kind, finding.Text)
			return nil
		}
	}
	return fmt.Errorf("the login left_over is not among the findings %v", list.Findings)
}
