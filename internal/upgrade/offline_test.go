package upgrade

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// onHold is a world whose new image failed once.
func onHold(t *testing.T) *world {
	t.Helper()
	w := newWorld()
	w.verifyFails = true
	require.Equal(t, plan.RolledBack, w.upgrade("github/shop/web/7/1/up/r1").Run(t.Context()).Outcome)
	require.Len(t, w.record.Holds, 1)
	w.verifyFails = false
	w.log = nil
	return w
}

// tested is an Upgrade whose user has a test Job that ends like this.
func (w *world) tested(run string, err error) *Upgrade {
	u := w.upgrade(run)
	u.Config.OfflineTestJob = "test.yaml"
	u.Identity.Actor, u.Identity.URL = "kim", "https://ci.example.com/9"
	u.TestJob = func(context.Context) (string, error) {
		if err != nil {
			return "", err
		}
		return "Job shop-offline-test succeeded in 34s", nil
	}
	return u
}

// nobodyMetIt asserts that no weight was ever written, and that everything is as it was.
func nobodyMetIt(t *testing.T, w *world) {
	t.Helper()
	for _, what := range w.log {
		assert.False(t, strings.HasPrefix(what, "weight") || what == "roll" || what == "pin" || what == "start watchdog", what)
	}
	home(t, w, "sha256:old")
}

func TestAnOfflineTestEndsTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := onHold(t)
		story := w.tested("9", nil).OfflineTest(t.Context())
		assert.Equal(t, plan.Passed, story.Outcome, "%+v", story.Failure)
		assert.Equal(t, "shop:v2@sha256:new", story.To)
		nobodyMetIt(t, w)
		require.Len(t, w.record.Passes, 1)
		p := w.record.Passes[0]
		assert.Equal(t, "kim", p.By)
		assert.Equal(t, "offline-test run: Job shop-offline-test succeeded in 34s; https://ci.example.com/9", p.Why)
		assert.False(t, w.record.Open)
		last := w.record.History[len(w.record.History)-1]
		assert.Equal(t, plan.Passed, last.Outcome)
		assert.Empty(t, w.record.Holds)
		assert.Equal(t, plan.Promoted, w.upgrade("10").Run(t.Context()).Outcome)
	})
}

// TestAnOfflineTestThatFails keeps the hold; who is to blame is told apart.
func TestAnOfflineTestThatFails(t *testing.T) {
	for name, tt := range map[string]struct {
		job     error
		arrange func(w *world)
		outcome plan.Outcome
	}{
		"the Job says no":     {job: plan.Failf(plan.FaultImage, "Job shop/shop-offline-test", "exit code 3"), outcome: plan.RolledBack},
		"the Job never ran":   {job: plan.Failf(plan.FaultInfrastructure, "Job shop/shop-offline-test", "ErrImagePull"), outcome: plan.Closed},
		"an account fails":    {arrange: func(w *world) { w.verifyFails = true }, outcome: plan.RolledBack},
		"gray never gets up":  {arrange: func(w *world) { w.startSticks = true }, outcome: plan.RolledBack},
		"its time is over":    {arrange: func(*world) {}, job: context.DeadlineExceeded, outcome: plan.Closed},
		"the job is canceled": {job: errInterrupted, outcome: plan.Interrupted},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := onHold(t)
				if tt.arrange != nil {
					tt.arrange(w)
				}
				story := w.tested("9", tt.job).OfflineTest(t.Context())
				assert.Equal(t, tt.outcome, story.Outcome, "%+v", story.Failure)
				w.verifyFails, w.startSticks = false, false
				nobodyMetIt(t, w)
				assert.Empty(t, w.record.Passes)
				assert.NotContains(t, story.Failure.Next, "offline-test pass", "it has just failed one")
				require.Len(t, w.record.Holds, 1, "one image, one hold")
				assert.Equal(t, plan.Refused, w.upgrade("10").Run(t.Context()).Outcome)
			})
		})
	}
}

// TestAnOfflineTestBringsHomeFirst what an earlier run left with users on it.
func TestAnOfflineTestBringsHomeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.gray = plan.Workload{Exists: true, Template: plan.Ours, Replicas: 1, Ready: 1}
		w.weight, w.edited, w.guard = 20, true, true
		w.record.Open = true
		story := w.tested("9", nil).OfflineTest(t.Context())
		assert.Equal(t, plan.Passed, story.Outcome, "%+v", story.Failure)
		assert.Equal(t, "weight 0", w.log[0])
		home(t, w, "sha256:old")
	})
}

func TestARerunByAPersonEndsTheHoldWhereTheUserSaysSo(t *testing.T) {
	for name, tt := range map[string]struct {
		policy  config.OfflineTest
		actor   string
		outcome plan.Outcome
	}{
		"accepted":       {config.RerunAccepts, "kim", plan.Promoted},
		"not asked for":  {config.TestRequired, "kim", plan.Refused},
		"not by a robot": {config.RerunAccepts, "robot[bot]", plan.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := onHold(t)
				u := w.upgrade("github/shop/web/7/2/up/r1")
				u.Identity.Actor, u.Identity.Rerun = tt.actor, "github/shop/web/7/"
				u.Config.OfflineTest = tt.policy
				assert.Equal(t, tt.outcome, u.Run(t.Context()).Outcome)
				assert.Equal(t, tt.outcome == plan.Promoted, len(w.record.Passes) == 1)
			})
		})
	}
}

// TestTheNoticeNamesBothWays to try again, where there are two.
func TestTheNoticeNamesBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.verifyFails = true
		u := w.upgrade("1")
		u.Config.OfflineTest = config.RerunAccepts
		next := u.Run(t.Context()).Failure.Next
		for _, want := range []string{"gray-upgrade offline-test run", "offline-test pass --namespace shop --service shop --context prod --digest sha256:new", "just rerun this job"} {
			assert.Contains(t, next, want)
		}
	})
}

func TestWhatAnImagePassed(t *testing.T) {
	r := newWorld().upgrade("9").newRun()
	r.story.Proofs = []plan.Proof{
		{Pod: "shop-gray-1", Verdict: judge.Pass}, {Pod: "shop-gray-1", Verdict: judge.Pass}, {Pod: "route", Verdict: judge.Pass}, {Pod: "shop-gray-2", Verdict: judge.Fail},
	}
	assert.Equal(t, "offline-test run: 3 checks passed on 3 targets", r.passed())
}
