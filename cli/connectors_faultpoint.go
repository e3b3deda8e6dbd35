//go:build faultpoint

package cli

import (
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/outside"
)

// moreConnectors has one more target in the program that tests kill: one that
// outlives it.
func moreConnectors() connector.Set { return connector.Set{"outside": outside.New(clock{})} }
