package state

import (
	"context"
	"errors"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
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

// untaken says that no other run has had the Lease since it was ours.
func (l *Lease) untaken(have *coordinationv1.Lease) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have.UID != l.uid {
		_, used := have.Annotations[annotationRecord]
		return holder(have) == "" && !used // made anew, by us
	}
	return holder(have) == l.Identity.Run && ptr.Deref(have.Spec.LeaseTransitions, 0) == l.fence
}
