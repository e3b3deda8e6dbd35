package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

func requestCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{Use: "request", Aliases: []string{"requests"}, Short: "Ask for access, decide, and look", Long: "Ask for access, decide on what others ask, and look at both.\n" + connectionHelp}
	c.flags(group)
	group.AddCommand(
		requestPreviewCommand(c), requestNewCommand(c), requestDescribeCommand(c), requestClassifyCommand(c), requestPrioritiseCommand(c), requestMergeCommand(c), requestDeclineCommand(c), requestManyCommand(c), requestBatchCommand(c), requestAmendCommand(c), requestRotateCommand(c), requestCancelCommand(c), requestCloseCommand(c), requestConsentCommand(c),
		requestAttachCommand(c), requestFetchCommand(c), requestOpenCommand(c),
		requestListCommand(c), requestShowCommand(c), requestWatchCommand(c),
		requestAskCommand(c), requestAnswerCommand(c), requestApproveCommand(c), requestDenyCommand(c),
		requestReviewCommand(c), requestUnblockCommand(c),
	)
	return group
}

func requestPreviewCommand(c *connection) *cobra.Command {
	var flags askingFlags
	cmd := &cobra.Command{
		Use: "preview", Short: "Show the path that an asking would take, without asking", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, asking, err := c.openFor(&flags)
			if err != nil {
				return err
			}
			preview, err := client.Content(api.PreviewRequestWithResponse(cmd.Context(), asking))
			if err != nil {
				return err
			}
			return c.print(cmd, preview, func() string { return previewText(preview) })
		},
	}
	flags.add(cmd)
	return cmd
}

func (c *connection) openFor(flags *askingFlags) (*client.Client, client.Asking, error) {
	asking, err := flags.asking()
	if err != nil {
		return nil, asking, err
	}
	api, err := c.open()
	return api, asking, err
}

func requestNewCommand(c *connection) *cobra.Command {
	var flags askingFlags
	var route, key string
	cmd := &cobra.Command{
		Use: "new", Short: "Ask for access", Args: cobra.NoArgs,
		Example: "  countersign request new --for svc-billing -e payments-api/payments/payments:read --reason \"monthly close\" \\\n    --answer purpose=\"reads payments for the monthly close\" --answer consumer=SR-1042 --duration 30d\n" +
			"  countersign request new -e orders-db/orders/writer --reason \"repair of the orders of May\" --exception-control \"David Kim looks at each change\" \\\n    --exception-owner david.kim --exception-until 2026-12-31T18:00:00Z",
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, asking, err := c.openFor(&flags)
			if err != nil {
				return err
			}
			asking.Route = route
			if key == "" {
				key = newKey()
			}
			request, err := client.Submitted(api.SubmitRequestWithResponse(cmd.Context(), &client.SubmitRequestParams{IdempotencyKey: key}, asking))
			if err != nil {
				return err
			}
			return c.print(cmd, request, func() string { return requestText(request) })
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&route, "route", "", "the route of the preview that you agree to; refused if the path has moved")
	cmd.Flags().StringVar(&key, "idempotency-key", "", "makes sending again safe (default: a new one)")
	return cmd
}

func requestConsentCommand(c *connection) *cobra.Command {
	return on(c, "consent REQUEST", "Consent, as the owner of the service that it is for", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		return client.Content(api.ConsentRequestWithResponse(ctx, args[0], &client.ConsentRequestParams{IdempotencyKey: newKey()}))
	}, requestText)
}

func requestApproveCommand(c *connection) *cobra.Command {
	var stage, reason, duration, shown string
	cmd := on(c, "approve REQUEST", "Approve what the request says now", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		approval := client.Approval{Stage: stage, Reason: reason}
		var err error
		if approval.Duration, err = wholeSeconds(duration); err != nil {
			return nil, err
		}
		if approval.Shown, err = shownNow(ctx, api, args[0], shown); err != nil {
			return nil, err
		}
		return client.Content(api.ApproveRequestWithResponse(ctx, args[0], &client.ApproveRequestParams{IdempotencyKey: newKey()}, approval))
	}, requestText)
	decisionFlags(cmd, &stage, &reason, &shown)
	cmd.Flags().StringVar(&duration, "duration", "", "approve for a shorter time than was asked, as 8h")
	return cmd
}

func requestDenyCommand(c *connection) *cobra.Command {
	var stage, reason, shown string
	cmd := on(c, "deny REQUEST", "Deny, which ends the request", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		digest, err := shownNow(ctx, api, args[0], shown)
		if err != nil {
			return nil, err
		}
		return client.Content(api.DenyRequestWithResponse(ctx, args[0], &client.DenyRequestParams{IdempotencyKey: newKey()}, client.Denial{Stage: stage, Reason: reason, Shown: digest}))
	}, requestText)
	decisionFlags(cmd, &stage, &reason, &shown)
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

func decisionFlags(cmd *cobra.Command, stage, reason, shown *string) {
	cmd.Flags().StringVar(stage, "stage", "", "the stage, where several ask you")
	cmd.Flags().StringVar(reason, "reason", "", "why")
	cmd.Flags().StringVar(shown, "shown", "", "the digest of what you were shown (default: what the request says now)")
}

// shownNow returns what the decider looked at: the given digest, or the request
// as it is.
func shownNow(ctx context.Context, api *client.Client, id, shown string) (string, error) {
	if shown != "" {
		return shown, nil
	}
	request, err := client.Content(api.GetRequestWithResponse(ctx, id))
	if err != nil {
		return "", err
	}
	return request.Shown, nil
}

func requestCancelCommand(c *connection) *cobra.Command {
	var reason string
	cmd := on(c, "cancel REQUEST", "Take a request back that is not decided yet", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		return client.Content(api.CancelRequestWithResponse(ctx, args[0], &client.CancelRequestParams{IdempotencyKey: newKey()}, client.Cancellation{Reason: reason}))
	}, requestText)
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	return cmd
}

func requestCloseCommand(c *connection) *cobra.Command {
	var reason string
	cmd := on(c, "close REQUEST", "Give back all that a request gave, or close it without what never came", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		return client.Content(api.CloseRequestWithResponse(ctx, args[0], &client.CloseRequestParams{IdempotencyKey: newKey()}, client.Revocation{Reason: reason}))
	}, requestText)
	cmd.Long = "While the request gives access, all of it ends at once. While it only waits for\nevidence whose time has passed, an owner of the system who did not ask, or an\nadministrator, closes it without."
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

func requestListCommand(c *connection) *cobra.Command {
	var exceptions bool
	var params client.ListRequestsParams
	var states []string
	var limit int
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List requests that you have to do with, newest first", Args: cobra.NoArgs,
		Example: "  countersign request ls --inbox",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, state := range states {
				params.State = append(params.State, client.RequestState(state))
			}
			if exceptions {
				params.Exceptions = &exceptions
			}
			api, err := c.open()
			if err != nil {
				return err
			}
			lines, err := pages(limit, func(page int, cursor string) ([]client.RequestLine, string, error) {
				params.Limit, params.Cursor = &page, cursor
				found, err := client.Content(api.ListRequestsWithResponse(cmd.Context(), &params))
				if err != nil {
					return nil, "", err
				}
				return found.Requests, found.Next, nil
			})
			if err != nil {
				return err
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), lines)
			}
			table := newTable("REQUEST", "STATE", "FOR", "WHAT", "ASKED BY", "SUBMITTED", "WAITS FOR")
			for _, line := range lines {
				table.row(line.Id, string(line.State), line.Beneficiary.Name, rightNames(line.Entitlements), line.Requester.Name,
					shortTime(countersign.InstantOf(line.SubmittedAt)), line.WaitsFor)
			}
			return table.write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&exceptions, "exceptions", false, "the register of exceptions: what a refusal was waived for")
	cmd.Flags().BoolVar(&params.Inbox, "inbox", false, "only what waits for your decision or consent")
	cmd.Flags().StringArrayVar(&states, "state", nil, "only this state; can be given several times")
	cmd.Flags().StringVar(&params.Type, "type", "", "only this request type")
	cmd.Flags().IntVar(&limit, "limit", 50, "at most so many, up to 200")
	return cmd
}

func requestShowCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "show REQUEST", Short: "Show a request and its history as one timeline", Args: exactly("REQUEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			request, err := client.Content(api.GetRequestWithResponse(cmd.Context(), args[0]))
			if err != nil {
				return err
			}
			timeline, err := client.Content(api.GetTimelineWithResponse(cmd.Context(), args[0]))
			if err != nil {
				return err
			}
			whole := map[string]any{"request": request, "timeline": timeline.Entries}
			return c.print(cmd, whole, func() string { return requestText(request) + timelineText(timeline.Entries) })
		},
	}
}

func requestWatchCommand(c *connection) *cobra.Command {
	var until string
	cmd := &cobra.Command{
		Use: "watch REQUEST", Short: "Wait, and say what happens", Args: exactly("REQUEST"),
		Long: "Waits until the request has reached a state (--until), or has ended. Exit code 8\nsays that it ended otherwise than was waited for.",
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			stream, err := api.Watch(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer stream.Close()
			return c.watch(cmd, api, args[0], client.RequestState(until), stream)
		},
	}
	cmd.Flags().StringVar(&until, "until", "", "the state to wait for, as active")
	return cmd
}

// watch shows the request's state at each change that the house reports.
func (c *connection) watch(cmd *cobra.Command, api *client.Client, id string, until client.RequestState, stream io.Reader) error {
	lines := bufio.NewScanner(stream)
	var last client.RequestState
	ended := false
	for {
		request, err := client.Content(api.GetRequestWithResponse(cmd.Context(), id))
		if err != nil {
			return err
		}
		if request.State != last {
			last = request.State
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", request.State, request.WaitsFor+request.Outcome)
		}
		final := countersign.RequestState(last).Final()
		switch {
		case last == until || final && until == "":
			return nil
		case final:
			return &differs{fmt.Sprintf("the request ended as %s", last)}
		}
		if ended {
			return countersign.Errorf(countersign.Unavailable, "connection-lost", "The house ended the stream before the request came so far; watch it again.")
		}
		told := false
		for !told && lines.Scan() {
			told = strings.HasPrefix(lines.Text(), "data:")
		}
		ended = !told
		if err := lines.Err(); err != nil && cmd.Context().Err() == nil {
			return countersign.Errorf(countersign.Unavailable, "connection-lost", "The connection was lost while waiting: %v", err)
		}
		if cmd.Context().Err() != nil {
			return cmd.Context().Err()
		}
	}
}
