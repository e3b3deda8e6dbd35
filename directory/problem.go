package directory

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/countersign/countersign"
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
	if right := countersign.Nearest(word, candidates); right != "" {
		return fmt.Sprintf("; did you mean %q?", right)
	}
	return ""
}
