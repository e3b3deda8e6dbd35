package countersign

import "strings"

// Clip shortens foreign text to at most 64 bytes, for a message that quotes it.
func Clip(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// Nearest returns the known word that somebody probably meant: the one with the
// fewest letters to insert, remove, replace or swap, whatever their case; or ""
// where all differ in more than a third of their letters.
func Nearest(word string, known []string) string {
	word = strings.ToLower(Clip(word))
	best, least := "", 0
	for _, candidate := range known {
		if len(candidate)-len(word) > len(candidate)/3+1 {
			continue
		}
		changes := editDistance([]rune(word), []rune(strings.ToLower(candidate)))
		allowed := max(1, max(len(word), len(candidate))/3)
		if changes <= allowed && (best == "" || changes < least || changes == least && candidate < best) {
			best, least = candidate, changes
		}
	}
	return best
}

// editDistance is the optimal string alignment distance of a and b.
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
