package judge

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Differences too small to matter, whatever the ratio says.
const (
	smallMemory = 32 << 20 // bytes by pod
	smallCPU    = 0.005    // cores by pod
)

// significant is the p-value below which a difference in memory or CPU is not chance, one-sided. It is good for one look,
// at the end of a step.
const significant = 0.01

// memory compares the mean by pod of the medians of this window. It fails where it is over the ratio and 32 MiB above the
// reference's, and the difference is not chance.
func memory(s Sample, l Limits) Check {
	c := Check{Name: "memory", Unit: "times"}
	if s.NoResources {
		c.Absent = true
		return c.unknown("metrics.k8s.io is not there: memory was not compared")
	}
	trial, ref := s.OnTrial.use(memoryOf), s.Reference.use(memoryOf)
	p, ok := larger(trial, ref)
	byTrial, byRef := mean(trial.medians()), mean(ref.medians())
	if !ok || !usable(byTrial, byRef) || byRef == 0 {
		return c.unknown("%s", s.tooFew("memory"))
	}
	c.Why = fmt.Sprintf("%s uses %.0f MiB by pod, %s %.0f MiB%s (%.2f times, limit %.2f)", s.OnTrial.Name, mebi(byTrial),
		s.Reference.Name, mebi(byRef), s.past(), byTrial/byRef, l.MemoryRatio)
	c = c.decide(byTrial/byRef, l.MemoryRatio)
	if c.Verdict == Fail && byTrial-byRef < smallMemory {
		c.Verdict = Pass
		c.Why += "; a difference below 32 MiB does not count"
	}
	return c.unlessChance(p)
}

// cpu compares CPU seconds by request. What pods use when idle weighs more on those that serve less, so it fails only
// where a pod on trial also uses at least 5 millicores more than one of the reference, and the difference is not chance.
func cpu(s Sample, l Limits) Check {
	c := Check{Name: "cpu", Unit: "times"}
	if s.NoResources {
		c.Absent = true
		return c.unknown("metrics.k8s.io is not there: CPU was not compared")
	}
	trial, ref := s.OnTrial.use(cpuOf), s.Reference.use(cpuOf)
	forTrial, forRef := s.byRequest(s.OnTrial), s.byRequest(s.Reference)
	p, ok := larger(trial.times(forTrial), ref.times(forRef))
	byTrial, byRef := mean(trial.means()), mean(ref.means())
	if s.NoTraffic || !ok || byRef == 0 {
		return c.unknown("%s", s.tooFew("CPU"))
	}
	c.Why = fmt.Sprintf("%s uses %.2f ms CPU by request, %s %.2f ms%s (limit %.2f times); by pod %.0f and %.0f millicores",
		s.OnTrial.Name, 1000*byTrial*forTrial, s.Reference.Name, 1000*byRef*forRef, s.past(), l.CPURatio, 1000*byTrial, 1000*byRef)
	c = c.decide(byTrial*forTrial/(byRef*forRef), l.CPURatio)
	if c.Verdict == Fail && byTrial-byRef < smallCPU {
		c.Verdict = Pass
		c.Why += "; a difference below 5 millicores does not count"
	}
	return c.unlessChance(p)
}

// unlessChance takes back a failure that is not significant. Memory and CPU hold no step back, so nobody waits for more.
func (c Check) unlessChance(p float64) Check {
	if c.Verdict == Fail && p >= significant {
		c.Verdict = Inconclusive
		c.Why += fmt.Sprintf("; it may be chance (p = %.2f)", p)
	}
	return c
}

// use is what the pods of a side used in this window: the readings of each.
type use [][]float64

func memoryOf(r Reading) float64 { return r.Memory }
func cpuOf(r Reading) float64    { return r.CPU }

// use takes pods without readings for none.
func (n Numbers) use(of func(Reading) float64) use {
	var all use
	for _, u := range n.Usage {
		var pod []float64
		for _, r := range u.Readings {
			if r.Ago == 0 {
				pod = append(pod, of(r))
			}
		}
		if len(pod) > 0 {
			all = append(all, pod)
		}
	}
	return all
}

// times multiplies every reading.
func (u use) times(factor float64) use {
	all := make(use, len(u))
	for i, pod := range u {
		for _, v := range pod {
			all[i] = append(all[i], factor*v)
		}
	}
	return all
}

func (u use) medians() []float64 {
	var all []float64
	for _, pod := range u {
		all = append(all, middle(pod))
	}
	return all
}

func (u use) means() []float64 {
	var all []float64
	for _, pod := range u {
		all = append(all, mean(pod))
	}
	return all
}

// larger returns the one-sided p-value of the pods on trial using more than those of the reference, by Mann and Whitney's
// test; ok is false where the readings are unusable, or too few for any outcome to be significant.
//
// Pods are what the image is judged by, and the readings of one pod are alike: as if they were independent, they would
// prove with any p that this pod uses more, which its node or its users may be the cause of (Hurlbert, "Pseudoreplication
// and the design of ecological field experiments", 1984). So each pod is one value, its median, where there are pods enough
// (5 against 4, or 2 against 14). Where there are fewer, no test of pods can reach p < 0.01. Then they must be as far apart
// as pods can be, every one on trial above every one of the reference, and the readings say that it was no moment's.
func larger(trial, ref use) (p float64, ok bool) {
	x, y := slices.Concat(trial...), slices.Concat(ref...)
	if !usable(x...) || !usable(y...) || !canTell(len(x), len(y)) {
		return 1, false
	}
	a, b := trial.medians(), ref.medians()
	switch {
	case canTell(len(a), len(b)):
		return mannWhitney(a, b), true
	case slices.Min(a) <= slices.Max(b):
		return 1, true
	}
	return mannWhitney(x, y), true
}

// canTell says whether so many values against so many others can be significantly larger.
func canTell(m, n int) bool { return significant*choose(m+n, m) > 1 }

// byRequest is what turns the cores of a pod into the CPU seconds of a request: all pods of the side together served its
// requests. It is NaN where there were none.
func (s Sample) byRequest(n Numbers) float64 {
	if n.Traffic.Requests <= 0 {
		return math.NaN()
	}
	return float64(len(n.Usage)) * s.seconds(n) / n.Traffic.Requests
}

// tooFew says why sides cannot be compared.
func (s Sample) tooFew(what string) string {
	for _, n := range []Numbers{s.OnTrial, s.Reference} {
		if n.warming() {
			return fmt.Sprintf("all %d pods of %s are still warming up: %s was not compared", len(n.Usage), n.Name, what)
		}
	}
	return fmt.Sprintf("%s was not compared: too few readings, or requests, that can be used; readings: %d of %s, %d of %s", what,
		len(slices.Concat(s.OnTrial.use(memoryOf)...)), s.OnTrial.Name, len(slices.Concat(s.Reference.use(memoryOf)...)), s.Reference.Name)
}

// warming says whether a side has nothing but pods that are new.
func (n Numbers) warming() bool {
	return len(n.Usage) > 0 && !slices.ContainsFunc(n.Usage, func(u Usage) bool { return !u.Warming })
}

// above is how many times the ups and downs of the reference's pods the growth of a pod must be. At 1, a
// service whose memory walks at random is blamed for it in up to one of six upgrades, at 2 in one of 200 (see
// TestWhatWandersIsSeldomBlamed).
const above = 2

// trendReadings is how many readings of a pod, the last ones, its growth is judged by.
const trendReadings = 20

// soon is how near the limit of a pod's memory must be, as it grows, to end an upgrade: twice what closing may take by
// default (close-timeout, 5m), so that users are away before the pod is killed. What is farther off is seen again in the
// next step, with more readings. At once, within a step, it is what closing may take: the rest can wait for its end.
func (n looks) soon() time.Duration {
	if n == manyLooks {
		return 5 * time.Minute
	}
	return 10 * time.Minute
}

// chance is the probability that growth without a cause may have: one look at the end of a step, or, at every reading, at
// least six of them that all rise (one order of 720).
func (n looks) chance() float64 {
	if n == manyLooks {
		return 0.002
	}
	return significant
}

// growth is how the memory of one pod grows.
type growth struct {
	pod     string
	now     float64 // bytes, last reading
	median  float64 // bytes
	slope   float64 // bytes by second, now
	certain bool    // it grows, and that is not chance
	ahead   float64 // bytes: how much more it uses soon
	rise    float64 // bytes, at one weight
	swing   float64 // bytes between the least and the most of one weight
	room    float64 // bytes that are left to the limit; without one, what would double it, and 32 MiB at least
	limit   float64 // bytes; 0: none
	count   int     // readings
}

// memoryGrowth fails where a pod on trial runs into its memory limit soon (looks.soon), at a slope (Theil and Sen's) that is
// above 0 with confidence: users would see it killed. A pod without a limit must be about to double in that time; that waits
// for the end of the step.
//
// Memory that is not leaked grows, too: caches fill, a heap is touched for the first time or waits for its collector, and its
// readings are so much alike that chance alone makes trends of them. So a pod is not blamed while it uses no more than a pod of
// the reference does, or has risen by less than `above` times what a pod of the reference went up and down by meanwhile; and
// growth that slows down is taken to go on slowing down. More requests take more memory: readings before and after a change of
// the weight are not compared (Reading.Ago).
func memoryGrowth(s Sample, n looks) Check {
	c := Check{Name: "memory-growth", Unit: "MiB"}
	if s.NoResources {
		c.Absent = true
		return c.unknown("metrics.k8s.io is not there: growth of memory was not judged")
	}
	all := s.OnTrial.growths(n)
	if len(all) == 0 {
		return c.unknown("%s", s.OnTrial.noTrend())
	}
	ends := slices.DeleteFunc(slices.Clone(all), func(g growth) bool { return !g.certain || g.ahead <= g.room })
	if len(ends) == 0 {
		return c.grows(slices.MaxFunc(all, byShare), s).spare("that may be chance")
	}
	ref := s.Reference.growths(n)
	if len(ref) == 0 {
		return c.unknown("%s; %s", c.grows(slices.MaxFunc(ends, byShare), s).Why, s.Reference.noTrend())
	}
	other := normalOf(s.Reference.Name, ref)
	worst := slices.MaxFunc(ends, func(a, b growth) int {
		return cmp.Or(cmp.Compare(other.blames(a, n), other.blames(b, n)), byShare(a, b))
	})
	c = c.grows(worst, s)
	c.Why += fmt.Sprintf("; pods of %s up to %.0f MiB, %.1f MiB up and down%s", other.side, mebi(other.level), mebi(other.swing), s.past())
	if why := other.pardons(worst, n); why != "" {
		return c.spare(why)
	}
	c.Where = "Pod " + worst.pod
	c.Why += "; " + worst.end()
	return c.excused(s)
}

// grows measures one pod.
func (c Check) grows(g growth, s Sample) Check {
	c.Why = fmt.Sprintf("pod %s of %s uses %.0f MiB, %+.1f MiB a minute over %d readings", g.pod, s.OnTrial.Name, mebi(g.now), mebi(60*g.slope), g.count)
	return c.decide(math.Max(0, mebi(g.ahead)), mebi(g.room))
}

// spare makes a failure a pass, and says why.
func (c Check) spare(why string) Check {
	if c.Verdict == Fail {
		c.Verdict = Pass
		c.Why += "; " + why
	}
	return c
}

// normal is what growth is held against: what the pods of the reference do.
type normal struct {
	side  string
	level float64 // bytes: of the pod that uses most
	swing float64 // bytes: of the one that went up and down most
}

func normalOf(side string, ref []growth) normal {
	n := normal{side: side}
	for _, g := range ref {
		n.level, n.swing = math.Max(n.level, g.median), math.Max(n.swing, g.swing)
	}
	return n
}

// pardons says why growth is not held against the image; "" where it is.
func (n normal) pardons(g growth, l looks) string {
	switch {
	case g.now <= n.level:
		return "a pod of " + n.side + " uses as much"
	case g.rise <= above*n.swing:
		return "it rose by less than twice what pods of " + n.side + " go up and down by"
	case l == manyLooks && g.limit <= 0:
		return "it has no limit"
	}
	return ""
}

// blames is 1 where growth is held against the image, to sort by.
func (n normal) blames(g growth, l looks) int {
	if n.pardons(g, l) == "" {
		return 1
	}
	return 0
}

// growths are those of the pods that have enough readings.
func (n Numbers) growths(l looks) []growth {
	var all []growth
	for _, u := range n.Usage {
		if g, ok := u.growth(l); ok {
			all = append(all, g)
		}
	}
	return all
}

// growth takes the smaller slope of all readings and of the later half.
func (u Usage) growth(n looks) (g growth, ok bool) {
	last := u.Readings[max(0, len(u.Readings)-trendReadings):]
	points, values := make([]point, len(last)), make([]float64, len(last))
	for i, r := range last {
		points[i] = point{at: r.At.Sub(last[0].At).Seconds(), value: r.Memory, group: r.Ago}
		values[i] = r.Memory
	}
	slope, atLeast, ok := theilSen(points, n.chance())
	if !ok || !usable(values...) {
		return g, false
	}
	half := len(points) / 2
	first, _ := slopesOf(points[:half])
	later, _ := slopesOf(points[half:])
	if len(first) == 0 || len(later) == 0 {
		return g, false
	}
	g = growth{
		pod: u.Pod, now: values[len(values)-1], limit: u.Limit, count: len(last),
		slope: math.Min(slope, median(later)), certain: atLeast > 0,
	}
	g.ahead = ahead(median(first), g.slope, points[len(points)-1].at/2, n.soon().Seconds())
	span, swing := atOneWeight(points)
	g.rise, g.swing = g.slope*span, swing
	g.median = middle(values)
	g.room = math.Max(0, u.Limit-g.now)
	if u.Limit <= 0 {
		g.room = math.Max(g.now, smallMemory)
	}
	return g, true
}

// ahead is how much grows in a time from a slope that was another one half a trend ago, both in seconds: it goes on to slow
// down at that rate, or goes on as it is.
func ahead(before, slope, half, within float64) float64 {
	if slope <= 0 || slope >= before {
		return slope * within
	}
	decay := math.Log(before/slope) / half
	return slope / decay * (1 - math.Exp(-decay*within))
}

// atOneWeight returns the longest time, in seconds, that points of one group are of, and how far those of any are apart.
func atOneWeight(points []point) (span, swing float64) {
	for i, p := range points {
		for _, q := range points[:i] {
			if p.group == q.group {
				span, swing = math.Max(span, p.at-q.at), math.Max(swing, math.Abs(p.value-q.value))
			}
		}
	}
	return span, swing
}

// byShare compares how much of its room a pod takes soon.
func byShare(a, b growth) int {
	return cmp.Compare(a.ahead/math.Max(1, a.room), b.ahead/math.Max(1, b.room))
}

// end says when the room is used up.
func (g growth) end() string {
	left := time.Duration(g.room / g.slope * float64(time.Second))
	when := fmt.Sprintf("%.0f min", left.Minutes())
	if left < 90*time.Second {
		when = fmt.Sprintf("%.0f s", left.Seconds())
	}
	if g.limit > 0 {
		return fmt.Sprintf("at this slope the limit of %.0f MiB is reached in %s", mebi(g.limit), when)
	}
	return fmt.Sprintf("at this slope it uses %.0f MiB more in %s, and has no limit", mebi(g.room), when)
}

// noTrend says why no growth of a side can be told.
func (n Numbers) noTrend() string {
	if n.warming() {
		return fmt.Sprintf("all %d pods of %s are still warming up: growth of memory was not judged", len(n.Usage), n.Name)
	}
	return fmt.Sprintf("no pod of %s has the memory readings that tell growth: five at one weight, or more at several", n.Name)
}

func mebi(bytes float64) float64 { return bytes / (1 << 20) }

// mean is NaN for no values.
func mean(all []float64) float64 { return sum(all) / float64(len(all)) }
