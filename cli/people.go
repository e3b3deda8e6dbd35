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

func identityCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{
		Use: "identity", Short: "Look at, suspend and reactivate identities, and change who owns machines",
		Long: "A suspension makes every check refuse when the command returns, and takes\nnothing away by itself. With --leaver, what the person held ends after thirty\ndays; until then somebody else can take the suspension back.\n" + connectionHelp,
	}
	c.flags(group)
	show := on(c, "show IDENTITY", "Show an identity by id, login, e-mail address or SPIFFE id", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Identity, error) {
		return client.Content(api.GetIdentityWithResponse(ctx, args[0]))
	}, identityText)
	var suspension client.Suspension
	suspend := on(c, "suspend IDENTITY", "Make every check refuse an identity at once", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Identity, error) {
		return client.Content(api.SuspendIdentityWithResponse(ctx, args[0], &client.SuspendIdentityParams{IdempotencyKey: newKey()}, suspension))
	}, identityText)
	suspend.Flags().StringVar(&suspension.Reason, "reason", "", "why (required)")
	suspend.Flags().BoolVar(&suspension.Leaver, "leaver", false, "the person leaves: after thirty days, all that the person held ends")
	must(suspend.MarkFlagRequired("reason"))
	var reason string
	reactivate := on(c, "reactivate IDENTITY", "Take back a suspension that somebody else put", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Identity, error) {
		return client.Content(api.ReactivateIdentityWithResponse(ctx, args[0], &client.ReactivateIdentityParams{IdempotencyKey: newKey()}, client.Revocation{Reason: reason}))
	}, identityText)
	reactivate.Flags().StringVar(&reason, "reason", "", "why (required)")
	must(reactivate.MarkFlagRequired("reason"))
	var offer client.OwnershipOffer
	give := on(c, "offer MACHINE", "Offer a machine to another owner, or ask to take it over", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Identity, error) {
		return client.Content(api.OfferIdentityWithResponse(ctx, args[0], &client.OfferIdentityParams{IdempotencyKey: newKey()}, offer))
	}, identityText)
	give.Long = "Who answers for a machine offers it with --to, and the new owner accepts. Without\n--to you ask to take it over, and somebody who answers for it accepts."
	give.Flags().StringVar(&offer.To, "to", "", "the new owner (default: you)")
	give.Flags().StringVar(&offer.Reason, "reason", "", "why (required)")
	must(give.MarkFlagRequired("reason"))
	var why string
	accept := on(c, "accept MACHINE", "Accept an offered machine, or agree to somebody taking it over", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Identity, error) {
		return client.Content(api.AcceptIdentityWithResponse(ctx, args[0], &client.AcceptIdentityParams{IdempotencyKey: newKey()}, client.Revocation{Reason: why}))
	}, identityText)
	accept.Flags().StringVar(&why, "reason", "", "why (required)")
	must(accept.MarkFlagRequired("reason"))
	var still string
	confirm := on(c, "confirm MACHINE", "Confirm that owner, purpose and record of a machine still hold", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Identity, error) {
		return client.Content(api.ConfirmIdentityWithResponse(ctx, args[0], &client.ConfirmIdentityParams{IdempotencyKey: newKey()}, client.Revocation{Reason: still}))
	}, identityText)
	confirm.Flags().StringVar(&still, "reason", "", "what you looked at (required)")
	must(confirm.MarkFlagRequired("reason"))
	group.AddCommand(show, suspend, reactivate, give, accept, confirm, identityMachinesCommand(c), identityBirthrightsCommand(c))
	return group
}

func identityText(identity *client.Identity) string {
	text := fmt.Sprintf("%s (%s) is %s\n", identity.Name, identity.Kind, identity.Status)
	if identity.Unowned {
		text += "  unowned: nobody active answers for it\n"
	}
	if identity.Owner.Name != "" {
		text += "  owned by " + identity.Owner.Name + "\n"
	}
	if identity.SecondOwner.Name != "" {
		text += "  second owner " + identity.SecondOwner.Name + "\n"
	}
	text += ownershipText(identity.Ownership, "countersign identity confirm "+identity.Login)
	if identity.OfferedTo.Name != "" {
		text += "  offered to " + identity.OfferedTo.Name + ", and not accepted yet"
		if !identity.OfferedUntil.IsZero() {
			text += "; lapses " + stamp(identity.OfferedUntil)
		}
		text += "\n"
	}
	if len(identity.Groups) > 0 {
		text += "  in " + strings.Join(identity.Groups, ", ") + "\n"
	}
	return text
}

func delegationCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{
		Use: "delegation", Aliases: []string{"delegations"}, Short: "Let somebody decide in your place for a time",
		Long: "A delegate decides what policies ask you for, and the record shows both names.\nWhat is delegated is not delegated on, and nobody decides for whom he or she\nstands in.\n" + connectionHelp,
	}
	c.flags(group)
	var draft client.DelegationDraft
	var until, from string
	add := on(c, "new PERSON", "Let a person stand in for you", 1, func(ctx context.Context, api *client.Client, args []string) (*client.DelegationList, error) {
		draft.To = args[0]
		for text, into := range map[string]func(countersign.Instant){
			until: func(i countersign.Instant) { draft.Ends = i.Time() }, from: func(i countersign.Instant) { draft.Starts = i.Time() },
		} {
			if text == "" {
				continue
			}
			var at countersign.Instant
			if err := at.UnmarshalText([]byte(text)); err != nil {
				return nil, invalid("%v", err)
			}
			into(at)
		}
		return client.Content(api.DelegateWithResponse(ctx, &client.DelegateParams{IdempotencyKey: newKey()}, draft))
	}, delegationText)
	add.Example = "  countersign delegation new rahul.mehta --until 2026-12-31T18:00:00Z --reason \"on holiday\""
	add.Flags().StringVar(&until, "until", "", "when it ends, as 2026-12-31T18:00:00Z (required)")
	add.Flags().StringVar(&from, "from", "", "when it begins (default: now)")
	add.Flags().StringArrayVar(&draft.Types, "type", nil, "only for this request type; can be given several times")
	add.Flags().StringVar(&draft.Reason, "reason", "", "why (required)")
	must(add.MarkFlagRequired("until"))
	must(add.MarkFlagRequired("reason"))
	list := on(c, "ls", "List who stands in for you, and for whom you do", 0, func(ctx context.Context, api *client.Client, _ []string) (*client.DelegationList, error) {
		return client.Content(api.ListDelegationsWithResponse(ctx))
	}, delegationText)
	end := on(c, "end DELEGATION", "Take a delegation back", 1, func(ctx context.Context, api *client.Client, args []string) (*client.DelegationList, error) {
		return client.Content(api.EndDelegationWithResponse(ctx, args[0], &client.EndDelegationParams{IdempotencyKey: newKey()}))
	}, delegationText)
	group.AddCommand(add, list, end)
	return group
}

func delegationText(list *client.DelegationList) string {
	if len(list.Delegations) == 0 {
		return "No delegations.\n"
	}
	var text strings.Builder
	for _, one := range list.Delegations {
		state := "in force"
		if !one.InForce {
			state = "not in force"
		}
		types := "everything"
		if len(one.Types) > 0 {
			types = strings.Join(one.Types, ", ")
		}
		fmt.Fprintf(&text, "%s  %s stands in for %s until %s, for %s (%s)\n", one.Id, one.To.Name, one.From.Name, one.Ends.Format("2006-01-02 15:04"), types, state)
	}
	return text.String()
}

func requestManyCommand(c *connection) *cobra.Command {
	var asking client.ManyAsking
	var duration, file string
	var answers []string
	cmd := on(c, "many", "Ask for the same for many, with a result for each", 0, func(ctx context.Context, api *client.Client, _ []string) (*client.Batch, error) {
		if file != "" {
			content, err := os.ReadFile(file)
			if err != nil {
				return nil, invalid("--for-file cannot be read: %v", err)
			}
			asking.Beneficiaries = append(asking.Beneficiaries, strings.Fields(string(content))...)
		}
		var err error
		if asking.Duration, err = wholeSeconds(duration); err != nil {
			return nil, err
		}
		if asking.Answers, err = withAnswers(nil, answers); err != nil {
			return nil, err
		}
		response, err := api.SubmitManyWithResponse(ctx, &client.SubmitManyParams{IdempotencyKey: newKey()}, asking)
		if err != nil {
			return nil, err
		}
		return response.JSON202, nil
	}, batchText)
	cmd.Example = "  countersign request many --for-file new-people.txt --package staff-basics --reason \"they begin on Monday\""
	cmd.Flags().StringArrayVar(&asking.Beneficiaries, "for", nil, "who the access is for; can be given several times")
	cmd.Flags().StringVar(&file, "for-file", "", "a file with one name a line")
	cmd.Flags().StringArrayVarP(&asking.Entitlements, "entitlement", "e", nil, "what is asked for, as system/resource/right; can be given several times")
	cmd.Flags().StringVar(&asking.Package, "package", "", "or an access package")
	cmd.Flags().StringVar(&asking.Reason, "reason", "", "why (required)")
	cmd.Flags().StringVar(&duration, "duration", "", "how long, as 30d or 8h (default: the type's)")
	cmd.Flags().StringArrayVar(&answers, "answer", nil, "one answer, as field=value; can be given several times")
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

func requestBatchCommand(c *connection) *cobra.Command {
	return on(c, "batch BATCH", "Show what became of each item of `request many`", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Batch, error) {
		return client.Content(api.GetBatchWithResponse(ctx, args[0]))
	}, batchText)
}

func batchText(batch *client.Batch) string {
	var text strings.Builder
	waiting := len(batch.Items) - int(batch.Opened) - int(batch.Refused)
	fmt.Fprintf(&text, "%s: %d opened, %d refused, %d still to come\n", batch.Id, batch.Opened, batch.Refused, waiting)
	for _, item := range batch.Items {
		result := item.Request
		switch {
		case item.Refused != "":
			result = "refused: " + item.Because
		case result == "":
			result = "…"
		}
		fmt.Fprintf(&text, "  %s, %s: %s\n", item.Beneficiary.Name, item.Entitlement.Name, result)
	}
	return text.String()
}
