// Package upgrade runs one upgrade: it takes the plan step by step, saves before each one, and brings users home when
// something is wrong. It talks to the world through the small interfaces of ports.go and decides nothing that
// package plan can decide.
package upgrade

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Upgrade is one upgrade of one service, wired to a cluster.
type Upgrade struct {
	Config    config.Config
	Identity  plan.Identity
	UpgradeID string
	Target    plan.Target
	From      string // image that production runs now, for people

	// Preflight checks everything that can be checked without a change and returns warnings, or all faults at once. guarded
	// says that a watchdog is wanted and can be had.
	Preflight func(ctx context.Context) (warnings []string, guarded bool, err error)
	// Answers asks the gateway and production with requests of our own whether they answer as an upgrade needs them to.
	Answers func(ctx context.Context) error
	// KeepLogs puts gray's logs where people find them, before gray goes.
	KeepLogs func(ctx context.Context) error
	// TestJob runs the user's own offline test against gray and says in words how it passed.
	TestJob func(ctx context.Context) (passed string, err error)
	// Objects returns the objects that an upgrade changes or makes.
	Objects func(ctx context.Context) (plan.Objects, error)
	// Joined tells of changes to gray's pods until ctx ends; several may be told once.
	Joined func(ctx context.Context) <-chan struct{}

	Cluster  Cluster
	Gray     Gray
	Scaling  Scaling
	Watchdog Watchdog
	Gateway  Gateway
	Verifier Verifier
	Watcher  Watcher
	Store    Store
	Progress Progress
	Evidence Evidence
	Log      *slog.Logger
}

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted by a signal")

// Run upgrades the service. A ctx that ends is a signal: from then on Run only brings users home (or, past the point
// of no return, finishes forward). The story it returns has an outcome; a failed one has its failure.
func (u *Upgrade) Run(ctx context.Context) plan.Story {
	r := u.newRun()
	return r.end(r.locked(ctx, false, r.upgrade))
}

// Close brings users home whatever an earlier run left. With takeover it takes the Lease over at once; without, a run that
// lives is left alone, and named in the refusal. With nothing left it changes nothing.
func (u *Upgrade) Close(ctx context.Context, takeover bool) plan.Story {
	r := u.newRun()
	err := r.locked(ctx, takeover, func(_, held context.Context) error {
		if _, err := r.tidyUp(held); err != nil {
			return err
		}
		r.story.Outcome = plan.Closed
		return nil
	})
	return r.end(r.unclosed(err))
}

// Plan returns the plan and the warnings of the preflight; it changes nothing, not even the Lease. What is on record is what
// the run would find there: it refuses an image that is on hold, and says so where production runs it already. Beside a
// running upgrade it sends no requests: they would count there as those of users.
func (u *Upgrade) Plan(ctx context.Context, found plan.Record, running bool) plan.Story {
	r := u.newRun()
	r.record, r.beside = found, running
	story := r.end(r.foretell(ctx))
	if story.Outcome == plan.Closed {
		story.Outcome = plan.Undecided // it could not look, and closes nothing
	}
	return story
}

func (r *run) foretell(ctx context.Context) error {
	if err := r.preflight(ctx); err != nil {
		return err
	}
	o, err := r.observe(ctx)
	if err != nil {
		return err
	}
	r.story.Warnings = append(r.story.Warnings, plan.Foretell(o, r.record, r.Config.Image, r.beside)...)
	if unchanged, err := r.decide(o, plan.DigestOf(r.Config.Image)); unchanged || err != nil {
		r.story.Outcome = plan.Unchanged
		return err
	}
	r.story.Outcome = plan.Planned
	if err := r.build(o); err != nil || r.beside {
		return err
	}
	return r.foresee(ctx)
}

// rateTime is how long a plan measures the traffic.
const rateTime = 5 * time.Second

// foresee measures the traffic for a moment and says what the plan's steps can find with it.
func (r *run) foresee(ctx context.Context) error {
	looking, stop := context.WithCancel(ctx)
	defer stop()
	findings := r.Watcher.Watch(looking)
	if err := sleep(ctx, rateTime); err != nil {
		return err
	}
	text, seen := plan.Foresee(r.story.Plan, r.Watcher.Rate(), r.Watcher.Sample().Reference.Traffic, r.Config.Limits)
	stop()
	for range findings {
		continue // nobody is on gray: only its end matters
	}
	if r.story.Foresight = text; !seen {
		r.story.Foresight, r.story.Warnings = "", append(r.story.Warnings, text)
	}
	return nil
}

// locked runs f under the Lease. f gets two contexts: ctx ends by a signal, a finding or the timeout; held ends only when
// the Lease is lost, and is what a close runs on.
func (r *run) locked(signal context.Context, takeover bool, f func(ctx, held context.Context) error) error {
	held, record, err := r.Store.Acquire(signal, takeover)
	if err != nil {
		return orCause(signal, err)
	}
	defer func() { r.release(r.held) }()
	r.held, r.record = held, record
	ctx, cancel := context.WithCancelCause(signal)
	defer cancel(nil)
	stop := context.AfterFunc(held, func() { cancel(context.Cause(held)) })
	defer stop()
	r.cancel = cancel
	err = f(ctx, held)
	return r.noteEnd(r.held, orCause(ctx, err)) //nolint:contextcheck // the Lease was perhaps taken back: another context
}

// cause says why ctx ended: a finding, a lost Lease or the timeout, else a signal. It is nil while ctx lives.
func cause(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	var f *plan.Failure
	if err := context.Cause(ctx); errors.As(err, &f) || errors.Is(err, plan.ErrLost) {
		return err
	}
	return errInterrupted
}

// orCause returns the cause of ctx's end in place of an error that only says that it ended.
func orCause(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return cause(ctx)
	}
	return err
}

// upgrade is the whole run: bring home what an earlier run left, check, plan, and take one step after the other.
func (r *run) upgrade(ctx, held context.Context) error {
	if done, err := r.tidyUp(held); done || err != nil {
		return err
	}
	o, err := r.ready(ctx)
	if err != nil {
		return err
	}
	if unchanged, err := r.decide(o, plan.DigestOf(r.Config.Image)); unchanged || err != nil {
		r.story.Outcome = plan.Unchanged
		return err
	}
	if err := r.build(o); err != nil {
		return err
	}
	return r.carryOut(ctx, held, plan.Promoted)
}

// ready makes sure, with nothing changed, that there is nothing in the way, and looks.
func (r *run) ready(ctx context.Context) (plan.Observed, error) {
	r.record.Image, r.record.Digest, r.record.Template = r.Config.Image, "", "" // what an earlier run learned is not ours
	if err := r.preflight(ctx); err != nil {
		return plan.Observed{}, err
	}
	for _, warning := range r.story.Warnings {
		r.Log.Warn(warning)
	}
	return r.observe(ctx)
}

// carryOut takes every step of the plan; outcome is how that ends. A step that fails ends in a close.
func (r *run) carryOut(ctx, held context.Context, outcome plan.Outcome) error {
	tell, err := r.compared(ctx)
	if err != nil {
		return err
	}
	defer tell()
	ctx, cancel := context.WithTimeoutCause(ctx, r.Config.Timeout,
		plan.Failf(plan.FaultInfrastructure, "", "the upgrade took longer than its timeout of %s", r.Config.Timeout))
	defer cancel()
	defer r.stopWatch()
	for _, s := range r.story.Plan.Steps {
		if err := r.take(ctx, s); err != nil {
			return r.closeAfter(held, s, err)
		}
	}
	r.story.Outcome = outcome
	return nil
}

// take makes one step true and tells about it: saved before, told after.
func (r *run) take(ctx context.Context, s plan.Step) error {
	if err := cause(ctx); err != nil {
		return err
	}
	r.begin(s)
	err := r.save(ctx, s)
	if err == nil {
		err = r.do(ctx, s)
	}
	if why := cause(ctx); err != nil && why != nil {
		err = why // what ended the step, not what it felt like from inside
	}
	r.ended(err)
	return err
}

// do makes one step true. Any step may be run again: doing it twice is doing it once.
func (r *run) do(ctx context.Context, s plan.Step) error {
	switch s.Kind {
	case plan.StartGray:
		return r.start(ctx, s)
	case plan.Identify:
		return r.identify(ctx)
	case plan.GrowGray:
		return r.grow(ctx, s)
	case plan.VerifyGray:
		return r.verifyGray(ctx)
	case plan.VerifyRoute:
		return r.prove(r.Verifier.Route(ctx))
	case plan.PinScaling:
		return r.Scaling.Pin(ctx)
	case plan.Guard:
		return r.guard(ctx)
	case plan.ShiftTraffic:
		return r.shift(ctx, s)
	case plan.Watch:
		return r.watch(ctx, s)
	case plan.Silence:
		return r.silence(ctx, s)
	case plan.Roll:
		return r.roll(ctx)
	case plan.VerifyProduction:
		return r.prove(r.Verifier.Production(ctx))
	case plan.Promote:
		return r.promote(ctx)
	case plan.RunTest:
		return r.runTest(ctx)
	case plan.RecordPass:
		return r.recordPass(ctx)
	case plan.UndoRoll:
		return r.Cluster.Undo(ctx)
	case plan.RemoveGray:
		return r.removeGray(ctx)
	case plan.Await:
		return sleep(ctx, lookAgain)
	}
	return plan.Failf(plan.FaultInfrastructure, "", "no step is called %q", s.Kind)
}

// tidyUp brings home what an earlier run left. It reports done where that run had passed the point of no return with
// the digest and everything else asked for now, so that finishing it forward was the whole job.
//
// Where it cannot look and the record says that work was left, it goes on looking as long as a close may take: the record
// must not be closed over users that nobody brought home.
func (r *run) tidyUp(ctx context.Context) (done bool, err error) {
	o, err := r.observe(ctx)
	if err != nil && !r.record.Open {
		return false, err
	}
	why, left := plan.LeftOver(o, r.record)
	if r.ours = !left; r.ours {
		return false, nil
	}
	r.note("an earlier run left work behind (%s): closing it first", r.record.Identity.Run)
	finished, err := r.bringHome(ctx, why)
	if err != nil {
		return false, err
	}
	r.ours = true
	r.mu.Lock()
	r.story.Highest = 0 // what moved until now was the earlier run's
	r.mu.Unlock()
	image, digest, asked := r.record.Image, r.record.Digest, r.record.Config
	r.settle(ctx, finished, why)
	if !finished || digest == "" || digest != plan.DigestOf(r.Config.Image) || asked != r.Config.Hash() {
		return false, nil // a tag may have been moved since: gray tells which digest it is now
	}
	r.record.Image, r.record.Digest = image, digest
	r.story.To = pinned(image, digest)
	r.story.Outcome = plan.Promoted
	return true, nil
}

// preflight runs the checks that change nothing.
func (r *run) preflight(ctx context.Context) error {
	warnings, guarded, err := r.Preflight(ctx)
	r.guarded = guarded
	r.story.Warnings = append(r.story.Warnings, warnings...)
	if r.beside {
		r.story.Warnings = append(r.story.Warnings, "an upgrade of this service is under way, and would take requests for those of users: this plan sent no requests of its own, "+
			"so test accounts on production and what the gateway serves were not checked, and the traffic was not measured")
	}
	r.tell()
	if err != nil || r.beside {
		return err
	}
	return r.Answers(ctx)
}

// build makes the plan and the record of this run.
func (r *run) build(o plan.Observed) error {
	c := r.Config
	if !r.guarded {
		c.Watchdog = config.GuardOff // auto, and something is missing
	}
	p, err := plan.Build(c, o)
	if err != nil {
		return err
	}
	r.story.Plan = p
	r.story.PeakPods = plan.PeakPods(r.Config, o)
	r.tell()
	return nil
}

// sleep waits, or returns the cause of ctx's end.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return cause(ctx)
	case <-timer.C:
		return nil
	}
}
