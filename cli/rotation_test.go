package cli

import (
	"testing"

	"github.com/countersign/countersign/sample"
)

func TestARotationIsAskedForFromTheCommandLine(t *testing.T) {
	s := newHouse(t, nil)
	server, err := sample.OpenWebServer()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	answers := func() []string {
		csr, err := server.Ask("shop.meridian.example")
		if err != nil {
			t.Fatal(err)
		}
		return []string{"--answer", "record=SR-1044", "--answer", "csr=" + csr}
	}
	decide := func(request string) {
		s.as("jonas.weber", "all", 0, "request", "approve", request)
		s.as("nadia.haddad", "all", 0, "request", "approve", request)
		s.settle()
	}
	first := id(t, "req", s.as("fatima.zahra", "all", 0, append([]string{"request", "new", "--for", "svc-checkout", "-e", "certificates/servers/shop.meridian.example", "--reason", "the shop moves"}, answers()...)...))
	decide(first)
	grant := id(t, "grt", s.as("fatima.zahra", "all", 0, "request", "show", first))

	says(t, s.as("fatima.zahra", "all", exitRefused, "grant", "rotate", grant), "countersign request rotate "+grant)
	says(t, s.as("fatima.zahra", "all", exitInvalid, append([]string{"request", "rotate", grant}, answers()...)...), "reason")
	says(t, s.as("fatima.zahra", "all", exitRefused, append([]string{"request", "rotate", grant, "--reason", "it ends", "--duration", "91d"}, answers()...)...), "90d")
	out := s.as("fatima.zahra", "all", 0, append([]string{"request", "rotate", grant, "--reason", "it ends", "--duration", "60d"}, answers()...)...)
	says(t, out, "rotates   "+grant+", with an overlap of 1d", "for 60d at most")
	request := id(t, "req", out)
	decide(request)
	says(t, s.as("fatima.zahra", "all", 0, "request", "show", request), "active")
	says(t, s.as("fatima.zahra", "all", 0, "grant", "show", grant), "live")
}
