package desk

import (
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/policy"
)

// comparePolicies shows how the files of two sets differ, line by line, and who
// gains or loses standing to approve by name or by group.
func (d *snapshot) comparePolicies(before, after *policy.Set) (changes, standing []string) {
	old, next := filesByPath(before), filesByPath(after)
	for _, path := range sortedKeys(old) {
		if _, stays := next[path]; !stays {
			changes = append(changes, "- "+path)
		}
	}
	for _, path := range sortedKeys(next) {
		was, existed := old[path]
		switch {
		case !existed:
			changes = append(changes, "+ "+path)
		case was != next[path]:
			changes = append(changes, strings.TrimSuffix(string(diff.Diff(path+" (now)", []byte(was), path+" (proposed)", []byte(next[path]))), "\n"))
		}
	}
	gained, lost := d.approvers(after), d.approvers(before)
	for _, line := range sortedKeys(gained) {
		if !lost[line] {
			standing = append(standing, line+gainsStanding)
		}
	}
	for _, line := range sortedKeys(lost) {
		if !gained[line] {
			standing = append(standing, line+" loses approval standing")
		}
	}
	return changes, standing
}

// gainsStanding ends a line about somebody who could approve more than before.
const gainsStanding = " gains approval standing"

func filesByPath(set *policy.Set) map[string]string {
	files := map[string]string{}
	for _, file := range set.Files() {
		files[file.Path] = string(file.Bytes)
	}
	return files
}

// approvers lists "person, in stage s of type t, by rule" for every rule that
// names people; rules such as manager-of are listed as themselves.
func (d *snapshot) approvers(set *policy.Set) map[string]bool {
	lines := map[string]bool{}
	for _, info := range set.Types() {
		for _, stage := range set.Stages(info.Name) {
			d.standings(lines, stage, fmt.Sprintf("in the stage %q of %s, by ", stage.Name, info.Name))
		}
	}
	if exceptions := set.Exceptions(); exceptions != nil {
		d.standings(lines, exceptions.Stage, fmt.Sprintf("in the stage %q of exceptions, by ", exceptions.Stage.Name))
	}
	return lines
}

// standings adds a line for everybody whom the stage's rules name, and for every
// rule that names nobody.
func (d *snapshot) standings(lines map[string]bool, stage countersign.Stage, where string) {
	for _, rule := range allRules(stage) {
		function, _ := splitRule(rule)
		if function != "group" && function != "person" {
			lines["Whoever is found "+where+rule] = true
			continue
		}
		for _, path := range d.candidates(rule, matter{}) {
			lines[d.nameOf(path.identity)+", "+where+rule] = true
		}
	}
}

// allRules returns every approver rule of a stage, its ladder included.
func allRules(stage countersign.Stage) []string {
	stage.Climbed = len(stage.Ladder)
	return policy.StageRules(stage)
}
