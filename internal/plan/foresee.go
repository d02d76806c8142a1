package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// smallFault is the share of requests that an image fails which the words of Foresee are about: the smallest that the
// errors check is made to find.
const smallFault = 0.01

// Foresee says in one sentence how long the weights of a plan take to tell an image that fails 1 % more of its requests
// than production from chance, at so many requests a second of both sides and with what production answers now.
// seen is false where the plan may well be over before the evidence is there: such an image would be promoted. What is
// enough for half of the runs is doubled for that.
//
// Where a step may take longer for the sake of memory and CPU, or a limit lies where the gateway cannot see it, the text says
// that, too.
func Foresee(p Plan, rate float64, now judge.Traffic, l judge.Limits) (text string, seen bool) {
	failing := 0.0
	if now.Requests > 0 {
		failing = now.Errors / now.Requests
	}
	text, seen = foreseeErrors(p, rate, failing, l)
	if from, to, hidden := judge.Hidden(l, now.Latency); hidden {
		text += fmt.Sprintf("; p99-ms %d lies inside a bucket of the gateway's histogram, %.0f to %.0f ms, so a faster service may seem slower than that: take a bound, or give the gateway finer buckets",
			l.P99.Milliseconds(), from, to)
	}
	return text + foreseeReadings(p), seen
}

// foreseeReadings is about the watch of the last weight: see judge.Awaited.
func foreseeReadings(p Plan) string {
	for _, s := range p.Steps {
		if s.Kind != Watch || s.Side != Gray || s.Weight != 100 || s.Duration == 0 {
			continue
		}
		switch {
		case s.Duration < judge.LeastStep:
			return fmt.Sprintf("; a leak, or more CPU by request, is hardly seen in steps of %s: metrics.k8s.io tells of it once in 15 s. From a step-duration of %s on, weight 100 waits for that",
				s.Duration, judge.LeastStep)
		case s.Duration < judge.LongestWait:
			return fmt.Sprintf("; with metrics.k8s.io weight 100 is watched for up to %s, until there are the readings that tell a leak", rough(judge.LongestWait))
		}
	}
	return ""
}

func foreseeErrors(p Plan, rate, failing float64, l judge.Limits) (text string, seen bool) {
	if rate <= 0 {
		return "no requests could be counted in the last seconds, so it cannot be foretold how long a bad image takes to be found", true
	}
	var times []string
	sum, at := 0.0, -1 // of the evidence needed, and the weight at which it is complete
	for _, s := range p.Steps {
		if s.Kind != Watch || s.Side != Gray || s.Weight >= 100 {
			continue
		}
		need, ok := judge.TimeToTell(smallFault, failing, rate, s.Weight, l)
		if !ok {
			continue
		}
		times = append(times, fmt.Sprintf("%s at weight %d", rough(need), s.Weight))
		if sum += s.Duration.Seconds() / need.Seconds(); sum >= 2 && at < 0 {
			at = s.Weight
		}
	}
	if len(times) == 0 {
		return "no step has users on both sides, so errors are compared with what production did before, without a stated rate of false alarms", true
	}
	text = fmt.Sprintf("at %s requests/s, as measured now, an image that fails 1 %% more of its requests than production is told from chance in about %s, in half of the runs sooner",
		measured(rate), strings.Join(times, ", "))
	if at < 0 {
		return text + fmt.Sprintf("; the steps of this plan bring %.0f %% of the time that it takes to be sure: it may be promoted. Make step-duration longer", 50*sum), false
	}
	return text + fmt.Sprintf("; evidence adds up from step to step, so it is found by the end of the watch at weight %d in most runs", at), true
}

// rough is a time that is known roughly.
func rough(d time.Duration) string {
	switch {
	case d < time.Minute:
		return max(time.Second, d.Round(time.Second)).String()
	case d < 10*time.Minute:
		return d.Round(10 * time.Second).String()
	case d < time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return strings.TrimSuffix(d.Round(time.Hour).String(), "0m0s")
}

func measured(rate float64) string {
	if rate < 10 {
		return fmt.Sprintf("%.2g", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}
