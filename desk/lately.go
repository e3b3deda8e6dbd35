package desk

import (
	"sync"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// mostLately is how many requests and grants are remembered.
const mostLately = 8192

// lately remembers what the requests and grants are about that this process wrote
// lately, so that the next command on one knows before it has read the row what
// else it will look at. Nothing is judged by it: what it says wrongly, or not any
// more, is asked for in vain and looked at anew. The zero value is ready.
type lately struct {
	lock sync.Mutex
	of   map[string]topic
	// order holds the keys, the one written first at next once it is full.
	order []string
	next  int
}

// topic is what a request or grant is about.
type topic struct {
	requester, beneficiary countersign.IdentityID
	entitlements           []countersign.EntitlementID
	// request is the one that a grant belongs to.
	request countersign.RequestID
	// gives says that a grant is still to be given.
	gives bool
}

func (l *lately) note(writes []store.Write) {
	for _, write := range writes {
		switch row := write.Row.(type) {
		case *countersign.Request:
			l.put(string(row.ID), topic{requester: row.Requester, beneficiary: row.Beneficiary, entitlements: row.Entitlements})
		case *countersign.Grant:
			l.put(string(row.ID), topic{
				requester: row.Holder, beneficiary: row.Holder, entitlements: []countersign.EntitlementID{row.Entitlement},
				request: row.Request, gives: row.State == countersign.GrantProvisioning,
			})
		}
	}
}

func (l *lately) put(key string, what topic) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.of == nil {
		l.of = map[string]topic{}
	}
	if _, known := l.of[key]; !known {
		if len(l.order) < mostLately {
			l.order = append(l.order, key)
		} else {
			delete(l.of, l.order[l.next])
			l.order[l.next] = key
			l.next = (l.next + 1) % mostLately
		}
	}
	l.of[key] = what
}

func (l *lately) find(key string) (topic, bool) {
	l.lock.Lock()
	defer l.lock.Unlock()
	found, known := l.of[key]
	return found, known
}

// foreseeMatter is questionsOf for what a request or grant was about lately.
func (tx *transaction) foreseeMatter(key string, more ...string) store.Questions {
	was, known := tx.desk.lately.find(key)
	if !known {
		return store.Questions{}
	}
	m, err := tx.directory.matterOf(was.requester, was.beneficiary, was.entitlements)
	if err != nil {
		return store.Questions{}
	}
	return tx.directory.questionsOf(m, more...)
}
