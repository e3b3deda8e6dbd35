package httpapi

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/countersign/countersign"
)

// Rate is how often something may happen: Count times at once, and as many again in
// each Per. The zero Rate bounds nothing.
type Rate struct {
	Count int
	Per   time.Duration
}

// Bound is for what one caller does, and for what comes from one address.
type Bound struct{ Caller, Address Rate }

// Limits are bounds on what costs the house something. The zero value has none.
type Limits struct {
	// SignIn bounds attempts that fail, of one address. A token that works is never
	// refused for what its neighbours try; a secret that is shown beyond the bound is
	// not looked at.
	SignIn Rate
	// Submit bounds asking: previews, requests, batches, amendments.
	Submit Bound
	// Upload bounds what is sent to be kept or to be fetched: evidence, directory
	// files, proposals.
	Upload Bound
	// Evaluate bounds questions to the decision point and to the vault.
	Evaluate Bound
}

// Class says which limit counts for an operation.
type Class int

const (
	Unlimited Class = iota
	Submits
	Uploads
	Evaluates
)

func (l Limits) of(class Class) Bound {
	switch class {
	case Submits:
		return l.Submit
	case Uploads:
		return l.Upload
	case Evaluates:
		return l.Evaluate
	case Unlimited:
	}
	return Bound{}
}

// mostBuckets bounds the memory of one kind of limit: some 200 bytes for each.
const mostBuckets = 20000

// buckets count for callers and addresses by name. The zero value is ready.
type buckets struct {
	lock sync.Mutex
	of   map[string]*rate.Limiter
}

// take counts one for the name, and returns how long to wait where that is too
// many. Nothing is counted then.
func (b *buckets) take(name string, bound Rate, now time.Time) time.Duration {
	if bound.Count == 0 {
		return 0
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	reserved := b.bucket(name, bound, now).ReserveN(now, 1)
	wait := reserved.DelayFrom(now)
	if wait > 0 {
		reserved.CancelAt(now)
	}
	return wait
}

// owe counts one that has happened already, beyond the bound as well: of many that
// began at once, each is waited for.
func (b *buckets) owe(name string, bound Rate, now time.Time) {
	if bound.Count == 0 {
		return
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	b.bucket(name, bound, now).ReserveN(now, 1)
}

// wait returns how long it is until one more of the name is within the bound. It
// counts nothing.
func (b *buckets) wait(name string, bound Rate, now time.Time) time.Duration {
	b.lock.Lock()
	defer b.lock.Unlock()
	bucket := b.of[name]
	if bucket == nil {
		return 0
	}
	missing := max(0, 1-bucket.TokensAt(now))
	return time.Duration(missing * float64(bound.Per) / float64(bound.Count))
}

// bucket is the name's, under the lock.
func (b *buckets) bucket(name string, bound Rate, now time.Time) *rate.Limiter {
	bucket := b.of[name]
	if bucket == nil {
		b.makeRoom(now)
		bucket = rate.NewLimiter(rate.Limit(float64(bound.Count)/bound.Per.Seconds()), bound.Count)
		b.of[name] = bucket
	}
	return bucket
}

// makeRoom forgets who has been quiet for long enough, and somebody where all are
// busy.
func (b *buckets) makeRoom(now time.Time) {
	if b.of == nil {
		b.of = map[string]*rate.Limiter{}
	}
	if len(b.of) < mostBuckets {
		return
	}
	for name, bucket := range b.of {
		if bucket.TokensAt(now) >= float64(bucket.Burst()) {
			delete(b.of, name)
		}
	}
	for name := range b.of {
		if len(b.of) < mostBuckets {
			return
		}
		delete(b.of, name)
	}
}

// tooMany refuses, and says when to come back.
func tooMany(w http.ResponseWriter, wait time.Duration, format string, args ...any) error {
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
	return countersign.Errorf(countersign.TooMany, "too-many", format, args...)
}

// checkLimit counts an operation of its caller and of the address it comes from.
func (a *api) checkLimit(w http.ResponseWriter, r *http.Request, class Class) error {
	if err := a.checkAddress(w, r, class); err != nil {
		return err
	}
	bound, now := a.Limits.of(class), a.Clock.Now()
	if wait := a.counted[class].take("caller "+string(sessionOf(r.Context()).caller.Identity), bound.Caller, now); wait > 0 {
		return tooMany(w, wait, "You have done too much of this in a short time; try again after %s.", seconds(wait))
	}
	return nil
}

// checkAddress counts an operation of the address it comes from.
func (a *api) checkAddress(w http.ResponseWriter, r *http.Request, class Class) error {
	if wait := a.counted[class].take("address "+neighbourhood(a.address(r)), a.Limits.of(class).Address, a.Clock.Now()); wait > 0 {
		return tooMany(w, wait, "Too much of this comes from this address; try again after %s.", seconds(wait))
	}
	return nil
}

// failedSignIn counts a token that does not work. Beyond the limit the answer says
// that it is too many, and no longer what is wrong with the token.
func (a *api) failedSignIn(w http.ResponseWriter, r *http.Request, err error) error {
	if countersign.KindOf(err) != countersign.Unauthenticated {
		return err
	}
	if wait := a.failures.take(neighbourhood(a.address(r)), a.Limits.SignIn, a.Clock.Now()); wait > 0 {
		return tooManyFailed(w, wait)
	}
	return err
}

func tooManyFailed(w http.ResponseWriter, wait time.Duration) error {
	return tooMany(w, wait, "Too many attempts to sign in from this address have failed; try again after %s.", seconds(wait))
}

type signingInKey struct{}

// signingIn lets no secret be tried from an address where too many were wrong. The
// right one is refused as well: whoever guesses would otherwise go on, and know it by
// its answer. Tokens are too long to be guessed; nobody promises that of a secret.
func (a *api) signingIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait := a.failures.wait(neighbourhood(a.address(r)), a.Limits.SignIn, a.Clock.Now()); wait > 0 {
			a.refuse(w, r, tooManyFailed(w, wait))
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), signingInKey{}, a)))
	})
}

// SignInFailed counts a wrong secret of the address that it comes from, for the
// handlers of Mounts that sign in.
func SignInFailed(r *http.Request) {
	if a, counts := r.Context().Value(signingInKey{}).(*api); counts {
		a.failures.owe(neighbourhood(a.address(r)), a.Limits.SignIn, a.Clock.Now())
	}
}

func seconds(wait time.Duration) string {
	return countersign.Seconds(max(1, int64(math.Ceil(wait.Seconds())))).String()
}
