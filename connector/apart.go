package connector

import (
	"hash/fnv"
	"sync"
)

// Apart keeps changes of the same thing apart in one process, for targets that
// compare nothing before they write. The zero value is ready.
type Apart struct{ locks [64]sync.Mutex }

// Alone waits until nobody else is at the thing, and returns what lets others in.
func (a *Apart) Alone(thing string) (done func()) {
	hash := fnv.New32a()
	hash.Write([]byte(thing))
	lock := &a.locks[hash.Sum32()%uint32(len(a.locks))]
	lock.Lock()
	return lock.Unlock
}
