package state

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Vigil looks at the Lease of a service from outside and changes nothing.
type Vigil struct {
	lease   *Lease
	watched observation
}

// Vigil begins to look.
func (l *Lease) Vigil() *Vigil { return &Vigil{lease: l} }

// Look reads the Lease once. open says that an upgrade is under way or was cut: so says the record, or there is no Lease, or
// none that can be read. still is for how long, by our own clock, nobody has renewed it before our eyes.
func (v *Vigil) Look(ctx context.Context) (open bool, still time.Duration, err error) {
	have, err := v.lease.client.Get(ctx, v.lease.name(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		have, err = &coordinationv1.Lease{}, nil
	}
	if err != nil {
		return false, 0, v.lease.failed("read", err)
	}
	return openIn(have), v.watched.still(have, time.Now()), nil
}

// openIn says that an upgrade is under way, or that nobody knows.
func openIn(have *coordinationv1.Lease) bool {
	text, written := have.Annotations[annotationRecord]
	record, err := decode(text)
	return !written || err != nil || record.Open
}
