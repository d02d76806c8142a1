package upgrade

import (
	"context"
	"fmt"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// guardTime is how long a raise of the weight waits for a watchdog that is not ready: its pod may just be replaced.
const guardTime = 30 * time.Second

// guard starts the watchdog, and returns when it stands by.
func (r *run) guard(ctx context.Context) error {
	if err := r.Watchdog.Start(ctx); err != nil {
		return err
	}
	return r.awaitGuard(ctx, r.Config.PodTimeout)
}

// mayRaise refuses to raise the weight while the watchdog does not stand by: were this process lost, users would stay on
// gray.
func (r *run) mayRaise(ctx context.Context, weight int) error {
	if !r.guarded || weight <= r.weight {
		return nil
	}
	return r.awaitGuard(ctx, guardTime)
}

// awaitGuard waits until the watchdog is ready. One look that fails is no reason to give up.
func (r *run) awaitGuard(ctx context.Context, limit time.Duration) error {
	var last error
	for until := time.Now().Add(limit); ; {
		ready, err := r.Watchdog.Ready(ctx)
		if ready {
			return nil
		}
		if err != nil {
			last = err
		}
		if !time.Now().Before(until) {
			break
		}
		if err := sleep(ctx, lookAgain); err != nil {
			return err
		}
	}
	f := plan.Failf(plan.FaultInfrastructure, "Job "+r.Target.Namespace+"/"+r.Target.Watchdog(), "the watchdog is not ready after %s", limit)
	if last != nil {
		f.What, f.Err = fmt.Sprintf("%s: %v", f.What, last), last
	}
	f.Next = "repair what keeps the watchdog's pod from being ready (its image is the input watchdog-image), or set watchdog: off, then rerun; the image is not blamed"
	return f
}
