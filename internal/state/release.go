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

// Save writes the record, cut to 64 KiB. It returns plan.ErrLost, and writes nothing, where the Lease is not ours.
func (l *Lease) Save(ctx context.Context, r plan.Record) error {
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
	l.stop()
	l.kept.Wait() // a renewal under way would find no holder and call that a loss
	err := l.update(ctx, func(have *coordinationv1.Lease) {
		have.Spec.HolderIdentity = nil
		delete(have.Annotations, annotationHolder)
	})
	l.mu.Lock()
	l.held = false
	l.mu.Unlock()
	l.cancel(nil)
	if errors.Is(err, plan.ErrLost) {
		return nil
	}
	return l.failed("release", err)
}

// Forget deletes the Lease with its record and its holds. One that is gone already is no error.
func (l *Lease) Forget(ctx context.Context) error {
	if l.holds() {
		if err := l.Release(ctx); err != nil {
			return err
		}
	}
	err := l.client.Delete(ctx, l.name(), metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return l.failed("delete", err)
}
