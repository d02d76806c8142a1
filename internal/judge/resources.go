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

// memory compares the mean by pod of the medians. It fails where it is over the ratio and 32 MiB above the reference's, and
// the difference is not chance.
func memory(s Sample, l Limits, n looks) Check {
	c := Check{Name: "memory", Unit: "times"}
	if s.NoResources {
		c.Absent = true
		return c.unknown("metrics.k8s.io is not there: memory was not compared")
	}
	back := s.windows(n)
	trial, ref := s.OnTrial.use(back, memoryOf), s.Reference.use(back, memoryOf)
	p, ok := larger(trial, ref, n.chance())
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
	return c.unlessChance(p, n)
}

// cpu compares CPU seconds by request: what pods used over what they served meanwhile. What they use when idle weighs more on
// those that serve less, so it fails only where a pod on trial also uses at least 5 millicores more than one of the reference,
// and the difference is not chance.
func cpu(s Sample, l Limits, n looks) Check {
	c := Check{Name: "cpu", Unit: "times"}
	if s.NoResources {
		c.Absent = true
		return c.unknown("metrics.k8s.io is not there: CPU was not compared")
	}
	back := s.windows(n)
	p, ok := larger(s.OnTrial.use(back, s.byRequest(s.OnTrial)), s.Reference.use(back, s.byRequest(s.Reference)), n.chance())
	byTrial, byRef := mean(s.OnTrial.use(back, cpuOf).means()), mean(s.Reference.use(back, cpuOf).means())
	perTrial := byTrial / mean(s.OnTrial.use(back, s.loadOf(s.OnTrial)).means())
	perRef := byRef / mean(s.Reference.use(back, s.loadOf(s.Reference)).means())
	if s.NoTraffic || !ok || byRef == 0 {
		return c.unknown("%s", s.tooFew("CPU"))
	}
	c.Why = fmt.Sprintf("%s uses %.2f ms CPU by request, %s %.2f ms%s (limit %.2f times); by pod %.0f and %.0f millicores",
		s.OnTrial.Name, 1000*perTrial, s.Reference.Name, 1000*perRef, s.past(), l.CPURatio, 1000*byTrial, 1000*byRef)
	c = c.decide(perTrial/perRef, l.CPURatio)
	if c.Verdict == Fail && byTrial-byRef < smallCPU {
		c.Verdict = Pass
		c.Why += "; a difference below 5 millicores does not count"
	}
	return c.unlessChance(p, n)
}

// unlessChance takes back a failure that is not significant. Memory and CPU hold no step back, so nobody waits for more.
func (c Check) unlessChance(p float64, n looks) Check {
	if c.Verdict == Fail && p >= n.chance() {
		c.Verdict = Inconclusive
		c.Why += fmt.Sprintf("; it may be chance (p = %.2f)", p)
	}
	return c
}

// windows is how many windows back memory and CPU are compared: none where this one has the readings that it takes to tell
// anything, else as few as it takes. So what a run saw adds up while one weight is too short for metrics.k8s.io (one reading
// in 15 s). It looks at how many readings there are and never at what they say, so it is no further chance to be wrong. What
// is older than it takes is left out: a fault that began since would be thinned out.
func (s Sample) windows(n looks) int {
	for back := range oldest(s.OnTrial) + 1 {
		trial, ref := s.OnTrial.use(back, memoryOf), s.Reference.use(back, memoryOf)
		if canTell(len(slices.Concat(trial...)), len(slices.Concat(ref...)), n.chance()) {
			return back
		}
	}
	return 0
}

// oldest is how many windows ago the oldest reading was.
func oldest(n Numbers) int {
	most := 0
	for _, u := range n.Usage {
		for _, r := range u.Readings {
			most = max(most, r.Ago)
		}
	}
	return most
}

// use is what the pods of a side used: the readings of each.
type use [][]float64

func memoryOf(r Reading) float64 { return r.Memory }
func cpuOf(r Reading) float64    { return r.CPU }

// use is that since the window that is so many back. Readings of earlier windows in which the side served nothing are left
// out, and so are pods without readings.
func (n Numbers) use(back int, of func(Reading) float64) use {
	var all use
	for _, u := range n.Usage {
		var pod []float64
		for _, r := range u.Readings {
			if !r.First && (r.Ago == 0 || r.Ago <= back && r.Load > 0) {
				pod = append(pod, of(r))
			}
		}
		if len(pod) > 0 {
			all = append(all, pod)
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
func larger(trial, ref use, alpha float64) (p float64, ok bool) {
	x, y := slices.Concat(trial...), slices.Concat(ref...)
	if !usable(x...) || !usable(y...) || !canTell(len(x), len(y), alpha) {
		return 1, false
	}
	a, b := trial.medians(), ref.medians()
	switch {
	case canTell(len(a), len(b), alpha):
		return mannWhitney(a, b), true
	case slices.Min(a) <= slices.Max(b):
		return 1, true
	}
	return mannWhitney(x, y), true
}

// canTell says whether so many values against so many others can be significantly larger.
func canTell(m, n int, alpha float64) bool { return alpha*choose(m+n, m) > 1 }

// loadOf is how many requests a second a pod served in the window that a reading is of: all pods of the side together served
// them. It is NaN where there were none.
func (s Sample) loadOf(n Numbers) func(Reading) float64 {
	now := math.NaN()
	if n.Traffic.Requests > 0 {
		now = n.Traffic.Requests / s.seconds(n) / float64(len(n.Usage))
	}
	return func(r Reading) float64 {
		if r.Load > 0 {
			return r.Load
		}
		return now
	}
}

// byRequest turns the cores of a pod into the CPU seconds of a request.
func (s Sample) byRequest(n Numbers) func(Reading) float64 {
	load := s.loadOf(n)
	return func(r Reading) float64 { return r.CPU / load(r) }
}

// tooFew says why sides cannot be compared.
func (s Sample) tooFew(what string) string {
	for _, n := range []Numbers{s.OnTrial, s.Reference} {
		if n.warming() {
			return fmt.Sprintf("no pod of %s is warm yet: %s was not compared", n.Name, what)
		}
	}
	return fmt.Sprintf("%s was not compared: too few readings, or requests, that can be used; readings: %d of %s, %d of %s", what,
		len(slices.Concat(s.OnTrial.use(0, memoryOf)...)), s.OnTrial.Name, len(slices.Concat(s.Reference.use(0, memoryOf)...)), s.Reference.Name)
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

// chance is the probability, one-sided, that a difference or growth without a cause may have: 1 % at the one look at the end of
// a step; where there is a look at every reading, so much less that five of them have 1 % together (for growth: at least six
// readings that all rise, one order of 720).
func (n looks) chance() float64 {
	if n == endOfStep {
		return 0.01
	}
	return 0.002
}

// The step at weight 100 waits until a pod has so many readings in it: it is the last one that sees a leak that was too slow,
// or began too late, for those before. Of six readings one pair may stand in falling order for p < 0.01 (6 of 720 orders).
// They come once in 15 s, and the first one of a window is left out, so it takes 105 s or less; what has not come after
// LongestWait, since the window began, is not waited for. Whoever asks for a step of less than LeastStep wants an end sooner
// than that.
const (
	enoughReadings = 6
	LongestWait    = 2 * time.Minute
	LeastStep      = 30 * time.Second
)

// awaitsReadings says whether the step is to wait for readings: a pod of gray has some, so more will come. Weights at which
// production has users, too, do not wait: what they saw adds up.
func (s Sample) awaitsReadings() bool {
	begun := s.To.Sub(s.From)
	if s.NoResources || s.OnTrial.Name != "gray" || s.share() < 100 || begun < LeastStep-settled || begun >= LongestWait {
		return false
	}
	come, most := false, 0
	for _, u := range s.OnTrial.Usage {
		come = come || len(u.Readings) > 0
	}
	for _, pod := range s.OnTrial.use(0, memoryOf) {
		most = max(most, len(pod))
	}
	return come && most < enoughReadings
}

// growth is how the memory of one pod grows.
type growth struct {
	pod     string
	now     float64 // bytes, last reading
	slope   float64 // bytes by second, now
	certain bool    // it grows, and that is not chance
	ahead   float64 // bytes: how much more it uses soon
	rise    float64 // bytes, at one weight
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
// the reference does, or has risen by less than `above` times what a pod of the reference went up and down by, at all weights
// together; and growth that slows down is taken to go on slowing down. More requests take more memory: readings before and after a change of
// the weight are not compared (Reading.Ago).
func memoryGrowth(s Sample, n looks) Check {
	c := Check{Name: NameMemoryGrowth, Unit: "MiB", Awaits: n == whileWaiting}
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
	other, ok := normalOf(s.Reference)
	if !ok {
		return c.unknown("%s; no pod of %s has %d readings to compare with", c.grows(slices.MaxFunc(ends, byShare), s).Why, s.Reference.Name, normalReadings)
	}
	worst := slices.MaxFunc(ends, func(a, b growth) int {
		return cmp.Or(cmp.Compare(other.blames(a, n), other.blames(b, n)), byShare(a, b))
	})
	c = c.grows(worst, s)
	c.Reference = fmt.Sprintf("%.0f MiB", mebi(other.level))
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
	c.OnTrial = fmt.Sprintf("%.0f MiB, %+.1f MiB a minute", mebi(g.now), mebi(60*g.slope))
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

// normal is what growth is held against: what the pods of the reference do, whatever the weight was meanwhile.
type normal struct {
	side  string
	level float64 // bytes: of the pod that uses most
	swing float64 // bytes: of the one that went up and down most
}

// normalOf takes the pods that have five readings; ok is false where none has.
func normalOf(ref Numbers) (n normal, ok bool) {
	n.side = ref.Name
	for _, u := range ref.Usage {
		var all []float64
		for _, r := range u.Readings {
			all = append(all, r.Memory)
		}
		if len(all) < normalReadings || !usable(all...) {
			continue
		}
		n.level, n.swing, ok = math.Max(n.level, middle(all)), math.Max(n.swing, slices.Max(all)-slices.Min(all)), true
	}
	return n, ok
}

// normalReadings is how many readings say what a pod does.
const normalReadings = 5

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
	last := slices.DeleteFunc(slices.Clone(u.Readings), func(r Reading) bool { return r.First })
	last = last[max(0, len(last)-trendReadings):]
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
	g.rise = g.slope * atOneWeight(points)
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

// atOneWeight returns the longest time, in seconds, that points of one group are of.
func atOneWeight(points []point) (span float64) {
	for i, p := range points {
		for _, q := range points[:i] {
			if p.group == q.group {
				span = math.Max(span, p.at-q.at)
			}
		}
	}
	return span
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
		return fmt.Sprintf("no pod of %s is warm yet: growth of memory was not judged", n.Name)
	}
	return fmt.Sprintf("no pod of %s has the memory readings that tell growth: five at one weight, or more at several", n.Name)
}

func mebi(bytes float64) float64 { return bytes / (1 << 20) }

// mean is NaN for no values.
func mean(all []float64) float64 { return sum(all) / float64(len(all)) }
