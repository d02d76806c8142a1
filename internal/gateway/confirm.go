package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	confirmPoll = 100 * time.Millisecond
	// probeAfter is how long users' own requests are given to show the weight before a replica is probed.
	probeAfter = time.Second
	probePause = 20 * time.Millisecond
	probeBurst = 10 // probes between two readings: a reading costs the gateway as much as several of them
	// refusedFor is how long the gateway may report that it does not take the route before the wait for it ends. A
	// gateway that has not seen gray's new Service yet reports so for a moment.
	refusedFor = 5 * time.Second
)

// Confirm returns when every replica of the gateway has been seen serving the weight: each one's own counters are
// watched from now on (so call it after the write), all in parallel; where users send too little, the replica is probed
// with GET requests of the route's first match. It returns what was counted in the windows that agree.
//
// After ConfirmTimeout the error wraps plan.ErrUnconfirmed and names the replicas and what they did instead. Where the
// data plane cannot be asked at all and the user said how long to wait instead, it waits; Replicas is 0 then. So it does
// for weight 0 of a route that somebody deleted.
func (h *HTTPRoute) Confirm(ctx context.Context, percent int) (plan.Share, error) {
	if percent == 0 && h.gone(ctx) {
		return plan.Share{}, h.wait(ctx, goneWait, false)
	}
	if h.blind(ctx) {
		return plan.Share{}, h.wait(ctx, h.o.Confirm.Wait, percent > 0)
	}
	limited, cancel := context.WithTimeout(ctx, h.o.ConfirmTimeout)
	defer cancel()
	c := &confirmation{h: h, percent: percent, watched: map[types.UID]*watch{}}
	share, err := c.run(limited)
	if err == nil {
		h.last.confirmed(percent)
		return share, nil
	}
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return plan.Share{}, fmt.Errorf("confirm weight %d of %s: %w", percent, h.where(), context.Cause(ctx))
	}
	return plan.Share{}, err
}

// blind says whether the user allowed to wait and no replica can be read.
func (h *HTTPRoute) blind(ctx context.Context) bool {
	if h.o.Confirm.Wait == 0 {
		return false
	}
	readings, _ := h.pods.readAll(ctx)
	return len(readings) == 0
}

// wait stands in for a look at the data plane; the object's status is all that can be checked then.
func (h *HTTPRoute) wait(ctx context.Context, d time.Duration, checked bool) error {
	h.o.Log.Warn("the gateway cannot be asked what it serves: waiting instead", "object", h.where(), "wait", d)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
	}
	if !checked {
		return nil
	}
	if err := h.accepted(ctx); err != nil {
		return plan.Failf(plan.FaultInfrastructure, h.where(), "%s after %s: %w", h.where(), d, errors.Join(err, plan.ErrUnconfirmed))
	}
	return nil
}

func (h *HTTPRoute) accepted(ctx context.Context) error {
	u, err := h.get(ctx)
	if err != nil {
		return err
	}
	return accepted(u)
}

// confirmation is one call of Confirm.
type confirmation struct {
	h       *HTTPRoute
	percent int
	watched map[types.UID]*watch
	refused time.Time // since when the gateway does not take the route; zero: it does
}

func (c *confirmation) run(ctx context.Context) (plan.Share, error) {
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	changed := make(chan struct{}, 1)
	look := time.NewTicker(listEvery / 2)
	defer look.Stop()
	var problem error
	for {
		g, err := c.h.pods.look(ctx)
		if err == nil {
			c.follow(ctx, g, &running, changed)
			if share, all := c.share(); all {
				return share, nil
			}
			err = c.status(ctx)
		}
		if !ending(ctx) {
			problem = err // one that the end of the wait has not made
		}
		if isFault(problem) {
			return plan.Share{}, c.unconfirmed(ctx, problem)
		}
		select {
		case <-ctx.Done():
			return plan.Share{}, c.unconfirmed(context.WithoutCancel(ctx), problem)
		case <-changed:
		case <-look.C:
		}
	}
}

// ending says that the context has ended, or ends before anything can be asked.
func ending(ctx context.Context) bool {
	end, limited := ctx.Deadline()
	return ctx.Err() != nil || (limited && time.Until(end) < confirmPoll)
}

// isFault says that waiting will not help. Where no replica runs, one may start.
func isFault(err error) bool {
	var f *plan.Failure
	return errors.As(err, &f) && !errors.Is(err, errNoReplica)
}

// follow watches new replicas and forgets those that are gone.
func (c *confirmation) follow(ctx context.Context, g seen, running *sync.WaitGroup, changed chan<- struct{}) {
	for uid, w := range c.watched {
		if !g.has(uid) {
			w.stop()
			delete(c.watched, uid)
		}
	}
	for _, p := range g.pods {
		if c.watched[p.uid] != nil {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		w := &watch{h: c.h, g: g, pod: p, stop: stop, tracker: newTracker(), window: newWindow(c.percent, &c.h.last)}
		w.users = flow{begin: time.Now(), whole: -1}
		c.watched[p.uid] = w
		running.Go(func() {
			defer stop()
			if w.run(ctx) {
				select {
				case changed <- struct{}{}:
				default:
				}
			}
		})
	}
}

// share adds up the windows; all says that every replica agrees.
func (c *confirmation) share() (s plan.Share, all bool) {
	for _, w := range c.watched {
		w.mu.Lock()
		if !w.agreed {
			w.mu.Unlock()
			return plan.Share{}, false
		}
		s.Gray += w.seen.gray
		s.Production += w.seen.production
		s.Probed = s.Probed || w.probed
		w.mu.Unlock()
		s.Replicas++
	}
	return s, s.Replicas > 0
}

// status ends the wait where the gateway has refused the route as it stands for a while. At weight 0 what it says of
// gray does not matter.
func (c *confirmation) status(ctx context.Context) error {
	if c.percent == 0 {
		return nil
	}
	err := c.h.accepted(ctx)
	switch {
	case err == nil:
		c.refused = time.Time{}
	case c.refused.IsZero():
		c.refused = time.Now()
	case time.Since(c.refused) > refusedFor:
		return plan.Failf(plan.FaultInfrastructure, c.h.where(), "%w", err)
	}
	return nil
}

// unconfirmed says which replicas do not serve the weight, and what the gateway itself says of the route.
func (c *confirmation) unconfirmed(ctx context.Context, cause error) error {
	var lagging []*watch
	for _, w := range c.watched {
		w.mu.Lock()
		if !w.agreed {
			lagging = append(lagging, w)
		}
		w.mu.Unlock()
	}
	slices.SortFunc(lagging, func(a, b *watch) int { return strings.Compare(a.pod.name, b.pod.name) })
	at, text := c.h.where(), fmt.Sprintf("weight %d of %s", c.percent, c.h.where())
	if len(lagging) > 0 {
		at = fmt.Sprintf("Pod %s/%s", lagging[0].pod.namespace, lagging[0].pod.name)
		text += fmt.Sprintf(" is not seen on %d of %d gateway replicas", len(lagging), len(c.watched))
	}
	for _, w := range lagging {
		text += "; " + w.say()
	}
	if cause == nil {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		cause = c.h.accepted(ctx)
	}
	if cause != nil {
		text += "; " + cut(cause.Error())
	}
	return plan.Failf(plan.FaultInfrastructure, at, "%s: %w", text, plan.ErrUnconfirmed)
}

// watch looks at one replica until it agrees.
type watch struct {
	h       *HTTPRoute
	g       seen
	pod     replica
	stop    context.CancelFunc
	tracker *tracker
	window  *window
	prober  *prober
	users   flow

	mu       sync.Mutex // guards what others read
	agreed   bool
	probed   bool
	seen     portion
	err      error // of the last reading
	probeErr error
}

// flow says how many requests users sent in the last whole second; -1 before there is one.
type flow struct {
	begin      time.Time
	now, whole float64
}

func (f *flow) add(n float64) {
	f.now += n
	if passed := time.Since(f.begin); passed >= probeAfter {
		f.whole = f.now / passed.Seconds()
		f.now, f.begin = 0, time.Now()
	}
}

// run returns true when the replica serves the weight, false when ctx ends.
func (w *watch) run(ctx context.Context) bool {
	defer func() {
		if w.prober != nil {
			w.prober.close()
		}
	}()
	for ctx.Err() == nil {
		asked := time.Now()
		w.read(ctx)
		if w.done() {
			return true
		}
		if w.thin() {
			w.probe(ctx)
			continue
		}
		took := time.Since(asked)
		pause(ctx, max(confirmPoll-took, took)) // half of its time at most goes to what a slow gateway is asked
	}
	return false
}

func (w *watch) read(ctx context.Context) {
	now, err := w.h.pods.read(ctx, w.g, w.pod)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		if !ending(ctx) || w.err == nil {
			w.err = err
		}
		return // its counters go on: the next reading has what it does meanwhile
	}
	w.err = nil
	counted, fresh := w.tracker.since(w.pod.uid, now)
	if fresh {
		w.window.restart()
		return
	}
	for _, c := range counted {
		if !c.bucket {
			w.users.add(c.value)
		}
	}
	w.users.add(0)
	w.window.add(counted)
	w.seen, w.agreed = w.window.agrees()
}

func (w *watch) done() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.agreed
}

// thin says that users alone send too little to show the weight soon.
func (w *watch) thin() bool { return w.users.whole >= 0 && w.users.whole < leastRequests }

// probe sends a few requests; the replica counts them itself.
func (w *watch) probe(ctx context.Context) {
	if w.prober == nil {
		p, err := w.h.newProber(ctx, w.pod)
		if err != nil {
			w.fault(err)
			pause(ctx, confirmPoll)
			return
		}
		w.prober = p
	}
	for range probeBurst {
		if err := w.prober.send(ctx); err != nil {
			w.fault(err)
			pause(ctx, confirmPoll)
			return
		}
		w.users.add(-1) // the replica will count it
		pause(ctx, probePause)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probed, w.probeErr = true, nil
}

func (w *watch) fault(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probeErr = err
}

// say tells what the replica did instead.
func (w *watch) say() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return fmt.Sprintf("%s: its metrics cannot be read: %s", w.pod, cut(w.err.Error()))
	}
	text := fmt.Sprintf("%s: gray got %.0f of its last %.0f requests, %.0f are needed", w.pod, w.seen.gray, w.seen.total(), w.window.need)
	if w.probeErr != nil {
		text += ": " + cut(w.probeErr.Error())
	}
	return text
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
