package judge

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// used is so many pods that use the same all the time: six readings of each, one every ten seconds.
func used(pods int, mib, cores float64) []Usage {
	var all []Usage
	for i := range pods {
		all = append(all, reads(fmt.Sprintf("pod-%02d", i), 0, cores, slices.Repeat([]float64{mib}, 6)...))
	}
	return all
}

// reads is one pod with these readings of memory, in MiB.
func reads(pod string, limit, cores float64, mib ...float64) Usage {
	u := Usage{Pod: pod, Limit: limit * (1 << 20)}
	for i, m := range mib {
		u.Readings = append(u.Readings, Reading{At: start.Add(time.Duration(i+1) * 10 * time.Second), Memory: m * (1 << 20), CPU: cores})
	}
	return u
}

// TestADifferenceMustBeMoreThanChance: the ratio is over its limit in all of them.
func TestADifferenceMustBeMoreThanChance(t *testing.T) {
	many := func(mib ...float64) (all []Usage) {
		for _, m := range mib {
			all = append(all, reads("p", 0, m/1000, m))
		}
		return all
	}
	moment := reads("p", 0, 0.1, 100, 100, 100, 700, 700)
	moment.Readings[3].CPU, moment.Readings[4].CPU = 0.7, 0.7
	for name, tt := range map[string]struct {
		trial, ref []Usage
		want       Verdict
		why        string
	}{
		"few pods, each above all":      {used(2, 300, 0.3), used(4, 100, 0.1), Fail, ""},
		"few pods, one of them above":   {append(used(1, 700, 0.7), used(1, 100, 0.1)...), used(4, 100, 0.1), Inconclusive, "may be chance (p = 1.00)"},
		"few pods, production has one":  {used(1, 500, 0.5), append(used(3, 100, 0.1), used(1, 510, 0.51)...), Inconclusive, "may be chance"},
		"one pod each, six readings":    {used(1, 300, 0.3), used(1, 100, 0.1), Fail, ""},
		"one pod each, four readings":   {[]Usage{reads("g", 0, 0.3, 300, 300, 300, 300)}, []Usage{reads("p", 0, 0.1, 100, 100, 100, 100)}, Inconclusive, "too few readings"},
		"a reading each of 4 and 5":     {many(300, 310, 320, 330), many(100, 110, 120, 130, 140), Fail, ""},
		"a reading each, one swapped":   {many(300, 310, 320, 130), many(50, 60, 70, 80, 140), Inconclusive, "may be chance (p = 0.02)"},
		"a reading each of 4 and 4":     {many(300, 310, 320, 330), many(100, 110, 120, 130), Inconclusive, "too few readings"},
		"few pods, a moment's readings": {used(2, 690, 0.69), []Usage{moment}, Inconclusive, "may be chance (p = 0.12)"},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthy()
			s.OnTrial.Usage, s.Reference.Usage = tt.trial, tt.ref
			s.OnTrial.Traffic.Requests = 100 * float64(len(tt.trial))
			s.Reference.Traffic.Requests = 100 * float64(len(tt.ref))
			for _, rule := range []string{"memory", "cpu"} {
				c := check(t, Judge(s, Defaults()), rule)
				assert.Equal(t, tt.want, c.Verdict, "%s: %s", rule, c.Why)
				assert.Contains(t, c.Why, tt.why)
			}
		})
	}
}

func TestWarmingPodsAreNotCompared(t *testing.T) {
	for _, side := range []func(*Sample) *Numbers{func(s *Sample) *Numbers { return &s.OnTrial }, func(s *Sample) *Numbers { return &s.Reference }} {
		s := healthy()
		n := side(&s)
		n.Usage = []Usage{{Pod: "new-1", Warming: true}, {Pod: "new-2", Warming: true}}
		for _, rule := range []string{"memory", "cpu", "memory-growth"} {
			c := check(t, Judge(s, Defaults()), rule)
			if rule == "memory-growth" && n.Name == "production" {
				assert.Equal(t, Pass, c.Verdict, "what does not grow needs nothing to compare with")
				continue
			}
			assert.Equal(t, Inconclusive, c.Verdict, c.Why)
			assert.Contains(t, c.Why, "no pod of "+n.Name+" is warm yet")
		}
		assert.Empty(t, Missing(Judge(s, Defaults()), Defaults()), "no step waits for them")
	}
	s := healthy()
	s.OnTrial.Usage = append(s.OnTrial.Usage, Usage{Pod: "new", Warming: true})
	assert.Equal(t, Pass, check(t, Judge(s, Defaults()), "memory").Verdict, "the others are")
}

func TestEarlierWindowsAreNotComparedWhereThisOneIsEnough(t *testing.T) {
	s := healthy()
	for i := range s.OnTrial.Usage {
		old := reads("", 0, 9, slices.Repeat([]float64{900}, 50)...).Readings
		for j := range old {
			old[j].Ago, old[j].Load = 1, 1
			old[j].At = old[j].At.Add(-time.Hour)
		}
		s.OnTrial.Usage[i].Readings = append(old, s.OnTrial.Usage[i].Readings...)
	}
	for _, c := range Judge(s, Defaults()) {
		assert.Equal(t, Pass, c.Verdict, "%s: %s", c.Name, c.Why)
	}
}

// over is a pod with one reading in each window, oldest first: as many as there are loads, in requests a second.
func over(pod string, mib, msByRequest float64, loads ...float64) Usage {
	u := reads(pod, 0, 0, slices.Repeat([]float64{mib}, len(loads))...)
	for i, load := range loads {
		r := &u.Readings[i]
		r.CPU, r.Load, r.Ago = 0.005+load*msByRequest/1000, load, len(loads)-1-i
	}
	return u
}

// TestWhatARunSawAddsUp: one reading in each window is enough for none of them.
func TestWhatARunSawAddsUp(t *testing.T) {
	production := []Usage{over("p1", 100, 2, 32, 27, 17), over("p2", 100, 2, 32, 27, 17), over("p3", 100, 2, 32, 27, 17)}
	for name, tt := range map[string]struct {
		trial       Usage
		memory, cpu Verdict
		why         string
	}{
		"both are more in all windows":         {over("g", 300, 8, 5, 20, 50), Fail, Fail, ""},
		"only since this one":                  {withLast(over("g", 100, 2, 5, 20, 50), 300, 0.4), Pass, Inconclusive, ""},
		"too few windows":                      {over("g", 300, 8, 20, 50), Inconclusive, Inconclusive, "too few readings"},
		"windows without requests do not help": {over("g", 300, 8, 0, 0, 50), Inconclusive, Inconclusive, "too few readings"},
		"the same by request at other loads":   {over("g", 100, 2, 5, 20, 50), Pass, Pass, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthy()
			s.OnTrial.Usage, s.Reference.Usage = []Usage{tt.trial}, production
			for _, rule := range []string{"memory", "cpu"} {
				c := check(t, Judge(s, Defaults()), rule)
				assert.Equal(t, map[string]Verdict{"memory": tt.memory, "cpu": tt.cpu}[rule], c.Verdict, c.Why)
				assert.Contains(t, c.Why, tt.why)
			}
		})
	}
}

// TestWhatAddsUpIsSeldomBlamed draws runs in which nothing differs but the readings, and every difference is over its limit: one
// reading in each of three windows, one pod against three, then up to six at weight 100, with a look at each. The looks have
// 1 % each, those while it waits 0.2 %.
func TestWhatAddsUpIsSeldomBlamed(t *testing.T) {
	dice := rand.New(rand.NewSource(1))
	none := Defaults()
	none.MemoryRatio, none.CPURatio = 1, 1
	more := func(u Usage, ago int, load float64) Usage {
		for i := range u.Readings {
			u.Readings[i].Ago += ago
		}
		with := math.Exp(0.2 * dice.NormFloat64())
		r := Reading{At: start.Add(time.Duration(len(u.Readings)) * 15 * time.Second), Memory: with * (1 << 40), CPU: load * with, Load: load}
		u.Readings = append(u.Readings, r)
		return u
	}
	blamed := map[string]float64{}
	const rounds = 2000
	for range rounds {
		s := healthy()
		s.OnTrial.Usage, s.Reference.Usage = make([]Usage, 1), make([]Usage, 3)
		failed := map[string]bool{}
		look := func() {
			for _, c := range Failed(Judge(s, none)) {
				failed[c.Name] = true
			}
		}
		for _, load := range []float64{5, 20, 50} {
			s.OnTrial.Usage[0] = more(s.OnTrial.Usage[0], 1, load)
			for i := range s.Reference.Usage {
				s.Reference.Usage[i] = more(s.Reference.Usage[i], 1, 100-load)
			}
			look()
		}
		s.Weight, s.ReferenceIsPast = 100, true
		for i := range enoughReadings {
			s.OnTrial.Usage[0] = more(s.OnTrial.Usage[0], max(0, 1-i), 100)
			look()
		}
		for rule := range failed {
			blamed[rule]++
		}
	}
	for _, rule := range []string{"memory", "cpu"} {
		assert.Positive(t, blamed[rule], rule)
		assert.LessOrEqual(t, blamed[rule]/rounds, 3*0.01+5*0.002+0.01, rule)
	}
}

// withLast changes the last reading.
func withLast(u Usage, mib, cores float64) Usage {
	r := &u.Readings[len(u.Readings)-1]
	r.Memory, r.CPU = mib*(1<<20), cores
	return u
}

func TestTheFirstReadingOfAWindowIsOfTheTimeBefore(t *testing.T) {
	s := healthy()
	for i := range s.OnTrial.Usage {
		r := &s.OnTrial.Usage[i].Readings[0]
		r.First, r.Memory, r.CPU = true, 1e12, 1e6
	}
	for _, c := range Judge(s, Defaults()) {
		assert.Equal(t, Pass, c.Verdict, "%s: %s", c.Name, c.Why)
	}
	grows := leak(240, 2, 6)
	grows.Readings[0].First, grows.Readings[1].First = true, true
	s.OnTrial.Usage = []Usage{grows}
	assert.Equal(t, Inconclusive, check(t, Judge(s, Defaults()), "memory-growth").Verdict, "four readings")
	s.OnTrial.Usage = []Usage{leak(240, 2, 6)}
	for i := range s.Reference.Usage {
		s.Reference.Usage[i].Readings = s.Reference.Usage[i].Readings[:5]
		s.Reference.Usage[i].Readings[0].First = true
	}
	assert.Equal(t, Fail, check(t, Judge(s, Defaults()), "memory-growth").Verdict, "but it says what production's memory does")
}

func TestTheLastWeightWaitsForReadings(t *testing.T) {
	first := func(u Usage) Usage { u.Readings[0].First = true; return u }
	earlier := leak(0, 1, 1)
	earlier.Readings[0].Ago = 1
	for name, tt := range map[string]struct {
		change func(*Sample)
		want   bool
	}{
		"five readings":          {trial(leak(0, 1, 5)), true},
		"one has six":            {trial(leak(0, 1, 5), leak(0, 1, 6)), false},
		"the first does not add": {trial(first(leak(0, 1, 6))), true},
		"none yet":               {trial(earlier), true},
		"it never had one":       {trial(Usage{Pod: "g", Warming: true}), false},
		"not at other weights":   {func(s *Sample) { trial(leak(0, 1, 5))(s); s.Weight = 50 }, false},
		"not on the way back": {func(s *Sample) {
			trial(leak(0, 1, 5))(s)
			s.OnTrial.Name, s.Reference.Name, s.Weight = "production", "gray", 0
		}, false},
		"a step of 30 s":     {func(s *Sample) { trial(leak(0, 1, 1))(s); s.To = s.From.Add(29500 * time.Millisecond) }, true},
		"not in short steps": {func(s *Sample) { trial(leak(0, 1, 1))(s); s.To = s.From.Add(20 * time.Second) }, false},
		"not for ever":       {func(s *Sample) { trial(leak(0, 1, 5))(s); s.To = s.From.Add(LongestWait) }, false},
		"no metrics.k8s.io":  {func(s *Sample) { trial(leak(0, 1, 5))(s); s.NoResources = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthy()
			s.Weight = 100
			tt.change(&s)
			all := Judge(s, Defaults())
			assert.Equal(t, tt.want, len(Awaited(all)) == 1)
			for _, c := range Missing(all, Defaults()) {
				assert.NotEqual(t, "memory-growth", c.Name, "nothing follows where it does not come")
			}
		})
	}
}

// TestLooksWhileWaitingShareTheirChance: 4 readings against 6 are one order of 210, 5 against 6 one of 462.
func TestLooksWhileWaitingShareTheirChance(t *testing.T) {
	s := healthy()
	s.Reference.Usage = used(1, 100, 0.1)
	s.OnTrial.Usage = []Usage{reads("g", 0, 0.9, 300, 300, 300, 300)}
	assert.Equal(t, Fail, check(t, Judge(s, Defaults()), "memory").Verdict, "at other weights there is one look")
	s.Weight = 100
	assert.Equal(t, Inconclusive, check(t, Judge(s, Defaults()), "memory").Verdict)
	s.OnTrial.Usage = []Usage{reads("g", 0, 0.9, 300, 300, 300, 300, 300, 300)}
	assert.Equal(t, Fail, check(t, Judge(s, Defaults()), "memory").Verdict)
}

// leak is a pod that had 180 MiB and takes so many more at each reading.
func leak(limit, by float64, readings int) Usage {
	var mib []float64
	for i := range readings {
		mib = append(mib, 180+by*float64(i))
	}
	return reads("g1", limit, 0.1, mib...)
}

func TestMemoryGrowth(t *testing.T) {
	nan := math.NaN()
	noisy := []float64{150, 160, 151, 158, 152, 159}
	tests := []struct {
		name       string
		change     func(*Sample)
		end, early Verdict
		why        string
	}{
		// 2 MiB in 10 s are 12 a minute. After six readings there are 190, and 50 more to the limit: 4.2 minutes.
		{"a leak", trial(leak(240, 2, 6)), Fail, Fail, "pods of production up to 100 MiB, 0.0 MiB up and down; at this slope the limit of 240 MiB is reached in 4 min"},
		{"a leak, soon", trial(leak(252, 12, 6)), Fail, Fail, "at this slope the limit of 252 MiB is reached in 10 s"},
		{"a leak beyond its limit", trial(leak(185, 2, 6)), Fail, Fail, "is reached in 0 s"},
		{"a leak, five readings", trial(leak(240, 2, 5)), Fail, Inconclusive, "is reached in 4 min"},
		{"a leak, four readings", trial(leak(240, 2, 4)), Inconclusive, Inconclusive, "no pod of gray has the memory readings that tell growth"},
		{"a leak, the limit is far", trial(leak(512, 2, 6)), Pass, Pass, "pod g1 of gray uses 190 MiB, +12.0 MiB a minute over 6 readings"},
		{"a leak, just not soon", trial(leak(190+121, 2, 6)), Pass, Pass, ""},
		{"a leak, just soon", trial(leak(190+119, 2, 6)), Fail, Pass, "in 10 min"},
		{"a leak, just not at once", trial(leak(190+61, 2, 6)), Fail, Pass, "in 5 min"},
		{"a leak, just at once", trial(leak(190+59, 2, 6)), Fail, Fail, "in 5 min"},
		{"one of three pods", trial(used(1, 400, 0.1)[0], leak(240, 2, 6), used(1, 400, 0.1)[0]), Fail, Fail, "pod g1 of gray"},
		{"no limit, doubles", trial(leak(0, 4, 6)), Fail, Pass, "at this slope it uses 200 MiB more in 8 min, and has no limit"},
		{"no limit, does not double", trial(leak(0, 3, 6)), Pass, Pass, ""},
		{"no limit, doubles, and is small", func(s *Sample) {
			trial(reads("g1", 0, 0.1, 1, 1.2, 1.4, 1.6, 1.8, 2))(s)
			s.Reference.Usage = used(8, 0.5, 0.1)
		}, Pass, Pass, ""},
		{"falls", trial(leak(240, -2, 6)), Pass, Pass, ""},
		{"stays", trial(leak(181, 0, 6)), Pass, Pass, ""},
		{"noise", trial(reads("g1", 160, 0.1, noisy...)), Pass, Pass, ""},
		{"noise that would reach it", trial(reads("g1", 160, 0.1, 150, 158, 152, 157, 153, 159)), Pass, Pass, "that may be chance"},
		{"a cache that fills", trial(reads("g1", 256, 0.1, 180, 200, 210, 215, 217, 217.5, 217.8, 217.9)), Pass, Pass, ""},
		{"below what production uses", func(s *Sample) { trial(leak(240, 2, 6))(s); s.Reference.Usage[7] = used(1, 190, 0.1)[0] }, Pass, Pass, "a pod of production uses as much"},
		{"above what production uses", func(s *Sample) { trial(leak(240, 2, 6))(s); s.Reference.Usage[7] = used(1, 189, 0.1)[0] }, Fail, Fail, ""},
		{"a pod of production grows half as much", func(s *Sample) {
			trial(leak(240, 2, 6))(s)
			s.Reference.Usage[0] = reads("p", 0, 0.1, 100, 101, 102, 103, 104, 105)
		}, Pass, Pass, "it rose by less than twice what pods of production go up and down by"},
		{"a pod of production grows less", func(s *Sample) {
			trial(leak(240, 2, 6))(s)
			s.Reference.Usage[0] = reads("p", 0, 0.1, 100, 101, 102, 103, 104, 104.9)
		}, Fail, Fail, ""},
		{"it slows down", trial(reads("g1", 256, 0.1, 180, 190, 197, 203, 207, 210)), Pass, Pass, ""},
		{"more requests, more memory", trial(steps(180, 180, 180, 200, 200, 200, 220, 220, 220)), Pass, Inconclusive, ""},
		{"a leak over three short windows", trial(steps(180, 182, 184, 204, 206, 208, 228, 230, 232)), Fail, Inconclusive, "is reached in 2 min"},
		{"production's readings are missing", func(s *Sample) { trial(leak(240, 2, 6))(s); s.Reference.Usage = nil }, Inconclusive, Inconclusive, "no pod of production"},
		{"NaN", trial(reads("g1", 256, 0.1, 180, 182, nan, 186, 188, 190)), Inconclusive, Inconclusive, ""},
		{"no metrics.k8s.io", func(s *Sample) { trial(leak(240, 2, 6))(s); s.NoResources = true }, Inconclusive, Inconclusive, "metrics.k8s.io is not there"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := healthy()
			tt.change(&s)
			c := check(t, Judge(s, Defaults()), "memory-growth")
			assert.Equal(t, tt.end, c.Verdict, c.Why)
			assert.Contains(t, c.Why, tt.why)
			assert.Equal(t, tt.end == Fail, c.Where == "Pod g1")
			_, err := json.Marshal(c)
			require.NoError(t, err)
			early := AtOnce(s, Defaults())
			assert.Equal(t, tt.early == Fail, len(early) == 1 && early[0].Name == "memory-growth", "%v", early)
			assert.Equal(t, tt.early, memoryGrowth(s, manyLooks).Verdict)
			assert.Empty(t, Missing([]Check{c}, Defaults()))
		})
	}
}

// trial replaces the pods on trial.
func trial(u ...Usage) func(*Sample) {
	return func(s *Sample) { s.OnTrial.Usage = u }
}

// steps is a pod with three readings in each window.
func steps(mib ...float64) Usage {
	u := reads("g1", 256, 0.1, mib...)
	for i := range u.Readings {
		u.Readings[i].Ago = (len(mib) - 1 - i) / 3
	}
	return u
}

// TestMoreMemoryOfFewerPodsIsNobodysFault: the requests of a pod that was taken away go to those that are left.
func TestMoreMemoryOfFewerPodsIsNobodysFault(t *testing.T) {
	s := healthy()
	s.OnTrial.Usage, s.OnTrial.Taken = []Usage{leak(256, 2, 6)}, []string{"g2"}
	c := check(t, Judge(s, Defaults()), "memory-growth")
	assert.Equal(t, Fail, c.Verdict)
	assert.True(t, c.Infrastructure)
}

// TestWhatWandersIsSeldomBlamed draws upgrades of a service whose memory goes up and down by itself, and of one that leaks
// beside that: five pods and ten of production, two minutes with a look at every reading, limits at one and a half of what they
// use.
func TestWhatWandersIsSeldomBlamed(t *testing.T) {
	var dice *rand.Rand
	sawtooth := func() func(int) float64 {
		period, phase := 2+20*dice.Float64(), dice.Float64()
		return func(i int) float64 { _, part := math.Modf(phase + float64(i)/period); return 60 * part }
	}
	walk := func() func(int) float64 {
		at := 0.0
		return func(int) float64 { at += 4 * dice.NormFloat64(); return at }
	}
	noise := func() func(int) float64 { return func(int) float64 { return 4 * dice.NormFloat64() } }
	for name, tt := range map[string]struct {
		wander func() func(int) float64
		leak   float64 // MiB at each reading
		least  float64
		most   float64
	}{
		"a collector that takes its time": {sawtooth, 0, 0, 0.01},
		"a walk":                          {walk, 0, 0, 0.02},
		"noise":                           {noise, 0, 0, 0.01},
		"noise and a leak":                {noise, 5, 0.95, 1},
	} {
		dice = rand.New(rand.NewSource(1))
		blamed := 0.0
		const rounds = 200
		for range rounds {
			pods := func(n int, leak float64) (all []Usage) {
				for range n {
					use, base := tt.wander(), 200*(1+0.05*dice.NormFloat64())
					var mib []float64
					for i := range 12 {
						mib = append(mib, base+use(i)+leak*float64(i))
					}
					all = append(all, reads("g1", 300, 0.1, mib...))
				}
				return all
			}
			s := healthy()
			s.OnTrial.Usage, s.Reference.Usage = pods(5, tt.leak), pods(10, 0)
			if anyLook(s) {
				blamed++
			}
		}
		assert.GreaterOrEqual(t, blamed/rounds, tt.least, name)
		assert.LessOrEqual(t, blamed/rounds, tt.most, name)
	}
}

// anyLook asks after every reading, and at the end.
func anyLook(s Sample) bool {
	for k := 1; k <= 12; k++ {
		now := s
		now.OnTrial.Usage, now.Reference.Usage = slices.Clone(s.OnTrial.Usage), slices.Clone(s.Reference.Usage)
		for _, usage := range [][]Usage{now.OnTrial.Usage, now.Reference.Usage} {
			for i := range usage {
				usage[i].Readings = usage[i].Readings[:k]
			}
		}
		if len(AtOnce(now, Defaults())) > 0 {
			return true
		}
	}
	return memoryGrowth(s, endOfStep).Verdict == Fail
}
