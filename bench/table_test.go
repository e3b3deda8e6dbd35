package bench

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// line is one figure of a run, as it is kept and as it is printed.
type line struct {
	At       string  `json:"at"`
	What     string  `json:"what"`
	Database string  `json:"database"`
	Size     string  `json:"size,omitempty"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
	// Limit is what the machine gave in the same run without the house, and Ratio
	// the value in its parts.
	Limit float64 `json:"limit,omitempty"`
	Ratio float64 `json:"ratio,omitempty"`
	// Bar is what was asked for, of the ratio where there is one, else of the value.
	Bar string `json:"bar,omitempty"`
	Met *bool  `json:"met,omitempty"`
}

// report gathers the lines of one run.
type report struct {
	lock  sync.Mutex
	lines []line
}

// add notes a figure without a bar.
func (r *report) add(database, size, what string, value float64, unit string) {
	r.put(line{What: what, Database: database, Size: size, Value: value, Unit: unit})
}

// atMost and atLeast note a figure with its bar.
func (r *report) atMost(database, size, what string, value float64, unit string, bar float64) {
	met := value <= bar
	r.put(line{What: what, Database: database, Size: size, Value: value, Unit: unit, Bar: fmt.Sprintf("≤ %g", bar), Met: &met})
}

func (r *report) atLeast(database, size, what string, value float64, unit string, limit, bar float64) {
	ratio := value / limit
	met := ratio >= bar
	r.put(line{What: what, Database: database, Size: size, Value: value, Unit: unit, Limit: limit, Ratio: ratio, Bar: fmt.Sprintf("≥ %g", bar), Met: &met})
}

func (r *report) put(l line) {
	r.lock.Lock()
	defer r.lock.Unlock()
	l.At = time.Now().UTC().Format(time.RFC3339)
	r.lines = append(r.lines, l)
}

// keep writes the lines to a file of their own, one JSON object each.
func (r *report) keep(folder string) error {
	if len(r.lines) == 0 {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	for _, l := range r.lines {
		if err := encoder.Encode(l); err != nil {
			return err
		}
	}
	path := filepath.Join(folder, time.Now().UTC().Format("20060102T150405Z")+".jsonl")
	fmt.Println("kept in", path)
	return os.WriteFile(path, []byte(text.String()), 0o644)
}

// print writes the one table.
func (r *report) print() {
	fmt.Printf("\n%-52s %-9s %-10s %12s %-7s %10s %6s %8s %s\n", "measure", "database", "size", "value", "", "limit", "ratio", "bar", "met")
	for _, l := range r.lines {
		limit, ratio, met := "", "", ""
		if l.Limit != 0 {
			limit, ratio = fmt.Sprintf("%.0f", l.Limit), fmt.Sprintf("%.3f", l.Ratio)
		}
		if l.Met != nil {
			met = map[bool]string{true: "yes", false: "NO"}[*l.Met]
		}
		fmt.Printf("%-52s %-9s %-10s %12.2f %-7s %10s %6s %8s %s\n", l.What, l.Database, l.Size, l.Value, l.Unit, limit, ratio, l.Bar, met)
	}
}

// printGrowth writes what was measured at several sizes once more, a line for each
// measure and a column for each size.
func (r *report) printGrowth() {
	type measure struct{ database, what, unit string }
	var measures []measure
	values := map[measure]map[int]float64{}
	sizes := map[int]bool{}
	for _, l := range r.lines {
		size, err := strconv.Atoi(l.Size)
		if err != nil || size < smallestCrowd {
			continue
		}
		m := measure{l.Database, l.What, l.Unit}
		if values[m] == nil {
			measures, values[m] = append(measures, m), map[int]float64{}
		}
		values[m][size], sizes[size] = l.Value, true
	}
	if len(sizes) < 2 {
		return
	}
	columns := slices.Sorted(maps.Keys(sizes))
	fmt.Printf("\n%-60s %-9s", "growth", "database")
	for _, size := range columns {
		fmt.Printf(" %12d", size)
	}
	fmt.Println()
	for _, m := range measures {
		if len(values[m]) < 2 {
			continue
		}
		fmt.Printf("%-60s %-9s", strings.TrimRight(m.what+", "+m.unit, ", "), m.database)
		for _, size := range columns {
			text := ""
			if value, known := values[m][size]; known {
				text = fmt.Sprintf("%.2f", value)
			}
			fmt.Printf(" %12s", text)
		}
		fmt.Println()
	}
}
