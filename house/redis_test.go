package house_test

import (
	"crypto/rand"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/redis"
	"github.com/countersign/countersign/connector/redis/redistest"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
)

const cacheFile = `
  - name: cache
    title: Cache
    owner: otto
    environment: prod
    risk: medium
    connector: cache-redis
    settings: {acl.orders/reader: "+@read ~orders:*"}
    resources: [{name: orders, title: Orders, entitlements: [{name: reader, kind: credential}]}]
records:`

func TestALoginOnARealRedisWorksUntilItsEndAndItsOpenConnectionIsCut(t *testing.T) {
	server := redistest.New(t, true)
	w := empty(t, onSQLite(t))
	w.connectors = func(targets house.Targets) (connector.Set, error) {
		way := url.URL{Scheme: "rediss", User: url.UserPassword(redistest.Account, redistest.AccountPassword), Host: server.Secure}
		made, err := redis.New(redis.Options{
			Name: "cache-redis", URL: countersign.NewSecret(way.String()), Roots: server.Roots, Persistence: redis.ACLFile,
			Vault: targets.Vault, Clock: w.clock, Random: rand.Reader,
		})
		return connector.Set{"cache-redis": made}, err
	}
	w.restart()
	w.edit("\nrecords:", cacheFile)
	w.must(w.found(strings.NewReplacer("system: ledger, kind", "system: cache, kind", "noop.apply", "cache-redis.create-login").Replace(policyFor(managerStage, ""))))
	w.settle()
	id := w.submit("ana", desk.Asking{Beneficiary: "svc-ana", Entitlements: []string{"cache/orders/reader"}, Reason: "orders are to be shown"})
	w.must(w.approve("max", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	credential := w.grant(id).Credentials[0]
	password, err := w.house.Vault.Read(w.ctx, w.as("svc-ana").Identity, countersign.CredentialID(credential.Reference))
	w.must(err)
	session := server.Open(string(credential.ID), password.Reveal())
	defer session.Close()
	if err := session.Get(w.ctx, "orders:1").Err(); err != nil {
		t.Fatalf("the login does not open what was asked: %v", err)
	}
	if err := session.Get(w.ctx, "audit:1").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
		t.Errorf("beyond what was asked the answer is %v", err)
	}
	w.pass(10*24*time.Hour + time.Minute)
	if grant := w.grant(id); grant.State != countersign.GrantGone {
		t.Errorf("after its end the grant is %s", grant.State)
	}
	if session.Get(w.ctx, "orders:1").Err() == nil {
		t.Error("the open connection goes on")
	}
	if err := session.Ping(w.ctx).Err(); err == nil || !strings.HasPrefix(err.Error(), "WRONGPASS") {
		t.Errorf("signing in is answered by %v", err)
	}
	w.verified()
}
