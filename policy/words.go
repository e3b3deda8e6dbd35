package policy

import (
	"fmt"
	"slices"
	"strings"
)

// unknown says that a word is none of the known ones, and names the nearest, or
// all of them where none is near.
func unknown(what, word string, known []string) string {
	message := fmt.Sprintf("unknown %s `%s`", what, clip(word))
	if near := nearest(word, known); near != "" {
		return message + ": did you mean `" + near + "`?"
	}
	if len(known) == 0 {
		return message + ": none is known here"
	}
	return message + ": use " + enumerate(known, "or")
}

// nearest returns the known word that differs least from word, or "" if all
// differ in more than a third of their letters.
func nearest(word string, known []string) string {
	best, least := "", 0
	for _, candidate := range known {
		distance := editDistance([]rune(clip(word)), []rune(candidate))
		allowed := max(1, max(len(word), len(candidate))/3)
		if distance <= allowed && (best == "" || distance < least) {
			best, least = candidate, distance
		}
	}
	return best
}

// editDistance counts insertions, deletions, replacements and swaps of
// neighbours (optimal string alignment) that turn a into b.
func editDistance(a, b []rune) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
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

// clip shortens foreign text for a message.
func clip(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
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
