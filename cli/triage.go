package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
)

func requestDescribeCommand(c *connection) *cobra.Command {
	var draft client.Describing
	var impact, urgency string
	cmd := on(c, "describe TEXT", "Ask in your own words; an operator says which request it is", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		draft.Text, draft.Impact, draft.Urgency = args[0], client.Level(impact), client.Level(urgency)
		return client.Content(api.DescribeRequestWithResponse(ctx, &client.DescribeRequestParams{IdempotencyKey: newKey()}, draft))
	}, requestText)
	cmd.Example = "  countersign request describe \"I have to see the sales of October for the board\" --urgency high"
	cmd.Flags().StringVar(&draft.Beneficiary, "for", "", "who it is for (default: you)")
	cmd.Flags().StringVar(&impact, "impact", "", "low, medium or high (default: medium)")
	cmd.Flags().StringVar(&urgency, "urgency", "", "low, medium or high (default: medium)")
	return cmd
}

func requestClassifyCommand(c *connection) *cobra.Command {
	var said client.Classification
	var duration string
	var answers []string
	cmd := on(c, "classify REQUEST", "As an operator, say which request a description is", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		var err error
		if said.Duration, err = wholeSeconds(duration); err != nil {
			return nil, err
		}
		if said.Answers, err = withAnswers(nil, answers); err != nil {
			return nil, err
		}
		return client.Content(api.ClassifyRequestWithResponse(ctx, args[0], &client.ClassifyRequestParams{IdempotencyKey: newKey()}, said))
	}, requestText)
	cmd.Long = "What waits in triage: countersign request ls --state triaging. You decide nothing\nof what you have sorted."
	cmd.Flags().StringVar(&said.Type, "type", "", "the request type (default: the one that fits)")
	cmd.Flags().StringArrayVarP(&said.Entitlements, "entitlement", "e", nil, "what is asked for, as system/resource/right; can be given several times")
	cmd.Flags().StringVar(&duration, "duration", "", "how long, as 30d or 8h (default: the type's)")
	cmd.Flags().StringArrayVar(&answers, "answer", nil, "one answer, as field=value; can be given several times")
	must(cmd.MarkFlagRequired("entitlement"))
	return cmd
}

func requestPrioritiseCommand(c *connection) *cobra.Command {
	var impact, urgency string
	cmd := on(c, "prioritise REQUEST", "As an operator, say how urgent a description is", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		return client.Content(api.PrioritiseRequestWithResponse(ctx, args[0], &client.PrioritiseRequestParams{IdempotencyKey: newKey()},
			client.Prioritising{Impact: client.Level(impact), Urgency: client.Level(urgency)}))
	}, requestText)
	cmd.Flags().StringVar(&impact, "impact", "", "low, medium or high (required)")
	cmd.Flags().StringVar(&urgency, "urgency", "", "low, medium or high (required)")
	must(cmd.MarkFlagRequired("impact"))
	must(cmd.MarkFlagRequired("urgency"))
	return cmd
}

func requestMergeCommand(c *connection) *cobra.Command {
	var reason string
	cmd := on(c, "merge REQUEST INTO", "As an operator, end a description that asks for what another request does", 2, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		return client.Content(api.MergeRequestWithResponse(ctx, args[0], &client.MergeRequestParams{IdempotencyKey: newKey()}, client.Merging{Into: args[1], Reason: reason}))
	}, requestText)
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

func requestDeclineCommand(c *connection) *cobra.Command {
	var reason string
	cmd := on(c, "decline REQUEST", "As an operator, end a description that is nothing to be granted", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		return client.Content(api.DeclineRequestWithResponse(ctx, args[0], &client.DeclineRequestParams{IdempotencyKey: newKey()}, client.Unblocking{Reason: reason}))
	}, requestText)
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}
