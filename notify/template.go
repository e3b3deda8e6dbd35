package notify

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/countersign/countersign"
)

// defaults are the templates of a house that has none of its own.
//
//go:embed templates/*.txt
var defaults embed.FS

const (
	oneSubject    = "one.subject.txt"
	oneText       = "one.text.txt"
	digestSubject = "digest.subject.txt"
	digestText    = "digest.text.txt"
)

var templateNames = []string{oneSubject, oneText, digestSubject, digestText}

// Templates say how a message reads as mail: by text/template, a subject and a
// text for one line, and both for a digest.
type Templates struct{ named map[string]*template.Template }

// entry is one line as a template sees it. At is written as 2026-01-31 09:00 UTC;
// Link leads to what the line is about, and is "" where nothing does.
type entry struct{ Kind, At, Subject, Text, About, Link string }

// onePage is what the templates of one line see. House and Name may be "".
type onePage struct {
	House, Name string
	entry
}

// digestPage is what the templates of a digest see. Count has all lines, More
// those that are not among Lines.
type digestPage struct {
	House, Name string
	Count, More int
	Lines       []entry
}

// ParseTemplates reads the templates in a folder; each that it lacks is the
// default. Names that begin with a dot are passed over; any other file is an
// error, and so is a template that is broken or names a field that is not there.
func ParseTemplates(folder fs.FS) (*Templates, error) {
	entries, err := fs.ReadDir(folder, ".")
	if err != nil {
		return nil, countersign.Errorf(countersign.Invalid, "unreadable-templates", "the folder of templates cannot be read: %v", err).Because(err)
	}
	for _, found := range entries {
		if name := found.Name(); !strings.HasPrefix(name, ".") && !slices.Contains(templateNames, name) {
			meant := "the names are " + strings.Join(templateNames, ", ")
			if nearest := countersign.Nearest(name, templateNames); nearest != "" {
				meant = "did you mean " + nearest + "?"
			}
			return nil, countersign.Errorf(countersign.Invalid, "unknown-template", "%s is not a template that is used: %s", countersign.Clip(name), meant)
		}
	}
	templates := &Templates{named: map[string]*template.Template{}}
	for _, name := range templateNames {
		text, err := fs.ReadFile(folder, name)
		if errors.Is(err, fs.ErrNotExist) {
			text, err = defaults.ReadFile("templates/" + name)
		}
		if err != nil {
			return nil, countersign.Errorf(countersign.Invalid, "unreadable-templates", "the template %s cannot be read: %v", name, err).Because(err)
		}
		parsed, err := template.New(name).Funcs(template.FuncMap{"indent": indent}).Parse(string(text))
		if err == nil {
			err = try(parsed)
		}
		if err != nil {
			return nil, countersign.Errorf(countersign.Invalid, "malformed-template", "%s", strings.TrimPrefix(err.Error(), "template: ")).Because(err)
		}
		templates.named[name] = parsed
	}
	return templates, nil
}

// indent sets each line of text off from the margin, so that what others wrote
// does not look like ours.
func indent(text string) string {
	if text == "" {
		return ""
	}
	return "    " + strings.ReplaceAll(text, "\n", "\n    ")
}

// try carries a template out twice: with nothing that may be left out, and with
// everything and through every branch, so that a fault shows now and not on the
// day that takes the branch.
func try(parsed *template.Template) error {
	full := entry{"reminder", "2026-01-31 09:00 UTC", "Subject", "Text", "req_0", "https://desk.example/requests/req_0"}
	bare := entry{Kind: full.Kind, At: full.At, Subject: full.Subject}
	var pages [2]any
	switch parsed.Name() {
	case oneSubject, oneText:
		pages = [2]any{onePage{entry: bare}, onePage{"House", "Name", full}}
	default:
		pages = [2]any{
			digestPage{Count: 2, Lines: []entry{bare, bare}},
			digestPage{"House", "Name", maxLines + 1, 1, slices.Repeat([]entry{full}, maxLines)},
		}
	}
	everywhere := template.New(parsed.Name()).Funcs(template.FuncMap{"indent": indent})
	for _, part := range parsed.Templates() {
		tree := part.Tree.Copy()
		tree.Root.Nodes = everyBranch(tree.Root)
		if _, err := everywhere.AddParseTree(part.Name(), tree); err != nil {
			return err
		}
	}
	if err := parsed.Execute(io.Discard, pages[0]); err != nil {
		return explain(err, pages[0])
	}
	return explain(everywhere.Execute(io.Discard, pages[1]), pages[1])
}

// everyBranch returns the nodes of a list with conditions replaced by what they
// lead to, whether they hold or not.
func everyBranch(list *parse.ListNode) []parse.Node {
	if list == nil {
		return nil
	}
	var nodes []parse.Node
	for _, node := range list.Nodes {
		switch node := node.(type) {
		case *parse.IfNode:
			condition := &parse.ActionNode{NodeType: parse.NodeAction, Pos: node.Pos, Line: node.Line, Pipe: node.Pipe}
			nodes = slices.Concat(append(nodes, condition), everyBranch(node.List), everyBranch(node.ElseList))
		case *parse.RangeNode:
			nodes = append(nodes, node)
			nodes = append(nodes, openBranch(&node.BranchNode)...)
		case *parse.WithNode:
			nodes = append(nodes, node)
			nodes = append(nodes, openBranch(&node.BranchNode)...)
		case *parse.BreakNode, *parse.ContinueNode:
		default:
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// openBranch opens what a node does with its own dot, and returns what it would
// do otherwise.
func openBranch(node *parse.BranchNode) []parse.Node {
	node.List.Nodes = everyBranch(node.List)
	otherwise := everyBranch(node.ElseList)
	node.ElseList = nil
	return otherwise
}

// explain adds what there is to an error about what there is not.
func explain(err error, page any) error {
	if err == nil || !strings.Contains(err.Error(), "can't evaluate field") {
		return err
	}
	fields := "House, Name, Count, More, Lines, and of each line Kind, At, Subject, Text, About, Link"
	if _, one := page.(onePage); one {
		fields = "House, Name, Kind, At, Subject, Text, About, Link"
	}
	return fmt.Errorf("%w; there are %s", err, fields)
}

// render returns subject and text of a message. Equal messages read equally.
func (t *Templates) render(message Message, house string, link func(about string) string) (subject, text string, err error) {
	tidied, more := message.tidy()
	house = oneLine(house, maxName)
	lines := make([]entry, len(tidied.Lines))
	for i, line := range tidied.Lines {
		lines[i] = entry{Kind: line.Kind, At: line.At.Time().Format("2006-01-02 15:04 UTC"), Subject: line.Subject, Text: line.Text, About: line.About}
		if link != nil && line.About != "" {
			lines[i].Link = oneLine(link(line.About), maxText)
		}
	}
	var page any = digestPage{House: house, Name: tidied.To.Name, Count: len(message.Lines), More: more, Lines: lines}
	names := [2]string{digestSubject, digestText}
	if len(lines) == 1 {
		page = onePage{House: house, Name: tidied.To.Name, entry: lines[0]}
		names = [2]string{oneSubject, oneText}
	}
	var written [2]bytes.Buffer
	for i, name := range names {
		if err := t.named[name].Execute(&written[i], page); err != nil {
			return "", "", countersign.Errorf(countersign.Internal, "template-failed", "the message %s cannot be written: %s", message.Key, strings.TrimPrefix(err.Error(), "template: ")).Because(err)
		}
	}
	return oneLine(written[0].String(), maxSubject), strings.TrimSpace(written[1].String()) + "\n", nil
}
