package cli

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

// askingFlags are what preview, new, amend, extend and rotate have in common, as far as
// each of them takes it.
type askingFlags struct {
	typeName, beneficiary, extends, rotates, adopts string
	reason, duration, until                         string
	answers                                         string
	entitlements, answer, evidence                  []string
	control, owner, exceptionUntil                  string
	noException                                     bool
}

// add adds the flags of an asking for new access, a later end or another credential.
func (f *askingFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.typeName, "type", "", "the request type (default: the one that fits)")
	flags.StringVar(&f.beneficiary, "for", "", "who the access is for (default: you)")
	flags.StringVar(&f.extends, "extends", "", "the grant whose end is to be moved (default: new access)")
	flags.StringVar(&f.rotates, "rotates", "", "the grant that is to get another credential (default: new access)")
	f.addContent(cmd, "the type's")
	f.addException(cmd)
	must(cmd.MarkFlagRequired("entitlement"))
}

// addContent adds the flags for what is asked for; otherwise says what counts
// without them.
func (f *askingFlags) addContent(cmd *cobra.Command, otherwise string) {
	cmd.Flags().StringArrayVarP(&f.entitlements, "entitlement", "e", nil, "what is asked for, as system/resource/right; can be given several times")
	f.addTerms(cmd, otherwise)
}

// addTerms adds the flags that every asking takes, whatever it is for.
func (f *askingFlags) addTerms(cmd *cobra.Command, otherwise string) {
	flags := cmd.Flags()
	flags.StringVar(&f.reason, "reason", "", "why")
	flags.StringVar(&f.duration, "duration", "", "how long, as 30d or 8h (default: "+otherwise+")")
	flags.StringVar(&f.until, "until", "", "or until when, as 2026-12-31T18:00:00Z")
	flags.StringVar(&f.answers, "answers", "", "the answers to the type's questions as a JSON object")
	flags.StringArrayVar(&f.answer, "answer", nil, "one answer, as field=value; can be given several times")
	flags.StringArrayVar(&f.evidence, "evidence", nil, "evidence, as slot=text or slot=@file; can be given several times")
}

func (f *askingFlags) addException(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.control, "exception-control", "", "ask to waive what is refused and can be waived: what stands in for the rule meanwhile")
	flags.StringVar(&f.owner, "exception-owner", "", "who answers for the exception")
	flags.StringVar(&f.exceptionUntil, "exception-until", "", "when the exception ends, as 2026-12-31T18:00:00Z")
}

// asking is what the flags ask for.
func (f *askingFlags) asking() (client.Asking, error) {
	content, err := f.change(client.Amendment{})
	return client.Asking{
		Type: f.typeName, Beneficiary: f.beneficiary, Extends: f.extends, Adopts: f.adopts, Rotates: f.rotates,
		Entitlements: content.Entitlements, Reason: content.Reason, Duration: content.Duration, Until: content.Until,
		Answers: content.Answers, Evidence: content.Evidence, Exception: content.Exception,
	}, err
}

// change puts what the flags say in the place of what was asked for.
func (f *askingFlags) change(content client.Amendment) (client.Amendment, error) {
	if len(f.entitlements) > 0 {
		content.Entitlements = f.entitlements
	}
	if f.reason != "" {
		content.Reason = f.reason
	}
	duration, until, err := parseEnd(f.duration, f.until)
	if err != nil {
		return content, err
	}
	if f.duration != "" || f.until != "" {
		content.Duration, content.Until = nil, until.Time()
	}
	if duration != 0 {
		seconds := int64(duration)
		content.Duration = &seconds
	}
	if f.answers != "" {
		content.Answers = nil
		decoder := json.NewDecoder(strings.NewReader(f.answers))
		decoder.UseNumber()
		if err := decoder.Decode(&content.Answers); err != nil {
			return content, invalid("--answers is not a JSON object: %v", err)
		}
	}
	if content.Answers, err = withAnswers(maps.Clone(content.Answers), f.answer); err != nil {
		return content, err
	}
	for _, one := range f.evidence {
		evidence, err := readEvidence(one)
		if err != nil {
			return content, err
		}
		content.Evidence = append(content.Evidence, evidence)
	}
	content.Exception, err = f.exception(content.Exception)
	return content, err
}

// exception is the exception that is asked for; nil for none. What the flags leave
// out stays as it was, and stands in none that is new.
func (f *askingFlags) exception(was *client.AskedException) (*client.AskedException, error) {
	switch {
	case f.noException:
		return nil, nil
	case f.control == "" && f.owner == "" && f.exceptionUntil == "":
		return was, nil
	}
	var exception client.AskedException
	if was != nil {
		exception = *was
	}
	if f.control != "" {
		exception.Control = f.control
	}
	if f.owner != "" {
		exception.Owner = f.owner
	}
	if f.exceptionUntil != "" {
		_, until, err := parseEnd("", f.exceptionUntil)
		if err != nil {
			return nil, err
		}
		exception.Until = until.Time()
	}
	if exception.Control == "" || exception.Owner == "" || exception.Until.IsZero() {
		return nil, invalid("an exception takes --exception-control, --exception-owner and --exception-until")
	}
	return &exception, nil
}

func requestAmendCommand(c *connection) *cobra.Command {
	var flags askingFlags
	cmd := on(c, "amend REQUEST", "Change what a request asks for that is not decided yet", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		found, err := api.GetRequestWithResponse(ctx, args[0])
		request, err := client.Content(found, err)
		if err != nil {
			return nil, err
		}
		amendment, err := flags.change(askedSoFar(request))
		if err != nil {
			return nil, err
		}
		// The whole is sent, so nobody may have changed the rest meanwhile.
		return client.Content(api.AmendRequestWithResponse(ctx, args[0],
			&client.AmendRequestParams{IdempotencyKey: newKey(), IfMatch: found.HTTPResponse.Header.Get("ETag")}, amendment))
	}, requestText)
	cmd.Long = "What no flag names stays as it is; -e names everything that is asked for. What only\ntakes away keeps consent and approvals; everything else voids them."
	cmd.Example = "  countersign request amend req_… --duration 8h\n  countersign request amend req_… --reason \"orders of May and June\" --answer ticket=ORD-88"
	flags.addContent(cmd, "as it is")
	flags.addException(cmd)
	cmd.Flags().BoolVar(&flags.noException, "no-exception", false, "ask for no exception any more")
	return cmd
}

// askedSoFar is what a request asks for. Where an end limits it more than its
// duration does, that end is what is asked for.
func askedSoFar(request *client.Request) client.Amendment {
	so := client.Amendment{Reason: request.Reason, Answers: request.Answers}
	for _, entitlement := range request.Entitlements {
		so.Entitlements = append(so.Entitlements, entitlement.Id)
	}
	// A duration that was counted up to an end has lost a part of a second.
	lasting := countersign.InstantOf(clock{}.Now()).Add(countersign.Seconds(request.Duration) + 1).Time()
	if !request.LatestEnd.IsZero() && request.LatestEnd.Before(lasting) {
		so.Until = request.LatestEnd
	} else {
		so.Duration = &request.Duration
	}
	if exception := request.Exception; exception.Owner.Id != "" {
		so.Exception = &client.AskedException{Control: exception.Control, Owner: exception.Owner.Id, Until: exception.Until}
	}
	return so
}

func grantExtendCommand(c *connection) *cobra.Command {
	var flags askingFlags
	cmd := on(c, "extend GRANT", "Ask for a later end of a grant", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		grant, err := client.Content(api.GetGrantWithResponse(ctx, args[0]))
		if err != nil {
			return nil, err
		}
		flags.beneficiary, flags.extends, flags.entitlements = grant.Holder.Id, grant.Id, []string{grant.Entitlement.Id}
		asking, err := flags.asking()
		if err != nil {
			return nil, err
		}
		return client.Submitted(api.SubmitRequestWithResponse(ctx, &client.SubmitRequestParams{IdempotencyKey: newKey()}, asking))
	}, requestText)
	cmd.Long = "Asks for the same right for the same holder. It is decided like any other request,\nand the end stands where it is until the target was read back with the later one.\n--duration counts from the approval on."
	cmd.Example = "  countersign grant extend grt_… --duration 30d --reason \"the close takes until June\"\n" +
		"  countersign grant extend grt_… --until 2026-12-31T18:00:00Z --reason \"until the contract ends\" --answer ticket=OPS-7"
	flags.addTerms(cmd, "the type's")
	cmd.Flags().StringVar(&flags.typeName, "type", "", "the request type (default: the one that fits)")
	cmd.Flags().Lookup("reason").Usage = "why (required)"
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

func requestRotateCommand(c *connection) *cobra.Command {
	var flags askingFlags
	cmd := on(c, "rotate GRANT", "Ask for another credential of a grant", 1, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		grant, err := client.Content(api.GetGrantWithResponse(ctx, args[0]))
		if err != nil {
			return nil, err
		}
		flags.beneficiary, flags.rotates, flags.entitlements = grant.Holder.Id, grant.Id, []string{grant.Entitlement.Id}
		asking, err := flags.asking()
		if err != nil {
			return nil, err
		}
		return client.Submitted(api.SubmitRequestWithResponse(ctx, &client.SubmitRequestParams{IdempotencyKey: newKey()}, asking))
	}, requestText)
	cmd.Long = "For what a request type rotates. It is decided like any other request; once the new\ncredential was read back, the older one works beside it for the overlap of the type,\nand ends then. Where the new one fails, the older one stays. What no request type\nrotates is rotated at once with `countersign grant rotate`."
	cmd.Example = "  countersign request rotate grt_… --reason \"the certificate ends in two weeks\" --answer record=SR-1044 --answer \"csr=$(cat shop.csr)\""
	flags.addTerms(cmd, "the type's")
	cmd.Flags().StringVar(&flags.typeName, "type", "", "the request type (default: the one that fits)")
	cmd.Flags().Lookup("reason").Usage = "why (required)"
	must(cmd.MarkFlagRequired("reason"))
	return cmd
}

// withAnswers adds answers that are written as field=value.
func withAnswers(answers map[string]any, given []string) (map[string]any, error) {
	for _, one := range given {
		field, value, found := strings.Cut(one, "=")
		if !found {
			return nil, invalid("--answer %q is not field=value", one)
		}
		if answers == nil {
			answers = map[string]any{}
		}
		answers[field] = value
	}
	return answers, nil
}

// wholeSeconds reads a duration that may be left out, as 30d or 8h.
func wholeSeconds(text string) (*int64, error) {
	if text == "" {
		return nil, nil
	}
	seconds, err := countersign.ParseSeconds(text)
	whole := int64(seconds)
	return &whole, err
}
