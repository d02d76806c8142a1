package upgrade

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// TestAHeldTagThatNeverGetsReadyIsRefused: its pods say which digest it is before they are ready, so that it is not blamed anew.
func TestAHeldTagThatNeverGetsReadyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.startSticks = true
		first := w.upgrade("1").Run(t.Context())
		require.Equal(t, plan.RolledBack, first.Outcome)
		assert.Equal(t, "sha256:new", first.Held)
		assert.Equal(t, "shop:v2@sha256:new", first.To)
		require.Len(t, w.record.Holds, 1)

		story := w.upgrade("2").Run(t.Context())
		assert.Equal(t, plan.Refused, story.Outcome)
		assert.Contains(t, story.Failure.What, "is on hold since")
		assert.Contains(t, story.Failure.Next, "offline-test pass --namespace shop --service shop --context prod --digest sha256:new")
		assert.Contains(t, story.Failure.Done, "gray was started without users")
		assert.Len(t, w.record.Holds, 1)
		home(t, w, "sha256:old")

		known := w.upgrade("3")
		known.Config.Image = "shop:v2@sha256:new"
		assert.Contains(t, known.Run(t.Context()).Failure.Next, " --context prod ", "refused before its first step, it leads to its own cluster")

		w.digest = "sha256:newer"
		assert.Equal(t, plan.RolledBack, w.upgrade("3").Run(t.Context()).Outcome, "the tag names another image now")
		assert.Len(t, w.record.Holds, 2)
	})
}

// TestWhatProductionRunsIsNotBlamed: the same image, the same way, and only gray does not come up.
func TestWhatProductionRunsIsNotBlamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.startSticks, w.digest = true, w.old
		assert.Equal(t, plan.Unchanged, w.upgrade("1").Run(t.Context()).Outcome)
		assert.Empty(t, w.record.Holds)
		home(t, w, "sha256:old")
	})
}

// TestNothingIsOnHoldWhoseDigestIsNotKnown, and nobody is told that it is.
func TestNothingIsOnHoldWhoseDigestIsNotKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.startSticks, w.mute = true, true
		story := w.upgrade("1").Run(t.Context())
		assert.Equal(t, plan.RolledBack, story.Outcome)
		assert.Empty(t, w.record.Holds)
		assert.Empty(t, story.Held)
		assert.Contains(t, story.Failure.Next, "the digest of shop:v2 could not be learned, so nothing is on hold: give the image by digest")
		assert.NotContains(t, story.Failure.Next, "offline-test pass")
		assert.NotContains(t, story.Failure.Next, "--digest")
		home(t, w, "sha256:old")

		u := w.upgrade("2")
		u.Config.Image = "shop@sha256:new"
		story = u.Run(t.Context())
		assert.Equal(t, "sha256:new", story.Held, "the user's own digest")
		require.Len(t, w.record.Holds, 1)
		u = w.upgrade("3")
		u.Config.Image = "shop@sha256:new"
		assert.Equal(t, plan.Refused, u.Run(t.Context()).Outcome)
	})
}

// TestAnIgnoredHoldIsRecorded: in the story and in the history, for an image by tag and by digest, promoted or not.
func TestAnIgnoredHoldIsRecorded(t *testing.T) {
	for _, image := range []string{"shop:v2", "shop:v2@sha256:new"} {
		for _, good := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
				w.record.AddHold(plan.Hold{Digest: "sha256:new", Template: "t1", Image: "shop:v2", At: at, Why: "errors"})
				w.verifyFails = !good
				u := w.upgrade("2")
				u.Config.Image, u.Config.IgnoreHold = image, "urgent fix, kim approved"
				story := u.Run(t.Context())
				assert.Equal(t, good, story.Outcome == plan.Promoted, "%+v", story.Failure)
				const want = "hold of sha256:new since 2026-05-04T03:02:01Z ignored: urgent fix, kim approved"
				notes := slices.Clone(story.Warnings)
				for _, e := range story.Entries {
					notes = append(notes, e.Notes...)
				}
				said := slices.DeleteFunc(notes, func(n string) bool { return n != want })
				assert.Len(t, said, 1, "said once")
				require.Len(t, w.record.History, 1)
				reason := w.record.History[0].Reason
				assert.True(t, strings.HasPrefix(reason, want), reason)
				assert.Equal(t, good, reason == want, reason)
			})
		}
	}
}

// TestAnIgnoredHoldOfADigestIsRecordedBeforeGrayStarts, whose pods may never tell what they run.
func TestAnIgnoredHoldOfADigestIsRecordedBeforeGrayStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.record.AddHold(plan.Hold{Digest: "sha256:new", Template: "t1", Image: "shop:v2"})
		w.startSticks, w.mute = true, true
		u := w.upgrade("2")
		u.Config.Image, u.Config.IgnoreHold = "shop:v2@sha256:new", "urgent fix, kim approved"
		story := u.Run(t.Context())
		assert.Equal(t, plan.RolledBack, story.Outcome)
		require.Len(t, story.Warnings, 1)
		assert.Contains(t, story.Warnings[0], "ignored: urgent fix, kim approved")
		assert.Contains(t, w.record.History[0].Reason, "ignored: urgent fix, kim approved; gray pod shop-gray-1 is not ready")
	})
}

// TestAHoldThatDoesNotMatterIsNotIgnored: a reason given in advance is not told where there is no hold.
func TestAHoldThatDoesNotMatterIsNotIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		u := w.upgrade("1")
		u.Config.IgnoreHold = "just in case"
		story := u.Run(t.Context())
		assert.Equal(t, plan.Promoted, story.Outcome)
		assert.Empty(t, story.Warnings)
		assert.Empty(t, w.record.History[0].Reason)
	})
}

// TestALostNodeIsNotTheImagesFault: all that was seen of it were errors at the gateway. What gray itself has shown counts.
func TestALostNodeIsNotTheImagesFault(t *testing.T) {
	for name, tt := range map[string]struct {
		signal  string
		silent  bool
		outcome plan.Outcome
		holds   int
	}{
		"errors":           {judge.NameErrors, false, plan.Closed, 0},
		"restarts":         {judge.NameRestarts, false, plan.RolledBack, 1},
		"no answer":        {"sign-in as alice", true, plan.Closed, 0},
		"the wrong answer": {"sign-in as alice", false, plan.RolledBack, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.findAt, w.lostNodes = 20, []string{"shop-gray-1"}
				w.finding = judge.Finding{Checks: []judge.Check{{Name: tt.signal, Silent: tt.silent, Verdict: judge.Fail, Why: "gray answered 5xx to 61 of 203 requests"}}}
				story := w.upgrade("1").Run(t.Context())
				assert.Equal(t, tt.outcome, story.Outcome)
				assert.Len(t, w.record.Holds, tt.holds)
				assert.Equal(t, tt.holds == 0, strings.Contains(story.Failure.What, "the node of gray pod shop-gray-1 does not answer"), story.Failure.What)
				home(t, w, "sha256:old")
			})
		})
	}
}

// TestPlanTellsWhatARunWouldMeet, and changes nothing, not even the record.
func TestPlanTellsWhatARunWouldMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		u := w.upgrade("1")
		held := plan.Record{Holds: []plan.Hold{{Digest: "sha256:new", Template: "t1", Image: "shop:v2", Why: "it failed"}}}

		story := u.Plan(t.Context(), held, false)
		assert.Equal(t, plan.Planned, story.Outcome)
		require.Len(t, story.Warnings, 1)
		assert.Contains(t, story.Warnings[0], "shop:v2 is on hold")
		assert.Contains(t, story.Foresight, "at 100 requests/s, as measured now")

		w.rate = func(int) float64 { return 0.1 }
		story = u.Plan(t.Context(), plan.Record{}, false)
		assert.Empty(t, story.Foresight)
		require.Len(t, story.Warnings, 1)
		assert.Contains(t, story.Warnings[0], "it may be promoted. Make step-duration longer")

		u.Config.Image = "shop:v2@sha256:new"
		story = u.Plan(t.Context(), held, false)
		assert.Equal(t, plan.Refused, story.Outcome)
		assert.Contains(t, story.Failure.What, "is on hold since")

		u.Config.Image = "shop:v1@sha256:old"
		assert.Equal(t, plan.Unchanged, u.Plan(t.Context(), held, false).Outcome)
		assert.Zero(t, w.writes)
	})
}

// unwatching is a Watcher that must not be asked.
type unwatching struct {
	*world
	t *testing.T
}

func (d unwatching) Watch(context.Context) <-chan judge.Finding {
	d.t.Error("the plan watches")
	return nil
}

// TestAPlanBesideARunSendsNothing: its requests would count there as those of users. What stands of the run is not left over.
func TestAPlanBesideARunSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.gray = plan.Workload{Exists: true, Replicas: 1, Ready: 1}
		w.weight = 5
		u := w.upgrade("2")
		asked := 0
		u.Answers = func(context.Context) error {
			asked++
			return errors.New("weight 0 is not seen")
		}
		running := plan.Record{Open: true, Identity: plan.Identity{Run: "1"}}

		u.Watcher = unwatching{w, t}
		story := u.Plan(t.Context(), running, true)
		assert.Equal(t, plan.Planned, story.Outcome, "%+v", story.Failure)
		assert.Zero(t, asked)
		assert.Empty(t, story.Foresight)
		require.Len(t, story.Warnings, 1)
		assert.Contains(t, story.Warnings[0], "this plan sent no requests of its own")

		story = u.Plan(t.Context(), running, false)
		assert.Equal(t, 1, asked)
		assert.Equal(t, plan.Undecided, story.Outcome, "a plan closes nothing")
		assert.Equal(t, plan.FaultInfrastructure, story.Failure.Fault)
		assert.Zero(t, w.writes)
	})
}
