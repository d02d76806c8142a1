package judge

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Defaults returns the limits that are documented (a fifth of a percentage point of errors, no restart, no new error-level
// template, 50 requests, one false alarm in a hundred upgrades).
func Defaults() Limits {
	return Limits{ErrorPercent: 0.2, MemoryRatio: 2, CPURatio: 2, MinRequests: 50, FalseAlarmPercent: 1}
}

// Judge applies every rule to the window of a whole step. Each rule gives one check, in a fixed order; a rule that
// has nothing to go by is inconclusive, never a pass. Fewer bad lines or slow answers than it takes to blame the image
// are a pass that says so: they were seen, and a step that waited for more of them would wait for ever in a good upgrade.
func Judge(s Sample, l Limits) []Check {
	end := endOfStep
	if s.awaitsReadings() {
		end = whileWaiting
	}
	return append([]Check{
		requests(s, l),
		routing(s),
		errorShare(s, l),
		latency(s, l, endOfStep),
		restarts(s, l),
		ready(s),
		newErrorLogs(s, l, endOfStep),
		logVolume(s),
		memory(s, l, end),
		cpu(s, l, end),
		memoryGrowth(s, end),
	}, queries(s, endOfStep)...)
}

// AtOnce returns the checks that already fail in this window and must end the step now; none is not a pass. It may
// be asked many times a second, so where chance can deceive it wants more than Judge does at the end of a step. While
// no user is on the side on trial it returns nothing. Routing is left to the end of the step: a window may begin before
// the gateway serves its weight.
func AtOnce(s Sample, l Limits) []Check {
	if s.share() == 0 {
		return nil
	}
	all := append([]Check{
		restarts(s, l),
		ready(s),
		newErrorLogs(s, l, manyLooks),
		errorShare(s, l),
		memoryGrowth(s, manyLooks),
	}, settledLatency(s, l)...)
	return Failed(append(all, queries(s, manyLooks)...))
}

// TrafficAtOnce is the part of AtOnce that is about what was served: all that differs between windows that end now.
func TrafficAtOnce(s Sample, l Limits) []Check {
	if s.share() == 0 {
		return nil
	}
	return Failed(append([]Check{errorShare(s, l)}, settledLatency(s, l)...))
}

func settledLatency(s Sample, l Limits) []Check {
	if s.To.Sub(s.From) < settled {
		return nil
	}
	return []Check{latency(s, l, manyLooks)}
}

// Failed returns the checks that fail.
func Failed(checks []Check) []Check {
	var bad []Check
	for _, c := range checks {
		if c.Verdict == Fail {
			bad = append(bad, c)
		}
	}
	return bad
}

// settled is the shortest window in which AtOnce judges latency: one pause of a collector is no anomaly.
const settled = 5 * time.Second

// looks says how often a rule is asked about overlapping windows.
type looks int

const (
	endOfStep    looks = iota + 1 // once, about the whole step
	manyLooks                     // at every tick
	whileWaiting                  // at the end of a step that waits for readings, at each of them
)

// Worst returns the worst verdict: a failure, else an inconclusive one, else a pass. Absent checks do not count, and
// where nothing counts the verdict is inconclusive.
func Worst(checks []Check) Verdict {
	worst, seen := Pass, false
	for _, c := range checks {
		switch {
		case c.Verdict == Fail:
			return Fail
		case c.Absent:
		case c.Verdict == Pass:
			seen = true
		default:
			worst, seen = Inconclusive, true
		}
	}
	if !seen {
		return Inconclusive
	}
	return worst
}

// Missing returns the checks whose evidence a step must have and has not: those that are inconclusive. Without them no
// weight rises. Where the user asks for no requests at all (min-requests 0), what the gateway counts is not waited for.
// What is absent would not come by waiting. Memory and CPU hold no step back: metrics.k8s.io may be slow or not there,
// and what matters of them shows in restarts and latency. Routing has its own meaning: few requests are told by
// "requests". A query is waited for because the user asks it.
func Missing(checks []Check, l Limits) []Check {
	var missing []Check
	for _, c := range checks {
		if c.Verdict == Inconclusive && !c.Absent && (mustHave(c.Name, l) || c.IsQuery()) {
			missing = append(missing, c)
		}
	}
	return missing
}

// Awaited returns the checks whose evidence is on its way. A step waits for it as for what is Missing, but it has an end of
// its own, and nothing follows where it does not come.
func Awaited(checks []Check) []Check {
	return slices.DeleteFunc(slices.Clone(checks), func(c Check) bool { return !c.Awaits })
}

func mustHave(name string, l Limits) bool {
	switch name {
	case NameRequests, NameErrors, NameLatency:
		return l.MinRequests > 0
	case NameRestarts, NameReady, NameNewErrorLogs:
		return true
	}
	return false
}

// Blamed says whether a failing check blames the image; failures of the infrastructure alone do not.
func Blamed(checks []Check) bool {
	for _, c := range checks {
		if c.Verdict == Fail && !c.Infrastructure {
			return true
		}
	}
	return false
}

// Excuses says that what a check measures is above its limit, and not the image's fault: somebody took a pod away, or the other
// side fares as badly.
func (c Check) Excuses() bool {
	return c.Verdict == Fail && c.Infrastructure || c.Name == NameReady && c.Verdict == Inconclusive && c.Got > c.Limit
}

// share is the percent of requests configured to go to the side on trial.
func (s Sample) share() int { return ShareOnTrial(s.OnTrial.Name, s.Weight) }

// ShareOnTrial is the percent of requests configured to go to a side, "gray" or "production", at a weight of gray.
func ShareOnTrial(side string, weight int) int {
	if side == "production" {
		return 100 - weight
	}
	return weight
}

// seconds is the length of the window of a side's numbers.
func (s Sample) seconds(n Numbers) float64 {
	if n.Window > 0 {
		return n.Window.Seconds()
	}
	return s.To.Sub(s.From).Seconds()
}

// past is put behind the reference's numbers where they are not of this window.
func (s Sample) past() string {
	if s.ReferenceIsPast {
		return " when it last had traffic"
	}
	return ""
}

// decide fills got and limit and fails what is above the limit. Numbers that are no numbers are inconclusive, and
// they do not get into the check, which must marshal to JSON.
func (c Check) decide(got, limit float64) Check {
	c.Verdict = Inconclusive
	if !usable(got, limit) {
		c.Why = "the numbers are unusable: " + c.Why
		return c
	}
	c.Got, c.Limit = got, limit
	if got <= limit+1e-9*limit { // what rounding adds is not above
		c.Verdict = Pass
	} else {
		c.Verdict = Fail
	}
	return c
}

// unknown makes the check inconclusive.
func (c Check) unknown(format string, args ...any) Check {
	c.Verdict, c.Why = Inconclusive, fmt.Sprintf(format, args...)
	return c
}

// usable says whether all are finite and none is negative.
func usable(all ...float64) bool {
	for _, v := range all {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			return false
		}
	}
	return true
}

// percent writes a percentage so that small ones keep a digit that says something.
func percent(v float64) string {
	switch {
	case v == 0:
		return "0 %"
	case v < 1:
		return fmt.Sprintf("%.2f %%", v)
	default:
		return fmt.Sprintf("%.1f %%", v)
	}
}

// several is so many of something.
func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
