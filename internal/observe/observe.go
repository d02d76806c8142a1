// Package observe watches both sides of an upgrade while users may be on gray: what the gateway counted, the pods,
// their logs, their CPU and memory, repeated account probes, and what a monitoring server answers. It collects;
// internal/judge decides.
package observe

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gray-upgrade/gray-upgrade/internal/drain"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Options is what a Watch needs. Kube, Target, Limits, Traffic and Selectors must be given.
type Options struct {
	Kube   kubernetes.Interface
	Target plan.Target
	Limits judge.Limits
	// Traffic returns what the gateway has counted so far for both sides: cumulative, never falling. It may be slow or
	// fail: the other sources go on, and after 10 s the blindness is a finding (of the infrastructure).
	Traffic func(ctx context.Context) (gray, production judge.Traffic, err error)
	// Queries are asked of a monitoring server; none: there is none.
	Queries []Query
	// Logs are read instead of the pods' own, of both sides. nil: the pods are asked.
	Logs map[plan.Side]LogSource
	// Selectors returns the labels that the pods of each side carry. No pod may match both.
	Selectors func(ctx context.Context) (gray, production labels.Selector, err error)
	// Renews says whether a container runs what is upgraded: the end of another one is not the image's fault. nil: all do.
	Renews func(spec *corev1.PodSpec, container string) bool
	// Hide takes secrets out of a line of a log, before anything of it is cut or kept. nil: there are none.
	Hide func(line string) string
	// Metrics is a client of the API server that asks for metrics.k8s.io; nil: CPU and memory are not compared.
	Metrics rest.Interface
	// Probe asks the pods on trial again with test accounts and returns checks that are decided: a failure is
	// something the pods on trial fail and the others pass. nil: none.
	Probe      func(ctx context.Context) []judge.Check
	ProbeEvery time.Duration // default 5 s
	Every      time.Duration // of looks at the traffic; default 250 ms
	// Record keeps evidence: "block" and "log-block" (judge.Block, judge.LogBlock), "sample" (judge.Sample, at most one a second), "finding" (judge.Found, one for each window it was seen in), "verdict" (judge.Judged),
	// "disrupted" (Disrupted). nil: none.
	Record func(kind string, v any)
	Log    *slog.Logger // default: slog.Default
}

// Watch sees both sides from Watch on until its context ends.
type Watch struct {
	Options

	wake chan struct{} // something happened that is to be judged now
	pods chan struct{} // the pods, or the side on trial, changed: other logs may have to be followed
	kick chan struct{} // a window began: probe now

	mu     sync.Mutex // guards what follows
	window window
	gray   side
	prod   side
	past   map[plan.Side]past // what a side did when it last had traffic
	miner  *drain.Miner       // of the error lines of both sides; used under mu, so that a comparison sees one state

	answers     []answers               // by query
	history     []snapshot              // of the gateway's counts, oldest first
	sequence    *judge.Sequence         // the evidence of the run
	lines       map[string]*judge.Lines // new error templates since the last block of the logs
	weighed     time.Time               // when that was
	novel       [2]int                  // templates since then that the side on trial, and the reference, wrote first
	health      map[string]*health
	noResources bool
}

// side is what is known of the pods of one side.
type side struct {
	name    plan.Side
	pods    map[string]*pod   // by UID
	listed  bool              // the pods were listed once
	usage   map[string]*usage // by pod name
	loads   map[int]float64   // requests a second and pod, by the number of the window that is over
	asked   time.Time         // of the last answer of metrics.k8s.io
	known   *table            // error templates since the watch began
	written written
	open    map[stream]bool // logs followed now
	read    map[stream]bool // logs followed at some time since Begin; for the reference's memory: ever
	read0   bool            // a log was followed at some time
	users   time.Time       // since when it carries users while on trial
}

// window is what belongs to the time since Begin.
type window struct {
	number   int
	begin    time.Time
	onTrial  plan.Side
	weight   int
	restarts map[plan.Side][]judge.Restart
	taken    map[plan.Side][]string // pods that served and were deleted or evicted
	logs     *table                 // of the side on trial, while it carries users
	found    []judge.Seen
	probed   []judge.Check // last round
	recorded time.Time     // last sample written down
	trend    judge.Course  // of both sides' requests
}

// New returns a Watch that has not begun. Until the first Begin it compares nothing: gray is on trial at weight 0.
func New(o Options) *Watch {
	if o.Every <= 0 {
		o.Every = 250 * time.Millisecond
	}
	if o.ProbeEvery <= 0 {
		o.ProbeEvery = 5 * time.Second
	}
	if o.Renews == nil {
		o.Renews = func(*corev1.PodSpec, string) bool { return true }
	}
	if o.Hide == nil {
		o.Hide = func(line string) string { return line }
	}
	if o.Record == nil {
		o.Record = func(string, any) {}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	w := &Watch{
		Options: o,
		wake:    make(chan struct{}, 1), pods: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		gray: newSide(plan.Gray), prod: newSide(plan.Production),
		past: map[plan.Side]past{}, miner: drain.NewMiner(), health: map[string]*health{},
		answers: newAnswers(o.Queries), noResources: o.Metrics == nil, sequence: judge.NewSequence(), lines: map[string]*judge.Lines{},
	}
	w.window = newWindow(0, plan.Gray, 0)
	return w
}

func newSide(name plan.Side) side {
	return side{
		name: name, pods: map[string]*pod{}, usage: map[string]*usage{}, loads: map[int]float64{}, known: newTable(),
		open: map[stream]bool{}, read: map[stream]bool{},
	}
}

func newWindow(number int, onTrial plan.Side, weight int) window {
	return window{
		number: number, begin: time.Now(), onTrial: onTrial, weight: weight,
		restarts: map[plan.Side][]judge.Restart{}, taken: map[plan.Side][]string{}, logs: newTable(),
	}
}

// Watch collects until ctx ends and sends what must end the running step: each rule at most once in a window. The
// channel is closed when everything has stopped. Call it once.
func (w *Watch) Watch(ctx context.Context) <-chan judge.Finding {
	out := make(chan judge.Finding, 64)
	go func() {
		defer close(out)
		var sources sync.WaitGroup
		sources.Go(func() { w.pollTraffic(ctx) })
		if w.Logs == nil {
			sources.Go(func() { w.followLogs(ctx) })
		} else {
			sources.Go(func() { w.followCollected(ctx) })
		}
		sources.Go(func() { w.probe(ctx) })
		for i := range w.Queries {
			sources.Go(func() { w.pollQuery(ctx, i) })
		}
		sources.Go(func() { w.followSides(ctx) })
		w.loop(ctx, out)
		sources.Wait()
	}()
	return out
}

// followSides starts what needs to know which pods are whose.
func (w *Watch) followSides(ctx context.Context) {
	gray, production, ok := w.selectors(ctx)
	if !ok {
		return
	}
	var sources sync.WaitGroup
	sources.Go(func() { w.followPods(ctx, plan.Gray, gray) })
	sources.Go(func() { w.followPods(ctx, plan.Production, production) })
	sources.Go(func() { w.pollUsage(ctx, gray, production) })
	sources.Wait()
}

// selectors asks until there is an answer; ok is false when ctx ended first.
func (w *Watch) selectors(ctx context.Context) (gray, production labels.Selector, ok bool) {
	for {
		gray, production, err := w.Selectors(ctx)
		w.report("pods of both sides", err)
		if err == nil {
			return gray, production, true
		}
		if !pause(ctx, time.Second) {
			return nil, nil, false
		}
	}
}

// loop judges at every tick and as soon as something happened.
func (w *Watch) loop(ctx context.Context, out chan<- judge.Finding) {
	tick := time.NewTicker(w.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-tick.C:
		}
		for _, f := range w.look(time.Now()) {
			select {
			case out <- f:
			case <-ctx.Done():
				return
			}
		}
	}
}

// of returns a side's state.
func (w *Watch) of(s plan.Side) *side {
	if s == plan.Gray {
		return &w.gray
	}
	return &w.prod
}

// signal wakes who waits on a channel of length one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause waits; it returns false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
