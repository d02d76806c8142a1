package state

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Holder is who holds a Lease, for people. Its times are by the holder's clock.
type Holder struct {
	plan.Identity
	Since time.Time // taken
	Until time.Time // ends, unless it is renewed
	Step  string    // what it does, in words; "" where it has not said
	Fence int64
}

// String is the run with who started it and where to look.
func (h Holder) String() string {
	var more []string
	if h.Actor != "" {
		more = append(more, "by "+h.Actor)
	}
	if h.URL != "" {
		more = append(more, h.URL)
	}
	if len(more) == 0 {
		return h.Run
	}
	return h.Run + " (" + strings.Join(more, ", ") + ")"
}

// Load returns the record and the holder (nil: nobody) and changes nothing. No Lease is the zero Record and no holder.
func (l *Lease) Load(ctx context.Context) (plan.Record, *Holder, error) {
	have, err := l.client.Get(ctx, l.name(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return plan.Record{}, nil, nil
	}
	if err != nil {
		return plan.Record{}, nil, l.failed("read", err)
	}
	record, err := decode(have.Annotations[annotationRecord])
	if err != nil {
		return plan.Record{}, nil, plan.Failf(plan.FaultInfrastructure, l.where(), "read annotation %s: %w", annotationRecord, err)
	}
	if holder(have) == "" {
		return record, nil, nil
	}
	h := holderOf(have, record)
	return record, &h, nil
}

// holderOf tells about the run that holds the Lease. Who started it stands beside the record, because a run that has
// just taken the Lease has not written a record yet.
func holderOf(have *coordinationv1.Lease, r plan.Record) Holder {
	h := Holder{Fence: int64(ptr.Deref(have.Spec.LeaseTransitions, 0))}
	if err := json.Unmarshal([]byte(have.Annotations[annotationHolder]), &h.Identity); err != nil || h.Run != holder(have) {
		h.Identity = plan.Identity{Run: holder(have)}
	}
	if r.Identity.Run == h.Run {
		h.Step = r.Step
	}
	h.Since = ptr.Deref(have.Spec.AcquireTime, metav1.MicroTime{}).Time
	if renewed := have.Spec.RenewTime; renewed != nil {
		h.Until = renewed.Add(time.Duration(ptr.Deref(have.Spec.LeaseDurationSeconds, 0)) * time.Second)
	}
	return h
}
