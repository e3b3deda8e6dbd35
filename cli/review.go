package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
)

func requestAskCommand(c *connection) *cobra.Command {
	cmd := on(c, "ask REQUEST QUESTION", "Ask who asked, before you decide", 2, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		return client.Content(api.AskRequestWithResponse(ctx, args[0], &client.AskRequestParams{IdempotencyKey: newKey()}, client.QuestionDraft{Question: args[1]}))
	}, requestText)
	cmd.Long = "Your time to decide goes on; with the answer it begins anew."
	cmd.Example = "  countersign request ask req_… \"Which orders, and since when?\""
	return cmd
}

func requestAnswerCommand(c *connection) *cobra.Command {
	cmd := on(c, "answer REQUEST ANSWER", "Answer what an approver asked", 2, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		return client.Content(api.AnswerRequestWithResponse(ctx, args[0], &client.AnswerRequestParams{IdempotencyKey: newKey()}, client.AnswerDraft{Answer: args[1]}))
	}, requestText)
	cmd.Example = "  countersign request answer req_… \"Those of last night, from 22:00 on.\""
	return cmd
}

func requestReviewCommand(c *connection) *cobra.Command {
	var finding, reason, shown string
	cmd := on(c, "review REQUEST", "Say what you found of what was done by break-glass", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		digest, err := shownNow(ctx, api, args[0], shown)
		if err != nil {
			return nil, err
		}
		return client.Content(api.ReviewRequestWithResponse(ctx, args[0], &client.ReviewRequestParams{IdempotencyKey: newKey()},
			client.Review{Finding: client.Finding(finding), Reason: reason, Shown: digest}))
	}, requestText)
	cmd.Long = "The review opens when the access is gone, and comes after all evidence that is owed:\nalso what the target tells of what was done (request fetch REQUEST activity, then\nrequest open), or where it cannot tell, what you looked at instead (request attach).\nWhile it is overdue, its person takes nothing more by break-glass on the system."
	cmd.Example = "  countersign request review req_… --finding in-order --reason \"compared the log with INC-7\""
	cmd.Flags().StringVar(&finding, "finding", "", "in-order or not-in-order (required)")
	cmd.Flags().StringVar(&reason, "reason", "", "what you looked at and found (required)")
	cmd.Flags().StringVar(&shown, "shown", "", "the digest of what you were shown (default: what the request says now)")
	must(cmd.MarkFlagRequired("finding"))
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

func requestUnblockCommand(c *connection) *cobra.Command {
	var reason string
	cmd := on(c, "unblock REQUEST", "Let somebody use break-glass again before an overdue review is done", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		return client.Content(api.UnblockRequestWithResponse(ctx, args[0], &client.UnblockRequestParams{IdempotencyKey: newKey()}, client.Unblocking{Reason: reason}))
	}, requestText)
	cmd.Long = "REQUEST is the one whose review is overdue. It takes two people."
	cmd.Example = "  countersign request unblock req_… --reason \"the ledger is down again, the reviewers are on leave\""
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}
