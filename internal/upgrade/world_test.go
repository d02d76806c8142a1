package upgrade

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// world is a cluster, a gateway and a Lease in memory. It behaves; it expects nothing. Every write goes through write,
// which can end the program before or after it.
type world struct {
	mu         sync.Mutex // the run looks out from the side
	production plan.Workload
	gray       plan.Workload
	weight     int
	edited     bool // the route holds something of ours
	pinned     bool
	promoted   bool
	annotated  bool
	record     plan.Record

	guarded   bool // a watchdog is wanted and can be had
	guard     bool // its Job stands
	readyIn   time.Duration
	guardedAt time.Time // from when on it is ready

	digest      string // of the image asked for
	old         string // of the image that production runs at first
	verifyFails bool
	rollSticks  bool
	startSticks bool
	findAt      int // a finding when this weight is reached; -1: never
	finding     judge.Finding
	then        *judge.Finding // found a quarter of a second after it
	confirmFail bool
	mute        bool                                              // no gray pod reports its digest
	verdict     func(onTrial plan.Side, weight int) []judge.Check // nil: enough of everything, nothing wrong
	sample      judge.Sample
	rate        func(weight int) float64 // requests a second of both sides; nil: 100
	bypassed    bool                     // production is never silent
	onTrial     plan.Side
	sizes       []int32 // that gray was scaled to

	dieAt    int // number of the write; 0: never
	dieAfter bool
	writes   int
	log      []string
	faults   []error // broken invariants
	onWrite  func(what string)

	findings chan judge.Finding

	away      bool        // the API server does not answer
	blind     int         // so many looks at the cluster fail, and nothing else does
	gone      bool        // gray has no endpoint
	lostNodes []string    // gray pods whose node does not answer
	mumbles   bool        // the answer to the last write is lost
	begun     []plan.Side // windows, by who was on trial
	lost      int32       // gray pods that were ready and are not
	loseAt    int         // the Lease is lost when this weight is written; 0: never
	taken     bool        // another run took it
	lose      context.CancelCauseFunc
}

type died struct{}

func newWorld() *world {
	return &world{
		production: plan.Workload{Exists: true, Template: plan.Baseline, Replicas: 4, Ready: 4, Whole: true, Image: "shop:v1", Digest: "sha256:old"},
		guarded:    true, readyIn: 3 * time.Second,
		digest: "sha256:new", old: "sha256:old", findAt: -1,
	}
}

// write makes one change, and checks after it what must always hold.
func (w *world) write(ctx context.Context, what string, change func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	if w.writes == w.dieAt && !w.dieAfter {
		panic(died{})
	}
	change()
	w.log = append(w.log, what)
	w.check(what)
	if w.onWrite != nil {
		w.onWrite(what)
	}
	if w.writes == w.dieAt && w.dieAfter {
		panic(died{})
	}
	return nil
}

func (w *world) check(what string) {
	serving := w.production.Ready + w.production.Old
	switch {
	case w.weight > 0 && w.gray.Ready == 0:
		w.faults = append(w.faults, fmt.Errorf("after %s: users on a gray side with no ready pod", what))
	case w.weight < 100 && serving == 0:
		w.faults = append(w.faults, fmt.Errorf("after %s: users on a production side with no ready pod", what))
	}
	if w.guarded && w.weight > 0 && !w.guard {
		w.faults = append(w.faults, fmt.Errorf("after %s: users on gray without a watchdog", what))
	}
	if what == "roll" && w.weight != 100 {
		w.faults = append(w.faults, fmt.Errorf("production was rolled at weight %d", w.weight))
	}
}

func (w *world) Observe(ctx context.Context) (plan.Observed, error) {
	if err := ctx.Err(); err != nil {
		return plan.Observed{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away || w.blind > 0 {
		w.blind = max(0, w.blind-1)
		return plan.Observed{}, errors.New("connection refused")
	}
	o := plan.Observed{Production: w.production, Gray: w.gray, Promoted: w.promoted, Current: "t1", Wanted: "t1", Held: "t1",
		Touched: w.annotated || w.pinned || w.guard, MaxPods: 8, Surge: 2}
	if w.gray.Exists && !w.mute {
		o.Pulled = w.digest
	}
	o.Gray.Ready = max(0, o.Gray.Ready-w.lost)
	if w.gone {
		o.Gray.Ready = 0
	}
	return o, nil
}

func (w *world) Roll(ctx context.Context) error {
	err := w.write(ctx, "roll", func() {
		w.annotated = true
		w.production.Template, w.production.Digest = plan.Ours, w.digest
		w.production.Ready, w.production.Old = 0, 4
	})
	if err != nil {
		return err
	}
	if w.rollSticks {
		return plan.Failf(plan.FaultImage, "pod shop-1", "production pod shop-1 is not ready: crash loop")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.production.Ready, w.production.Old = 4, 0
	return nil
}

func (w *world) Undo(ctx context.Context) error {
	if w.production.Template != plan.Ours {
		return nil
	}
	return w.write(ctx, "undo", func() {
		w.production.Template, w.production.Digest, w.promoted = plan.Baseline, w.old, false
		w.production.Ready, w.production.Old = 4, 0
	})
}

func (w *world) Promote(ctx context.Context, _ string) error {
	return w.write(ctx, "promote", func() { w.promoted, w.annotated = true, true })
}

func (w *world) Clean(ctx context.Context) error {
	err := w.write(ctx, "clean", func() {
		w.annotated, w.promoted = false, false
		w.production.Template = plan.Baseline
	})
	if w.mumbles {
		return errors.Join(err, errors.New("EOF"))
	}
	return err
}

func (w *world) Start(ctx context.Context, replicas int32) error {
	err := w.write(ctx, "start gray", func() {
		if !w.gray.Exists {
			w.gray = plan.Workload{Exists: true, Template: plan.Ours, Replicas: replicas}
		}
	})
	if err == nil && w.startSticks {
		return plan.Failf(plan.FaultImage, "pod shop-gray-1", "gray pod shop-gray-1 is not ready: crash loop")
	}
	return err
}

func (w *world) Scale(ctx context.Context, replicas int32) error {
	return w.write(ctx, "scale gray", func() { w.gray.Replicas, w.sizes = replicas, append(w.sizes, replicas) })
}

func (w *world) Ready(context.Context) error { return nil }

// Digest wants all gray pods to agree: one that never got ready has nothing to say.
func (w *world) Digest(context.Context) (string, error) {
	if w.startSticks {
		return "", errors.New("pod shop-gray-1 does not report the image of container shop yet")
	}
	return w.digest, nil
}

func (w *world) Delete(ctx context.Context) error {
	return w.write(ctx, "delete gray", func() {
		if w.weight > 0 {
			w.faults = append(w.faults, errors.New("gray was deleted while it has users"))
		}
		w.gray = plan.Workload{}
	})
}

func (w *world) Pin(ctx context.Context) error {
	return w.write(ctx, "pin", func() { w.pinned = true })
}

func (w *world) Unpin(ctx context.Context) error {
	return w.write(ctx, "unpin", func() { w.pinned = false })
}

func (w *world) Weight(context.Context) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.weight, nil
}

func (w *world) Edited(context.Context) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.edited, nil
}

func (w *world) SetWeight(ctx context.Context, percent int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.weight == percent {
		return nil
	}
	err := w.write(ctx, fmt.Sprintf("weight %d", percent), func() { w.weight, w.edited = percent, true })
	if percent == w.loseAt && percent > 0 {
		w.lose(plan.ErrLost)
	}
	return err
}

func (w *world) Confirm(ctx context.Context, percent int) (plan.Share, error) {
	if w.confirmFail {
		return plan.Share{}, fmt.Errorf("replica gw-1 does not answer: %w", plan.ErrUnconfirmed)
	}
	return plan.Share{Gray: float64(percent), Production: float64(100 - percent), Replicas: 1}, sleep(ctx, 300*time.Millisecond)
}

func (w *world) Silent(ctx context.Context, side plan.Side, quiet time.Duration) error {
	if side == plan.Production && w.bypassed {
		<-ctx.Done()
		return errors.New("3 requests in the last 10 s")
	}
	return sleep(ctx, quiet)
}

func (w *world) Remove(ctx context.Context) error {
	return w.write(ctx, "remove rules", func() {
		if w.weight > 0 {
			w.faults = append(w.faults, errors.New("gray was taken out of the route while it has users"))
		}
		w.weight, w.edited = 0, false
	})
}

func (w *world) Gray(ctx context.Context) ([]plan.Proof, error) {
	if w.verifyFails {
		return []plan.Proof{{Pod: "shop-gray-2", Account: "alice", Check: "sign-in", Verdict: judge.Fail}},
			plan.Failf(plan.FaultImage, "pod shop-gray-2", "pod shop-gray-2 failed check sign-in as alice: expected 200, got 500")
	}
	w.mu.Lock()
	unproven := w.gray.Ready != w.gray.Replicas
	w.mu.Unlock()
	if unproven {
		return nil, w.write(ctx, "verify", func() { w.gray.Ready = w.gray.Replicas })
	}
	return nil, nil
}

func (w *world) Route(context.Context) ([]plan.Proof, error)      { return nil, nil }
func (w *world) Production(context.Context) ([]plan.Proof, error) { return nil, nil }

func (w *world) Watch(ctx context.Context) <-chan judge.Finding {
	out := make(chan judge.Finding)
	findings := make(chan judge.Finding, 1)
	w.listen(findings)
	go func() {
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case f := <-findings:
				select {
				case out <- f:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out
}

func (w *world) Begin(onTrial plan.Side, weight int) {
	w.onTrial = onTrial
	w.begun = append(w.begun, onTrial)
	if weight != w.findAt {
		return
	}
	w.findAt = -1
	w.find(5*time.Second, w.finding)
	if w.then != nil {
		w.find(5*time.Second+250*time.Millisecond, *w.then)
	}
}

func (w *world) find(in time.Duration, f judge.Finding) {
	time.AfterFunc(in, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.findings != nil {
			f.At = time.Now()
			w.findings <- f
		}
	})
}

// listen says where findings go; nil: nobody watches.
func (w *world) listen(findings chan judge.Finding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.findings = findings
}

func (w *world) Verdict() []judge.Check {
	if w.verdict != nil {
		return w.verdict(w.onTrial, w.weight)
	}
	return []judge.Check{{Name: judge.NameRequests, Verdict: judge.Pass}}
}

func (w *world) Sample() judge.Sample { return w.sample }

func (w *world) Rate() float64 {
	if w.rate == nil {
		return 100
	}
	return w.rate(w.weight)
}

func (w *world) Acquire(ctx context.Context, _ bool) (context.Context, plan.Record, error) {
	held, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	w.lose = cancel
	return held, w.record, nil
}

func (w *world) Regain(ctx context.Context) (context.Context, error) {
	if w.taken {
		return nil, plan.ErrLost
	}
	return context.WithoutCancel(ctx), nil
}

func (w *world) Save(ctx context.Context, r plan.Record) error {
	r.Target.Flags = "" // they are not recorded
	return w.write(ctx, "save", func() { w.record = r })
}

func (w *world) Release(context.Context) error { return nil }

type quiet struct{}

func (quiet) Update(plan.Story)  {}
func (quiet) Record(string, any) {}

// upgrade is an Upgrade of this world. The verifier's Gray and the port Gray share a name, so each port gets its own view.
func (w *world) upgrade(run string) *Upgrade {
	return &Upgrade{
		Config: config.Config{
			Image: "shop:v2", Service: "shop", Steps: []int{5, 20, 50}, ReturnSteps: []int{50, 0}, StepDuration: 30 * time.Second,
			Limits: judge.Defaults(), CloseFloor: 50, Drain: 10 * time.Second, Timeout: 30 * time.Minute, CloseTimeout: 5 * time.Minute, PodTimeout: time.Minute, Watchdog: config.GuardAuto,
		},
		Identity:  plan.Identity{Run: run},
		Target:    plan.Target{Namespace: "shop", Deployment: "shop", Service: "shop", Route: "shop", Flags: " --context prod"},
		From:      "shop:v1",
		Preflight: func(context.Context) ([]string, bool, error) { return nil, w.guarded, nil },
		Answers:   func(context.Context) error { return nil },
		KeepLogs:  func(context.Context) error { return nil },
		Objects:   w.objects,
		Joined:    func(context.Context) <-chan struct{} { return nil }, // the tick has to do
		Cluster:   w, Gray: grayPort{w}, Scaling: w, Watchdog: guardPort{w}, Gateway: w, Verifier: w, Watcher: w, Store: w,
		Progress: quiet{}, Evidence: quiet{}, Log: slog.New(slog.DiscardHandler),
	}
}

// objects are production and the route, and gray where it stands.
func (w *world) objects(context.Context) (plan.Objects, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := plan.Objects{}
	marks := map[string]string{}
	if w.annotated {
		marks["mark"] = "ours"
	}
	err := errors.Join(all.Add("Deployment", "shop", nil, marks, map[string]any{"image": w.production.Digest}),
		all.Add("HTTPRoute", "shop", nil, nil, map[string]any{"weight": w.weight, "edited": w.edited}))
	if w.gray.Exists {
		err = errors.Join(err, all.Add("Deployment", "shop-gray", nil, nil, nil))
	}
	return all, err
}

type grayPort struct{ w *world }

func (g grayPort) Start(ctx context.Context, n int32) error   { return g.w.Start(ctx, n) }
func (g grayPort) Scale(ctx context.Context, n int32) error   { return g.w.Scale(ctx, n) }
func (g grayPort) Ready(ctx context.Context) error            { return g.w.Ready(ctx) }
func (g grayPort) Digest(ctx context.Context) (string, error) { return g.w.Digest(ctx) }
func (g grayPort) Delete(ctx context.Context) error           { return g.w.Delete(ctx) }
func (g grayPort) Lost(context.Context) []string              { return g.w.lostNodes }

// guardPort is the watchdog of this world.
type guardPort struct{ w *world }

func (g guardPort) Start(ctx context.Context) error {
	return g.w.write(ctx, "start watchdog", func() { g.w.guard, g.w.guardedAt = true, time.Now().Add(g.w.readyIn) })
}

func (g guardPort) Ready(context.Context) (bool, error) {
	g.w.mu.Lock()
	defer g.w.mu.Unlock()
	if !g.w.guard || time.Now().Before(g.w.guardedAt) {
		return false, errors.New("pod shop-watchdog-1: ErrImagePull")
	}
	return true, nil
}

func (g guardPort) Stop(ctx context.Context) error {
	if !g.w.guard {
		return nil
	}
	return g.w.write(ctx, "stop watchdog", func() { g.w.guard = false })
}
