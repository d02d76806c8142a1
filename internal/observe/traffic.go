package observe

import (
	"context"
	"fmt"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// blindAfter is how long a source may be unseen before that ends the step: nobody knows then how users fare.
const blindAfter = 10 * time.Second

// snapshot is the gateway's counts at one moment.
type snapshot struct {
	asked            time.Time // when the question was put
	at               time.Time // when the answer came
	gray, production judge.Traffic
}

func (s snapshot) of(side plan.Side) judge.Traffic {
	if side == plan.Gray {
		return s.gray
	}
	return s.production
}

// pollTraffic asks the gateway again and again, never twice at the same time.
func (w *Watch) pollTraffic(ctx context.Context) {
	for {
		asked := time.Now()
		w.asking(gatewayMetrics)
		call, cancel := context.WithTimeout(ctx, blindAfter)
		gray, production, err := w.Traffic(call)
		cancel()
		if ctx.Err() != nil {
			return
		}
		w.report(gatewayMetrics, err)
		if err == nil {
			w.addSnapshot(snapshot{asked: asked, at: time.Now(), gray: gray, production: production})
		}
		took := time.Since(asked)
		if !pause(ctx, max(w.Every-took, 3*took)) { // a gateway that is slow to answer is busy: it is asked less often
			return
		}
	}
}

const gatewayMetrics = "the gateway's metrics"

// addSnapshot keeps the first one since Begin and those of the longest sliding window.
func (w *Watch) addSnapshot(s snapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history = append(w.history, s)
	first := w.first()
	if n := len(w.history); n-1 > first {
		w.addBlock(w.history[n-2], s)
	}
	kept := w.history[:0]
	for i, h := range w.history {
		if i == first || s.at.Sub(h.at) <= rateWindow+time.Second {
			kept = append(kept, h)
		}
	}
	w.history = kept
}

// first is the index of the first snapshot since Begin, len(history) if there is none.
func (w *Watch) first() int {
	for i, h := range w.history {
		if !h.asked.Before(w.window.begin) {
			return i
		}
	}
	return len(w.history)
}

// between returns the ends of the last d of the window since Begin, of all of it for 0. ok is false while there are no
// two snapshots.
func (w *Watch) between(d time.Duration) (from, to snapshot, ok bool) {
	all := w.history[w.first():]
	if len(all) < 2 {
		return snapshot{}, snapshot{}, false
	}
	from, to = all[0], all[len(all)-1]
	if d > 0 {
		from = newestBefore(all, to.at.Add(-d))
	}
	return from, to, true
}

// newestBefore returns the last snapshot not younger than t, or the oldest.
func newestBefore(all []snapshot, t time.Time) snapshot {
	best := all[0]
	for _, s := range all {
		if s.at.After(t) {
			break
		}
		best = s
	}
	return best
}

// Rate returns the requests a second of both sides together over the last 10 s, across Begin; 0: not measured.
func (w *Watch) Rate() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.history) < 2 || time.Since(w.history[len(w.history)-1].at) > blindAfter {
		return 0
	}
	to := w.history[len(w.history)-1]
	from := newestBefore(w.history, to.at.Add(-rateWindow))
	seconds := to.at.Sub(from.at).Seconds()
	if seconds < 1 {
		return 0
	}
	return (difference(from.gray, to.gray).Requests + difference(from.production, to.production).Requests) / seconds
}

// difference is what was counted between two answers; what fell counts as nothing.
func difference(from, to judge.Traffic) judge.Traffic {
	d := judge.Traffic{Requests: max(0, to.Requests-from.Requests), Errors: max(0, to.Errors-from.Errors)}
	before := make(map[float64]float64, len(from.Latency))
	for _, b := range from.Latency {
		before[b.Le] = b.Count
	}
	for _, b := range to.Latency {
		d.Latency = append(d.Latency, judge.Bucket{Le: b.Le, Count: max(0, b.Count-before[b.Le])})
	}
	return d
}

// together is what was counted in two stretches of time.
func together(a, b judge.Traffic) judge.Traffic {
	sum := judge.Traffic{Requests: a.Requests + b.Requests, Errors: a.Errors + b.Errors}
	before := make(map[float64]float64, len(a.Latency))
	for _, l := range a.Latency {
		before[l.Le] = l.Count
	}
	for _, l := range b.Latency {
		sum.Latency = append(sum.Latency, judge.Bucket{Le: l.Le, Count: l.Count + before[l.Le]})
	}
	return sum
}

// health is whether a source answers.
type health struct {
	good  bool
	since time.Time // of good, or of not being so
	err   error
}

// asking notes that a source is asked: from now on it does not answer, until it does.
func (w *Watch) asking(source string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h := w.health[source]; h == nil || h.good {
		w.health[source] = &health{since: time.Now()}
	}
}

// report notes how a source answered.
func (w *Watch) report(source string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.health[source]
	if h == nil || h.good != (err == nil) {
		h = &health{good: err == nil, since: time.Now()}
		w.health[source] = h
	}
	h.err = err
}

// blind returns a failure, not of the image, for every source that has not answered for too long.
func (w *Watch) blind(now time.Time) []judge.Check {
	var checks []judge.Check
	for source, h := range w.health {
		gone := now.Sub(h.since)
		if h.good || gone <= blindAfter {
			continue
		}
		why := "no answer"
		if h.err != nil {
			why = cut(h.err.Error(), maxKept)
		}
		checks = append(checks, judge.Check{
			Name: "monitor", Verdict: judge.Fail, Infrastructure: true, Where: source,
			Got: gone.Seconds(), Limit: blindAfter.Seconds(), Unit: "s",
			Why: fmt.Sprintf("%s could not be read for %.0f s (limit %.0f s): %s", source, gone.Seconds(), blindAfter.Seconds(), why),
		})
	}
	return checks
}
