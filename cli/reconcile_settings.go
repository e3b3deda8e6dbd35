package cli

import (
	"maps"
	"slices"

	"github.com/countersign/countersign"
)

// reconcileSettings say how often targets are read and compared with the record.
type reconcileSettings struct {
	// Every is for all systems that Systems does not name; "" is once a day.
	Every   string            `yaml:"every"`
	Systems map[string]string `yaml:"systems"`
}

// shortestReading and longestReading bound how often a target is read: more often
// would be load for nothing, and more seldom proves nothing.
const (
	shortestReading = countersign.Minute
	longestReading  = 31 * countersign.Day
)

// every returns how often a system is read, 0 for what the house does by itself.
func (s reconcileSettings) every() (func(system string) countersign.Seconds, error) {
	read := func(key, text string) (countersign.Seconds, error) {
		every, err := countersign.ParseSeconds(text)
		if err != nil || every < shortestReading || every > longestReading {
			return 0, invalid("%s is how often targets are read, from 1m to 31d, as in 24h; not %q", key, countersign.Clip(text))
		}
		return every, nil
	}
	var usual countersign.Seconds
	var err error
	if s.Every != "" {
		if usual, err = read("reconcile.every", s.Every); err != nil {
			return nil, err
		}
	}
	of := map[string]countersign.Seconds{}
	for _, system := range slices.Sorted(maps.Keys(s.Systems)) {
		if of[system], err = read("reconcile.systems."+system, s.Systems[system]); err != nil {
			return nil, err
		}
	}
	return func(system string) countersign.Seconds {
		if every := of[system]; every != 0 {
			return every
		}
		return usual
	}, nil
}
