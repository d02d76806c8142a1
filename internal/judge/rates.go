package judge

import (
	"fmt"
	"math"
)

// predicted is how many requests the weight must have brought to the side on trial before none at all is a fault of
// the routing.
const predicted = 20

// stray is how many errors above what the other side predicts it takes to blame the image; fewer may be chance: one error in
// 50 requests is 2 %, and 3 of 75 against 0 of 89 happen without any difference in one of eleven pairs (Fisher's exact
// test; 5 of 75 in one of fifty).
const stray = 5

// strayNow is stray where the other side has no users now: two pages that each ask for ten things at once are chance.
const strayNow = 20

func requests(s Sample, l Limits) Check {
	c := Check{Name: NameRequests, Unit: "requests", Verdict: Inconclusive}
	got := s.OnTrial.Traffic.Requests
	switch {
	case s.NoTraffic:
		return c.unknown("the gateway's metrics could not be read")
	case !usable(got):
		return c.unknown("the gateway's request count is unusable")
	}
	c.Got, c.Limit = got, float64(l.MinRequests)
	c.OnTrial = fmt.Sprintf("%.0f", got)
	if ref := s.Reference.Traffic.Requests; usable(ref) {
		c.Reference = fmt.Sprintf("%.0f", ref)
	}
	c.Why = fmt.Sprintf("%s served %.0f requests, %d are needed", s.OnTrial.Name, got, l.MinRequests)
	if got >= c.Limit {
		c.Verdict = Pass
	}
	return c
}

// shortfall is from how many requests predicted on less than half of them is a fault: the balancer deals them out exactly,
// so they were lost on the way, or they hang and are not counted because they do not end.
const shortfall = 100

// routing fails where the weight promises requests and none came, or far too few. Whether the route or the image is at fault
// cannot be told, so the image is not blamed.
func routing(s Sample) Check {
	c := Check{Name: NameRouting, Unit: "requests", Infrastructure: true}
	got, other := s.OnTrial.Traffic.Requests, s.Reference.Traffic.Requests
	if s.ReferenceIsPast {
		other = 0
	}
	switch {
	case s.NoTraffic:
		return c.unknown("the gateway's metrics could not be read")
	case !usable(got, other):
		return c.unknown("the gateway's request count is unusable")
	}
	want := (got + other) * float64(s.share()) / 100
	c.Got, c.Limit = got, want
	c.Why = fmt.Sprintf("%s served %.0f of %.0f requests; weight %d predicts %.0f", s.OnTrial.Name, got, got+other, s.Weight, want)
	switch {
	case got < want/2 && want >= shortfall:
		c.Verdict = Fail
		c.Why += ": the others were lost, or hang"
	case got > 0:
		c.Verdict = Pass
	case want >= predicted:
		c.Verdict = Fail
	default:
		c.Verdict = Inconclusive
	}
	return c
}

// errorShare fails where the side on trial answered clearly more than ErrorPercent points more of its requests with an error
// than the reference, with the evidence of the run that it is worse by more than chance; with a part of that the step waits
// for more. Gross faults need no least number of requests: the evidence knows how few they were.
//
// Where the reference has no users now there is no such evidence: see againstThePast.
func errorShare(s Sample, l Limits) Check {
	c := Check{Name: NameErrors, Unit: "percentage points"}
	trial, ref := s.OnTrial.Traffic, s.Reference.Traffic
	switch {
	case s.NoTraffic:
		return c.unknown("the gateway's metrics could not be read")
	case !counted(trial) || !counted(ref):
		return c.unknown("the gateway's counts are unusable")
	}
	limit := l.ErrorPercent
	if s.Evidence == nil {
		limit *= looser
	}
	share, normal := ratio(trial.Errors, trial.Requests), ratio(ref.Errors, ref.Requests)
	c.Why = fmt.Sprintf("%s answered 5xx to %.0f of %.0f requests (%s, limit %.2g points more than %s); %s",
		s.OnTrial.Name, trial.Errors, trial.Requests, percent(100*share), limit, s.Reference.Name, s.referenceErrors())
	c.OnTrial, c.Reference = percent(100*share), refShare(ref)
	c = c.decide(math.Max(0, 100*(share-normal)), limit)
	switch {
	case s.Evidence == nil:
		return c.againstThePast(s, l).excused(s)
	case c.Verdict == Fail:
		sure := clearly(trial, normal+limit/100)
		c = c.weigh(s.Evidence.Errors, l.need(forErrors), sure && share-normal > blatant)
		if c.Verdict == Fail && !sure {
			c.Verdict = Inconclusive
			c.Why += "; worse than the other side for certain, but perhaps within the limit"
		}
	}
	if c.Verdict != Fail && trial.Requests < least(l) {
		return c.unknown("%s served %.0f requests, %d are needed", s.OnTrial.Name, trial.Requests, l.MinRequests)
	}
	return c.excused(s)
}

// clearly says whether there are three standard deviations more errors than a share would make: evidence that one side is
// worse says nothing of how much.
func clearly(t Traffic, share float64) bool {
	expect := share * t.Requests
	return t.Errors >= expect+3*math.Sqrt(expect)
}

// least is the least number of requests of a side that says something.
func least(l Limits) float64 { return float64(max(1, l.MinRequests)) }

// looser is how much more is allowed against a reference of another time, or none: what others do to both sides then looks
// like the image's doing.
const looser = 5

// againstThePast decides by the counts of the window alone: a share above the limit is inconclusive until there are more
// errors than chance makes; more requests will tell. Without a reference its share is 0, which is said.
func (c Check) againstThePast(s Sample, l Limits) Check {
	trial := s.OnTrial.Traffic
	if trial.Requests < least(l) {
		return c.unknown("%s served %.0f requests, %d are needed", s.OnTrial.Name, trial.Requests, l.MinRequests)
	}
	if c.Verdict == Fail && trial.Errors < enoughErrors(trial.Requests, s.Reference) {
		c.Verdict = Inconclusive
		c.Why += "; too few errors to tell it from chance"
	}
	if c.Verdict == Fail && s.Reference.Traffic.Requests == 0 {
		c.Infrastructure = true
		c.Why += ", so the image is not blamed"
	}
	return c
}

// excused takes the blame off the image where somebody took a pod of the side on trial away in the window: its requests
// fail, or wait for the pods that are left, whatever runs in it.
func (c Check) excused(s Sample) Check {
	if c.Verdict != Fail || len(s.OnTrial.Taken) == 0 {
		return c
	}
	c.Infrastructure = true
	c.Why += fmt.Sprintf("; pod %s was deleted or evicted meanwhile, so the image is not blamed", s.OnTrial.Taken[0])
	return c
}

// enoughErrors is how many errors in so many requests are more than chance at any of many looks: `strayNow` and three
// standard deviations more than predicted, by a reference with one error more than it had (a short window without an
// error is no proof that none happens). Both counts vary, and as much more than by chance as those of the reference did.
func enoughErrors(requests float64, ref Numbers) float64 {
	expect, sure := 0.0, 1.0
	if had := ref.Traffic.Requests; had > 0 {
		expect = requests * math.Min(1, (ref.Traffic.Errors+1)/had)
		sure = 1 + requests/had
	}
	return expect + strayNow + 3*math.Sqrt(expect*sure*math.Max(1, ref.Swing))
}

func (s Sample) referenceErrors() string {
	ref := s.Reference.Traffic
	if ref.Requests == 0 {
		return s.Reference.Name + " had no requests to compare with"
	}
	return fmt.Sprintf("%s %.0f of %.0f (%s)%s", s.Reference.Name, ref.Errors, ref.Requests, refShare(ref), s.past())
}

func refShare(ref Traffic) string {
	if ref.Requests == 0 {
		return ""
	}
	return percent(100 * ref.Errors / ref.Requests)
}

func counted(t Traffic) bool {
	return usable(t.Requests, t.Errors) && t.Errors <= t.Requests
}

// ratio is a/b, and 0 where b is 0.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
