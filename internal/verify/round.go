package verify

import (
	"context"
	"sync"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// atOnce is how many pods are asked at a time.
const atOnce = 8

// round asks every pod every trial, eight pods at a time, and returns the results in the order of the pods. A pod that
// does not answer is asked nothing more: each further trial would wait as long again. Without a trial, each pod has one
// result: its readiness.
func (v *Verifier) round(ctx context.Context, side plan.Side, pods []Pod, trials []trial) []result {
	byPod := make([][]result, len(pods))
	free := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, pod := range pods {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			byPod[i] = v.examine(ctx, side, pod, trials)
		})
	}
	wg.Wait()
	var all []result
	for _, results := range byPod {
		all = append(all, results...)
	}
	return all
}

// examine asks one pod every trial, one after the other.
func (v *Verifier) examine(ctx context.Context, side plan.Side, pod Pod, trials []trial) []result {
	if len(trials) == 0 {
		return []result{{pod: pod, side: side, trial: ready, state: passed, want: "ready containers", got: "ready containers"}}
	}
	var results []result
	for _, t := range trials {
		r := v.try(ctx, side, pod, t)
		results = append(results, r)
		if r.state == silent || r.state == unreached {
			break
		}
	}
	return results
}

// try asks once, and once more after a second where there was no answer and no timeout either: a listener that just
// starts. A wrong answer is an answer.
func (v *Verifier) try(ctx context.Context, side plan.Side, pod Pod, t trial) result {
	r, again := v.ask(ctx, side, pod, t)
	if !again {
		return r
	}
	if !pause(ctx, v.retry) {
		return r
	}
	r, _ = v.ask(ctx, side, pod, t)
	return r
}
