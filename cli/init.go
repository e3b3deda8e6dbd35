package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/sample"
)

func initCommand(stdin io.Reader) *cobra.Command {
	var empty bool
	var name string
	var people []string
	cmd := &cobra.Command{
		Use:   "init FOLDER",
		Short: "Write an organisation folder to start from",
		Long: `Writes the files of an organisation: people, groups, systems and policies, for
you to edit and to found a house with (serve --org FOLDER).

Without --empty it copies the sample organisation. With --empty it writes the
least that a house needs, and asks for its first two people: one alone could
approve nothing, because nobody approves for themselves.`,
		Example: "  countersign init --empty acme --name Acme --person \"ada.byron:Ada Byron:ada@acme.example\" --person \"grace.hopper:Grace Hopper:grace@acme.example\"",
		Args:    exactly("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := args[0]
			if entries, err := os.ReadDir(folder); err == nil && len(entries) > 0 {
				return countersign.Errorf(countersign.Conflict, "folder-not-empty", "The folder %s is not empty; nothing was written.", folder)
			}
			if !empty {
				if err := os.CopyFS(folder, sample.Organisation()); err != nil {
					return err
				}
			} else if err := writeEmpty(folder, name, people, stdin, cmd.ErrOrStderr()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Wrote the organisation to %s.\nNext: countersign policy check %s, then countersign serve --org %s --data DATA\n", folder, folder, folder)
			return nil
		},
	}
	cmd.Flags().BoolVar(&empty, "empty", false, "write the least that a house needs, not the sample")
	cmd.Flags().StringVar(&name, "name", "", "the organisation's name (asked for if missing)")
	cmd.Flags().StringArrayVar(&people, "person", nil, "login:name:e-mail of one of the first two people (asked for if missing)")
	return cmd
}

type founder struct{ Login, Name, Email string }

// writeEmpty asks for what it was not told and writes the starting files.
func writeEmpty(folder, name string, people []string, stdin io.Reader, prompts io.Writer) error {
	answers := bufio.NewScanner(stdin)
	ask := func(question string) (string, error) {
		fmt.Fprint(prompts, question+": ")
		if !answers.Scan() {
			return "", invalid("no answer to %q", question)
		}
		return strings.TrimSpace(answers.Text()), nil
	}
	var err error
	if name == "" {
		if name, err = ask("The organisation's name"); err != nil {
			return err
		}
	}
	if strings.ContainsAny(name, "\"\\\n") {
		return invalid("the organisation's name %q has a quote, a backslash or a line break", name)
	}
	var founders []founder
	for i := range max(2, len(people)) {
		text := ""
		if i < len(people) {
			text = people[i]
		} else if text, err = ask(fmt.Sprintf("Person %d of 2, as login:name:e-mail", i+1)); err != nil {
			return err
		}
		parts := strings.Split(text, ":")
		if len(parts) != 3 || strings.ContainsAny(text, "\"\\\n") {
			return invalid("%q is not login:name:e-mail", text)
		}
		for _, handle := range []struct {
			kind  countersign.HandleKind
			value string
		}{{countersign.Login, parts[0]}, {countersign.Email, parts[2]}} {
			if _, err := countersign.NewHandle(handle.kind, "", handle.value); err != nil {
				return err
			}
		}
		founders = append(founders, founder{parts[0], parts[1], parts[2]})
	}
	for path, text := range emptyOrganisation {
		var content bytes.Buffer
		err := template.Must(template.New(path).Parse(text)).Execute(&content, map[string]any{"Name": name, "People": founders})
		if err != nil {
			return err
		}
		target := filepath.Join(folder, path)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, content.Bytes(), fs.FileMode(0o644)); err != nil {
			return err
		}
	}
	return nil
}

// emptyOrganisation is the least that a house needs: its people, its own powers,
// and one policy to begin with.
var emptyOrganisation = map[string]string{
	"organisation.yaml": "name: \"{{.Name}}\"\n",
	"directory/people.yaml": `# Everybody who can ask or approve. Managers, contractors and their sponsors
# belong here, too.
people:
{{- range .People}}
  - {login: "{{.Login}}", name: "{{.Name}}", email: "{{.Email}}"}
{{- end}}

groups:
  - name: access-approvers
    members: [{{range $i, $person := .People}}{{if $i}}, {{end}}"{{$person.Login}}"{{end}}]

# The desk's own powers. They end after ninety days and are asked for like any
# other access.
powers:
  administrator: [{{range $i, $person := .People}}{{if $i}}, {{end}}"{{$person.Login}}"{{end}}]
  auditor: [{{range $i, $person := .People}}{{if $i}}, {{end}}"{{$person.Login}}"{{end}}]
`,
	"directory/systems.yaml": `# What access is given on. "vault" keeps API keys, "role" assigns roles that the
# decision point answers for.
systems:
  - name: countersign
    title: Countersign itself
    owner: "{{(index .People 0).Login}}"
    second_owner: "{{(index .People 1).Login}}"
    environment: prod
    risk: high
    connector: role
    resources:
      - name: house
        title: The house
        entitlements:
          - {name: administrator, kind: role, title: Changes the directory}
          - {name: auditor, kind: role, title: Reads everything}
  # What machines sign in to Countersign with; their owner reads the key, once.
  - name: countersign-api
    title: Countersign's own interface
    owner: "{{(index .People 0).Login}}"
    second_owner: "{{(index .People 1).Login}}"
    environment: prod
    risk: medium
    connector: vault
    settings: {read: once, read_by: owner}
    resources:
      - name: api
        title: The interface
        entitlements:
          - {name: read, kind: credential, title: Read what concerns it}
          - {name: request, kind: credential, title: Read and ask for access}
          - {name: introspect, kind: credential, title: Ask the vault about keys}
          - {name: evaluate, kind: credential, title: Ask the decision point}
          - {name: metrics, kind: credential, title: Read the operator's figures}
`,
	"policies/keys.yaml": `request: key
title: A key for a machine
grants: {system: any, kind: credential}
beneficiary: [service, workload, agent]
ask:
  purpose: {type: string, minLength: 20, title: "What is it for?"}
limits: {duration: {default: 30d, max: 90d}}
stages:
  - name: approvers
    approvers: [group(access-approvers)]
    need: 1
    within: 2 business days
fulfil: [vault.issue-key]
grant: {ends: revoke, remind: 7d, ends_when: [owner-left, system-retired]}
close: {when: [gone]}
tests:
  - name: one of the approvers decides
    given:
      answers: {purpose: Reads the orders of the day each night}
    expect: {stages: [approvers], duration: 30d}
`,
	"policies/role-access.yaml": `request: role-access
title: A role on a system
grants: {system: any, kind: role}
beneficiary: [person]
limits: {duration: {default: 30d, max: 90d}}
stages:
  - name: approvers
    approvers: [group(access-approvers)]
    need: 1
    within: 2 business days
fulfil: [role.assign]
grant: {ends: revoke, remind: 7d, ends_when: [system-retired]}
close: {when: [gone]}
tests:
  - name: one of the approvers decides
    given: {}
    expect: {stages: [approvers], duration: 30d}
`,
}
