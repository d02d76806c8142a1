package state

import (
	"context"
	"errors"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Save writes the record, cut to 64 KiB. It returns plan.ErrLost, and writes nothing, where the Lease is not ours. Where a
// record stands that could not be read, such as a newer program's, nothing is written: its holds must not be lost.
func (l *Lease) Save(ctx context.Context, r plan.Record) error {
	l.mu.Lock()
	foreign := l.foreign
	l.mu.Unlock()
	if foreign {
		l.Log.Warn("the record is left as it is: it cannot be read", "object", l.where())
		return nil
	}
	text, err := encode(r)
	if err != nil {
		return err
	}
	err = l.update(ctx, func(have *coordinationv1.Lease) {
		metav1.SetMetaDataAnnotation(&have.ObjectMeta, annotationRecord, text)
	})
	if err != nil && !errors.Is(err, plan.ErrLost) {
		return fmt.Errorf("save the record in %s: %w", l.where(), err)
	}
	return err
}

// Release gives the Lease back, so that the next run need not wait; the record stays. The context of Acquire ends.
// A Lease that is not ours is left alone: that is no error.
func (l *Lease) Release(ctx context.Context) error {
	if !l.holds() {
		return nil
	}
	err := l.letGo(func() error {
		return l.update(ctx, func(have *coordinationv1.Lease) {
			have.Spec.HolderIdentity = nil
			delete(have.Annotations, annotationHolder)
		})
	})
	if errors.Is(err, plan.ErrLost) {
		return nil
	}
	return l.failed("release", err)
}

// Forget deletes the Lease, which must be ours, with its record and its holds: what was read under it is what goes. It
// returns plan.ErrLost, and deletes nothing, where another run has it meanwhile. The context of Acquire ends either way.
func (l *Lease) Forget(ctx context.Context) error {
	if !l.holds() {
		return plan.ErrLost
	}
	return l.letGo(func() error {
		have, err := l.own(ctx)
		if err != nil {
			return err
		}
		err = l.client.Delete(ctx, l.name(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &have.UID, ResourceVersion: &have.ResourceVersion}})
		if apierrors.IsConflict(err) {
			return plan.ErrLost
		}
		return l.failed("delete", err)
	})
}

// letGo does the last write under the Lease and ends the hold, whatever comes of it. The renewals end before: one under
// way would find no holder and call that a loss.
func (l *Lease) letGo(last func() error) error {
	l.stop()
	l.kept.Wait()
	err := last()
	l.mu.Lock()
	l.held = false
	l.mu.Unlock()
	l.cancel(nil)
	return err
}
