package upgrade

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// lookAgain is the time between two looks where there is nothing to wait for.
const lookAgain = 250 * time.Millisecond

// run is what one run knows: its story, its record, and what it has seen the data plane do.
type run struct {
	*Upgrade
	record plan.Record
	hide   *strings.Replacer // takes secrets out of what others wrote: log lines stand in failures
	cancel context.CancelCauseFunc
	held   context.Context // ends with the Lease

	verifying chan struct{} // holds a value while somebody verifies gray pods

	mu     sync.Mutex // story: findings and joined pods are told from the side
	story  plan.Story
	rolled bool // production was seen whole on the new template

	weight   int    // configured, as last read or written
	wrote    int    // weight, last written
	home     string // image that users were brought home to
	served   int    // confirmed since the last write; -1: not
	drained  bool   // gray seen silent since
	ours     bool   // the route was untouched when this run began, so that only its own weights can be served
	shifted  bool   // this run has written a weight
	baseRate float64
	size     int32         // that gray was last grown to
	longest  time.Duration // of the requests seen
	found    time.Time     // when the anomaly was found
	blamed   *plan.Failure // what the watch found first of what is the image's fault
	guarded  bool          // a watchdog stands by from the first weight on
	offline  bool          // an offline test: a hold is why it runs
	tested   string        // how the user's own offline test passed
	beside   bool          // another run is under way, and this one only plans
	beyond   bool          // this run has marked production as promoted
	closing  *closing      // nil: on the way forward
	watching context.CancelFunc
	watched  sync.WaitGroup
}

func (u *Upgrade) newRun() *run {
	r := &run{Upgrade: u, served: -1, cancel: func(error) {}, verifying: make(chan struct{}, 1), hide: u.Config.Hider()}
	r.story = plan.Story{
		Identity: u.Identity, UpgradeID: u.UpgradeID, Target: u.Target,
		From: u.From, To: u.Config.Image, Begin: time.Now().UTC(), Evidence: u.Config.Evidence,
	}
	return r
}

// observe looks at the cluster and the route. What the data plane serves is known only if this run has confirmed it
// at the weight that stands there now.
func (r *run) observe(ctx context.Context) (plan.Observed, error) {
	o, err := r.Cluster.Observe(ctx)
	if err != nil {
		return o, err
	}
	o.Weight, err = r.Gateway.Weight(ctx)
	if err != nil {
		return o, err
	}
	edited, err := r.Gateway.Edited(ctx)
	if err != nil {
		return o, err
	}
	o.Touched = o.Touched || edited
	if o.Weight != r.weight {
		r.served, r.drained = -1, false
	}
	r.weight = o.Weight
	o.Served, o.Drained = r.served, r.drained
	if o.Weight == 0 && (!o.Gray.Exists || r.ours && !r.shifted) {
		o.Served, o.Drained = 0, true // no user was ever sent to gray, or nothing is there that could serve
	}
	return o, nil
}

// move says that a weight is being written.
func (r *run) move() {
	r.mu.Lock()
	r.wrote = moving
	r.mu.Unlock()
}

// written and confirmed note what the route says and what the data plane does.
func (r *run) written(weight int) {
	r.mu.Lock()
	r.weight, r.wrote = weight, weight
	r.story.Weight, r.story.Highest = weight, max(weight, r.story.Highest)
	r.mu.Unlock()
	r.Evidence.Record("weight", map[string]any{"configured": weight})
}

func (r *run) confirmed(weight int, share plan.Share) {
	r.served = weight
	r.mu.Lock()
	if n := len(r.story.Entries); n > 0 {
		r.story.Entries[n-1].Served = &share
	}
	r.mu.Unlock()
	r.Evidence.Record("served", map[string]any{"weight": weight, "share": share})
}

// beginWindow starts a new window for the watch, and the watch itself before the first weight above 0.
func (r *run) beginWindow(ctx context.Context, s plan.Step) {
	onTrial := plan.Gray
	if s.Phase == plan.PhaseReturn {
		onTrial = plan.Production
	}
	r.countMet()
	r.Watcher.Begin(onTrial, s.Weight)
	if r.watching == nil && s.Weight > 0 {
		r.startWatch(ctx)
	}
}

// startWatch watches until stopWatch, through every later step. The first finding ends the running step; a gray pod
// that joins is verified before it serves, and one that fails ends the step too.
func (r *run) startWatch(ctx context.Context) {
	ctx, r.watching = context.WithCancel(context.WithoutCancel(ctx))
	findings := r.Watcher.Watch(ctx)
	r.watched.Go(func() {
		for f := range findings {
			r.find(f)
		}
	})
	r.watched.Go(func() { r.verifyJoined(ctx) })
	r.watched.Go(func() { r.lookOut(ctx) })
}

// countMet adds to the story what gray answered in the window that ends.
func (r *run) countMet() {
	if r.watching == nil {
		return
	}
	s := r.Watcher.Sample()
	gray := s.OnTrial
	if gray.Name != string(plan.Gray) {
		gray = s.Reference
		if s.ReferenceIsPast {
			return
		}
	}
	r.mu.Lock()
	r.story.Met.Requests += gray.Traffic.Requests
	r.story.Met.Errors += gray.Traffic.Errors
	r.mu.Unlock()
}

func (r *run) stopWatch() {
	if r.watching == nil {
		return
	}
	r.countMet()
	r.watching()
	r.watched.Wait()
	r.watching = nil
}

// find notes a finding and ends the running step with it. One that comes while that is being closed may still blame the
// image: see raise.
func (r *run) find(f judge.Finding) {
	failure := failureOf(f.Checks, plan.Step{})
	if f.Infrastructure {
		failure.Fault = plan.FaultInfrastructure
	}
	r.mu.Lock()
	if r.found.IsZero() {
		r.found = f.At
	}
	if r.blamed == nil && failure.Fault == plan.FaultImage {
		r.blamed = failure
	}
	r.mu.Unlock()
	r.cancel(failure)
}

// next waits for a change, or for so long; false: ctx ended.
func next(ctx context.Context, changed <-chan struct{}, wait time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-changed:
	case <-time.After(wait):
	}
	return true
}

// joinedEvery is how often gray's pods are looked at without a word of a change: against a watch that broke silently.
const joinedEvery = 5 * time.Second

// verifyJoined verifies gray pods that join later, by scaling or after an eviction. They serve nothing until they pass.
func (r *run) verifyJoined(ctx context.Context) {
	changed := r.Joined(ctx)
	for again := joinedEvery; next(ctx, changed, again); {
		err := r.provePods(ctx)
		if err == nil {
			err = r.sameDigest(ctx)
		}
		var f *plan.Failure
		if errors.As(err, &f) && (f.Fault == plan.FaultImage || errors.Is(err, plan.ErrMoved)) {
			r.cancel(f)
			return
		}
		again = joinedEvery
		if err != nil {
			again = time.Second
		}
	}
}

// begin, ended, checked, note and tell keep the story.
func (r *run) begin(s plan.Step) {
	r.Log.Info("begin", "step", s.String(), "phase", s.Phase)
	r.mu.Lock()
	r.story.Entries = append(r.story.Entries, plan.Entry{Step: s, Begin: time.Now().UTC(), Weight: r.weight})
	r.mu.Unlock()
	r.tell()
}

func (r *run) ended(err error) {
	var watched *judge.Sample
	if err != nil && r.watching != nil && r.closing == nil {
		s := r.Watcher.Sample()
		watched = &s
	}
	r.mu.Lock()
	if watched != nil {
		r.story.Watched = watched
	}
	e := &r.story.Entries[len(r.story.Entries)-1]
	e.End, e.Weight = time.Now().UTC(), r.weight
	if err != nil {
		e.Error = r.hide.Replace(err.Error())
	}
	entry := *e
	r.mu.Unlock()
	r.Log.Info("end", inWords(entry)...)
	r.Evidence.Record("step", entry)
	r.tell()
}

// inWords is the end of a step for the log, with what was measured.
func inWords(e plan.Entry) []any {
	words := []any{"step", e.Step.String(), "took", e.End.Sub(e.Begin).Round(time.Millisecond)}
	if s := e.Served; s != nil {
		if share, seen := s.Percent(); seen {
			words = append(words, "served", fmt.Sprintf("%.1f %% of %.0f requests on gray", share, s.Gray+s.Production))
		}
	}
	if e.Error != "" {
		words = append(words, "error", e.Error)
	}
	return words
}

func (r *run) checked(checks []judge.Check) {
	checks = r.hiddenChecks(checks)
	for _, c := range checks {
		r.Log.Info("check", "signal", c.Name, "verdict", c.Verdict, "why", c.Why)
	}
	r.mu.Lock()
	r.story.Entries[len(r.story.Entries)-1].Checks = checks
	r.mu.Unlock()
}

// hiddenChecks is a copy without secrets.
func (r *run) hiddenChecks(checks []judge.Check) []judge.Check {
	checks = slices.Clone(checks)
	for i := range checks {
		checks[i].Why = r.hide.Replace(checks[i].Why)
	}
	return checks
}

func (r *run) note(format string, args ...any) {
	text := r.hide.Replace(fmt.Sprintf(format, args...))
	r.Log.Info(text)
	r.mu.Lock()
	if n := len(r.story.Entries); n > 0 {
		r.story.Entries[n-1].Notes = append(r.story.Entries[n-1].Notes, text)
	} else {
		r.story.Warnings = append(r.story.Warnings, text)
	}
	r.mu.Unlock()
	r.Evidence.Record("note", text)
}

func (r *run) tell() {
	r.mu.Lock()
	s := r.story
	s.Entries = append([]plan.Entry(nil), s.Entries...)
	s.Proofs = append([]plan.Proof(nil), s.Proofs...)
	r.mu.Unlock()
	r.Progress.Update(s)
}
