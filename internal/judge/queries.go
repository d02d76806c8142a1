package judge

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Query is a question to a monitoring server about each side, and how its answers are judged. Limit is absolute; without
// one the side on trial may be at most Ratio times worse than the reference.
type Query struct {
	Name   string   `json:"name"`
	Unit   string   `json:"unit,omitempty"`
	Higher bool     `json:"higher,omitempty"` // a higher value is the better one
	Limit  *float64 `json:"limit,omitempty"`
	Ratio  float64  `json:"ratio,omitempty"` // at least 1
	Slack  float64  `json:"slack,omitempty"` // a difference to the reference that never counts; in Unit
	// Part says what the value is made of, where that is known: a breach by few requests may be chance.
	Part Part `json:"part,omitempty"`
}

// Part is what part of a reading's requests (Measured.Of) its value speaks of.
type Part string

// What a value is made of. The zero value is not known: the user's own query.
const (
	PartShare Part = "share" // percent of the requests
	PartTail  Part = "p99"   // the slowest one in a hundred
)

// Answer is what a monitoring server said of one side: a reading or, where there is none, why.
type Answer struct {
	Measured
	None string
}

// Measured is a finite value, and of how many requests it is (0: not known).
type Measured struct {
	Value float64 `json:"value"`
	Of    float64 `json:"of,omitempty"`
}

// Series is what a query answered in one window, oldest first; answers without a number are left out.
type Series struct {
	Query
	OnTrial         []Measured `json:"onTrial,omitempty"`
	Reference       []Measured `json:"reference,omitempty"`
	ReferenceIsPast bool       `json:"referenceIsPast,omitempty"` // Reference is of when that side last had users
	Asked           int        `json:"asked"`                     // answers in the window, with or without a number
	None            string     `json:"none,omitempty"`            // why the last answer about the side on trial held no number
}

// QueryPrefix begins the name of every check of a query.
const QueryPrefix = "query "

// IsQuery says whether a check is one of a query.
func (c Check) IsQuery() bool { return strings.HasPrefix(c.Name, QueryPrefix) }

// EnoughReadings is how many readings of a side it takes to judge it: of two, the median is a mean that one stray value moves.
const EnoughReadings = 3

// queries gives one check for each query: of a whole step the median of the side on trial, against the limit or the median
// of the reference. For many looks all of its last three readings must be more than twice as bad as is allowed, while
// those of the reference are not.
//
// What both sides break is inconclusive: something that they share is to blame. So are numbers that a ratio says nothing
// of: negative ones, and a reference of 0 where no slack says how much above it is still the same.
func queries(s Sample, n looks) []Check {
	var all []Check
	for _, v := range s.Queries {
		all = append(all, v.check(s, n))
	}
	return all
}

func (v Series) check(s Sample, n looks) Check {
	c := Check{Name: QueryPrefix + v.Name, Unit: v.Unit}
	if len(v.OnTrial) < EnoughReadings {
		return c.unknown("%s: %s", c.Name, v.missing(s))
	}
	trial, ref := v.OnTrial, v.Reference
	if n == manyLooks {
		trial = trial[len(trial)-EnoughReadings:]
		if len(ref) > EnoughReadings && !v.ReferenceIsPast {
			ref = ref[len(ref)-EnoughReadings:]
		}
	}
	got, normal, hasNormal := middle(values(trial)), middle(values(ref)), len(ref) >= EnoughReadings
	if v.Limit == nil && !hasNormal {
		c.Absent = s.share() == 100 // see alone: waiting would bring none
		return c.unknown("%s: %s has %d readings of the %d that it takes to compare with; a limit needs none",
			c.Name, s.Reference.Name, len(ref), EnoughReadings)
	}
	bound := v.bound(normal)
	c = v.said(c, s, len(trial), got, bound, normal, hasNormal)
	if n == manyLooks {
		got, bound = v.best(values(trial)), v.twice(bound)
	}
	if why := v.unusable(got, bound, normal, hasNormal); why != "" {
		return c.unknown("%s; %s", c.Why, why)
	}
	c.Got, c.Limit, c.Verdict = got, bound, Pass
	if !v.worse(got, bound) {
		return c
	}
	if v.Limit != nil && hasNormal && v.worse(normal, bound) {
		c.Verdict = Inconclusive
		c.Why += "; both break it, so something that they share is to blame"
		return c
	}
	switch c.Verdict = v.chance(trial, got, normal); c.Verdict {
	case Pass:
		c.Why += "; of so few requests that chance explains it"
	case Inconclusive:
		c.Why += "; of too few requests to tell it from chance"
	case Fail:
	}
	return c.excused(s)
}

// missing says why there are too few readings.
func (v Series) missing(s Sample) string {
	if len(v.OnTrial) == 0 && v.None != "" {
		return fmt.Sprintf("no number for %s in %d answers, the last one %s", s.OnTrial.Name, v.Asked, v.None)
	}
	return fmt.Sprintf("%s has %d readings in %d answers, %d are needed", s.OnTrial.Name, len(v.OnTrial), v.Asked, EnoughReadings)
}

// bound is the worst value that is allowed.
func (v Series) bound(normal float64) float64 {
	switch {
	case v.Limit != nil:
		return *v.Limit
	case v.Higher:
		return math.Min(normal/v.Ratio, normal-v.Slack)
	default:
		return math.Max(normal*v.Ratio, normal+v.Slack)
	}
}

// twice is a value twice as bad as the bound.
func (v Series) twice(bound float64) float64 {
	if v.Higher {
		return bound - math.Abs(bound)/2
	}
	return bound + math.Abs(bound)
}

// worse says whether a is worse than b, by more than rounding adds.
func (v Series) worse(a, b float64) bool {
	if v.Higher {
		a, b = -a, -b
	}
	return a > b+1e-9*math.Abs(b)
}

// best is the least bad of the values.
func (v Series) best(all []float64) float64 {
	if v.Higher {
		return slices.Max(all)
	}
	return slices.Min(all)
}

// unusable says why the numbers allow no verdict; "" where they do.
func (v Series) unusable(got, bound, normal float64, hasNormal bool) string {
	switch {
	case math.IsInf(got, 0) || math.IsInf(bound, 0) || math.IsInf(normal, 0) && hasNormal:
		return "the numbers are too large"
	case v.Limit != nil:
		return ""
	case got < 0 || normal < 0:
		return "a ratio of negative numbers says nothing: give the query a limit"
	case !v.Higher && normal == 0 && v.Slack == 0 && v.Part == "" && got > 0:
		return "nothing is like 0: give the query a limit, or a slack"
	}
	return ""
}

// chance is what a breach is worth, by the requests that it stands for: a failure, nothing to wait for, or not known yet. A
// share fails by `stray` and three standard deviations more errors than predicted, and waits from half as many
// above the expected ones; the slowest one in a hundred must be straySlow. With an image that is no worse, an error share of 0.05
// to 5 % and 0.5 to 50 requests a second on gray, at most 0.3 % of simulated runs of five one-minute steps failed by it. Of a query
// whose value is made of what nobody knows every breach is one.
func (v Series) chance(trial []Measured, got, normal float64) Verdict {
	counts := make([]float64, 0, len(trial))
	for _, r := range trial {
		counts = append(counts, r.Of)
	}
	of := middle(counts)
	switch v.Part {
	case PartShare:
		expect := of * normal / 100
		above, enough := of*got/100-expect, stray+3*math.Sqrt(expect)
		switch {
		case above < enough/2:
			return Pass
		case above < enough:
			return Inconclusive
		}
	case PartTail:
		if of/100 < straySlow {
			return Pass
		}
	}
	return Fail
}

// said writes the numbers into a check, for a person.
func (v Series) said(c Check, s Sample, readings int, got, bound, normal float64, hasNormal bool) Check {
	limit := "at most"
	if v.Higher {
		limit = "at least"
	}
	c.OnTrial = v.number(got)
	c.Why = fmt.Sprintf("%s: the median of %d readings of %s is %s (%s %s)", c.Name, readings, s.OnTrial.Name, c.OnTrial, limit, v.number(bound))
	if !hasNormal {
		return c
	}
	c.Reference = v.number(normal)
	if v.ReferenceIsPast {
		c.Reference += " when it last had users"
	}
	c.Why += fmt.Sprintf("; %s %s", s.Reference.Name, c.Reference)
	return c
}

func (v Series) number(x float64) string {
	return strings.TrimSpace(fmt.Sprintf("%.4g %s", x, v.Unit))
}

func values(all []Measured) []float64 {
	out := make([]float64, 0, len(all))
	for _, r := range all {
		out = append(out, r.Value)
	}
	return out
}
