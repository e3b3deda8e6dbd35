package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
)

// unknown says that a word is none of the known ones, and names the nearest, or
// all of them where none is near.
func unknown(what, word string, known []string) string {
	message := fmt.Sprintf("unknown %s `%s`", what, countersign.Clip(word))
	if near := countersign.Nearest(word, known); near != "" {
		return message + ": did you mean `" + near + "`?"
	}
	if len(known) == 0 {
		return message + ": none is known here"
	}
	return message + ": use " + enumerate(known, "or")
}

// enumerate joins words as "`a`, `b` or `c`".
func enumerate(words []string, conjunction string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = "`" + word + "`"
	}
	switch len(quoted) {
	case 0:
		return "none"
	case 1:
		return quoted[0]
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " " + conjunction + " " + quoted[last]
}

// counted writes "1 person", "2 people".
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// words returns the texts of a closed list.
func words[T ~string](list []T) []string {
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = string(item)
	}
	return texts
}

func contains[T ~string](list []T, word string) bool { return slices.Contains(list, T(word)) }
