//go:build !faultpoint

package cli

import "github.com/countersign/countersign/connector"

// moreConnectors are those that stand beside the built-in ones.
func moreConnectors() connector.Set { return nil }
