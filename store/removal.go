package store

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/countersign/countersign"
)

// Keys of work that takes away what a finding is about sort by when that was asked,
// so that a backlog finds the oldest without reading the others.
const (
	RemovalsFrom = "remove/"
	RemovalsTo   = "remove0"
)

// RemovalKey is the key of the work for a finding whose removal somebody asked for.
func RemovalKey(finding *countersign.Finding) string {
	return fmt.Sprintf("%s%015d/%s", RemovalsFrom, int64(finding.Removal.At), finding.ID)
}

// RemovalAsked returns when that was; zero for no such key.
func RemovalAsked(key string) countersign.Instant {
	at, _, _ := strings.Cut(strings.TrimPrefix(key, RemovalsFrom), "/")
	asked, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return 0
	}
	return countersign.Instant(asked)
}
