package connector

import (
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/countersign/countersign"
)

// Holds reads a list of accounts and says whether one of the accounts is on it: as a
// line, or in the procedure's column of a CSV table with a header.
func (p Procedure) Holds(list []byte, accounts ...string) (bool, error) {
	names, err := p.names(list)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(names, func(name string) bool {
		handle, err := countersign.NewHandle(p.Handle, "", name)
		return err == nil && slices.Contains(accounts, handle.Value)
	}), nil
}

func (p Procedure) names(list []byte) ([]string, error) {
	text := strings.TrimPrefix(string(list), "\ufeff")
	if p.Column == "" {
		var names []string
		for line := range strings.Lines(strings.ReplaceAll(text, "\r", "\n")) {
			if name := strings.TrimSpace(line); name != "" {
				names = append(names, name)
			}
		}
		return names, nil
	}
	table := csv.NewReader(strings.NewReader(text))
	header, err := table.Read()
	at := slices.Index(header, p.Column)
	if err != nil || at < 0 {
		return nil, countersign.Errorf(countersign.Invalid, "malformed-list", "The list has no column %q: it is CSV with a header that names it.", p.Column).At("/list")
	}
	var names []string
	for {
		row, err := table.Read()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, countersign.Errorf(countersign.Invalid, "malformed-list", "The list is not CSV: %v.", err).At("/list")
		}
		names = append(names, row[at])
	}
}
