package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

// readEvidence reads slot=text or slot=@file.
func readEvidence(text string) (client.EvidenceContent, error) {
	slot, value, found := strings.Cut(text, "=")
	if !found {
		return client.EvidenceContent{}, invalid("--evidence %q is not slot=text or slot=@file", text)
	}
	if path, isFile := strings.CutPrefix(value, "@"); isFile {
		content, err := os.ReadFile(path)
		if err != nil {
			return client.EvidenceContent{}, invalid("the evidence cannot be read: %v", err)
		}
		return client.NewEvidence(slot, content), nil
	}
	return client.EvidenceContent{Slot: slot, Text: value}, nil
}

func requestAttachCommand(c *connection) *cobra.Command {
	return on(c, "attach REQUEST SLOT=TEXT|SLOT=@FILE", "Attach evidence to a request", 2, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		if slot, path, isFile := strings.Cut(args[1], "=@"); isFile && !strings.Contains(slot, "=") {
			return upload(ctx, api, args[0], slot, path)
		}
		evidence, err := readEvidence(args[1])
		if err != nil {
			return nil, err
		}
		return client.Content(api.AttachEvidenceWithResponse(ctx, args[0], &client.AttachEvidenceParams{IdempotencyKey: newKey()}, evidence))
	}, requestText)
}

// upload attaches a file as it is.
func upload(ctx context.Context, api *client.Client, request, slot, path string) (*client.Request, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, invalid("the evidence cannot be read: %v", err)
	}
	defer file.Close()
	return client.Content(api.UploadEvidenceWithBodyWithResponse(ctx, request, slot, &client.UploadEvidenceParams{IdempotencyKey: newKey()}, "application/octet-stream", file))
}

func requestFetchCommand(c *connection) *cobra.Command {
	cmd := on(c, "fetch REQUEST SLOT", "Fetch evidence from its source, as a ticket that is closed now", 2, func(ctx context.Context, api *client.Client, args []string) (*client.Request, error) {
		return client.Content(api.FetchEvidenceWithResponse(ctx, args[0], args[1], &client.FetchEvidenceParams{IdempotencyKey: newKey()}))
	}, requestText)
	cmd.Example = "  countersign request fetch req_… closed-incident"
	return cmd
}

func requestOpenCommand(c *connection) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "open REQUEST SLOT", Short: "Read the content of evidence, which goes on the record", Args: exactly("REQUEST", "SLOT"),
		Long:    "Prints the content, or writes it to a file. What is no text is printed only with\n--json, as base64.",
		Example: "  countersign request open req_… scan\n  countersign request open req_… scan --output scan.pdf",
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			opened, err := client.Content(api.OpenEvidenceWithResponse(cmd.Context(), args[0], args[1]))
			if err != nil {
				return err
			}
			content := []byte(opened.Text)
			if opened.Base64 != "" {
				if content, err = base64.StdEncoding.DecodeString(opened.Base64); err != nil {
					return countersign.Errorf(countersign.Unavailable, "unexpected-answer", "The house sent evidence that cannot be read: %v", err)
				}
			}
			switch {
			case output != "":
				if err := os.WriteFile(output, content, 0o600); err != nil {
					return invalid("the evidence cannot be written: %v", err)
				}
				return nil
			case c.json:
				return writeJSON(cmd.OutOrStdout(), opened)
			case opened.Base64 != "":
				return invalid("the evidence %q is no text: give --output FILE, or --json", args[1])
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSuffix(opened.Text, "\n"))
			return err
		},
	}
	cmd.Flags().StringVar(&output, "output", "", "write the content to this file, as it is")
	return cmd
}
