package upgrade

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// deaf is a Store whose lost Lease cannot be asked about.
type deaf struct{ *world }

func (deaf) Regain(ctx context.Context) (context.Context, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestALeaseThatIsLostInAClose: it is taken back unless another run has it; where nobody can say, a person must act.
func TestALeaseThatIsLostInAClose(t *testing.T) {
	lost := func() *world {
		w := newWorld()
		w.findAt, w.finding = 20, badImage
		w.onWrite = func(what string) {
			if what == "weight 0" {
				w.lose(plan.ErrLost)
			}
		}
		return w
	}
	synctest.Test(t, func(t *testing.T) {
		w := lost()
		story := w.upgrade("1").Run(t.Context())
		assert.Equal(t, plan.RolledBack, story.Outcome, "%+v", story.Failure)
		assert.Len(t, w.record.Holds, 1)
		home(t, w, "sha256:old")

		w = lost()
		w.taken = true
		story = w.upgrade("1").Run(t.Context())
		assert.Equal(t, plan.Closed, story.Outcome)
		assert.Equal(t, "weight 0", w.log[len(w.log)-1], "something was written after the Lease went to another run")

		w = lost()
		u := w.upgrade("1")
		u.Store = deaf{w}
		story = u.Run(t.Context())
		assert.Equal(t, plan.Stuck, story.Outcome)
		assert.Contains(t, story.Failure.What, "take the lease back")
		assert.Contains(t, story.Failure.Next, "gray-upgrade close")
	})
}

// TestProductionIsChangedAfterItIsPromoted: whoever gives production another template meanwhile has the last word, and the
// image does not count as promoted.
func TestProductionIsChangedAfterItIsPromoted(t *testing.T) {
	for _, template := range []plan.Template{plan.Baseline, plan.Foreign} {
		t.Run(string(template), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.onWrite = func(what string) {
					if what == "weight 50" && w.promoted {
						time.AfterFunc(time.Second, func() {
							w.mu.Lock()
							defer w.mu.Unlock()
							w.production.Template, w.production.Image = template, "shop:theirs"
						})
					}
				}
				story := w.upgrade("1").Run(t.Context())
				assert.Equal(t, plan.Closed, story.Outcome, "%+v", story.Failure)
				require.NotNil(t, story.Failure)
				assert.Contains(t, story.Failure.What, "shop:theirs")
				assert.Equal(t, 0, w.weight)
				assert.False(t, w.gray.Exists)
				assert.NotContains(t, w.log, "undo")
				last := w.record.History[len(w.record.History)-1]
				assert.Equal(t, plan.Closed, last.Outcome, "the history says that it was promoted")
			})
		})
	}
}

// hanging is a Verifier that asks a pod that does not answer, once gray has grown.
type hanging struct{ *world }

func (h hanging) Gray(ctx context.Context) ([]plan.Proof, error) {
	h.mu.Lock()
	grown := slices.Contains(h.log, "scale gray")
	h.mu.Unlock()
	if !grown {
		return h.world.Gray(ctx)
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// late is a gray side whose new pods take a while, so that they are verified from the side first.
type late struct{ grayPort }

func (l late) Scale(ctx context.Context, n int32) error {
	if err := l.grayPort.Scale(ctx, n); err != nil {
		return err
	}
	return sleep(ctx, 3*time.Second)
}

// TestASignalDoesNotWaitForAVerification that somebody else has begun.
func TestASignalDoesNotWaitForAVerification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		u := w.upgrade("1")
		u.Verifier, u.Gray = hanging{w}, late{grayPort{w}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var signalled, closed time.Time
		w.onWrite = func(what string) {
			switch {
			case what == "scale gray":
				time.AfterFunc(10*time.Second, func() { signalled = time.Now(); cancel() })
			case what == "weight 0" && closed.IsZero():
				closed = time.Now()
			}
		}
		story := u.Run(ctx)
		assert.Equal(t, plan.Interrupted, story.Outcome, "%+v", story.Failure)
		require.False(t, signalled.IsZero())
		assert.Less(t, closed.Sub(signalled), time.Second)
	})
}

// TestNoWeightWithoutCapacity: pods that went after they were ready are waited for, and missed before users come.
func TestNoWeightWithoutCapacity(t *testing.T) {
	for _, back := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.onWrite = func(what string) {
				if what != "weight 50" || w.promoted {
					return
				}
				time.AfterFunc(time.Second, func() {
					w.mu.Lock()
					defer w.mu.Unlock()
					w.lost = w.gray.Replicas - 1
				})
				if back {
					time.AfterFunc(50*time.Second, func() {
						w.mu.Lock()
						defer w.mu.Unlock()
						w.lost = 0
					})
				}
			}
			story := w.upgrade("1").Run(t.Context())
			if back {
				assert.Equal(t, plan.Promoted, story.Outcome, "%+v", story.Failure)
				return
			}
			assert.Equal(t, plan.Closed, story.Outcome)
			assert.Contains(t, story.Failure.What, "gray pods are ready, weight 75 takes 3")
			assert.NotContains(t, w.log, "weight 75")
		})
	}
}

// TestNoWeightOnAGrayThatWasScaledAway: what somebody else made of its replicas is not what the weight takes.
func TestNoWeightOnAGrayThatWasScaledAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.onWrite = func(what string) {
			if what == "verify" && w.gray.Replicas == 3 {
				w.gray.Replicas, w.gray.Ready = 1, 1
			}
		}
		story := w.upgrade("1").Run(t.Context())
		assert.Equal(t, plan.Closed, story.Outcome, "%+v", story.Failure)
		assert.NotContains(t, w.log, "weight 75")
	})
}

// TestGrayGrowsWithProduction: the HPA gave production more pods after the plan was made, so gray needs as many to carry all.
func TestGrayGrowsWithProduction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var sizes []int32
		w.onWrite = func(what string) {
			switch what {
			case "weight 20":
				w.production.Replicas, w.production.Ready = 6, 6
			case "weight 100":
				sizes = append(sizes, w.gray.Ready)
			}
		}
		w.upgrade("1").Run(t.Context())
		assert.Equal(t, []int32{6}, sizes)
	})
}

// swung is a route whose weight somebody else changes at the end of the wait for a side's silence, once.
type swung struct {
	*world
	side plan.Side
	to   int
}

func (s *swung) Silent(ctx context.Context, side plan.Side, quiet time.Duration) error {
	err := s.world.Silent(ctx, side, quiet)
	if side == s.side {
		s.mu.Lock()
		s.weight, s.side = s.to, ""
		s.mu.Unlock()
	}
	return err
}

// TestTheWeightIsChangedRightBeforeAWriteThatRestsOnIt: production is not rolled under users, gray is not removed under them.
func TestTheWeightIsChangedRightBeforeAWriteThatRestsOnIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		u := w.upgrade("1")
		u.Gateway = &swung{w, plan.Production, 50}
		story := u.Run(t.Context())
		assert.Equal(t, plan.Closed, story.Outcome, "%+v", story.Failure)
		assert.Contains(t, story.Failure.What, "the weight in the route is 50, and this run wrote 100")
		assert.NotContains(t, w.log, "roll")
		home(t, w, "sha256:old")

		w = newWorld()
		u = w.upgrade("1")
		u.Gateway = &swung{w, plan.Gray, 20}
		story = u.Run(t.Context())
		assert.Equal(t, plan.Promoted, story.Outcome, "%+v", story.Failure)
		home(t, w, "sha256:new")
	})
}

// TestATagThatIsMovedWhileUsersAreOnGray: a pod that joins pulls it anew, and what it runs was never identified.
func TestATagThatIsMovedWhileUsersAreOnGray(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.onWrite = func(what string) {
			if what == "weight 5" {
				w.digest = "sha256:another"
			}
		}
		story := w.upgrade("1").Run(t.Context())
		assert.Equal(t, plan.Closed, story.Outcome)
		assert.Equal(t, 5, story.Highest)
		assert.Contains(t, story.Failure.What, "gray began with digest sha256:new and now runs sha256:another: the tag was moved meanwhile")
		assert.Empty(t, w.record.Holds)
		home(t, w, "sha256:old")
	})
}
