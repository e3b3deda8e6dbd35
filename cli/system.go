package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
)

func systemCommand() *cobra.Command {
	c := &connection{}
	group := &cobra.Command{
		Use: "system", Aliases: []string{"systems"}, Short: "Look at systems, and change who owns them",
		Long: "Who answers for a system offers it to somebody, and that person accepts; or\nsomebody asks to take it over, and who answers for it agrees.\n" + connectionHelp,
	}
	c.flags(group)
	show := on(c, "show SYSTEM", "Show a system by name or id", 1, func(ctx context.Context, api *client.Client, args []string) (*client.System, error) {
		return client.Content(api.GetSystemWithResponse(ctx, args[0]))
	}, systemText)
	var offer client.OwnershipOffer
	give := on(c, "offer SYSTEM", "Offer a system to another owner, or ask to take it over", 1, func(ctx context.Context, api *client.Client, args []string) (*client.System, error) {
		return client.Content(api.OfferSystemWithResponse(ctx, args[0], &client.OfferSystemParams{IdempotencyKey: newKey()}, offer))
	}, systemText)
	give.Example = "  countersign system offer wiki --to arjun.patel --reason \"Bianca moves to Payments\""
	give.Flags().StringVar(&offer.To, "to", "", "the new owner (default: you)")
	give.Flags().StringVar(&offer.Reason, "reason", "", "why (required)")
	must(give.MarkFlagRequired("reason"))
	var why string
	accept := on(c, "accept SYSTEM", "Accept an offered system, or agree to somebody taking it over", 1, func(ctx context.Context, api *client.Client, args []string) (*client.System, error) {
		return client.Content(api.AcceptSystemWithResponse(ctx, args[0], &client.AcceptSystemParams{IdempotencyKey: newKey()}, client.Revocation{Reason: why}))
	}, systemText)
	accept.Flags().StringVar(&why, "reason", "", "why (required)")
	must(accept.MarkFlagRequired("reason"))
	var still string
	confirm := on(c, "confirm SYSTEM", "Confirm that a system still has the right owner", 1, func(ctx context.Context, api *client.Client, args []string) (*client.System, error) {
		return client.Content(api.ConfirmSystemWithResponse(ctx, args[0], &client.ConfirmSystemParams{IdempotencyKey: newKey()}, client.Revocation{Reason: still}))
	}, systemText)
	confirm.Flags().StringVar(&still, "reason", "", "what you looked at (required)")
	must(confirm.MarkFlagRequired("reason"))
	group.AddCommand(show, give, accept, confirm, systemBaselineCommand(c))
	return group
}

func systemText(system *client.System) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s  %s (%s, %s risk)\n", system.Name, system.Title, system.Environment, system.Risk)
	if system.Retired {
		text.WriteString("  retired\n")
	}
	if system.Unowned {
		text.WriteString("  unowned: nobody active answers for it\n")
	}
	offered := system.OfferedTo.Name
	if !system.OfferedUntil.IsZero() {
		offered += "; lapses " + stamp(system.OfferedUntil)
	}
	for _, line := range []struct{ what, name string }{
		{"owned by", system.Owner.Name}, {"second owner", system.SecondOwner.Name}, {"not accepted yet: offered to", offered},
	} {
		if line.name != "" {
			fmt.Fprintf(&text, "  %s %s\n", line.what, line.name)
		}
	}
	text.WriteString(ownershipText(system.Ownership, "countersign system confirm "+system.Name))
	for _, entitlement := range system.Entitlements {
		version := ""
		if entitlement.Definition != "" {
			version = ", version " + entitlement.Definition
		}
		fmt.Fprintf(&text, "  %s  %s (%s, %s risk%s)\n", entitlement.Name, entitlement.Title, entitlement.Kind, entitlement.Risk, version)
	}
	return text.String()
}

func identityBirthrightsCommand(c *connection) *cobra.Command {
	return on(c, "birthrights IDENTITY", "Show what rules give an identity without being asked", 1, func(ctx context.Context, api *client.Client, args []string) (*client.BirthrightList, error) {
		return client.Content(api.ListBirthrightsWithResponse(ctx, args[0]))
	}, func(list *client.BirthrightList) string {
		var text strings.Builder
		if len(list.Birthrights)+len(list.Problems) == 0 {
			return "No rule gives anything.\n"
		}
		for _, one := range list.Birthrights {
			state := "not given yet"
			switch {
			case one.Grant != "":
				state = "held by " + one.Grant
			case one.Refused != "":
				state = "not given: " + one.Refused
			}
			fmt.Fprintf(&text, "%s  by the rule %s, package %s: %s\n", one.Entitlement.Name, one.Rule, one.Package, state)
		}
		for _, problem := range list.Problems {
			fmt.Fprintf(&text, "%s\n", problem)
		}
		return text.String()
	})
}
