package upgrade

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// unseen is a verdict in which one rule has too little to go by.
func unseen(rule, why string) []judge.Check {
	return []judge.Check{
		{Name: judge.NameRequests, Verdict: judge.Pass},
		{Name: "memory", Verdict: judge.Inconclusive, Why: "no memory reading of both sides"},
		{Name: rule, Verdict: judge.Inconclusive, Why: why},
	}
}

// TestNotEnoughEvidenceNeverAdvances: the step is extended to four times its time and a minute; then users go home, and the
// image is not blamed.
func TestNotEnoughEvidenceNeverAdvances(t *testing.T) {
	for _, tt := range []struct {
		rule, next string
	}{
		{judge.NameRequests, "min-requests"},
		{judge.NameErrors, "min-requests"},
		{judge.NameLatency, "p99-ms"},
		{judge.NameRestarts, "pods of both sides"},
		{judge.NameReady, "pods of both sides"},
		{judge.NameNewErrorLogs, "logs"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.verdict = func(plan.Side, int) []judge.Check { return unseen(tt.rule, "it could not be read") }
				story := w.upgrade("1").Run(t.Context())
				assert.Equal(t, plan.Undecided, story.Outcome)
				require.NotNil(t, story.Failure)
				assert.Equal(t, "not enough evidence at weight 5 to judge gray: it could not be read", story.Failure.What)
				assert.Contains(t, story.Failure.Next, tt.next)
				assert.Contains(t, story.Failure.Next, "not blamed")
				assert.Empty(t, w.record.Holds)
				assert.NotContains(t, w.log, "weight 20")
				assert.Equal(t, 4*30*time.Second+time.Minute, watched(t, story, 5).Round(time.Second))
				home(t, w, "sha256:old")
			})
		})
	}
}

// TestTheUserSaysHowLongAStepWaitsForEvidence.
func TestTheUserSaysHowLongAStepWaitsForEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.verdict = func(plan.Side, int) []judge.Check { return unseen(judge.NameRequests, "none came") }
		u := w.upgrade("1")
		u.Config.StepTimeout = 45 * time.Second
		story := u.Run(t.Context())
		assert.Equal(t, plan.Undecided, story.Outcome)
		assert.Equal(t, 45*time.Second, watched(t, story, 5).Round(time.Second))
	})
}

// TestWhatIsAwaitedMakesAStepLonger, as long as the user lets it, and nothing follows where it does not come.
func TestWhatIsAwaitedMakesAStepLonger(t *testing.T) {
	for name, tt := range map[string]struct {
		come, timeout, want time.Duration
	}{
		"it comes":      {40 * time.Second, 0, 40 * time.Second},
		"it never does": {time.Hour, 0, 3 * time.Minute},
		"no more time":  {time.Hour, 45 * time.Second, 45 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				var begun time.Time
				w.verdict = func(_ plan.Side, weight int) []judge.Check {
					if begun.IsZero() {
						begun = time.Now().Add(-30 * time.Second)
					}
					growth := judge.Check{Name: "memory-growth", Verdict: judge.Pass, Awaits: weight == 5 && time.Since(begun) < tt.come}
					return []judge.Check{{Name: judge.NameRequests, Verdict: judge.Pass}, growth}
				}
				u := w.upgrade("1")
				u.Config.StepTimeout = tt.timeout
				story := u.Run(t.Context())
				assert.Equal(t, plan.Promoted, story.Outcome, "%+v", story.Failure)
				assert.Equal(t, tt.want, watched(t, story, 5).Round(time.Second))
			})
		})
	}
}

// TestEvidenceThatComesInTheExtensionIsEnough: logs that can be read again let the step go on.
func TestEvidenceThatComesInTheExtensionIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		readable := time.Now().Add(100 * time.Second)
		w.verdict = func(plan.Side, int) []judge.Check {
			if time.Now().Before(readable) {
				return unseen(judge.NameNewErrorLogs, "no log of gray could be read")
			}
			return []judge.Check{{Name: judge.NameNewErrorLogs, Verdict: judge.Pass}}
		}
		story := w.upgrade("1").Run(t.Context())
		assert.Equal(t, plan.Promoted, story.Outcome, "%+v", story.Failure)
		assert.Greater(t, watched(t, story, 5), 90*time.Second)
		assert.Equal(t, 30*time.Second, watched(t, story, 20).Round(time.Second))
		home(t, w, "sha256:new")
	})
}

// TestWhatHoldsNoStepBack: what is not there at all, memory and CPU, and the traffic where the user asks for no requests.
func TestWhatHoldsNoStepBack(t *testing.T) {
	for name, change := range map[string]func(*world, *Upgrade){
		"memory and CPU": func(w *world, _ *Upgrade) {
			w.verdict = func(plan.Side, int) []judge.Check { return unseen("cpu", "no CPU reading") }
		},
		"no histogram": func(w *world, _ *Upgrade) {
			w.verdict = func(plan.Side, int) []judge.Check {
				return []judge.Check{{Name: judge.NameLatency, Verdict: judge.Inconclusive, Absent: true}}
			}
		},
		"no requests asked for": func(w *world, u *Upgrade) {
			u.Config.Limits.MinRequests = 0
			w.verdict = func(plan.Side, int) []judge.Check {
				return unseen(judge.NameRequests, "the gateway's metrics could not be read")
			}
		},
		"no time": func(w *world, u *Upgrade) {
			u.Config.StepDuration = 0
			w.verdict = func(plan.Side, int) []judge.Check {
				return unseen(judge.NameNewErrorLogs, "no log of gray could be read")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				u := w.upgrade("1")
				change(w, u)
				story := u.Run(t.Context())
				assert.Equal(t, plan.Promoted, story.Outcome, "%+v", story.Failure)
				assert.LessOrEqual(t, watched(t, story, 5), 31*time.Second)
			})
		})
	}
}

// TestLogsAreNeededWithoutTrafficToo: with min-requests 0 logs, restarts and readiness decide alone, so they must be seen.
func TestLogsAreNeededWithoutTrafficToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.verdict = func(plan.Side, int) []judge.Check {
			return unseen(judge.NameNewErrorLogs, "no log of gray could be read")
		}
		u := w.upgrade("1")
		u.Config.Limits.MinRequests = 0
		assert.Equal(t, plan.Undecided, u.Run(t.Context()).Outcome)
		home(t, w, "sha256:old")
	})
}

// watched is how long the watch of gray at a weight took.
func watched(t *testing.T, s plan.Story, weight int) time.Duration {
	t.Helper()
	for _, e := range s.Entries {
		if e.Step.Kind == plan.Watch && e.Step.Side == plan.Gray && e.Step.Weight == weight {
			return e.End.Sub(e.Begin)
		}
	}
	t.Fatalf("no watch at weight %d", weight)
	return 0
}
