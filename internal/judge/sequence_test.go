package judge

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gray-upgrade/gray-upgrade/internal/golden"
)

// look is how often the gateway is asked.
const look = 250 * time.Millisecond

// traffic is a service that is simulated: requests a second of both sides together, and the share of them that fail on
// each side.
type traffic struct {
	rate, gray, production float64
	weight                 int
	// shape is what the rate and the shares of errors are multiplied by at a moment; nil: 1 and 1.
	shape func(at time.Duration) (rate, errors float64)
	// sticky keeps each user on one side, and makes errors come from users: so many of them.
	sticky int
	// burst is how many requests fail at once when one fails.
	burst int
}

// source makes the blocks of one run.
type source struct {
	traffic
	r     *rand.Rand
	users []user
}

type user struct{ gray, unlucky bool }

func newSource(t traffic, seed uint64) *source {
	s := &source{traffic: t, r: rand.New(rand.NewPCG(seed, 7))}
	for range t.sticky {
		s.users = append(s.users, user{gray: s.r.IntN(100) < t.weight, unlucky: s.r.IntN(10) == 0})
	}
	return s
}

// block simulates each request of a quarter of a second.
func (s *source) block(at time.Duration) Block {
	b := Block{To: start.Add(at), Window: 1, Share: s.weight}
	rate, errors := 1.0, 1.0
	if s.shape != nil {
		rate, errors = s.shape(at)
	}
	for range s.poisson(s.rate * rate * look.Seconds()) {
		s.request(&b, errors)
	}
	return b
}

func (s *source) request(b *Block, errors float64) {
	gray, luck := s.r.IntN(100) < s.weight, 1.0
	if s.sticky > 0 {
		u := s.users[s.r.IntN(s.sticky)]
		gray, luck = u.gray, 0.5
		if u.unlucky {
			luck = 5.5 // the mean of all users is 1
		}
	}
	side, share := &b.Reference, s.production
	if gray {
		side, share = &b.OnTrial, s.gray
	}
	side.Requests++
	if s.r.Float64() >= share*errors*luck/float64(max(1, s.burst)) {
		return
	}
	side.Errors++
	for range s.burst - 1 { // the client asks again, and so do those like it
		side.Requests++
		side.Errors++
	}
}

func (s *source) poisson(mean float64) int {
	limit, n := math.Exp(-mean), 0
	for p := s.r.Float64(); p > limit; p *= s.r.Float64() {
		n++
	}
	return n
}

// found is when a run fails, of so long; ok is false if it does not.
func found(t traffic, long time.Duration, seed uint64) (after time.Duration, ok bool) {
	s, q, l := newSource(t, seed), NewSequence(), Defaults()
	var sum Block
	for at := look; at <= long; at += look {
		b := s.block(at)
		q.Add(b)
		sum.OnTrial.Requests += b.OnTrial.Requests
		sum.OnTrial.Errors += b.OnTrial.Errors
		sum.Reference.Requests += b.Reference.Requests
		sum.Reference.Errors += b.Reference.Errors
		e := q.Evidence()
		sample := Sample{
			OnTrial:   Numbers{Name: "gray", Traffic: Traffic{Requests: sum.OnTrial.Requests, Errors: sum.OnTrial.Errors}},
			Reference: Numbers{Name: "production", Traffic: Traffic{Requests: sum.Reference.Requests, Errors: sum.Reference.Errors}},
			Evidence:  &e,
		}
		if errorShare(sample, l).Verdict == Fail {
			return at, true
		}
	}
	return 0, false
}

// TestErrorsAreFoundInSeconds: at ten gray requests a second. No test that may stop at any time can tell 1 % from 0.1 % in
// fewer than ln(100)/KL(1 % || 0.1 %) = 330 requests, 33 s, on average, even if it knows both shares.
func TestErrorsAreFoundInSeconds(t *testing.T) {
	table := "| weight | errors of gray | median | p95 |\n|---|---|---|---|\n"
	for _, tt := range []struct {
		weight int
		gray   float64
		median time.Duration
	}{
		{5, 1, time.Second},
		{5, 0.05, 6 * time.Second},
		{5, 0.01, 55 * time.Second},
		{20, 0.05, 10 * time.Second},
		{20, 0.01, 70 * time.Second},
		{50, 1, 3 * time.Second},
		{50, 0.05, 20 * time.Second},
		{50, 0.01, 2 * time.Minute},
	} {
		var all []time.Duration
		for seed := range uint64(101) {
			after, ok := found(traffic{rate: 1000 / float64(tt.weight), weight: tt.weight, gray: tt.gray, production: 0.001}, 10*time.Minute, seed)
			assert.True(t, ok)
			all = append(all, after)
		}
		slices.Sort(all)
		table += fmt.Sprintf("| %d | %.0f %% | %.1f s | %.1f s |\n", tt.weight, 100*tt.gray, all[50].Seconds(), all[95].Seconds())
		assert.LessOrEqual(t, all[50], tt.median, "weight %d, %.0f %%", tt.weight, 100*tt.gray)
	}
	report(t, "detection", table)
}

// report prints a table; make judge writes it down.
func report(t *testing.T, section, table string) {
	t.Helper()
	t.Log("\n" + table)
	if full() {
		golden.Section(t, "../../docs/verdict.md", section, table)
	}
}

func full() bool { return os.Getenv("JUDGE") == "full" }

// clean is traffic in which gray is as production.
func clean() map[string]traffic {
	flat := traffic{rate: 100, weight: 20, gray: 0.005, production: 0.005}
	with := func(change func(*traffic)) traffic {
		t := flat
		change(&t)
		return t
	}
	return map[string]traffic{
		"steady":      flat,
		"half":        with(func(t *traffic) { t.weight = 50 }),
		"few errors":  with(func(t *traffic) { t.gray, t.production = 0.0002, 0.0002 }),
		"many errors": with(func(t *traffic) { t.gray, t.production = 0.1, 0.1 }),
		"tiny":        with(func(t *traffic) { t.rate, t.weight = 3, 50 }),
		"sticky":      with(func(t *traffic) { t.sticky = 300 }),
		"bursty": with(func(t *traffic) {
			t.burst = 5
			t.shape = func(at time.Duration) (float64, float64) { return 0.2 + 4*float64(int(at.Seconds())/5%5/4), 1 }
		}),
		"diurnal": with(func(t *traffic) {
			t.shape = func(at time.Duration) (float64, float64) {
				wave := 1 + 0.9*math.Sin(at.Seconds()/60)
				return wave, 1 + 3*wave
			}
		}),
		"a dependency fails for both": with(func(t *traffic) {
			t.shape = func(at time.Duration) (float64, float64) {
				if at > time.Minute && at < 90*time.Second {
					return 1, 80
				}
				return 1, 1
			}
		}),
	}
}

// TestGoodImagesAreSeldomBlamed runs each kind of traffic for five minutes: at most one run in a hundred may fail. make
// judge does 2,250 runs.
func TestGoodImagesAreSeldomBlamed(t *testing.T) {
	runs := 40
	if full() {
		runs = 250
	}
	failed, all, table := 0, 0, "| traffic | runs | blamed |\n|---|---|---|\n"
	kinds := clean()
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		mine := 0
		for seed := range uint64(runs) {
			if _, ok := found(kinds[name], 5*time.Minute, seed); ok {
				mine++
			}
		}
		table += fmt.Sprintf("| %s | %d | %d |\n", name, runs, mine)
		failed, all = failed+mine, all+runs
	}
	report(t, "false-alarms", table)
	assert.LessOrEqual(t, failed, all/100)
}

// TestWhatCannotBeComparedIsNoEvidence, whatever is counted.
func TestWhatCannotBeComparedIsNoEvidence(t *testing.T) {
	nan := math.NaN()
	for name, b := range map[string]Block{
		"no request":            {Window: 1, Share: 20},
		"all on one side":       {Window: 1, Share: 100, OnTrial: Counts{Requests: 1000, Errors: 1000}},
		"NaN":                   {Window: 1, Share: 20, OnTrial: Counts{Requests: nan, Errors: 9}, Reference: Counts{Requests: 100}},
		"a count below zero":    {Window: 1, Share: 20, OnTrial: Counts{Requests: 10, Errors: 9}, Reference: Counts{Requests: -100}},
		"as bad on both sides":  {Window: 1, Share: 20, OnTrial: Counts{Requests: 20, Errors: 20, Slow: 20}, Reference: Counts{Requests: 80, Errors: 80, Slow: 80}},
		"worse on the other":    {Window: 1, Share: 20, OnTrial: Counts{Requests: 20}, Reference: Counts{Requests: 80, Errors: 80, Slow: 80}},
		"no weight, both are 0": {Window: 1},
	} {
		q := NewSequence()
		for i := range 100 {
			b.To = start.Add(time.Duration(i) * look)
			q.Add(b)
		}
		e := q.Evidence()
		assert.LessOrEqual(t, e.Errors, 1.0, name)
		assert.LessOrEqual(t, e.Slow, 1.0, name)
	}
}

// TestABurstIsOneEvent: what comes in one block has one cause.
func TestABurstIsOneEvent(t *testing.T) {
	q := NewSequence()
	q.Add(Block{To: start, Window: 1, Share: 20, OnTrial: Counts{Requests: 100}, Reference: Counts{Requests: 400}})
	q.Add(Block{To: start.Add(look), Window: 1, Share: 20, OnTrial: Counts{Requests: 10, Errors: 10}, Reference: Counts{Requests: 40}})
	assert.Less(t, q.Evidence().Errors, 6.0)
	q.AddLogs(LogBlock{To: start, Share: 0.2, Lines: []Lines{{Template: "a", OnTrial: 1000}}})
	assert.InDelta(t, 2.5, q.Template("a"), 1e-9, "five to one, and half of the budget is its")
}

// TestSlowAnswersAreWeighedByTwoSeconds, in which a pause of one pod is one event.
func TestSlowAnswersAreWeighedByTwoSeconds(t *testing.T) {
	q := NewSequence()
	after := time.Duration(0)
	for ; q.Evidence().Slow < Defaults().need(forSlow) && after < time.Minute; after += look {
		q.Add(Block{
			To: start.Add(after), Window: 1, Share: 20,
			OnTrial: Counts{Requests: 10, Slow: 5}, Reference: Counts{Requests: 40},
		})
		if after < 4*time.Second {
			assert.Less(t, q.Evidence().Slow, 30.0, "two events")
		}
	}
	assert.InDelta(t, 12, after.Seconds(), 4)
}

// TestATemplateOfBothSidesIsNoNews, also where the reference writes it later; and the more there are, the more it takes.
func TestATemplateOfBothSidesIsNoNews(t *testing.T) {
	q := NewSequence()
	for range 20 {
		q.AddLogs(LogBlock{Share: 0.5, Lines: []Lines{{Template: "a", OnTrial: 1}, {Template: "b", OnTrial: 1}}})
	}
	assert.Greater(t, q.Template("a"), q.Template("b"))
	assert.Greater(t, q.Template("b"), Defaults().need(forLogs))
	q.AddLogs(LogBlock{Share: 0.5, Lines: []Lines{{Template: "a", Reference: 1}}})
	q.AddLogs(LogBlock{Share: 0.5, Lines: []Lines{{Template: "a", OnTrial: 1}}})
	assert.Zero(t, q.Template("a"))
	assert.Zero(t, q.Template("c"))
}

// TestAFaultThatBeginsLateIsFound although the early bets have lost by then.
func TestAFaultThatBeginsLateIsFound(t *testing.T) {
	s := newSource(traffic{rate: 100, weight: 20, gray: 0.01, production: 0.01}, 3)
	q, at := NewSequence(), look
	for ; at < 10*time.Minute; at += look {
		q.Add(s.block(at))
	}
	s.gray = 0.3
	for ; q.Evidence().Errors < Defaults().need(forErrors) && at < 11*time.Minute; at += look {
		q.Add(s.block(at))
	}
	t.Logf("found after %v", at-10*time.Minute)
	assert.Less(t, at, 10*time.Minute+10*time.Second)
}

// TestTimeToTell compares what is foretold with the median of simulated runs.
func TestTimeToTell(t *testing.T) {
	for _, tt := range []struct {
		share, rate float64
		weight      int
	}{{0.01, 200, 5}, {0.01, 20, 5}, {0.05, 50, 20}, {0.05, 20, 50}, {0.01, 100, 50}, {0.5, 400, 20}} {
		want, ok := TimeToTell(tt.share, 0.001, tt.rate, tt.weight, Defaults())
		assert.True(t, ok)
		var all []time.Duration
		for seed := range uint64(31) {
			after, _ := found(traffic{rate: tt.rate, weight: tt.weight, gray: 0.001 + tt.share, production: 0.001}, 6*want+time.Minute, seed)
			all = append(all, after)
		}
		slices.Sort(all)
		t.Logf("%.0f %% at weight %d of %.0f/s: foretold %v, median %v", 100*tt.share, tt.weight, tt.rate, want.Round(time.Second/4), all[15])
		assert.InEpsilon(t, all[15].Seconds(), want.Seconds(), 0.6)
	}
	for _, weight := range []int{0, 100} {
		_, ok := TimeToTell(0.01, 0, 100, weight, Defaults())
		assert.False(t, ok)
	}
	_, ok := TimeToTell(0.01, 0, 0, 20, Defaults())
	assert.False(t, ok)
	_, ok = TimeToTell(0.01, 0, 1e-6, 20, Defaults())
	assert.False(t, ok, "years")
}
