package directory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file. Line and Column count from 1.
type Problem struct {
	File    string
	Line    int
	Column  int
	Message string
}

func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// spot is a place in a file.
type spot struct {
	file         string
	line, column int
}

func (s spot) String() string { return fmt.Sprintf("%s:%d:%d", s.file, s.line, s.column) }

// spots says where a thing stands ("") and where each of its keys has its value;
// the elements of a list are "key 0", "key 1" and so on.
type spots map[string]spot

func (s spots) element(key string, index int) spot { return s[elementKey(key, index)] }

func elementKey(key string, index int) string { return fmt.Sprintf("%s %d", key, index) }

// maxProblems bounds the work that a hopeless file can cause.
const maxProblems = 200

// problems collects what is wrong with all files.
type problems struct{ list []Problem }

func (p *problems) full() bool { return len(p.list) >= maxProblems }

func (p *problems) add(at spot, format string, args ...any) {
	if !p.full() {
		p.list = append(p.list, Problem{at.file, at.line, at.column, fmt.Sprintf(format, args...)})
	}
}

// sorted returns the problems in the order of the files.
func (p *problems) sorted() []Problem {
	slices.SortStableFunc(p.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return p.list
}

// didYouMean returns a hint at the end of a message, or "".
func didYouMean(word string, candidates []string) string {
	if right := nearest(word, candidates); right != "" {
		return fmt.Sprintf("; did you mean %q?", right)
	}
	return ""
}

// longestWord is the longest word that is compared with others.
const longestWord = 64

// nearest returns the candidate with the fewest letters to change, the first by
// letter where several have as few, or "" where none is near.
func nearest(word string, candidates []string) string {
	if len(word) > longestWord {
		return ""
	}
	best, least := "", max(1, len(word)/3)+1
	for _, candidate := range candidates {
		if len(candidate)-len(word) > least || len(word)-len(candidate) > least {
			continue
		}
		changes := distance(strings.ToLower(word), strings.ToLower(candidate))
		if changes < least || changes == least && candidate < best {
			best, least = candidate, changes
		}
	}
	return best
}

// distance is the Levenshtein distance between two words, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, above+1, row[j]+1)
			diagonal = above
		}
	}
	return row[len(b)]
}

// clip shortens foreign text for a message.
func clip(s string) string {
	if len(s) <= longestWord {
		return s
	}
	return strings.ToValidUTF8(s[:longestWord], "") + "…"
}
