package upgrade

import (
	"context"
	"fmt"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// grow makes gray large enough for the next weight: as planned, or larger where the service now carries more than it did
// at the first watch.
func (r *run) grow(ctx context.Context, s plan.Step) error {
	o, err := r.observe(ctx)
	if err != nil {
		return err
	}
	rate := r.Watcher.Rate()
	want, err := plan.GrayFor(s, o, rate, r.baseRate)
	if err != nil {
		return err
	}
	if want > s.Replicas {
		r.note("gray grows to %d pods, not %d: %.0f requests/s now, %.0f at the start", want, s.Replicas, rate, r.baseRate)
	}
	if more := plan.PodsFor(s.Weight, o.Production.Replicas); more > want {
		r.note("gray grows to %d pods, not %d: production has %d now", more, want, o.Production.Replicas)
		want = more
	}
	if want <= o.Gray.Replicas {
		return nil
	}
	r.size = want
	return r.Gray.Scale(ctx, want)
}

// verifyGray proves every gray pod that is not proven yet, makes sure that all run the same digest, and waits until all
// of them serve.
func (r *run) verifyGray(ctx context.Context) error {
	if err := r.provePods(ctx); err != nil {
		return err
	}
	if err := r.sameDigest(ctx); err != nil {
		return err
	}
	return r.Gray.Ready(ctx)
}

// sameDigest makes sure that every gray pod runs what gray was identified as: a pod that joins pulls the tag anew.
func (r *run) sameDigest(ctx context.Context) error {
	digest, err := r.Gray.Digest(ctx)
	if err != nil || digest == r.record.Digest {
		return err
	}
	return plan.Failf(plan.FaultInfrastructure, "Deployment "+r.Target.Namespace+"/"+r.Target.GrayDeployment(),
		"gray began with digest %s and now runs %s: %w (%s); give the image by digest", r.record.Digest, digest, plan.ErrMoved, r.record.Image)
}

// provePods proves every gray pod that has not passed as it is now.
func (r *run) provePods(ctx context.Context) error {
	select {
	case r.verifying <- struct{}{}:
	case <-ctx.Done():
		return cause(ctx) // whoever verifies now may take long: a close does not wait for it
	}
	defer func() { <-r.verifying }()
	return r.prove(r.Verifier.Gray(ctx))
}

// prove adds proofs to the story.
func (r *run) prove(proofs []plan.Proof, err error) error {
	r.mu.Lock()
	r.story.Proofs = append(r.story.Proofs, proofs...)
	r.mu.Unlock()
	for _, p := range proofs {
		r.Evidence.Record("proof", p)
	}
	return err
}

// shift makes the data plane serve a weight. A side without a ready pod gets no users (a close has asked plan.Close,
// which knows when there is no better side).
func (r *run) shift(ctx context.Context, s plan.Step) error {
	if s.Phase != plan.PhaseClose {
		if s.Weight > r.weight {
			if err := r.provePods(ctx); err != nil { // one may have restarted since it passed
				return err
			}
		}
		if err := r.maySend(ctx, s); err != nil {
			return err
		}
		if err := r.mayRaise(ctx, s.Weight); err != nil {
			return err
		}
		r.beginWindow(ctx, s)
	}
	r.served, r.drained, r.shifted = -1, false, true
	r.move()
	if err := r.Gateway.SetWeight(ctx, s.Weight); err != nil {
		return err
	}
	r.written(s.Weight)
	r.saveClosing(ctx)
	share, err := r.Gateway.Confirm(ctx, s.Weight)
	if err != nil {
		return err
	}
	r.confirmed(s.Weight, share)
	if share.Probed && s.Phase != plan.PhaseClose {
		r.beginWindow(ctx, s) // what our own probes were answered is no evidence of users
	}
	return nil
}

// capacityTime is how long a move of users waits for pods that are not ready: they may just be replaced.
const capacityTime = 30 * time.Second

// maySend waits until the side that gets users can carry them, and refuses where it cannot: gray needs as many ready pods
// as its weight takes, and so does production on the way back.
func (r *run) maySend(ctx context.Context, s plan.Step) error {
	for until := time.Now().Add(capacityTime); ; {
		o, err := r.observe(ctx)
		if err != nil {
			return err
		}
		lacking := r.lacking(s, o)
		if lacking == nil {
			return nil
		}
		if !time.Now().Before(until) {
			return lacking
		}
		if err := sleep(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// lacking says which side has too few ready pods for a weight; nil where neither has.
func (r *run) lacking(s plan.Step, o plan.Observed) error {
	gray := min(max(r.size, o.Gray.Replicas), plan.PodsFor(s.Weight, o.Production.Replicas))
	production := int32(0)
	switch {
	case s.Phase == plan.PhaseReturn:
		production = max(1, plan.PodsFor(100-s.Weight, o.Production.Replicas))
	case s.Weight < 100:
		production = 1
	}
	serving := o.Production.Ready + o.Production.Old
	switch {
	case o.Gray.Ready < gray || s.Weight > 0 && o.Gray.Ready == 0:
		return plan.Failf(plan.FaultInfrastructure, "Service "+r.Target.Namespace+"/"+r.Target.GrayService(),
			"%d of %d gray pods are ready, weight %d takes %d", o.Gray.Ready, o.Gray.Replicas, s.Weight, max(1, gray))
	case serving < production:
		return plan.Failf(plan.FaultInfrastructure, "Service "+r.Target.Namespace+"/"+r.Target.Service,
			"%d of %d production pods are ready, %d %% of the requests take %d", serving, o.Production.Replicas, 100-s.Weight, production)
	}
	return nil
}

// roll makes production run the new template. From then on another one on it is somebody else's doing.
func (r *run) roll(ctx context.Context) error {
	if err := r.still(ctx, 100); err != nil {
		return err
	}
	err := r.Cluster.Roll(ctx)
	r.mu.Lock()
	r.rolled = err == nil
	r.mu.Unlock()
	return err
}

// promote marks the point of no return. The mark goes with the last write, whose answer may be lost: this run knows.
func (r *run) promote(ctx context.Context) error {
	err := r.Cluster.Promote(ctx, r.record.Digest)
	r.beyond = r.beyond || err == nil
	return err
}

// still makes sure, right before a write that rests on it, that the route says what this run wrote last.
func (r *run) still(ctx context.Context, weight int) error {
	now, err := r.Gateway.Weight(ctx)
	if err != nil || now == weight {
		return err
	}
	return r.foreignWeight(now, weight)
}

// awaitEvery is the pause between looks for what is awaited: readings of metrics.k8s.io, one in about 15 s.
const awaitEvery = 5 * time.Second

// watch lets the time of a step pass and returns its verdict. Findings end it at once through ctx. Missing evidence
// (judge.Missing) makes it longer, up to Config.StepLimit, then the answer is "not enough evidence"; what is awaited
// (judge.Awaited) makes it longer, too, but nothing follows where it does not come. A duration of 0 asks for no evidence.
func (r *run) watch(ctx context.Context, s plan.Step) error {
	if err := sleep(ctx, s.Duration); err != nil {
		return err
	}
	checks := r.Watcher.Verdict()
	if s.Duration > 0 {
		for until := time.Now().Add(r.Config.StepLimit() - s.Duration); r.thin(checks) && time.Now().Before(until); checks = r.Watcher.Verdict() {
			pause := time.Second
			if len(judge.Missing(checks, r.Config.Limits)) == 0 {
				pause = awaitEvery
			}
			if err := sleep(ctx, pause); err != nil {
				return err
			}
		}
	}
	r.measure()
	if r.baseRate == 0 {
		r.baseRate = r.Watcher.Rate()
	}
	if s.Balance {
		balance, err := r.balance(ctx)
		if err != nil {
			return err
		}
		checks = append(checks, balance)
	}
	r.checked(checks)
	return r.verdict(s, checks)
}

// thin says that a window does not hold enough to go on, nor to go back.
func (r *run) thin(checks []judge.Check) bool {
	return len(judge.Failed(checks)) == 0 && len(judge.Missing(checks, r.Config.Limits))+len(judge.Awaited(checks)) > 0
}

// verdict turns the checks of a step into its end.
func (r *run) verdict(s plan.Step, checks []judge.Check) error {
	if bad := judge.Failed(checks); len(bad) > 0 {
		return failureOf(bad, s)
	}
	missing := judge.Missing(checks, r.Config.Limits)
	if s.Duration == 0 || len(missing) == 0 {
		return nil
	}
	f := plan.Failf(plan.FaultEvidence, missing[0].Where, "not enough evidence at weight %d to judge %s: %s", s.Weight, s.Side, missing[0].Why)
	f.Checks, f.Next = checks, toSeeMore(missing[0])
	return f
}

// toSeeMore is what to do about evidence that is missing; "" where the words for every inconclusive end fit.
func toSeeMore(c judge.Check) string {
	switch c.Name {
	case judge.NameLatency:
		return "rerun when there is more traffic, make step-duration longer, or set thresholds: {p99-ms: ...}, which needs no requests of the other side; the image is not blamed"
	case judge.NameRestarts, judge.NameReady:
		return "look at the pods of both sides: what keeps them from being ready, or from being seen, is not the image alone; repair it, then rerun; the image is not blamed"
	case judge.NameNewErrorLogs:
		return "repair what keeps the logs from being read or compared (permission pods/log, the nodes' kubelets), or raise thresholds: {new-error-logs: ...}, then rerun; the image is not blamed"
	}
	if c.IsQuery() {
		return "look at what the query answers in Prometheus for both sides, correct it or take it out, or make step-duration longer, then rerun; the image is not blamed"
	}
	return ""
}

// failureOf names the first failed check; one that is not the image's fault makes the whole an infrastructure fault only
// where none is the image's.
func failureOf(bad []judge.Check, s plan.Step) *plan.Failure {
	fault, first := plan.FaultInfrastructure, bad[0]
	for _, c := range bad {
		if !c.Infrastructure {
			fault, first = plan.FaultImage, c
			break
		}
	}
	f := plan.Failf(fault, first.Where, "%s", first.Why)
	f.Checks, f.Step = bad, s
	return f
}

func (r *run) balance(ctx context.Context) (judge.Check, error) {
	o, err := r.observe(ctx)
	if err != nil {
		return judge.Check{}, err
	}
	c := plan.Balance(r.Watcher.Sample(), o.Gray.Ready, o.Production.Ready)
	c.Infrastructure = true
	return c, nil
}

// silence waits until a side has served nothing for the drain window.
func (r *run) silence(ctx context.Context, s plan.Step) error {
	quiet := r.quiet(s.Duration)
	bounded, cancel := context.WithTimeout(ctx, 3*quiet+time.Minute)
	defer cancel()
	err := r.Gateway.Silent(bounded, s.Side, quiet)
	switch {
	case err == nil:
		r.drained = s.Side == plan.Gray
		return nil
	case ctx.Err() != nil:
		return cause(ctx)
	case s.Side == plan.Production && r.Config.Bypass == config.Warn:
		r.note("production still serves requests at weight 100 (%v): zero loss covers gateway traffic only", err)
		return nil
	case s.Side == plan.Production:
		return plan.Failf(plan.FaultInfrastructure, "Service "+r.Target.Namespace+"/"+r.Target.Service,
			"production still serves requests at weight 100, so calls bypass the route: %w; set bypass: warn to go on all the same", err)
	}
	return fmt.Errorf("wait until %s serves nothing: %w", s.Side, err)
}

// removeGray takes everything of ours away: first what leads to gray, then gray, then the watchdog (it may be who does all
// this), then the marks on the user's objects: that it is promoted is known to the last.
func (r *run) removeGray(ctx context.Context) error {
	r.stopWatch()
	if err := r.still(ctx, 0); err != nil {
		return err
	}
	for _, act := range []func(context.Context) error{r.Scaling.Unpin, r.Gateway.Remove, r.Gray.Delete, r.Watchdog.Stop, r.Cluster.Clean} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}
