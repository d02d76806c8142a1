package state

import (
	"context"
	"fmt"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Fence returns our fence (above 0, higher for every later holder), read from the Lease just now, or an error wrapping plan.ErrLost
// where the Lease is no longer ours, or where its last renewal is older than Duration by our own clock: then this
// process was stopped or cut off, and another may act. Any other error means that the Lease could not be read.
func (l *Lease) Fence(ctx context.Context) (int64, error) {
	if !l.holds() {
		return 0, fmt.Errorf("%w: %s", plan.ErrLost, l.where())
	}
	have, err := l.own(ctx)
	if err != nil {
		return 0, err
	}
	// After the read, so that a stop between the two is seen as well.
	if old := time.Since(l.lastRenewal()); old > l.Duration {
		return 0, fmt.Errorf("%w, or may have been: %s was last renewed %s ago", plan.ErrLost, l.where(), old.Round(time.Second))
	}
	return int64(*have.Spec.LeaseTransitions), nil
}
