package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// keep renews the Lease until ctx ends, or until it is lost: another run has it, or no renewal has worked for two
// thirds of Duration (10 of 15 s), so that another may soon have it. A process that was stopped for longer than that
// comes back here too late, and does not renew.
func (l *Lease) keep(ctx context.Context) {
	for sleep(ctx, l.Renew) == nil {
		end := l.lastRenewal().Add(l.Duration - l.Duration/3)
		attempt, stop := context.WithDeadline(ctx, end)
		err := l.update(attempt, func(*coordinationv1.Lease) {})
		stop()
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, plan.ErrLost):
			l.lose(err)
			return
		case !time.Now().Before(end):
			l.lose(fmt.Errorf("%w, or may have been: %s was not renewed for %s: %w", plan.ErrLost, l.where(), time.Since(l.lastRenewal()).Round(time.Second), err))
			return
		default:
			l.Log.Warn("renew the lease: trying again", "object", l.where(), "error", err)
		}
	}
}

// update changes the Lease, and renews it in the same write. It returns plan.ErrLost, and writes nothing, where the Lease
// is no longer ours.
func (l *Lease) update(ctx context.Context, change func(*coordinationv1.Lease)) error {
	l.write.Lock()
	defer l.write.Unlock()
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		have, err := l.own(ctx)
		if err != nil {
			return err
		}
		sent := time.Now()
		have.Spec.RenewTime = ptr.To(metav1.NewMicroTime(sent))
		change(have)
		if _, err := l.client.Update(ctx, have, metav1.UpdateOptions{}); err != nil {
			return err // bare: RetryOnConflict looks at it
		}
		l.mu.Lock()
		l.renewed = sent
		l.mu.Unlock()
		return nil
	})
}

// own reads the Lease and returns it if it is ours, else plan.ErrLost. A Lease that somebody deleted is lost too.
func (l *Lease) own(ctx context.Context) (*coordinationv1.Lease, error) {
	have, err := l.client.Get(ctx, l.name(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: %s was deleted", plan.ErrLost, l.where())
	}
	if err != nil {
		return nil, l.failed("read", err)
	}
	if !l.mine(have) {
		return nil, fmt.Errorf("%w: %s is held by %q", plan.ErrLost, l.where(), holder(have))
	}
	return have, nil
}

// lose ends everything that runs under the Lease.
func (l *Lease) lose(why error) {
	l.mu.Lock()
	l.held = false
	cancel := l.cancel
	l.mu.Unlock()
	l.Log.Error("lost the lease: nothing more is written", "object", l.where(), "error", why)
	cancel(why)
}

func (l *Lease) lastRenewal() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewed
}

func (l *Lease) holds() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}
