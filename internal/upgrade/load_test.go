package upgrade

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// TestGrayGrowsWithTheLoad: planned are 2, 3 and 4 pods; twice the load of the first watch asks for twice as many.
func TestGrayGrowsWithTheLoad(t *testing.T) {
	for _, tt := range []struct {
		name  string
		later float64 // requests a second from weight 20 on; 100 before
		sizes []int32
	}{
		{"the same", 100, []int32{2, 3, 4}},
		{"twice", 200, []int32{4, 6, 8}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.rate = func(weight int) float64 {
					if weight < 20 {
						return 100
					}
					return tt.later
				}
				story := w.upgrade("1").Run(t.Context())
				assert.Equal(t, plan.Promoted, story.Outcome, "%+v", story.Failure)
				assert.Equal(t, tt.sizes, w.sizes)
				assert.Equal(t, int32(4+2+4), story.PeakPods, "production, its surge, and gray")
			})
		})
	}
}

// TestTheWeightDoesNotRiseOnAGrayThatIsTooSmall: the HPA allows 8 pods, and four times the load takes 16.
func TestTheWeightDoesNotRiseOnAGrayThatIsTooSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.rate = func(weight int) float64 {
			if weight < 75 {
				return 100
			}
			return 400
		}
		story := w.upgrade("1").Run(t.Context())
		assert.Equal(t, plan.Closed, story.Outcome)
		require.NotNil(t, story.Failure)
		assert.Equal(t, "gray needs 16 pods for weight 100 (400 requests/s now, 100 at the start); the most there may be are 8", story.Failure.What)
		assert.Contains(t, story.Failure.Next, "maxReplicas")
		assert.Empty(t, w.record.Holds)
		assert.NotContains(t, w.log, "weight 100")
		home(t, w, "sha256:old")
	})
}

// TestTheLoadByPodIsCheckedAtTheBalance: weight 20 with one gray pod and four of production.
func TestTheLoadByPodIsCheckedAtTheBalance(t *testing.T) {
	for _, tt := range []struct {
		name       string
		gray       float64
		outcome    plan.Outcome
		production float64
	}{
		{"equal by pod", 1000, plan.Promoted, 4000},
		{"gray pods get twice as much", 2000, plan.Closed, 4000},
		{"not measured", 20, plan.Promoted, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.sample.OnTrial.Traffic.Requests, w.sample.Reference.Traffic.Requests = tt.gray, tt.production
				story := w.upgrade("1").Run(t.Context())
				assert.Equal(t, tt.outcome, story.Outcome, "%+v", story.Failure)
				assert.Empty(t, w.record.Holds)
				var balanced []int
				for _, e := range story.Entries {
					for _, c := range e.Checks {
						if c.Name == "balance" {
							balanced = append(balanced, e.Step.Weight)
						}
					}
				}
				assert.Equal(t, []int{20}, balanced)
				if tt.outcome == plan.Closed {
					require.NotNil(t, story.Failure)
					assert.Contains(t, story.Failure.What, "2000 requests by gray pod, 1000 by production pod")
					assert.NotContains(t, w.log, "weight 50")
					home(t, w, "sha256:old")
				}
			})
		})
	}
}

// TestCallsThatBypassTheRoute reach production at weight 100: its pods must not be stopped, unless the user says so.
func TestCallsThatBypassTheRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.bypassed = true
		story := w.upgrade("1").Run(t.Context())
		assert.Equal(t, plan.Closed, story.Outcome)
		require.NotNil(t, story.Failure)
		assert.Contains(t, story.Failure.What, "production still serves requests at weight 100, so calls bypass the route: 3 requests in the last 10 s")
		assert.Contains(t, story.Failure.What, "bypass: warn")
		assert.Empty(t, w.record.Holds)
		assert.NotContains(t, w.log, "roll")
		home(t, w, "sha256:old")

		w = newWorld()
		w.bypassed = true
		u := w.upgrade("1")
		u.Config.Bypass = config.Warn
		story = u.Run(t.Context())
		assert.Equal(t, plan.Promoted, story.Outcome, "%+v", story.Failure)
		var notes []string
		for _, e := range story.Entries {
			notes = append(notes, e.Notes...)
		}
		assert.Contains(t, notes, "production still serves requests at weight 100 (3 requests in the last 10 s): zero loss covers gateway traffic only")
		home(t, w, "sha256:new")
	})
}

// TestTheTimeoutEndsTheRun in the middle of a watch.
func TestTheTimeoutEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		u := w.upgrade("1")
		u.Config.Timeout = 3*time.Minute + 52*time.Second // 2 s above what the plan takes at least
		w.verdict = func(_ plan.Side, weight int) []judge.Check {
			c := judge.Check{Name: judge.NameRequests, Verdict: judge.Pass}
			if weight == 75 {
				c.Verdict = judge.Inconclusive // it is watched for longer
			}
			return []judge.Check{c}
		}
		begin := time.Now()
		story := u.Run(t.Context())
		assert.Equal(t, plan.Closed, story.Outcome)
		require.NotNil(t, story.Failure)
		assert.Equal(t, "the upgrade took longer than its timeout of 3m52s", story.Failure.What)
		assert.Equal(t, plan.FaultInfrastructure, story.Failure.Fault)
		assert.Less(t, time.Since(begin), 5*time.Minute)
		assert.Empty(t, w.record.Holds)
		home(t, w, "sha256:old")
	})
}

// TestAFailureBeatsWhatIsMissing: what was seen to be bad ends the step as the image's fault, whatever else was not seen.
func TestAFailureBeatsWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.verdict = func(plan.Side, int) []judge.Check {
			return append(unseen(judge.NameNewErrorLogs, "no log of gray could be read"), badImage.Checks...)
		}
		story := w.upgrade("1").Run(t.Context())
		assert.Equal(t, plan.RolledBack, story.Outcome)
		assert.Len(t, w.record.Holds, 1)
		home(t, w, "sha256:old")
	})
}

// prober is a gateway that learns what it serves from probes, as one without users does.
type prober struct{ *world }

func (p prober) Confirm(ctx context.Context, percent int) (plan.Share, error) {
	share, err := p.world.Confirm(ctx, percent)
	share.Probed = true
	p.begun = nil
	return share, err
}

// TestProbesAreNoEvidence: a window that holds the answers to our own probes begins anew before it is watched.
func TestProbesAreNoEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.verdict = func(onTrial plan.Side, _ int) []judge.Check {
			c := judge.Check{Name: judge.NameRequests, Verdict: judge.Pass}
			if !slices.Contains(w.begun, onTrial) {
				t.Error("the window holds probes")
			}
			return []judge.Check{c}
		}
		u := w.upgrade("1")
		u.Gateway = prober{w}
		story := u.Run(t.Context())
		assert.Equal(t, plan.Promoted, story.Outcome, "%+v", story.Failure)
	})
}
