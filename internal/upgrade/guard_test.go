package upgrade

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func TestTheWatchdogIsThereBeforeUsersAndGoesAfterGray(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		require.Equal(t, plan.Promoted, w.upgrade("1").Run(t.Context()).Outcome)
		home(t, w, "sha256:new")
		assert.Less(t, slices.Index(w.log, "start watchdog"), slices.Index(w.log, "weight 5"))
		assert.Less(t, slices.Index(w.log, "delete gray"), slices.Index(w.log, "stop watchdog"))
	})
}

func TestWithoutAWatchdogTheUpgradeGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.guarded = false
		require.Equal(t, plan.Promoted, w.upgrade("1").Run(t.Context()).Outcome)
		home(t, w, "sha256:new")
		assert.NotContains(t, w.log, "start watchdog")
	})
}

func TestAWatchdogThatNeverGetsReadyEndsTheUpgradeBeforeUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.readyIn = time.Hour
		story := w.upgrade("1").Run(t.Context())
		assert.Equal(t, plan.Closed, story.Outcome)
		assert.Equal(t, "the watchdog is not ready after 1m0s: pod shop-watchdog-1: ErrImagePull", story.Failure.What)
		assert.Equal(t, "Job shop/shop-watchdog", story.Failure.Where)
		assert.Contains(t, story.Failure.Next, "watchdog: off")
		assert.Empty(t, w.record.Holds, "the image is blamed")
		assert.NotContains(t, w.log, "weight 5")
		home(t, w, "sha256:old")
	})
}

// TestTheWeightWaitsForTheWatchdog replaces the watchdog's pod in mid-run: for less than 30 s the raise waits, after that
// the upgrade is closed.
func TestTheWeightWaitsForTheWatchdog(t *testing.T) {
	for _, tt := range []struct {
		name    string
		gone    time.Duration
		outcome plan.Outcome
		digest  string
	}{
		{"back in time", 29 * time.Second, plan.Promoted, "sha256:new"},
		{"too late", 31 * time.Second, plan.Closed, "sha256:old"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				var back, raised time.Time
				w.onWrite = func(what string) {
					switch {
					case what == "weight 5":
						back = time.Now().Add(30*time.Second + 300*time.Millisecond + tt.gone) // of the step, and its confirmation
						w.guardedAt = back
					case w.weight > 5 && raised.IsZero():
						raised = time.Now()
					}
				}
				story := w.upgrade("1").Run(t.Context())
				assert.Equal(t, tt.outcome, story.Outcome)
				assert.Empty(t, w.record.Holds)
				home(t, w, tt.digest)
				if tt.outcome == plan.Closed {
					assert.Zero(t, raised, "the weight rose without a watchdog")
					return
				}
				assert.False(t, raised.Before(back), "the weight rose before the watchdog was back")
			})
		})
	}
}
