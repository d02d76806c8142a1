package observe

import (
	"context"
	"hash/fnv"
	"log/slog"
	"math"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// kind is something that happens to upgrades, and how they must end then.
type kind struct {
	name string
	want end
	draw func(s *service) // the parameters of its own, and what it does
}

// end is how the way up to weight 100 ended.
type end string

const (
	blamed   end = "blamed"               // gray closed, the image on hold
	excused  end = "closed without blame" // gray closed
	thin     end = "not enough evidence"  // gray closed
	promoted end = "passed"               // every user on gray
)

// weights are those of a plan.
var weights = []int{5, 20, 50, 100}

// beforeIt is how long production is seen before the first user of gray.
const beforeIt = 20 * time.Second

// longest is how long a step may wait for evidence: see watch of internal/upgrade.
func (s *service) longest() time.Duration { return 4*s.step + time.Minute }

// outcome is how a run of a kind ended.
type outcome struct {
	kind
	seed   uint64
	drawn  string
	end    end
	weight int           // of gray then
	after  time.Duration // since the fault began
	early  bool          // it ended before the fault began
	checks []judge.Check // that ended it
	expected
}

// expected is what is known of a fault before the run, from what was drawn alone.
type expected struct {
	touched float64 // requests of gray
	share   float64 // of gray's requests while it is there, 0..1; 1 where it does not show in requests
	few     bool    // it touches too few to tell, or hides in the histogram
}

// seeds of the corpus. Those below belong to whoever tunes a rule (JUDGE=tune): no rule is tuned on the corpus.
const firstSeed = 1000

// runsOf is how many runs of a kind there are, and their first seed.
func runsOf(k kind) (first, runs int) {
	switch os.Getenv("JUDGE") {
	case "full":
		return firstSeed, k.fullRuns()
	case "tune":
		return 0, k.fullRuns()
	}
	if k.want == promoted {
		return firstSeed, 2 // these go all the way, and take longest
	}
	return firstSeed, 3
}

func (k kind) fullRuns() int {
	if k.want == promoted {
		return 70
	}
	return 40
}

// TestCorpus runs upgrades of every kind through the watch, as the engine does, on a simulated service. make judge runs all
// of them and writes docs/verdict.md.
func TestCorpus(t *testing.T) {
	var all tallied
	t.Run("kinds", func(t *testing.T) {
		for _, k := range kinds() {
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				first, runs := runsOf(k)
				for i := range runs {
					all.add(simulate(t, k, uint64(first+i)))
				}
			})
		}
	})
	all.check(t)
	all.report(t)
}

// simulate runs one upgrade.
func simulate(t *testing.T, k kind, seed uint64) (o outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		stream := fnv.New64()
		_, err := stream.Write([]byte(k.name))
		require.NoError(t, err)
		s := newService(seed, stream.Sum64())
		k.draw(s)
		expected := s.expect()
		o = s.upgrade(t)
		o.kind, o.seed, o.drawn, o.expected = k, seed, s.String(), expected
	})
	return o
}

// watch makes the product's Watch of a service.
func (s *service) watch(t *testing.T) *Watch {
	t.Helper()
	kube := s.client(t)
	return New(Options{
		Kube: kube, Target: plan.Target{Namespace: "shop"}, Limits: judge.Defaults(), Traffic: s.traffic,
		Selectors: bySide,
		Renews:    func(_ *corev1.PodSpec, container string) bool { return container == "app" },
		Metrics:   kube.RESTClient(), Probe: s.accounts, Log: slog.New(slog.DiscardHandler),
	})
}

// upgrade raises the weight step by step, until something ends it.
func (s *service) upgrade(t *testing.T) outcome {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s.route(0)
	s.grow(plan.Production, s.pods)
	s.grow(plan.Gray, s.grayPods(0))
	w := s.watch(t)
	w.Begin(plan.Gray, 0)
	found := w.Watch(ctx)
	defer func() {
		stop()
		for range found {
			continue // only its end matters
		}
	}()
	time.Sleep(tick / 3) // between the looks of the watch
	go s.serve(ctx)
	time.Sleep(beforeIt + tick/3)
	for _, weight := range weights {
		s.grow(plan.Gray, s.grayPods(weight))
		w.Begin(plan.Gray, weight)
		s.route(weight)
		if o, over := s.see(w, found); over {
			return o
		}
	}
	return s.over(promoted, nil)
}

// see watches one step as the engine does; over says that the upgrade ends with it.
func (s *service) see(w *Watch, found <-chan judge.Finding) (o outcome, over bool) {
	begun, next := time.Now(), s.step
	for {
		select {
		case f := <-found:
			return s.over(endOf(f.Checks), f.Checks), true
		case <-time.After(next):
		}
		checks := w.Verdict()
		missing, late := judge.Missing(checks, w.Limits), time.Since(begun) >= s.longest()
		switch {
		case judge.Worst(checks) == judge.Fail:
			return s.over(endOf(judge.Failed(checks)), judge.Failed(checks)), true
		case len(missing) == 0 && (late || len(judge.Awaited(checks)) == 0):
			s.passed = append(s.passed, checks...)
			return o, false
		case late:
			return s.over(thin, missing), true
		}
		next = 250 * time.Millisecond
	}
}

func endOf(checks []judge.Check) end {
	if judge.Blamed(checks) {
		return blamed
	}
	return excused
}

func (s *service) over(e end, checks []judge.Check) outcome {
	if e == promoted {
		checks = s.passed
	}
	after := s.at() - s.from
	return outcome{end: e, weight: s.weight, checks: checks, after: after, early: after < 0}
}

// expect counts the requests that the fault touches while it can be seen: while both sides have users, or at weight 100
// where it begins there.
func (s *service) expect() expected {
	e := expected{share: 1}
	var at time.Duration
	var all, noise, evidence float64
	for _, weight := range weights {
		stays, goesOn := s.stays(weight)
		begins, ends := max(s.from, at), min(s.until, at+stays)
		at += stays
		if s.touches != nil && (weight == 100) == s.onlyFull && ends > begins {
			n := s.served(weight, ends-begins)
			all, e.touched = all+n, e.touched+n*s.touches(weight)
			evidence += (ends - begins).Seconds() / slowBlock.Seconds() * math.Log(100/float64(weight))
			noise += n * s.usual / (1 - min(0.5, float64(weight)/100))
		}
		if !goesOn {
			break
		}
	}
	e.few = s.hidden || s.slowly && evidence < mostEvidence || s.from >= at || s.many && s.served(weights[0], s.longest()) < 1.5*float64(judge.Defaults().MinRequests)
	if s.touches != nil {
		e.share = e.touched / max(1, all)
		e.few = e.few || e.touched < leastTouched+deviations*math.Sqrt(noise)
	}
	return e
}

// stays is how long the weight stays, and whether gray has the requests that it needs by then.
func (s *service) stays(weight int) (d time.Duration, goesOn bool) {
	needs := time.Duration(float64(judge.Defaults().MinRequests) / s.served(weight, time.Second) * 1e9)
	return min(max(s.step, needs), s.longest()), needs <= s.longest()
}

// served is how many requests gray gets at a weight.
func (s *service) served(weight int, d time.Duration) float64 {
	return s.rate * float64(weight) / 100 * d.Seconds()
}

// slowBlock is how long judge counts slow answers before it bets on them: no block can bring more than the logarithm of one by
// gray's share, and mostEvidence is half as much again as a third of the capital needs to grow to 1000.
const (
	slowBlock    = 2 * time.Second
	mostEvidence = 12
)

// Below so many touched requests, and so many standard deviations of what looks touched without a fault, a run is "too few to
// tell". A test of a fixed length that knows all shares needs 4.7 deviations for one false alarm in 125 and one miss in a
// hundred; this one may stop at any time and knows none of them.
const (
	leastTouched = 20
	deviations   = 6
)
