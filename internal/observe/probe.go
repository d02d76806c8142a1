package observe

import (
	"context"
	"fmt"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// probe asks the pods on trial with test accounts again and again while they carry users: at once when a window
// begins, then every ProbeEvery.
func (w *Watch) probe(ctx context.Context) {
	if w.Probe == nil {
		return
	}
	tick := time.NewTicker(w.ProbeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.kick:
		case <-tick.C:
		}
		w.probeOnce(ctx)
	}
}

func (w *Watch) probeOnce(ctx context.Context) {
	w.mu.Lock()
	number, carries := w.window.number, w.carries()
	w.mu.Unlock()
	if !carries {
		return
	}
	checks := w.Probe(ctx)
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.window.number != number {
		return // of pods that are not on trial any more, or at another weight: the next round tells
	}
	w.window.probed = checks
	signal(w.wake)
}

// probeChecks returns of the last round what did not pass, and one check for all that did. What was found before is
// not said twice.
func probeChecks(probed, found []judge.Check) []judge.Check {
	var checks []judge.Check
	passed := 0
	for _, c := range probed {
		switch {
		case c.Verdict == judge.Pass:
			passed++
		case c.Verdict == judge.Inconclusive || !contains(found, c):
			checks = append(checks, c)
		}
	}
	if passed > 0 {
		checks = append(checks, judge.Check{
			Name: judge.NameAccounts, Verdict: judge.Pass, Got: float64(passed), Limit: float64(len(probed)), Unit: "checks",
			Why: fmt.Sprintf("%d of %d repeated checks passed in the last round", passed, len(probed)),
		})
	}
	return checks
}

func contains(all []judge.Check, c judge.Check) bool {
	for _, f := range all {
		if same(f, c) {
			return true
		}
	}
	return false
}
