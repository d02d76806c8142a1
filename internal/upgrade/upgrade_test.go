package upgrade

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

var (
	badImage = judge.Finding{Checks: []judge.Check{{Name: "errors", Verdict: judge.Fail, Why: "gray answered 5xx to 41 of 1203 requests"}}}
	badNode  = judge.Finding{Infrastructure: true, Checks: []judge.Check{{Name: "ready", Verdict: judge.Fail, Infrastructure: true, Why: "node lost"}}}
)

// home asserts that users are on production, that gray and every mark of ours is gone, and which template is there.
func home(t *testing.T, w *world, digest string) {
	t.Helper()
	assert.Empty(t, w.faults)
	assert.Equal(t, 0, w.weight)
	assert.False(t, w.gray.Exists, "gray is left")
	assert.False(t, w.pinned, "the HPA is still pinned")
	assert.False(t, w.annotated, "annotations are left")
	assert.False(t, w.edited, "our edit is left in the route")
	assert.False(t, w.guard, "the watchdog is left")
	assert.Equal(t, digest, w.production.Digest)
	assert.Equal(t, int32(4), w.production.Ready)
	assert.False(t, w.record.Open, "the record is open")
}

func TestRunPromotesAGoodImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		story := w.upgrade("1").Run(t.Context())
		require.Nil(t, story.Failure)
		assert.Equal(t, plan.Promoted, story.Outcome)
		assert.Equal(t, "shop:v2@sha256:new", story.To)
		home(t, w, "sha256:new")

		again := w.upgrade("2").Run(t.Context())
		assert.Equal(t, plan.Unchanged, again.Outcome)
		home(t, w, "sha256:new")
	})
}

func TestRunClosesWhatItFinds(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*world)
		outcome plan.Outcome
		held    bool
		digest  string
	}{
		{"anomaly at the first weight", func(w *world) { w.findAt, w.finding = 5, badImage }, plan.RolledBack, true, "sha256:old"},
		{"anomaly in the middle", func(w *world) { w.findAt, w.finding = 50, badImage }, plan.RolledBack, true, "sha256:old"},
		{"anomaly at 100", func(w *world) { w.findAt, w.finding = 100, badImage }, plan.RolledBack, true, "sha256:old"},
		{"anomaly on the way back", func(w *world) { w.findAt, w.finding = 0, badImage }, plan.RolledBack, true, "sha256:old"},
		{"a lost node is not the image's fault", func(w *world) { w.findAt, w.finding = 20, badNode }, plan.Closed, false, "sha256:old"},
		{"an account fails", func(w *world) { w.verifyFails = true }, plan.RolledBack, true, "sha256:old"},
		{"gray does not come up", func(w *world) { w.startSticks = true }, plan.RolledBack, true, "sha256:old"},
		{"production does not come up on it", func(w *world) { w.rollSticks = true }, plan.RolledBack, true, "sha256:old"},
		{"the weight cannot be confirmed", func(w *world) { w.confirmFail = true }, plan.Stuck, false, "sha256:old"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				tt.change(w)
				story := w.upgrade("1").Run(t.Context())
				assert.Equal(t, tt.outcome, story.Outcome)
				require.NotNil(t, story.Failure)
				assert.NotEmpty(t, story.Failure.What)
				assert.NotEmpty(t, story.Failure.Where)
				assert.NotEmpty(t, story.Failure.Done)
				assert.NotEmpty(t, story.Failure.Next)
				assert.Equal(t, tt.held, len(w.record.Holds) == 1)
				if tt.outcome == plan.Stuck {
					assert.Equal(t, 0, w.weight)
					assert.True(t, w.record.Open)
					return
				}
				home(t, w, tt.digest)
			})
		})
	}
}

// TestWhatIsFoundWhileClosingBlamesTheImage: two findings of one cause come in any order. Past the point of no return the first
// would else bring users to the version that the second one blames.
func TestWhatIsFoundWhileClosingBlamesTheImage(t *testing.T) {
	for _, weight := range []int{20, 100, 0} {
		t.Run(fmt.Sprintf("weight %d", weight), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.findAt, w.finding, w.then = weight, badNode, &badImage
				story := w.upgrade("1").Run(t.Context())
				assert.Equal(t, plan.RolledBack, story.Outcome)
				require.NotNil(t, story.Failure)
				assert.Equal(t, "gray answered 5xx to 41 of 1203 requests; the close was begun because node lost", story.Failure.What)
				require.Len(t, w.record.Holds, 1)
				assert.Equal(t, story.Failure.What, w.record.Holds[0].Why)
				home(t, w, "sha256:old")
			})
		})
	}
}

// TestACancelHoldsNothingWhileItLeadsHome; past the point of no return it would lead to what was found bad.
func TestACancelHoldsNothingWhileItLeadsHome(t *testing.T) {
	for weight, want := range map[int]plan.Outcome{20: plan.Interrupted, 0: plan.RolledBack} {
		t.Run(fmt.Sprintf("weight %d", weight), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.findAt, w.finding = weight, badImage
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w.onWrite = func(what string) {
					if what == fmt.Sprintf("weight %d", weight) {
						time.AfterFunc(4900*time.Millisecond, cancel)
					}
				}
				story := w.upgrade("1").Run(ctx)
				assert.Equal(t, want, story.Outcome)
				assert.Equal(t, want == plan.RolledBack, len(w.record.Holds) == 1)
				home(t, w, "sha256:old")
			})
		})
	}
}

// TestWhatIsSeenWhileClosingSparesTheImage: the kubelet tells of an eviction when all containers have ended, and requests have
// failed by then.
func TestWhatIsSeenWhileClosingSparesTheImage(t *testing.T) {
	for name, tt := range map[string]struct {
		taken []string
		holds int
	}{
		"a pod was evicted": {[]string{"cart-gray-1"}, 0},
		"none was":          {nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.findAt, w.finding = 20, badImage
				w.sample = judge.Sample{
					Weight: 20, Evidence: &judge.Evidence{Errors: 1e6},
					OnTrial:   judge.Numbers{Name: "gray", Pods: 1, Taken: tt.taken, Traffic: judge.Traffic{Requests: 1203, Errors: 41}},
					Reference: judge.Numbers{Name: "production", Pods: 3, Traffic: judge.Traffic{Requests: 4812}},
				}
				story := w.upgrade("1").Run(t.Context())
				require.NotNil(t, story.Failure)
				assert.Len(t, w.record.Holds, tt.holds)
				assert.Equal(t, tt.holds == 0, story.Outcome == plan.Closed, story.Outcome)
				assert.Equal(t, tt.holds == 0, strings.Contains(story.Failure.What, "seen a moment later: "), story.Failure.What)
				home(t, w, "sha256:old")
			})
		})
	}
}

// TestTheStoryTellsWhatDiffersFromBefore: the image after a promotion, nothing after a close.
func TestTheStoryTellsWhatDiffersFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.findAt, w.finding = 20, badImage
		bad := w.upgrade("1").Run(t.Context())
		assert.Equal(t, 2, bad.Compared)
		assert.Empty(t, bad.Changes)
		w.digest = "sha256:newer"
		good := w.upgrade("2").Run(t.Context())
		assert.Equal(t, []plan.Change{{Object: "Deployment shop", Field: "spec.image", Before: `"sha256:old"`, After: `"sha256:newer"`}}, good.Changes)
	})
}

// TestTheStoryTellsWhatUsersMet: the window that failed, and what gray answered in all windows, also beside production.
func TestTheStoryTellsWhatUsersMet(t *testing.T) {
	gray := judge.Numbers{Name: "gray", Traffic: judge.Traffic{Requests: 100, Errors: 2}, Logs: []judge.LogTemplate{{Template: "ERROR x", Count: 2}}}
	for name, tt := range map[string]struct {
		findAt int
		sample judge.Sample
		want   judge.Traffic
	}{
		"two windows":                   {20, judge.Sample{OnTrial: gray}, judge.Traffic{Requests: 200, Errors: 4}},
		"gray is the reference":         {5, judge.Sample{Reference: gray, OnTrial: judge.Numbers{Name: "production"}}, judge.Traffic{Requests: 100, Errors: 2}},
		"what was is not counted again": {5, judge.Sample{Reference: gray, ReferenceIsPast: true}, judge.Traffic{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.findAt, w.finding, w.sample = tt.findAt, badImage, tt.sample
				story := w.upgrade("1").Run(t.Context())
				require.NotNil(t, story.Watched)
				assert.Equal(t, tt.sample, *story.Watched)
				assert.Equal(t, tt.want, story.Met)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.verifyFails = true
		assert.Nil(t, w.upgrade("1").Run(t.Context()).Watched, "no user was on gray")
	})
}

func TestRunRefusesAHeldImageUntilAPassIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.verifyFails = true
		require.Equal(t, plan.RolledBack, w.upgrade("1").Run(t.Context()).Outcome)
		w.verifyFails = false

		refused := w.upgrade("2").Run(t.Context())
		assert.Equal(t, plan.Refused, refused.Outcome)
		assert.Contains(t, refused.Failure.Next, "offline-test pass")
		home(t, w, "sha256:old")

		w.record.AddPass(plan.Pass{Digest: "sha256:new", By: "kim", At: time.Now()})
		assert.Equal(t, plan.Promoted, w.upgrade("3").Run(t.Context()).Outcome)
		home(t, w, "sha256:new")
	})
}

// TestAHoldIsOnTheImageThatFailed: the record of an earlier run names another one.
func TestAHoldIsOnTheImageThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		require.Equal(t, plan.Promoted, w.upgrade("1").Run(t.Context()).Outcome)
		w.digest, w.startSticks = "sha256:newer", true
		story := w.upgrade("2").Run(t.Context())
		assert.Equal(t, plan.RolledBack, story.Outcome)
		require.Len(t, w.record.Holds, 1)
		assert.Equal(t, "sha256:newer", w.record.Holds[0].Digest)
	})
}

// TestALostLease: one that was only late is taken back and gray closed; one that another run has is left to that run.
func TestALostLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.loseAt = 20
		story := w.upgrade("1").Run(t.Context())
		assert.Equal(t, plan.Closed, story.Outcome)
		home(t, w, "sha256:old")

		w = newWorld()
		w.loseAt, w.taken = 20, true
		story = w.upgrade("1").Run(t.Context())
		assert.Equal(t, plan.Closed, story.Outcome)
		assert.Equal(t, "weight 20", w.log[len(w.log)-1], "something was written after the Lease went to another run")
		assert.Contains(t, story.Failure.Done, "wrote nothing more")
	})
}

// TestTheWorldMoves: what somebody else does while gray has users ends the upgrade within seconds, and blames nobody.
func TestTheWorldMoves(t *testing.T) {
	for name, move := range map[string]func(*world){
		"gray's endpoints are gone":        func(w *world) { w.gone = true },
		"the weight is set to 90":          func(w *world) { w.weight = 90 },
		"production's template is changed": func(w *world) { w.production.Template = plan.Foreign },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				var moved time.Time
				w.onWrite = func(what string) {
					if what == "weight 20" {
						time.AfterFunc(5*time.Second, func() {
							w.mu.Lock()
							defer w.mu.Unlock()
							move(w)
							moved = time.Now()
						})
					}
				}
				story := w.upgrade("1").Run(t.Context())
				assert.Equal(t, plan.Closed, story.Outcome, "%+v", story.Failure)
				assert.Empty(t, w.record.Holds)
				assert.Equal(t, 0, w.weight)
				last := story.Entries[len(story.Entries)-1]
				for _, e := range story.Entries {
					if e.Step.Phase == plan.PhaseClose {
						last = e
						break
					}
				}
				assert.Less(t, last.Begin.Sub(moved), 3*lookEvery)
			})
		})
	}
}

// TestAGrayThatVanishesIsClosedAtOnce: whoever is sent there meets nobody. Pods that are there and say no are the image's fault,
// unless production loses some, too.
func TestAGrayThatVanishesIsClosedAtOnce(t *testing.T) {
	grayVanishes(t, 0, 0, plan.Closed)
	grayVanishes(t, 1, 0, plan.RolledBack)
	grayVanishes(t, 1, 1, plan.Closed)
}

func grayVanishes(t *testing.T, unready, ofProduction int32, ends plan.Outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var told []chan struct{}
		var gone, home time.Time
		w.onWrite = func(what string) {
			switch {
			case what == "weight 20":
				time.AfterFunc(5300*time.Millisecond, func() {
					w.mu.Lock()
					w.gone, gone = true, time.Now()
					w.gray.Unready = unready
					w.production.Ready -= ofProduction
					w.mu.Unlock()
					for _, changed := range told {
						changed <- struct{}{}
					}
				})
			case what == "weight 0" && home.IsZero():
				home = time.Now()
			}
		}
		u := w.upgrade("1")
		u.Joined = func(context.Context) <-chan struct{} {
			w.mu.Lock()
			defer w.mu.Unlock()
			told = append(told, make(chan struct{}, 1))
			return told[len(told)-1]
		}
		story := u.Run(t.Context())
		assert.Equal(t, ends, story.Outcome, "%+v", story.Failure)
		assert.Contains(t, story.Failure.What, "gray has no ready endpoint at weight 20")
		assert.Less(t, home.Sub(gone), 100*time.Millisecond)
		assert.Len(t, w.record.Holds, map[plan.Outcome]int{plan.RolledBack: 1}[ends])
	})
}

// TestAProductionThatVanishes: its users go to gray, which was proven, until it is back; where it was deleted nobody but its
// owner can bring it back.
func TestAProductionThatVanishes(t *testing.T) {
	for name, tt := range map[string]struct {
		gone    func(p *plan.Workload)
		says    string
		outcome plan.Outcome
		then    []string
	}{
		"its pods": {func(p *plan.Workload) { p.Ready = 0 }, "production has no ready endpoint, and 80 % of the users are sent there",
			plan.Closed, []string{"weight 100", "weight 0"}},
		"its Service": {func(p *plan.Workload) { p.Ready, p.Unserved = 0, true }, "production's Service was deleted by somebody else",
			plan.Closed, []string{"weight 100", "weight 0"}},
		"its Deployment": {func(p *plan.Workload) { *p = plan.Workload{} }, "production's Deployment was deleted by somebody else",
			plan.Stuck, []string{"weight 100"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				var gone, moved time.Time
				var weights []string
				w.onWrite = func(what string) {
					if !gone.IsZero() && strings.HasPrefix(what, "weight ") {
						weights = append(weights, what)
					}
					switch {
					case what == "weight 20":
						time.AfterFunc(5300*time.Millisecond, func() {
							w.mu.Lock()
							defer w.mu.Unlock()
							tt.gone(&w.production)
							gone = time.Now()
						})
						time.AfterFunc(40*time.Second, func() {
							w.mu.Lock()
							defer w.mu.Unlock()
							w.production.Ready, w.production.Unserved = w.production.Replicas, false
						})
					case what == "weight 100" && moved.IsZero():
						moved = time.Now()
					}
				}
				story := w.upgrade("1").Run(t.Context())
				assert.Equal(t, tt.outcome, story.Outcome, "%+v", story.Failure)
				assert.Contains(t, story.Failure.What, tt.says)
				assert.Less(t, moved.Sub(gone), lookEvery+lookLonger+2*time.Second)
				assert.Equal(t, tt.then, weights)
				assert.Empty(t, w.record.Holds)
				assert.Empty(t, w.faults)
			})
		})
	}
}

// TestACloseThatCannotLookIsNotConfirmed: the API server is away.
func TestACloseThatCannotLookIsNotConfirmed(t *testing.T) {
	w := newWorld()
	w.away = true
	story := w.upgrade("1").Close(t.Context(), true)
	assert.Equal(t, plan.Stuck, story.Outcome)
	assert.Contains(t, story.Failure.Next, "gray-upgrade close --namespace shop --service shop --context prod")
	assert.Contains(t, story.Failure.Done, "may still have users")
}

// TestOneLookThatFailsClosesNoRecord: users of an earlier run are brought home all the same, by whoever came, and where nobody
// can look for the whole time the record stays open, so that the watchdog and the next run know.
func TestOneLookThatFailsClosesNoRecord(t *testing.T) {
	left := func(blind int) *world {
		w := newWorld()
		w.gray = plan.Workload{Exists: true, Template: plan.Ours, Replicas: 1, Ready: 1}
		w.weight, w.edited, w.blind = 50, true, blind
		w.record.Open = true
		return w
	}
	for name, tt := range map[string]struct {
		act  func(ctx context.Context, u *Upgrade) plan.Story
		ends plan.Outcome
	}{
		"close": {func(ctx context.Context, u *Upgrade) plan.Story { return u.Close(ctx, true) }, plan.Closed},
		"run":   {func(ctx context.Context, u *Upgrade) plan.Story { return u.Run(ctx) }, plan.Promoted},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := left(1)
				assert.Equal(t, tt.ends, tt.act(t.Context(), w.upgrade("2")).Outcome)
				assert.Zero(t, w.weight)
				assert.False(t, w.record.Open)
				w = left(math.MaxInt)
				story := tt.act(t.Context(), w.upgrade("2"))
				assert.Equal(t, plan.Stuck, story.Outcome)
				assert.Contains(t, story.Failure.What, "connection refused")
				assert.True(t, w.record.Open, "nobody would look after the users of gray any more")
			})
		})
	}
}

// TestProductionIsChangedWhileItIsFinishedForward: what the first look promised is not what the end is.
func TestProductionIsChangedWhileItIsFinishedForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w.onWrite = func(what string) {
			switch {
			case what == "promote":
				cancel()
			case what == "weight 0" && w.promoted:
				w.production.Template = plan.Foreign
			}
		}
		story := w.upgrade("1").Run(ctx)
		assert.Equal(t, plan.Interrupted, story.Outcome, "%+v", story.Failure)
		assert.Zero(t, w.weight)
	})
}

// TestASignalClosesInEveryStep cancels at every write: from then on no weight rises, unless the upgrade is promoted.
func TestASignalClosesInEveryStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clean := newWorld()
		require.Equal(t, plan.Promoted, clean.upgrade("1").Run(t.Context()).Outcome)
		for n := 1; n <= clean.writes; n++ {
			w := newWorld()
			ctx, cancel := context.WithCancel(t.Context())
			weightAt, promotedAt := -1, false
			count := 0
			w.onWrite = func(string) {
				count++
				if count == n {
					weightAt, promotedAt = w.weight, w.promoted
					cancel()
				}
				if count > n {
					assert.LessOrEqual(t, w.weight, weightAt, "a weight rose after the signal at write %d", n)
				}
			}
			story := w.upgrade("1").Run(ctx)
			cancel()
			w.onWrite = nil
			if story.Outcome == plan.Promoted {
				assert.True(t, promotedAt || clean.log[n-1] == "delete gray" || clean.log[n-1] == "stop watchdog" || clean.log[n-1] == "clean" || n > clean.writes-2, "promoted after a signal at %q", clean.log[n-1])
				home(t, w, "sha256:new")
				continue
			}
			assert.Equal(t, plan.Interrupted, story.Outcome, "signal at write %d, %s", n, clean.log[n-1])
			assert.Empty(t, w.record.Holds)
			home(t, w, "sha256:old")
		}
	})
}

// TestKilledAtEveryWrite ends the program before and after every write of every scenario, runs it again as CI would, and
// expects the end that an undisturbed run reaches, or a closed state with no hold.
func TestKilledAtEveryWrite(t *testing.T) {
	scenarios := map[string]func(*world){
		"clean":                          func(*world) {},
		"anomaly at a middle weight":     func(w *world) { w.findAt, w.finding = 50, badImage },
		"anomaly at 100":                 func(w *world) { w.findAt, w.finding = 100, badImage },
		"anomaly on the way back":        func(w *world) { w.findAt, w.finding = 0, badImage },
		"production never becomes ready": func(w *world) { w.rollSticks = true },
		"an account fails":               func(w *world) { w.verifyFails = true },
	}
	runs := 0
	for name, scenario := range scenarios {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calm := newWorld()
				scenario(calm)
				want := calm.upgrade("1").Run(t.Context()).Outcome
				for n := 1; n <= calm.writes; n++ {
					for _, after := range []bool{false, true} {
						w := newWorld()
						scenario(w)
						findAt := w.findAt
						w.dieAt, w.dieAfter = n, after
						die(w)
						w.dieAt, w.findAt = 0, findAt
						unknown := w.promoted && w.record.Closing != plan.ReasonAnomaly // it died before it could tell anybody
						got := w.upgrade("2").Run(t.Context())
						runs++
						where := fmt.Sprintf("killed at write %d (after: %v)", n, after)
						digest := "sha256:old"
						if want == plan.Promoted || unknown {
							digest = "sha256:new"
						}
						if !unknown {
							assert.Contains(t, []plan.Outcome{want, plan.Refused, plan.Unchanged}, got.Outcome, "%s: %+v", where, got.Failure)
						}
						home(t, w, digest)
						if t.Failed() {
							t.Fatalf("%s: %v", where, w.log)
						}
					}
				}
			})
		})
	}
	t.Logf("%d kill points", runs)
}

// die runs an upgrade until it is killed; its goroutines die with it.
func die(w *world) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	u := w.upgrade("1")
	r := u.newRun()
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(died); !ok {
				panic(p)
			}
			if r.watching != nil {
				r.watching()
			}
			w.listen(nil)
		}
	}()
	r.end(r.locked(ctx, false, r.upgrade))
}

// Somebody deleted gray's Deployment under its users: they go home, and so does the route.
func TestCloseTakesOurEditOutOfTheRouteAlsoWhenGrayIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.weight, w.edited, w.record.Open = 20, true, true
		story := w.upgrade("1").Close(t.Context(), true)
		require.Nil(t, story.Failure)
		home(t, w, "sha256:old")
	})
}

// A run that was killed past the point of no return is finished forward; that is the whole job only where nothing else is
// asked for now.
func TestFinishingAnEarlierRunIsTheJobOnlyWhereItWasTheSame(t *testing.T) {
	for image, again := range map[string]bool{"shop:v2": true, "shop:v2@sha256:new": false, "other": true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			u := w.upgrade("2")
			other := image == "other"
			if !other {
				u.Config.Image = image
			}
			w.production = plan.Workload{Exists: true, Template: plan.Ours, Replicas: 4, Ready: 4, Whole: true, Digest: w.digest}
			w.gray = plan.Workload{Exists: true, Template: plan.Ours, Replicas: 4, Ready: 4}
			w.weight, w.edited, w.promoted, w.annotated = 50, true, true, true
			w.record = plan.Record{Open: true, Image: "shop:v2", Digest: w.digest, Config: u.Config.Hash()}
			if other {
				u.Config.Production.Env = []config.EnvVar{{Name: "FLAVOUR", Value: "mint"}}
			}
			story := u.Run(t.Context())
			require.Nil(t, story.Failure)
			assert.Equal(t, "shop:v2@sha256:new", story.To)
			assert.Equal(t, again, slices.Contains(w.log, "start gray"), "a tag may lead elsewhere by now: %v", w.log)
			home(t, w, w.digest)
		})
	}
}

// TestACloseAdmitsGrayPodsThatWereReplaced while production cannot take gray's users: another process than the one that proved
// gray brings them home.
func TestACloseAdmitsGrayPodsThatWereReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.weight, w.edited, w.annotated, w.guard = 100, true, true, true
		w.gray = plan.Workload{Exists: true, Template: plan.Ours, Replicas: 4, Ready: 1}
		w.production.Ready = 0
		w.onWrite = func(what string) {
			if what == "verify" {
				time.AfterFunc(time.Second, func() {
					w.mu.Lock()
					defer w.mu.Unlock()
					w.production.Ready = 4
				})
			}
		}
		story := w.upgrade("2").Close(t.Context(), true)
		assert.Equal(t, plan.Closed, story.Outcome, "%+v", story.Failure)
		assert.Equal(t, []string{"verify", "weight 0"}, slices.DeleteFunc(w.log, func(what string) bool { return what == "save" })[:2])
		home(t, w, "sha256:old")
	})
}

// TestTheAnswerToTheLastWriteIsLost: nothing is left then that says so, and it is promoted all the same.
func TestTheAnswerToTheLastWriteIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.mumbles = true
		story := w.upgrade("1").Run(t.Context())
		assert.Equal(t, plan.Promoted, story.Outcome, "%+v", story.Failure)
		assert.Equal(t, plan.Promoted, w.record.History[len(w.record.History)-1].Outcome)
		home(t, w, "sha256:new")
	})
}
