package sample

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

// Cache is a real Redis server that the tour looks at itself.
type Cache interface {
	// Ask gives one command as a user, and returns the answer.
	Ask(user string, password countersign.Secret, command ...string) (string, error)
	// Users are all that the server has.
	Users() ([]string, error)
}

// Groups is a real LDAP server with an entry for George.
type Groups interface {
	// Members are the members of a group of the reporting server.
	Members(group string) ([]string, error)
}

// Host is a real sshd, which trusts nobody yet.
type Host interface {
	// Trust starts it: it lets a principal in whom the authority has certified, and
	// whom the list does not name.
	Trust(authority []byte, principal string, revoked []byte) error
	// Revoked takes a new list.
	Revoked(list []byte) error
	// Login signs in, and returns what the host's shell says to a command, or why sshd
	// lets nobody in.
	Login(key ssh.Signer, certificate *ssh.Certificate, command string) (string, error)
}

// askedOnTarget asks as George for access that David decides on, who owns the target,
// and has it carried out.
func (t *tour) askedOnTarget(asking client.Asking) (*client.Request, error) {
	george, err := t.as("george.hall")
	if err != nil {
		return nil, err
	}
	preview, err := client.Content(george.PreviewRequestWithResponse(t.ctx, asking))
	if err != nil {
		return nil, err
	}
	if len(preview.Refusals) > 0 || len(preview.Effects) == 0 {
		return nil, fmt.Errorf("the preview has the refusals %v and the effects %v", preview.Refusals, preview.Effects)
	}
	t.did("George", "looks at %s\n  effect: %s", asking.Entitlements[0], preview.Effects[0])
	request, err := client.Submitted(george.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{}, asking))
	if err != nil {
		return nil, err
	}
	_, err = t.approve("george.hall", request.Id)
	if err := t.refused("George", "approves his own request", err, "separation-of-duties"); err != nil {
		return nil, err
	}
	if request, err = t.approve("david.kim", request.Id); err != nil {
		return nil, err
	}
	if err := t.stage.Settle(); err != nil {
		return nil, err
	}
	if request, err = t.expect("george.hall", request.Id, "active"); err != nil {
		return nil, err
	}
	t.did("David", "approves, who owns it\n✓ carried out, and read back: %s", request.State)
	return request, nil
}

// takesPassword reads the password of a login as the service that got it.
func (t *tour) takesPassword(request *client.Request) (login string, password countersign.Secret, err error) {
	machine, err := t.as("svc-orders")
	if err != nil {
		return "", password, err
	}
	grant, err := client.Content(machine.GetGrantWithResponse(t.ctx, request.Grants[0].Id))
	if err != nil {
		return "", password, err
	}
	credential := grant.Credentials[0]
	password, err = t.readSecret("svc-orders", credential.Reference)
	return credential.Id, password, err
}

// givenBack has George end the access.
func (t *tour) givenBack(request *client.Request, reason string) error {
	george, err := t.as("george.hall")
	if err != nil {
		return err
	}
	if _, err := client.Content(george.RevokeGrantWithResponse(t.ctx, request.Grants[0].Id, &client.RevokeGrantParams{}, client.Revocation{Reason: reason})); err != nil {
		return err
	}
	return t.stage.Settle()
}

// cache plays a user on a real Redis.
func (t *tour) cache() error {
	t.title("A user on Redis: reads what it may, and is gone with its end")
	t.say("This Redis runs beside the tour, with keys of orders.\n")
	request, err := t.askedOnTarget(client.Asking{
		Beneficiary: "svc-orders", Entitlements: []string{"orders-cache/orders/reader"}, Reason: "The weekly reports read the orders of today.",
		Answers: map[string]any{"consumer": "SR-1043"},
	})
	if err != nil {
		return err
	}
	user, password, err := t.takesPassword(request)
	if err != nil {
		return err
	}
	if err := t.listed(user, true); err != nil {
		return err
	}
	order, err := t.stage.Cache.Ask(user, password, "GET", "orders:1")
	if err != nil {
		return err
	}
	t.did("Orders", "signs in with the password from the vault, and reads orders:1\n✓ %s", order)
	for _, command := range [][]string{{"SET", "orders:1", "mine"}, {"GET", "prices:1"}} {
		_, err := t.stage.Cache.Ask(user, password, command...)
		if err == nil || !strings.Contains(err.Error(), "NOPERM") {
			return fmt.Errorf("the answer of Redis to %v is %v", command, err)
		}
		t.did("Orders", "tries %s\n✗ refused by Redis: %s", strings.Join(command, " "), err)
	}
	if err := t.givenBack(request, "The reports moved to the warehouse."); err != nil {
		return err
	}
	if _, err := t.expect("george.hall", request.Id, "closed"); err != nil {
		return err
	}
	_, err = t.stage.Cache.Ask(user, password, "GET", "orders:1")
	if err == nil {
		return fmt.Errorf("the user works after its end")
	}
	t.did("George", "gives it back\n✓ read back as gone\n✗ refused by Redis: %s", err)
	return t.listed(user, false)
}

// listed looks at the server whether it has the user.
func (t *tour) listed(user string, want bool) error {
	users, err := t.stage.Cache.Users()
	if err != nil {
		return err
	}
	if slices.Contains(users, user) != want {
		return fmt.Errorf("the server has the users %v, and of %s it should be %t", users, user, want)
	}
	t.did("who runs Redis", "lists its users\n  %s", strings.Join(users, ", "))
	return nil
}

// group plays a membership in a group of a real directory.
func (t *tour) group() error {
	t.title("A group of an LDAP directory: in it while the access lasts")
	t.say("This slapd runs beside the tour. The reporting server goes by its groups.\n")
	if err := t.inGroup(false); err != nil {
		return err
	}
	request, err := t.askedOnTarget(client.Asking{Entitlements: []string{"staff-groups/reports/analysts"}, Reason: "I prepare the figures of the quarter."})
	if err != nil {
		return err
	}
	if err := t.inGroup(true); err != nil {
		return err
	}
	if err := t.givenBack(request, "The quarter is over."); err != nil {
		return err
	}
	if _, err := t.expect("george.hall", request.Id, "closed"); err != nil {
		return err
	}
	t.did("George", "gives it back\n✓ read back as gone")
	return t.inGroup(false)
}

func (t *tour) inGroup(want bool) error {
	members, err := t.stage.Groups.Members("analysts")
	if err != nil {
		return err
	}
	if slices.ContainsFunc(members, func(member string) bool { return strings.HasPrefix(member, "uid=george.hall,") }) != want {
		return fmt.Errorf("the group has the members %v, and of George it should be %t", members, want)
	}
	t.did("who runs slapd", "looks at the group analysts\n  %s", strings.Join(members, "\n  "))
	return nil
}

// host plays a login on a real sshd.
func (t *tour) host() error {
	t.title("A login over SSH: a certificate for an hour, refused at once when it is revoked")
	t.say("This sshd runs beside the tour. It trusts the house's authority and no key of anybody.\n" +
		"George makes a key of his own, and asks for an hour.\n")
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return err
	}
	request, err := t.askedOnTarget(client.Asking{
		Entitlements: []string{"hosts/web-1/deploy"}, Reason: "The shop gets its new search today.",
		Answers: map[string]any{"public_key": string(ssh.MarshalAuthorizedKey(key.PublicKey()))},
	})
	if err != nil {
		return err
	}
	george, err := t.as("george.hall")
	if err != nil {
		return err
	}
	grant, err := client.Content(george.GetGrantWithResponse(t.ctx, request.Grants[0].Id))
	if err != nil {
		return err
	}
	text, err := george.ReadCertificate(t.ctx, grant.Credentials[0].Id)
	if err != nil {
		return err
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		return err
	}
	certificate, is := public.(*ssh.Certificate)
	if !is {
		return fmt.Errorf("what is shown as a certificate is a %s", public.Type())
	}
	authority, err := t.published("hosts", "ssh-ca.pub")
	if err != nil {
		return err
	}
	list, err := t.published("hosts", "krl")
	if err != nil {
		return err
	}
	if err := t.stage.Host.Trust(authority, "hosts/web-1/deploy", list); err != nil {
		return err
	}
	said, err := t.stage.Host.Login(key, certificate, "echo deployed")
	if err != nil {
		return err
	}
	t.did("George", "logs in on web-1 with the certificate %d\n✓ the host says: %s", certificate.Serial, said)
	if err := t.givenBack(request, "The search is deployed."); err != nil {
		return err
	}
	if list, err = t.published("hosts", "krl"); err != nil {
		return err
	}
	if err := t.stage.Host.Revoked(list); err != nil {
		return err
	}
	t.did("George", "gives it back, and the host fetches the list of what is revoked")
	if said, err = t.stage.Host.Login(key, certificate, "echo deployed"); err == nil || !strings.Contains(err.Error(), "revoked") {
		return fmt.Errorf("to a certificate that is revoked the host says %q, %v", said, err)
	}
	t.did("George", "logs in with it again, long before its end\n✗ refused by sshd: %s", err)
	return nil
}
