package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

// connection says how a command reaches the house and as whom.
type connection struct {
	server    string
	tokenFile string
	json      bool
}

const connectionHelp = `
Reaches the house at --server (or COUNTERSIGN_SERVER) as the person whose token
is in COUNTERSIGN_TOKEN, in --token-file, or in the file that serve wrote.`

func (c *connection) flags(cmd *cobra.Command) {
	server := os.Getenv("COUNTERSIGN_SERVER")
	if server == "" {
		server = "http://" + defaultListen
	}
	cmd.PersistentFlags().StringVar(&c.server, "server", server, "the house's address")
	cmd.PersistentFlags().StringVar(&c.tokenFile, "token-file", "", "a file with a token (default: COUNTERSIGN_TOKEN, then "+filepath.Join(defaultData, firstTokenName)+")")
	cmd.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON")
}

// token finds the caller's token.
func (c *connection) token() (countersign.Secret, error) {
	if c.tokenFile == "" {
		if text := os.Getenv("COUNTERSIGN_TOKEN"); text != "" {
			return countersign.NewSecret(text), nil
		}
		c.tokenFile = filepath.Join(defaultData, firstTokenName)
	}
	content, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return countersign.Secret{}, countersign.Errorf(countersign.Unauthenticated, "token-missing", "Nobody is signed in: set COUNTERSIGN_TOKEN=$(countersign token issue --as LOGIN), or give --token-file.")
	}
	return countersign.NewSecret(strings.TrimSpace(string(content))), nil
}

func (c *connection) open() (*client.Client, error) {
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	return client.New(c.server, token)
}

// newKey makes an Idempotency-Key, so that a command that is sent again after a
// broken connection has one effect.
func newKey() string {
	var key [16]byte
	rand.Read(key[:])
	return "cli-" + hex.EncodeToString(key[:])
}

// print shows a value as JSON, or as text.
func (c *connection) print(cmd *cobra.Command, value any, text func() string) error {
	if c.json {
		return writeJSON(cmd.OutOrStdout(), value)
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), text())
	return err
}

// on builds a command about one thing that ends with showing it. use names the
// arguments in its first words; the flags come after them.
func on[T any](c *connection, use, short string, arguments int, do func(context.Context, *client.Client, []string) (*T, error), text func(*T) string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: exactly(strings.Fields(use)[1 : 1+arguments]...),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.open()
			if err != nil {
				return err
			}
			thing, err := do(cmd.Context(), api, args)
			if err != nil {
				return err
			}
			return c.print(cmd, thing, func() string { return text(thing) })
		},
	}
}

// pages collects a list up to a limit: the house may cut a page short of what was
// asked for and still have more.
func pages[T any](limit int, next func(page int, cursor string) ([]T, string, error)) ([]T, error) {
	all := []T{}
	for cursor := ""; ; {
		found, following, err := next(limit-len(all), cursor)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
		if following == "" || len(all) >= limit {
			return all, nil
		}
		cursor = following
	}
}
