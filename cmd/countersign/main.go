// Command countersign is a self-hosted service desk for access.
package main

import (
	"os"
	_ "time/tzdata" // business calendars name time zones; the host may have none

	"github.com/countersign/countersign/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
