package state

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// lookAgain is the time between two looks at a Lease that another run holds.
const lookAgain = 250 * time.Millisecond

// Acquire takes the Lease and returns the record found in it (the zero Record where there was none). It makes the
// Lease where it is missing. A record that cannot be read is an error, but for a takeover: users go home whatever it says.
// A Lease that another run holds is taken at once with takeover; else Acquire watches it: a holder that renews, or hands over to another, lives, and Acquire returns a *plan.Failure with FaultRefused
// that names it (a live holder renews every 2 s, so within 5 s); one that does nothing for Duration is dead, and its
// Lease is taken. A holder with our own identity is like any other: it may be this job's container before its restart,
// and alive.
//
// The context it returns ends only with the Lease, whatever becomes of ctx: a close after a signal runs on it. Its cause
// is plan.ErrLost where the Lease is lost: another run took it, or it could not be renewed for so long that another
// may. Release ends it as well.
func (l *Lease) Acquire(ctx context.Context, takeover bool) (context.Context, plan.Record, error) {
	var watched observation
	for {
		have, err := l.read(ctx)
		if err != nil {
			return nil, plan.Record{}, err
		}
		record, err := decode(have.Annotations[annotationRecord])
		if err != nil && !takeover {
			return nil, plan.Record{}, plan.Failf(plan.FaultInfrastructure, l.where(), "read annotation %s: %w", annotationRecord, err)
		}
		now := time.Now()
		switch {
		case holder(have) == "" || takeover || watched.still(have, now) >= l.Duration:
			held, takeErr := l.take(ctx, have)
			if takeErr == nil {
				l.mu.Lock()
				l.foreign = err != nil
				l.mu.Unlock()
				return held, record, nil
			}
			if !apierrors.IsConflict(takeErr) {
				return nil, plan.Record{}, l.failed("take", takeErr)
			}
			continue // somebody was faster: look again
		case watched.moved:
			return nil, plan.Record{}, l.refused(have, record)
		}
		if err := sleep(ctx, lookAgain); err != nil {
			return nil, plan.Record{}, err
		}
	}
}

// observation is what was seen of a Lease that another run holds.
type observation struct {
	seen  sight
	since time.Time // by our clock: when it was first seen like this
	moved bool      // it has changed while we looked: its holder lives
}

// sight is the part of a Lease that only its holder changes. (Its annotations and labels anybody may.)
type sight struct {
	holder  string
	renewed time.Time
	fence   int32
}

// still returns for how long the Lease has stood like this before our eyes.
func (o *observation) still(have *coordinationv1.Lease, now time.Time) time.Duration {
	s := sight{holder: holder(have), renewed: ptr.Deref(have.Spec.RenewTime, metav1.MicroTime{}).UTC(), fence: ptr.Deref(have.Spec.LeaseTransitions, 0)}
	if o.since.IsZero() {
		o.seen, o.since = s, now
	}
	if s != o.seen {
		o.seen, o.since, o.moved = s, now, true
	}
	return now.Sub(o.since)
}

// read returns the Lease, made without a holder where it is missing.
func (l *Lease) read(ctx context.Context) (*coordinationv1.Lease, error) {
	have, err := l.client.Get(ctx, l.name(), metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return have, l.failed("read", err)
	}
	have, err = l.client.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Name: l.name(), Namespace: l.Namespace, Labels: map[string]string{plan.LabelService: l.Service},
	}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return have, l.failed("create", err)
	}
	have, err = l.client.Get(ctx, l.name(), metav1.GetOptions{})
	return have, l.failed("read", err)
}

// take makes the Lease ours, if it still is as it was read, and starts to renew it.
func (l *Lease) take(ctx context.Context, have *coordinationv1.Lease) (context.Context, error) {
	sent := time.Now()
	us, err := json.Marshal(l.Identity)
	if err != nil {
		return nil, err
	}
	want := have.DeepCopy()
	metav1.SetMetaDataAnnotation(&want.ObjectMeta, annotationHolder, string(us))
	metav1.SetMetaDataLabel(&want.ObjectMeta, plan.LabelService, l.Service)
	want.Spec = coordinationv1.LeaseSpec{
		HolderIdentity:       ptr.To(l.Identity.Run),
		LeaseDurationSeconds: ptr.To(int32(max(1, l.Duration/time.Second))), //nolint:gosec // 15
		AcquireTime:          ptr.To(metav1.NewMicroTime(sent)),
		RenewTime:            ptr.To(metav1.NewMicroTime(sent)),
		LeaseTransitions:     ptr.To(nextFence(have)),
	}
	l.mu.Lock()
	l.claim = claim{run: l.Identity.Run, fence: *want.Spec.LeaseTransitions, at: sent}
	l.mu.Unlock()
	got, err := l.client.Update(ctx, want, metav1.UpdateOptions{})
	if err != nil {
		return nil, err
	}
	if old := holder(have); old != "" {
		l.Log.Warn("took the lease over", "object", l.where(), "from", old, "fence", *got.Spec.LeaseTransitions)
	}
	return l.hold(ctx, got, sent), nil
}

// hold notes that the Lease is ours and renews it until it is released or lost. Renewals of an earlier hold end.
func (l *Lease) hold(ctx context.Context, got *coordinationv1.Lease, sent time.Time) context.Context {
	alive := context.WithoutCancel(ctx) // renewed also while a close follows a signal
	held, cancel := context.WithCancelCause(alive)
	renewals, stop := context.WithCancel(alive)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop != nil {
		l.stop()
	}
	l.held, l.uid, l.fence, l.renewed = true, got.UID, *got.Spec.LeaseTransitions, sent
	l.cancel, l.stop = cancel, stop
	l.kept.Go(func() { l.keep(renewals) })
	return held
}

// failed says what could not be done with the Lease; a missing permission is the user's to repair.
func (l *Lease) failed(verb string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		return plan.Failf(plan.FaultInput, l.where(), "no permission to %s leases in namespace %s: %w", verb, l.Namespace, err)
	case apierrors.IsNotFound(err) && verb == "create":
		return plan.Failf(plan.FaultInput, l.where(), "namespace %s does not exist: %w", l.Namespace, err)
	}
	return fmt.Errorf("%s %s: %w", verb, l.where(), err)
}

// refused names the run that holds the Lease: who, since when, what it does, until when, and how to end it.
func (l *Lease) refused(have *coordinationv1.Lease, r plan.Record) error {
	h := holderOf(have, r)
	f := plan.Failf(plan.FaultRefused, l.where(), "run %s upgrades service %s/%s since %s%s; its lease ends at %s unless it is renewed, as it is every few seconds",
		h, l.Namespace, l.Service, clock(h.Since), doing(h.Step), clock(h.Until))
	f.Next = "wait for that run and rerun, or bring its users home and end it with: " + l.Command("close")
	return f
}

func doing(step string) string {
	if step == "" {
		return ""
	}
	return fmt.Sprintf(" and is at step %q", step)
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// sleep waits, or returns the error of a ctx that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
