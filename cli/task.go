package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

func taskCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{
		Use: "task", Aliases: []string{"tasks"}, Short: "Do by hand what no connector can, and look at what others did",
		Long: "A system without an interface is reached by people: one does the task, and\nanother one looks. A task is named by its grant.\n" + connectionHelp,
	}
	c.flags(group)
	list := on(c, "ls", "List the tasks that wait for you, the oldest first", 0, func(ctx context.Context, api *client.Client, _ []string) (*client.TaskList, error) {
		return client.Content(api.ListTasksWithResponse(ctx))
	}, tasksText)
	list.Aliases = []string{"list"}
	show := on(c, "show GRANT", "Show a task", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Task, error) {
		return findTask(ctx, api, args[0])
	}, func(task *client.Task) string { return tasksText(&client.TaskList{Tasks: []client.Task{*task}}) })
	var note, why, found, looked, file string
	done := on(c, "done GRANT", "Say that a task is done; somebody else looks", 1, func(ctx context.Context, api *client.Client, args []string) (*client.TaskList, error) {
		task, err := findTask(ctx, api, args[0])
		if err != nil {
			return nil, err
		}
		return client.Content(api.DoneTaskWithResponse(ctx, args[0], &client.DoneTaskParams{IdempotencyKey: newKey()}, client.TaskReport{Task: task.Task, Reason: note}))
	}, tasksText)
	done.Flags().StringVar(&note, "note", "", "what the second person should know")
	refuse := on(c, "refuse GRANT", "Say that a task cannot be done", 1, func(ctx context.Context, api *client.Client, args []string) (*client.TaskList, error) {
		task, err := findTask(ctx, api, args[0])
		if err != nil {
			return nil, err
		}
		return client.Content(api.RefuseTaskWithResponse(ctx, args[0], &client.RefuseTaskParams{IdempotencyKey: newKey()}, client.TaskReport{Task: task.Task, Reason: why}))
	}, tasksText)
	refuse.Flags().StringVar(&why, "reason", "", "why (required)")
	must(refuse.MarkFlagRequired("reason"))
	check := on(c, "check GRANT", "Say what you found after somebody did a task", 1, func(ctx context.Context, api *client.Client, args []string) (*client.TaskList, error) {
		task, err := findTask(ctx, api, args[0])
		if err != nil {
			return nil, err
		}
		body := client.TaskCheck{Task: task.Task, Reason: looked, Found: found}
		if file != "" {
			content, err := os.ReadFile(file)
			if err != nil {
				return nil, invalid("the list cannot be read: %v", err)
			}
			body.List = string(content)
		}
		return client.Content(api.CheckTaskWithResponse(ctx, args[0], &client.CheckTaskParams{IdempotencyKey: newKey()}, body))
	}, tasksText)
	check.Flags().StringVar(&file, "list", "", "a file with the system's list of accounts")
	check.Flags().StringVar(&found, "found", "", "or what you saw: present or absent")
	check.Flags().StringVar(&looked, "reason", "", "what you looked at; required with --found")
	group.AddCommand(list, show, done, refuse, check)
	return group
}

func findTask(ctx context.Context, api *client.Client, grant string) (*client.Task, error) {
	all, err := client.Content(api.ListTasksWithResponse(ctx))
	if err != nil {
		return nil, err
	}
	for i := range all.Tasks {
		if all.Tasks[i].Grant == grant {
			return &all.Tasks[i], nil
		}
	}
	return nil, countersign.Errorf(countersign.NotFound, "no-such-task", "No task of the grant %q waits for you; see countersign task ls.", countersign.Clip(grant))
}

func tasksText(list *client.TaskList) string {
	if len(list.Tasks) == 0 {
		return "No task waits for you.\n"
	}
	var out strings.Builder
	for _, task := range list.Tasks {
		verb := "give"
		if task.Operation == "revoke" {
			verb = "take away"
		}
		fmt.Fprintf(&out, "%s: %s %s, account %s, of %s; by %s", task.Grant, verb, task.Entitlement.Name, accountText(task), task.Holder.Name, stamp(task.Deadline))
		if task.Escalated > 0 {
			fmt.Fprintf(&out, "; OVERDUE, escalated %d time(s) since %s", task.Escalated, stamp(task.OpenedAt))
		}
		if task.DoneBy.Id != "" {
			fmt.Fprintf(&out, "; done by %s, somebody else looks", task.DoneBy.Name)
		}
		out.WriteString("\n")
	}
	return out.String()
}

// accountText names the account, also as it was called when the access was given.
func accountText(task client.Task) string {
	text := task.Account
	for _, name := range task.GivenTo {
		if name != task.Account {
			text += " (given as " + name + ")"
		}
	}
	return text
}
