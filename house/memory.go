package house

import (
	"os"
	"runtime/debug"
)

// heapGrowth is how much the heap may grow before it is collected, in percent of what
// lives. Most of that is the directory and the indexes, which every collection reads
// again, so that half as many cost half as much; it stays far below what a
// house with few people may take.
const heapGrowth = 200

// AtRest gives back the memory that starting took. A process calls it once it has
// started its house; GOGC in its environment says otherwise how the heap grows.
func AtRest() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	debug.FreeOSMemory()
}
