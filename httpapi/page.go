package httpapi

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/countersign/countersign"
)

// How many lines a page has: where nobody asks, and at most.
const (
	standardPage = 50
	longestPage  = 200
)

func pageSize(limit *int) (int, error) {
	switch {
	case limit == nil:
		return standardPage, nil
	case *limit < 1 || *limit > longestPage:
		return 0, countersign.Errorf(countersign.Invalid, "malformed-parameter", "The parameter \"limit\" is between 1 and %d, not %d.", longestPage, *limit).At("limit")
	}
	return *limit, nil
}

// A cursor is the version of its form and the id of the last line that was
// shown; callers cannot rely on what is in it.
const cursorForm = "1:"

func cursorAt(id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(cursorForm + id))
}

// readCursor returns the id of the last line that was shown; "" begins a list.
func readCursor(prefix, cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	content, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	id, formed := strings.CutPrefix(string(content), cursorForm)
	if err != nil || !formed || countersign.CheckID(prefix, id) != nil {
		return "", countersign.Errorf(countersign.Invalid, "malformed-cursor", "%q is not a cursor of this list: send the \"next\" of the page before, as it is.", countersign.Clip(cursor)).At("cursor")
	}
	return id, nil
}

// looked is how many lines to read for a page: one more, to know whether another
// page follows, as far as desk gives so many.
func looked(limit int) int { return min(limit+1, longestPage) }

// page cuts a list that was read with looked lines, and returns the cursor of
// what follows. After a longest page there is one even if nothing follows.
func page[T any](lines []T, limit int, id func(T) string) ([]T, string) {
	if len(lines) < looked(limit) {
		return lines, ""
	}
	lines = lines[:limit]
	return lines, cursorAt(id(lines[limit-1]))
}

func etagOf(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// once gives one command, unless it was answered before under its key. An If-Match
// is compared with the version that the command changes.
func (a *api) once(ctx context.Context, match string, command func(*session) error) error {
	s := sessionOf(ctx)
	_, replay, err := a.Desk.Answered(ctx, s.caller, s.key)
	if err != nil || replay {
		return err
	}
	if match != "" {
		s.key.Match = func(version int64) error { return checkMatch(match, version) }
	}
	return command(s)
}

// checkMatch compares an If-Match (RFC 9110, section 13.1.1) with the present
// version.
func checkMatch(match string, version int64) error {
	now := etagOf(version)
	for candidate := range strings.SplitSeq(match, ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || candidate == now {
			return nil
		}
		if opaque := strings.TrimPrefix(candidate, "W/"); len(opaque) < 2 || opaque[0] != '"' || opaque[len(opaque)-1] != '"' {
			return countersign.Errorf(countersign.Invalid, "malformed-etag", "%q is not an ETag: send the one of the answer, with its quotes.", countersign.Clip(candidate)).At("If-Match")
		}
	}
	return countersign.Errorf(countersign.Conflict, "precondition-failed", "It has changed meanwhile: its ETag is %s now. Look at it again, then decide.", now).At("If-Match")
}
