package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Regain takes back a Lease that was lost because it could not be renewed, or because somebody deleted it: nobody else has
// taken it meanwhile. It asks until ctx ends. Where another run has had it, the error wraps plan.ErrLost, and nothing
// is written.
func (l *Lease) Regain(ctx context.Context) (context.Context, error) {
	for {
		have, err := l.read(ctx)
		if err == nil && !l.untaken(have) {
			return nil, fmt.Errorf("%w: %s is held by %q", plan.ErrLost, l.where(), holder(have))
		}
		if err == nil {
			held, takeErr := l.take(ctx, have)
			if takeErr == nil {
				return held, nil
			}
			err = takeErr
		}
		if ended := sleep(ctx, lookAgain); ended != nil {
			return nil, errors.Join(l.failed("regain", err), ended)
		}
	}
}

// untaken says that no other run works on the service, or has, since the Lease was ours. A taker that only looked, or
// recorded something, gave it back with our record still open. One whose taking was ours and whose answer was lost is us.
func (l *Lease) untaken(have *coordinationv1.Lease) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have.UID != l.uid {
		_, used := have.Annotations[annotationRecord]
		return holder(have) == "" && !used || l.claim.is(have) // made anew, by us
	}
	if holder(have) == "" {
		r, err := decode(have.Annotations[annotationRecord])
		return err == nil && r.Open && r.Identity.Run == l.Identity.Run
	}
	return holder(have) == l.Identity.Run && ptr.Deref(have.Spec.LeaseTransitions, 0) == l.fence || l.claim.is(have)
}

// claim is what was last written to take a Lease.
type claim struct {
	run   string
	fence int32
	at    time.Time
}

// is says that this is how the Lease stands, whether or not anybody was told that it was written. (The time tells us from
// this job's container before its restart.)
func (c claim) is(have *coordinationv1.Lease) bool {
	return c.run != "" && holder(have) == c.run && ptr.Deref(have.Spec.LeaseTransitions, 0) == c.fence &&
		ptr.Deref(have.Spec.AcquireTime, metav1.MicroTime{}).Time.Equal(c.at.Truncate(time.Microsecond))
}
