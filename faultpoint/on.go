//go:build faultpoint

package faultpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// variable names the point and how often it is passed before it kills.
const variable = "COUNTERSIGN_FAULTPOINT"

var armed, left = arm(os.Getenv(variable))

func arm(text string) (Point, *atomic.Int64) {
	var left atomic.Int64
	name, count, counted := strings.Cut(text, ":")
	left.Store(1)
	if counted {
		times, err := strconv.ParseInt(count, 10, 64)
		if err != nil || times < 1 {
			panic(variable + " should look like after-decision:3")
		}
		left.Store(times)
	}
	return Point(name), &left
}

// Reach kills the process when it has come to the armed point often enough.
func Reach(point Point) {
	if point != armed || left.Add(-1) != 0 {
		return
	}
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {}
}
