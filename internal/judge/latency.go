package judge

import (
	"fmt"
	"math"
	"time"
)

// slower is what the 99th percentile must be above the reference's, besides being twice it: below that, users do
// not notice and a coarse histogram cannot tell.
const slower = 100 * time.Millisecond

// apart is how many times wider that bound is against a reference of another time (1 where both sides were measured
// at once): a busy node slows whoever is measured then, and only a side measured beside it would show that.
const apart = 4

func (s Sample) wider() float64 {
	if s.ReferenceIsPast {
		return apart
	}
	return 1
}

// straySlow is how many slow answers above the one in a hundred it takes to blame the image: a node that was busy for a
// moment makes some, and the 99th percentile of 50 requests is one of them.
const straySlow = 10

// blatant is the share of failed or slow requests more than the reference's that no weight is raised with. Against a reference
// of another time, four times that ends a step at once where it is slowness; less is weighed at the end of the step.
const blatant = 0.05

// latency fails where the 99th percentile is over the absolute limit or, without one, over twice the reference's and
// 100 ms above it (four times that bound against a reference of another time), with at least `straySlow` slow answers
// more than the one in a hundred that it allows; fewer blame nobody: of a whole step they pass.
//
// It is absent where no upgrade, however good, would ever make it conclusive: a gateway without a histogram, sides that
// are both slower than the histogram can tell, a reference that has too few requests and gets no more. Where only gray
// is slower than the histogram can tell it is not: that may be the image.
func latency(s Sample, l Limits, n looks) Check {
	c := Check{Name: NameLatency, Unit: "ms"}
	trial, ref := s.OnTrial.Traffic.Latency, s.Reference.Traffic.Latency
	switch {
	case s.NoTraffic:
		return c.unknown("the gateway's metrics could not be read")
	case len(trial) == 0 && len(ref) == 0:
		c.Absent = true
		return c.unknown("the gateway counts no latencies")
	}
	got, ok := quantile(0.99, trial)
	if !ok || got.total < least(l) {
		return c.unknown("%s has latencies of %.0f requests, %d are needed", s.OnTrial.Name, got.total, l.MinRequests)
	}
	normal, ok := quantile(0.99, ref)
	hasNormal := ok && normal.total >= least(l)
	c.OnTrial = got.String()
	if normal.total > 0 {
		c.Reference = normal.String()
	}
	bound, versus := l.P99.Seconds(), ""
	if l.P99 <= 0 {
		if !hasNormal {
			return c.alone(s, normal.total, l)
		}
		bound = s.wider() * tooSlow(normal.seconds)
		versus = fmt.Sprintf("; %s %s of %.0f requests%s", s.Reference.Name, normal, normal.total, s.past())
	}
	if l.P99 > 0 && hasNormal && got.seconds > bound && normal.seconds > bound {
		return c.unknown("both sides are above the limit of %.0f ms, so something that they share is to blame: %s %s, %s %s",
			1000*bound, s.OnTrial.Name, got, s.Reference.Name, normal)
	}
	if hasNormal && got.over && normal.over && got.seconds < bound {
		c.Absent = true
		return c.unknown("both sides are slower than the gateway's histogram can tell (%.0f ms)", 1000*got.seconds)
	}
	return c.slow(s, l, got, bound, versus, n)
}

// alone is a latency with too few of the reference's to compare with. While the reference has users, time brings them:
// as many as the side on trial needs at the weight that mirrors this one. A reference without users gets no more (the
// fast lane of an urgent fix goes to 100 at once): waiting would block every upgrade of that kind, so it is said, and
// errors, restarts and logs decide. An absolute limit needs no reference.
func (c Check) alone(s Sample, requests float64, l Limits) Check {
	c.Absent = s.share() == 100
	return c.unknown("%s has latencies of %.0f requests, %d are needed to compare with; thresholds: {p99-ms: ...} needs none",
		s.Reference.Name, requests, l.MinRequests)
}

// tooSlow is the bound, in seconds, above which a 99th percentile is too high, given the reference's.
func tooSlow(normal float64) float64 { return math.Max(2*normal, normal+slower.Seconds()) }

// SlowBound returns the bound, in seconds, above which an answer counts as slow, given the latencies of the reference
// until now: the user's limit, or what its 99th percentile makes too slow. ok is false where it has too few of them.
func SlowBound(reference []Bucket, l Limits) (bound float64, ok bool) {
	if l.P99 > 0 {
		return l.P99.Seconds(), true
	}
	normal, ok := quantile(0.99, reference)
	if !ok || normal.over || normal.total < least(l) {
		return 0, false
	}
	return tooSlow(normal.seconds), true
}

// Slower returns how many requests of a cumulative histogram took longer than a bound in seconds.
func Slower(bound float64, h []Bucket) float64 {
	if !sound(h) {
		return 0
	}
	return h[len(h)-1].Count - below(bound, h)
}

// slow decides a latency check once its bound, in seconds, is known.
func (c Check) slow(s Sample, l Limits, got reading, bound float64, versus string, n looks) Check {
	slow := Slower(bound, s.OnTrial.Traffic.Latency)
	c.Why = fmt.Sprintf("%s: p99 of %.0f requests is %s (limit %.0f ms), %.0f slower%s",
		s.OnTrial.Name, got.total, got, 1000*bound, slow, versus)
	c = c.decide(1000*got.seconds, 1000*bound)
	if got.over && usable(bound) {
		c.Verdict = Fail // more than the last bucket's bound, and perhaps more than the limit
	}
	if c.Verdict != Fail {
		return c
	}
	if s.Evidence != nil {
		c = c.weigh(s.Evidence.Slow, l.need(forSlow), slow > blatant*got.total)
		if c.Verdict == Fail && got.over && got.seconds < bound {
			c.Verdict = Inconclusive
			c.Why += "; the gateway's histogram cannot tell"
		}
		return c.excused(s)
	}
	enough := 0.01*got.total + straySlow
	switch {
	case n == endOfStep && slow < enough:
		c.Verdict = Pass
		c.Why += fmt.Sprintf("; %.0f of the %.0f slow answers it takes to blame the image", slow, math.Ceil(enough))
	case slow < enough || n == manyLooks && slow <= s.wider()*blatant*got.total:
		c.Verdict = Inconclusive
		c.Why += "; too few to tell it from chance"
	case got.over && got.seconds < bound:
		c.Verdict = Inconclusive
		c.Why += "; the gateway's histogram cannot tell"
	}
	return c.excused(s)
}

// reading is a quantile of a histogram.
type reading struct {
	seconds float64
	over    bool    // it lies above the last finite bound, which seconds then is
	total   float64 // requests in the histogram
	from    float64 // bounds of its bucket, in seconds: more than that is not known
	to      float64
}

// coarse is how many times wider than its lower bound a bucket must be for its bounds to be told in place of a number.
const coarse = 0.25

// wide says that a bucket is coarse: only its bounds, in seconds, can be told.
func wide(from, to float64) bool { return to-from > coarse*from }

// String writes it in milliseconds. Of a coarse bucket, such as Traefik's from 300 to 1200 ms, a number in it would be
// believed.
func (r reading) String() string {
	switch {
	case r.over:
		return fmt.Sprintf("more than %.0f ms", 1000*r.seconds)
	case r.from == 0 && r.to > 0:
		return fmt.Sprintf("at most %.0f ms", 1000*r.to)
	case wide(r.from, r.to):
		return fmt.Sprintf("%.0f to %.0f ms", 1000*r.from, 1000*r.to)
	}
	return fmt.Sprintf("%.0f ms", 1000*r.seconds)
}

// quantile returns the q-quantile of a cumulative histogram, linear inside its bucket as Prometheus'
// histogram_quantile has it. ok is false for a histogram that is empty or makes no sense.
func quantile(q float64, h []Bucket) (r reading, ok bool) {
	if !sound(h) {
		return reading{}, false
	}
	r.total = h[len(h)-1].Count
	if r.total == 0 {
		return r, false
	}
	rank, from, before := q*r.total, 0.0, 0.0
	for _, b := range h[:len(h)-1] {
		if b.Count >= rank {
			r.from, r.to = from, b.Le
			r.seconds = from + (b.Le-from)*(rank-before)/(b.Count-before)
			return r, true
		}
		from, before = b.Le, b.Count
	}
	r.seconds, r.over = from, true
	return r, true
}

// below returns how many requests took at most that many seconds, linear inside a bucket.
func below(seconds float64, h []Bucket) float64 {
	from, before := 0.0, 0.0
	for _, b := range h {
		if math.IsInf(b.Le, 1) {
			break
		}
		if b.Le >= seconds {
			return before + (b.Count-before)*(seconds-from)/(b.Le-from)
		}
		from, before = b.Le, b.Count
	}
	return before
}

// sound says whether it is a cumulative histogram: rising positive bounds up to +Inf, counts that never fall.
func sound(h []Bucket) bool {
	if len(h) < 2 || !math.IsInf(h[len(h)-1].Le, 1) {
		return false
	}
	from, before := 0.0, 0.0
	for i, b := range h {
		if !usable(b.Count) || b.Count < before || !(b.Le > from) || i < len(h)-1 && math.IsInf(b.Le, 1) {
			return false
		}
		from, before = b.Le, b.Count
	}
	return true
}
