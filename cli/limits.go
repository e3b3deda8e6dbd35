package cli

import (
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/httpapi"
)

// rateSetting is a rate as countersign.yaml has it: 60/m, or off. The zero value
// was not set.
type rateSetting struct {
	httpapi.Rate
	set bool
}

var ratePeriods = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// mostAtOnce bounds a rate: more is no limit any more.
const mostAtOnce = 1_000_000

// UnmarshalText reads a rate.
func (r *rateSetting) UnmarshalText(text []byte) error {
	r.set = true
	if string(text) == "off" {
		return nil
	}
	count, period, _ := strings.Cut(string(text), "/")
	number, err := strconv.Atoi(count)
	per, known := ratePeriods[period]
	if err != nil || !known || number < 1 || number > mostAtOnce {
		return invalid("%q is not a rate: write it as 60/m, with s, m or h and at most %d, or as off", text, mostAtOnce)
	}
	r.Rate = httpapi.Rate{Count: number, Per: per}
	return nil
}

func (r rateSetting) or(standard httpapi.Rate) httpapi.Rate {
	if r.set {
		return r.Rate
	}
	return standard
}

// boundSetting is a limit for one caller and for one address.
type boundSetting struct {
	Caller  rateSetting `yaml:"caller"`
	Address rateSetting `yaml:"address"`
}

func (b boundSetting) or(caller, address httpapi.Rate) httpapi.Bound {
	return httpapi.Bound{Caller: b.Caller.or(caller), Address: b.Address.or(address)}
}

// limitSettings are the limits as countersign.yaml has them.
type limitSettings struct {
	SignIn   rateSetting  `yaml:"sign_in"`
	Submit   boundSetting `yaml:"submit"`
	Upload   boundSetting `yaml:"upload"`
	Evaluate boundSetting `yaml:"evaluate"`
}

// limits fills in the defaults: more than people and well-behaved programs need,
// and less than would hold the house up. The decision point is asked on behalf of
// every request to somebody's system.
func (l limitSettings) limits() httpapi.Limits {
	minute := func(count int) httpapi.Rate { return httpapi.Rate{Count: count, Per: time.Minute} }
	second := func(count int) httpapi.Rate { return httpapi.Rate{Count: count, Per: time.Second} }
	return httpapi.Limits{
		SignIn:   l.SignIn.or(minute(60)),
		Submit:   l.Submit.or(minute(600), minute(6000)),
		Upload:   l.Upload.or(minute(120), minute(1200)),
		Evaluate: l.Evaluate.or(second(50000), second(100000)),
	}
}
