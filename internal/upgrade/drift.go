package upgrade

import (
	"context"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// lookEvery is the time between two looks at the world while gray has users: a look is a dozen requests to the API server.
const (
	lookEvery = 2 * time.Second
	lookSoon  = time.Second // after a look that found something
)

// moving stands for the weight while this run writes one.
const moving = -1

// lookOut looks, while gray has users, whether the world is still the one that this run made: gray has a ready endpoint, the
// weight is the one last written, production's template is nobody else's. What is wrong in two looks in a row ends
// the running step, by no fault of the image; one look may fall into a write of our own.
func (r *run) lookOut(ctx context.Context) {
	var before *plan.Failure
	for wait := lookEvery; sleep(ctx, wait) == nil; {
		now := r.drift(ctx)
		if now != nil && before != nil && now.What == before.What {
			r.cancel(now)
			return
		}
		before, wait = now, lookEvery
		if now != nil {
			wait = lookSoon
		}
	}
}

// drift names what is wrong now; nil where nothing is, or where it cannot be seen: others tell of an API server that is away.
func (r *run) drift(ctx context.Context) *plan.Failure {
	o, err := r.Cluster.Observe(ctx)
	if err != nil {
		return nil //nolint:nilerr // an API server that is away is no drift
	}
	weight, err := r.Gateway.Weight(ctx)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	r.mu.Lock()
	wrote, rolled := r.wrote, r.rolled
	r.mu.Unlock()
	switch {
	case wrote != moving && weight != wrote:
		return r.foreignWeight(weight, wrote)
	case weight > 0 && o.Gray.Ready == 0:
		return plan.Failf(plan.FaultInfrastructure, "Service "+r.Target.Namespace+"/"+r.Target.GrayService(), "gray has no ready endpoint at weight %d", weight)
	case rolled && o.Production.Template == plan.Baseline:
		return plan.Failf(plan.FaultInfrastructure, "Deployment "+r.Target.Namespace+"/"+r.Target.Deployment,
			"somebody else gave production its old pod template back after it was rolled (image %s): it is left as it is", o.Production.Image)
	case o.Production.Template == plan.Foreign:
		return plan.Failf(plan.FaultInfrastructure, "Deployment "+r.Target.Namespace+"/"+r.Target.Deployment,
			"production's pod template was changed by somebody else meanwhile (image %s): it is not overwritten", o.Production.Image)
	}
	return nil
}

func (r *run) foreignWeight(now, wrote int) *plan.Failure {
	return plan.Failf(plan.FaultInfrastructure, "HTTPRoute "+r.Target.Namespace+"/"+r.Target.Route,
		"the weight in the route is %d, and this run wrote %d: somebody else changed it", now, wrote)
}
