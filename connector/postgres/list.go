package postgres

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// markBegin begins the comment on every credential's role.
const markBegin = "made by countersign for credential "

// belongs is what the comment on a person's login role says.
var belongs = regexp.MustCompile(`\bcountersign holder (idn_[0-9a-z]{26})\b`)

// listed is every login role, and every membership of a login role, of a
// credential's role, or of a person through a credential's role. What the
// connector's own account is and holds is left out.
const listed = `WITH r AS (SELECT oid, rolname::text AS name, rolcanlogin AS login, rolvaliduntil AS until, coalesce(shobj_description(oid, 'pg_authid'), '') AS comment
		FROM pg_roles WHERE rolname <> current_user)
	SELECT DISTINCT m.name, m.comment, m.until, g.name, coalesce(u.name, ''), coalesce(u.comment, ''), coalesce(u.oid, 0)
		FROM pg_auth_members a JOIN r m ON m.oid = a.member JOIN r g ON g.oid = a.roleid AND NOT starts_with(g.comment, $1)
		LEFT JOIN (pg_auth_members b JOIN r u ON u.oid = b.member) ON b.roleid = m.oid AND NOT m.login
		WHERE m.login OR starts_with(m.comment, $1)
	UNION ALL SELECT name, comment, until, '', '', '', 0::oid FROM r WHERE login AND NOT starts_with(comment, $1)`

// List implements connector.Inventory: one look at the server's catalogue.
// Memberships count where they are given to a login itself or by a credential's
// role; which groups are members of other groups is the server's own affair. Only
// what was made here is tied to a database.
func (c *Connector) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	rows, err := conn.Query(ctx, listed, markBegin)
	if err != nil {
		return failed(err)
	}
	var name, comment, group, member, memberComment string
	var until pgtype.Timestamptz
	var memberID uint32
	// An error of found comes back as it is.
	var refused error
	_, err = pgx.ForEachRow(rows, []any{&name, &comment, &until, &group, &member, &memberComment, &memberID}, func() error {
		item := connector.Item{Principal: name, Holder: holderOf(comment), Entitlement: group}
		if text, marked := strings.CutPrefix(comment, markBegin); marked {
			credential, made := readMark(text)
			if credential == "" || made.System != of.System {
				return nil // not of this system, or of nobody knows which
			}
			item.Credential, item.Resource, item.Holder = credential, made.Resource, made.Holder
			if until.Valid && until.InfinityModifier == pgtype.Finite {
				item.Until = countersign.InstantOf(until.Time)
			}
			if made.Login != 0 {
				if member == "" {
					return nil // nobody is in it, so it gives nothing
				}
				item.Principal, item.Holder = member, holderOf(memberComment)
				if memberID != made.Login {
					// Somebody else was put into it by hand: the mark is not that one's.
					item.Credential, item.Resource, item.Until = "", "", 0
				}
			}
		}
		refused = found(item)
		return refused
	})
	if refused != nil {
		return refused
	}
	return failed(err)
}

// readMark reads what follows markBegin; the credential is "" where it is no mark.
func readMark(text string) (countersign.CredentialID, mark) {
	credential, text, _ := strings.Cut(text, " ")
	var made mark
	if countersign.CheckID("crd", credential) != nil || json.Unmarshal([]byte(text), &made) != nil || countersign.CheckID("grt", string(made.Grant)) != nil {
		return "", mark{}
	}
	return countersign.CredentialID(credential), made
}

// holderOf is whose login role it is, as its comment says, or "".
func holderOf(comment string) countersign.IdentityID {
	if found := belongs.FindStringSubmatch(comment); found != nil {
		return countersign.IdentityID(found[1])
	}
	return ""
}
