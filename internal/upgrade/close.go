package upgrade

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// closeAfter brings users home after a step failed, and returns the failure as people are told it. Its first write is
// the first step of plan.Close; the record comes after it.
func (r *run) closeAfter(held context.Context, s plan.Step, err error) error {
	if errors.Is(err, plan.ErrLost) || held.Err() != nil {
		again, lost := r.regain(held, time.Now().Add(r.Config.CloseTimeout), err)
		if lost != nil {
			r.stopWatch()
			return lost
		}
		held = again
	}
	f := r.failure(err, s)
	why := reasonOf(f)
	r.note("closing: %s", f.What)
	c := &closing{why: why, failure: f, begin: r.foundAt()}
	stuck := r.goHome(held, c)
	r.accuse(held, c)
	r.stopWatch()
	switch {
	case stuck != nil:
		return after(stuck, f)
	case errors.Is(err, errUnchanged):
		r.story.Outcome = plan.Unchanged
		return nil
	case c.promoted:
		r.note("past the point of no return: finished forward")
		r.story.Outcome = plan.Promoted
		return nil
	}
	return f
}

// after adds to a close that did not get to its end what it was begun for.
func after(stuck error, begun *plan.Failure) error {
	var f *plan.Failure
	if !errors.As(stuck, &f) {
		return stuck
	}
	told := *f
	told.What += "; the close was begun because " + begun.What
	return &told
}

// regain takes the Lease back where it was only late, not taken: gray must not be left with users and nobody to watch. It
// returns the new context; or, where another run has had the Lease, the failure that leaves the close to that run; or,
// where nobody could say by the deadline, one that is stuck.
func (r *run) regain(lost context.Context, until time.Time, why error) (context.Context, error) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(lost), until)
	defer cancel()
	held, err := r.Store.Regain(ctx)
	switch {
	case err == nil:
		r.held = held
		return held, nil
	case errors.Is(err, plan.ErrLost):
		return nil, r.lostLease(plan.Step{Phase: plan.PhaseClose}, why)
	}
	return nil, r.stuck(fmt.Errorf("take the lease back: %w", err))
}

// closing is one close under way.
type closing struct {
	why      plan.Reason
	failure  *plan.Failure  // nil: an earlier run's work is brought home
	begin    time.Time      // when what ended the upgrade was found
	promoted bool           // at the last look with anything left: past the point of no return, so that home is the new version
	seen     *plan.Observed // at the first look
	acted    bool           // something was left at some look
	accused  bool           // whether the image is to blame is settled
	saved    bool           // the record says so
	waits    string         // why the last step was taken, or what is waited for
}

// foundAt is when the watch found the anomaly, or now.
func (r *run) foundAt() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found.IsZero() {
		return time.Now()
	}
	return r.found
}

// bringHome brings home what an earlier run left; promoted says that home is that run's version.
func (r *run) bringHome(held context.Context, why plan.Reason) (promoted bool, err error) {
	c := &closing{why: why}
	err = r.goHome(held, c)
	return c.promoted, err
}

// first notes what was seen before anything was written. An anomaly past the point of no return is written down before users
// move: a run that comes after a kill would else take it for a cancelled one, and finish forward.
func (r *run) first(ctx context.Context, c *closing, o plan.Observed) {
	if c.seen != nil {
		return
	}
	c.seen = &o
	if c.failure != nil && c.why == plan.ReasonAnomaly && o.Promoted {
		r.saveClosing(ctx)
	}
}

// raise blames the image for what the watch finds of it while another fault is being closed: one cause has several effects, and
// the one that blames nobody may be seen first. Past the point of no return users would else be brought to the version that the
// second one blames. It is too late once the blame is settled, or gray is gone. A cancel holds nothing while it leads home.
func (r *run) raise(ctx context.Context, c *closing, o plan.Observed) {
	r.mu.Lock()
	blamed := r.blamed
	r.mu.Unlock()
	if blamed == nil || c.failure == nil || c.accused || c.why == plan.ReasonAnomaly || !o.Gray.Exists {
		return
	}
	if c.why == plan.ReasonInterrupted && !o.Promoted {
		return
	}
	begun := c.failure.What
	*c.failure = *r.failure(blamed, c.failure.Step)
	c.why, c.saved = plan.ReasonAnomaly, false
	r.note("found while closing: %s", c.failure.What)
	c.failure.What += "; the close was begun because " + begun
	if c.acted || o.Promoted { // else after the first write, as ever
		r.saveClosing(ctx)
	}
}

// accuse puts a failed image on hold, once. Users are home, or on their way: now there is time to hear what excuses it. What takes
// the pods of both sides, or evicts one, may be seen in gray's requests and pods first: the watch is asked again. And the
// gateway's errors, or an account check without an answer, say no more than that nobody answered: so it is with a node that is
// lost, which Kubernetes notices only after most of a minute, and its kubelet is asked.
func (r *run) accuse(ctx context.Context, c *closing) {
	if c.accused || c.seen == nil || c.failure == nil || c.why != plan.ReasonAnomaly {
		return
	}
	c.accused = true
	if why := r.spared(c); why != "" {
		c.spare("seen a moment later: " + why)
		return
	}
	lost := r.lost(ctx, c)
	if len(lost) == 0 {
		r.hold(*c.seen, c.failure)
		return
	}
	c.spare(fmt.Sprintf("the node of gray pod %s does not answer, so the image is not blamed", lost[0]))
	r.note("the nodes of these gray pods do not answer: %s", strings.Join(lost, ", "))
}

// spare takes the blame off the image.
func (c *closing) spare(why string) {
	c.why, c.failure.Fault = plan.ReasonInfrastructure, plan.FaultInfrastructure
	c.failure.What += "; " + why
}

// spared is what the watch says now that blames nobody, if it says so of everything that the image was found guilty of; else "".
func (r *run) spared(c *closing) (why string) {
	if r.watching == nil {
		return ""
	}
	now := judge.Judge(r.Watcher.Sample(), r.Config.Limits)
	for _, f := range c.failure.Checks {
		i := slices.IndexFunc(now, func(n judge.Check) bool { return n.Name == f.Name })
		switch {
		case f.Verdict != judge.Fail || f.Infrastructure:
			continue
		case i < 0 || !now[i].Excuses():
			return ""
		}
		why = now[i].Why
	}
	return why
}

// askNodes bounds how long the nodes of gray pods are asked.
const askNodes = 5 * time.Second

func (r *run) lost(ctx context.Context, c *closing) []string {
	byItself := func(check judge.Check) bool {
		return check.Name != judge.NameErrors && check.Name != judge.NameLatency && !check.IsQuery() && !check.Silent
	}
	if c.seen.Promoted || len(c.failure.Checks) == 0 || slices.ContainsFunc(c.failure.Checks, byItself) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askNodes)
	defer cancel()
	return r.Gray.Lost(ctx)
}

// forward says that home is the new version: production is past the point of no return, still runs it, and nothing is wrong
// with it.
func forward(o plan.Observed, why plan.Reason) bool {
	return o.Promoted && o.Production.Template == plan.Ours && why != plan.ReasonAnomaly
}

// goHome does the first step of plan.Close, looks again, and goes on until nothing is left. A step that fails is tried again
// by looking again, a Lease that is lost is taken back unless another run has it; only the close timeout ends that, as a
// *plan.Failure whose outcome is Stuck.
func (r *run) goHome(held context.Context, c *closing) error {
	until := time.Now().Add(r.Config.CloseTimeout)
	r.closing = c
	defer func() { r.closing = nil }()
	for {
		err := r.homeUnder(held, until, c)
		if !errors.Is(err, plan.ErrLost) {
			return err
		}
		again, lost := r.regain(held, until, err)
		if lost != nil {
			return lost
		}
		held = again
	}
}

// homeUnder is goHome under one hold of the Lease; it returns an error wrapping plan.ErrLost when that ends.
func (r *run) homeUnder(held context.Context, until time.Time, c *closing) error {
	ctx, cancel := context.WithDeadline(held, until)
	defer cancel()
	var last error
	for {
		home, err := r.stepHome(ctx, c)
		switch {
		case err == nil && home:
			return nil
		case errors.Is(err, plan.ErrLost):
			return err
		case held.Err() != nil:
			return context.Cause(held)
		case err != nil && ctx.Err() == nil:
			last = err // what the deadline itself makes fail says nothing
		}
		if ctx.Err() != nil || err != nil && sleep(ctx, lookAgain) != nil && held.Err() == nil {
			return r.stuck(last)
		}
	}
}

// stepHome looks, and does the first step of plan.Close; home says that there is none.
func (r *run) stepHome(ctx context.Context, c *closing) (home bool, err error) {
	o, err := r.observe(ctx)
	if err != nil {
		return false, err
	}
	r.first(ctx, c, o)
	r.raise(ctx, c, o)
	steps := plan.Close(o, c.why, r.Config.CloseFloor)
	if len(steps) == 0 {
		r.home = o.Production.Image
		c.promoted = c.promoted || !c.acted && r.beyond && c.why != plan.ReasonAnomaly && o.Production.Digest == r.record.Digest
		return true, nil
	}
	c.acted = true
	c.promoted = forward(o, c.why) // the marks go with the last step
	c.waits = steps[0].Why
	if steps[0].Kind == plan.Await && o.Weight > 0 && o.Gray.Ready < o.Gray.Replicas {
		r.admitReplaced(ctx)
	}
	return false, r.closeStep(ctx, c, steps[0])
}

// admitReplaced proves gray pods that came in place of others while gray's users wait for production: an image that is bad beats
// no pod at all. In a run that watches, verifyJoined does.
func (r *run) admitReplaced(ctx context.Context) {
	if r.watching != nil {
		return
	}
	if err := r.provePods(ctx); err != nil {
		r.Log.Warn("gray pods are not admitted", "error", err)
	}
}

func (r *run) closeStep(ctx context.Context, c *closing, s plan.Step) error {
	if s.Kind == plan.Await {
		r.saveClosing(ctx)
		return r.await(ctx, s)
	}
	r.begin(s)
	if s.Kind == plan.RemoveGray {
		r.keepLogs(ctx)
	}
	if s.Kind == plan.ShiftTraffic && c.promoted && r.watching != nil {
		r.Watcher.Begin(plan.Production, s.Weight) // who gets the users is judged by how they fare there
	}
	err := r.do(ctx, s)
	r.saveClosing(ctx)
	if err == nil && s.Kind == plan.ShiftTraffic && s.Weight == 0 && r.story.Highest > 0 && r.story.ClosedIn == 0 && c.failure != nil {
		r.story.ClosedIn = time.Since(c.begin).Seconds()
	}
	r.ended(err)
	return err
}

// logTime bounds the reading of logs: a close does not wait for them.
const logTime = 10 * time.Second

func (r *run) keepLogs(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, logTime)
	defer cancel()
	if err := r.KeepLogs(ctx); err != nil {
		r.note("not all of gray's logs are in the evidence: %v", err)
	}
}

// await tells once what is waited for, not at each look.
func (r *run) await(ctx context.Context, s plan.Step) error {
	if n := len(r.story.Entries); n == 0 || r.story.Entries[n-1].Step != s {
		r.begin(s)
		r.ended(nil)
	}
	return r.do(ctx, s)
}

// stuck is the failure of a close that could not be confirmed: a person must act.
func (r *run) stuck(last error) error {
	if last == nil {
		last = errors.New("users could not be brought home in time")
		if r.closing != nil && r.closing.waits != "" {
			last = errors.New(r.closing.waits)
		}
	}
	f := plan.Failf(plan.FaultInfrastructure, "HTTPRoute "+r.Target.Namespace+"/"+r.Target.Route,
		"the close is not confirmed after %s: %w", r.Config.CloseTimeout, last)
	f.Done = fmt.Sprintf("the route is set to weight %d; nothing that serves was deleted", r.weight)
	f.Next = "repair what is named above, then run: " + r.Target.Command("close")
	r.story.Outcome = plan.Stuck
	return f
}

// unclosed makes of a close that could not even look what it is: not confirmed. Who is refused, or lost the Lease to another
// run, leaves the close to that run.
func (r *run) unclosed(err error) error {
	if err == nil || errors.Is(err, plan.ErrLost) || r.story.Outcome == plan.Stuck {
		return err
	}
	f := r.failure(err, plan.Step{Phase: plan.PhaseClose})
	if f.Fault != plan.FaultInfrastructure && f.Fault != plan.FaultInput {
		return err
	}
	r.story.Outcome = plan.Stuck
	f.Done = "nothing: gray may still have users"
	f.Next = "repair what is named above, then run again: " + r.Target.Command("close")
	return f
}

func (r *run) lostLease(s plan.Step, err error) *plan.Failure {
	f := plan.Failf(plan.FaultInfrastructure, "", "%w", plan.ErrLost)
	if err != nil && !errors.Is(err, plan.ErrLost) {
		f.What = fmt.Sprintf("%v (%v)", plan.ErrLost, err)
	}
	f.Step = s
	f.Done = "this run wrote nothing more; the run that took over closes or goes on"
	f.Next = "look at that run: " + r.Target.Command("status") + " names it"
	return f
}

// failure makes a failure of any error, without the user's secrets: it is told, stored and printed. What has no fault of its
// own is the infrastructure's.
func (r *run) failure(err error, s plan.Step) *plan.Failure {
	var f *plan.Failure
	switch {
	case errors.As(err, &f):
		own := *f
		f = &own
		f.What = err.Error() // several faults are told together
	case errors.Is(err, errInterrupted):
		f = &plan.Failure{Fault: plan.FaultInterrupted, What: "the job was cancelled", Err: err}
	default:
		f = &plan.Failure{Fault: plan.FaultInfrastructure, What: err.Error(), Err: err}
	}
	if f.Step.Kind == "" {
		f.Step = s
	}
	f.What, f.Checks = r.hide.Replace(f.What), r.hiddenChecks(f.Checks)
	return f
}

// reasonOf maps whose fault it is to why users go home.
func reasonOf(f *plan.Failure) plan.Reason {
	switch f.Fault {
	case plan.FaultImage:
		return plan.ReasonAnomaly
	case plan.FaultInterrupted:
		return plan.ReasonInterrupted
	case plan.FaultInfrastructure, plan.FaultEvidence, plan.FaultInput, plan.FaultRefused:
		return plan.ReasonInfrastructure
	}
	return plan.ReasonInfrastructure
}
