package desk

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

const (
	// mostActs and longestAct bound what is kept of one request.
	mostActs   = 5000
	longestAct = 1000
	// activityPatience is how long the targets have to tell it, all together.
	activityPatience = 15 * time.Second
)

// activity is what the targets told of what was done with the access of one
// request. They are asked once, also where the command is judged again.
type activity struct {
	content     []byte
	unavailable bool
	acts        int
}

// look asks the target of each grant. That one cannot tell is no error: it stands
// in the content, and the reviewer brings something else.
func (a *activity) look(ctx context.Context, tx *transaction, request *countersign.Request) error {
	if a.content != nil {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, activityPatience)
	defer cancel()
	var out strings.Builder
	for _, ref := range request.Grants {
		grant, err := tx.read.Grant(ctx, ref.Grant)
		if err != nil {
			return err
		}
		for _, credential := range grant.Credentials {
			fmt.Fprintf(&out, "%s, the credential %s of the grant %s, from %s to %s\n",
				tx.directory.rightsText([]countersign.EntitlementID{grant.Entitlement}), credential.ID, grant.ID, grant.OpenedAt, grant.GoneAt)
			source, err := a.tell(asking, tx.desk, &out, grant, credential.ID)
			if err != nil {
				a.unavailable = true
				fmt.Fprintf(&out, "  activity not available: %s\n", oneLine(err.Error()))
			}
			if source != "" {
				fmt.Fprintf(&out, "  looked at: %s\n", source)
			}
		}
	}
	switch shape := countersign.SecretShape(out.String()); {
	case out.Len() == 0:
		out.WriteString("no credential was ever made\n")
	case shape != "":
		// What lines that are harmless alone make together keeps no review from being done.
		a.unavailable = true
		out.Reset()
		fmt.Fprintf(&out, "activity not available: what the targets tell looks like %s, which never passes the desk\n", shape)
	}
	a.content = []byte(out.String())
	return nil
}

// activityEvidence keeps what the targets told.
func (tx *transaction) activityEvidence(ctx context.Context, done *activity, request *countersign.Request) (countersign.Evidence, error) {
	if err := done.look(ctx, tx, request); err != nil {
		return countersign.Evidence{}, err
	}
	verified := "Every target told what was done."
	if done.unavailable {
		verified = "Activity not available, or not all of it."
	}
	held, err := tx.keep(done.content, "target", verified)
	if err != nil {
		return countersign.Evidence{}, err
	}
	held.Unavailable = done.unavailable
	return *held, nil
}

// tell writes what was done with one credential, and returns where the target
// looked.
func (a *activity) tell(ctx context.Context, d *Desk, out *strings.Builder, grant *countersign.Grant, credential countersign.CredentialID) (string, error) {
	hands, err := d.Connectors.Find(grant.Step.Connector)
	if err != nil {
		return "", err
	}
	target, tells := hands.(connector.Activity)
	if !tells {
		return "", fmt.Errorf("the connector %s cannot tell what was done", grant.Step.Connector)
	}
	before := a.acts
	source, err := target.Activity(ctx, connector.Use{Credential: credential, Holder: grant.Holder, From: grant.OpenedAt, To: grant.GoneAt}, func(act connector.Act) error {
		if a.acts++; a.acts > mostActs {
			return fmt.Errorf("more than %d things were done; the first of them are kept", mostActs)
		}
		text := oneLine(act.What)
		if shape := cmp.Or(countersign.SecretShape(act.What), countersign.SecretShape(text)); shape != "" {
			text = "(left out: it looks like " + shape + ")"
		}
		fmt.Fprintf(out, "  %s  %s\n", act.At, text)
		return nil
	})
	if err == nil && a.acts == before {
		out.WriteString("  nothing was done with it\n")
	}
	return source, err
}

// oneLine is a text of somebody else as one line that cannot pass for another.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > longestAct {
		text = strings.ToValidUTF8(text[:longestAct], "") + " …"
	}
	return text
}
