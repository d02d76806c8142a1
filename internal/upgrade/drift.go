package upgrade

import (
	"context"
	"errors"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	lookEvery = 2 * time.Second // between two looks at the world while gray has users: each is a dozen requests to the API server
	lookTwice = time.Second     // how far apart two looks are that count as two
	// lookLonger is lookTwice for a production that is down: on the way back it is on trial, and the watch, which knows whether its
	// image is to blame, takes three seconds to say so.
	lookLonger = 5 * time.Second
)

// moving stands for the weight while this run writes one.
const moving = -1

// lookOut looks, while gray has users, whether the world is still the one that this run made: both sides with users have a
// ready endpoint, the weight is the one last written, production's template is nobody else's. What is wrong ends the running step, by no fault of
// the image: at once where users meet a gray that is not there, else when it is still wrong in a second look, since one may
// fall into a write of our own.
func (r *run) lookOut(ctx context.Context) {
	changed := r.Joined(ctx)
	var before *plan.Failure
	var since time.Time
	for wait := lookEvery; next(ctx, changed, wait); {
		now := r.drift(ctx)
		switch {
		case now == nil:
			before, wait = nil, lookEvery
			continue
		case before == nil || now.What != before.What:
			before, since = now, time.Now()
		}
		apart := lookTwice
		switch {
		case errors.Is(now, errNobodyServes):
			apart = 0
		case errors.Is(now, errProductionDown):
			apart = lookLonger
		}
		if time.Since(since) >= apart {
			r.cancel(now)
			return
		}
		wait = lookTwice
	}
}

// errNobodyServes is wrapped where users are sent to a gray without a ready endpoint.
var errNobodyServes = errors.New("gray has no ready endpoint")

// errProductionDown is wrapped where users are sent to a production without a ready endpoint.
var errProductionDown = errors.New("production has no ready endpoint")

// drift names what is wrong now; nil where nothing is, or where it cannot be seen: others tell of an API server that is away.
func (r *run) drift(ctx context.Context) *plan.Failure {
	weight, err := r.Gateway.Weight(ctx) // before gray: what was sent there must be served afterwards
	if err != nil {
		return nil //nolint:nilerr // an API server that is away is no drift
	}
	o, err := r.Cluster.Observe(ctx)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	r.mu.Lock()
	wrote, rolled := r.wrote, r.rolled
	r.mu.Unlock()
	switch {
	case weight > 0 && weight == wrote && o.Gray.Ready == 0:
		return r.grayIsDown(o, weight)
	case weight != wrote && wrote != moving:
		return r.foreignWeight(weight, wrote)
	case !o.Production.Exists:
		return plan.Failf(plan.FaultInfrastructure, "Deployment "+r.Target.Namespace+"/"+r.Target.Deployment, "production's Deployment was deleted by somebody else")
	case o.Production.Unserved:
		return plan.Failf(plan.FaultInfrastructure, "Service "+r.Target.Namespace+"/"+r.Target.Service, "production's Service was deleted by somebody else")
	case weight < 100 && weight == wrote && o.Production.Ready+o.Production.Old == 0:
		return plan.Failf(plan.FaultInfrastructure, "Service "+r.Target.Namespace+"/"+r.Target.Service,
			"%w, and %d %% of the users are sent there", errProductionDown, 100-weight)
	case rolled && o.Production.Template == plan.Baseline:
		return plan.Failf(plan.FaultInfrastructure, "Deployment "+r.Target.Namespace+"/"+r.Target.Deployment,
			"somebody else gave production its old pod template back after it was rolled (image %s): it is left as it is", o.Production.Image)
	case o.Production.Template == plan.Foreign:
		return plan.Failf(plan.FaultInfrastructure, "Deployment "+r.Target.Namespace+"/"+r.Target.Deployment,
			"production's pod template was changed by somebody else meanwhile (image %s): it is not overwritten", o.Production.Image)
	}
	return nil
}

// grayIsDown tells pods that are gone from those that are there, proven, and not ready any more while all of production serves:
// that is the image's own doing. Where production lacks a pod, too, what both share may be; the watch, which compares them for
// longer than this look, may still blame the image (raise).
func (r *run) grayIsDown(o plan.Observed, weight int) *plan.Failure {
	where := "Service " + r.Target.Namespace + "/" + r.Target.GrayService()
	if o.Gray.Unready > 0 && o.Production.Ready+o.Production.Old >= max(1, o.Production.Replicas) {
		return plan.Failf(plan.FaultImage, where, "%w at weight %d: %d of its pods passed their verification and are not ready any more", errNobodyServes, weight, o.Gray.Unready)
	}
	return plan.Failf(plan.FaultInfrastructure, where, "%w at weight %d", errNobodyServes, weight)
}

func (r *run) foreignWeight(now, wrote int) *plan.Failure {
	how := "changed it"
	if now == 0 { // so it is, too, where there is no route
		how = "changed or deleted it, as a GitOps controller does that does not ignore the weights"
	}
	return plan.Failf(plan.FaultInfrastructure, "HTTPRoute "+r.Target.Namespace+"/"+r.Target.Route,
		"the weight in the route is %d, and this run wrote %d: somebody else %s", now, wrote, how)
}
