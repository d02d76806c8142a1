package verify

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	probedPods = 20 // at most, a round
	// missingRounds is how often in a row a pod may be out of reach before the watch is broken: 3 rounds are 15 s.
	missingRounds = 3
)

// Probe asks the checks that repeat, once: of up to 20 gray pods (others in the next round), and of one production pod in
// the same moment. It returns one check for each trial: Fail where a gray pod fails what production passes;
// Inconclusive where production fails too or could not be asked; and, as a check of its own, gray pods that could not be
// reached: Inconclusive, from the third round in a row on Fail with Infrastructure. Without such checks it returns nil.
func (v *Verifier) Probe(ctx context.Context) []judge.Check {
	return v.probe(ctx, plan.Gray)
}

// ProbeProduction is Probe with production on trial, for the way back, and gray to compare with.
func (v *Verifier) ProbeProduction(ctx context.Context) []judge.Check {
	return v.probe(ctx, plan.Production)
}

func (v *Verifier) probe(ctx context.Context, onTrial plan.Side) []judge.Check {
	trials, err := v.trials(func(c config.Check) bool { return c.Repeat && readOnly(c) && c.On(string(onTrial)) })
	if err != nil || len(trials) == 0 {
		return nil // a bad check ended the run long before
	}
	pods, err := v.pods(ctx, onTrial)
	if err != nil {
		return []judge.Check{{Name: "probes", Verdict: judge.Inconclusive, Infrastructure: true, Why: v.mask.text(err.Error())}}
	}
	pods = v.nextPods(serving(onTrial, pods))
	if len(pods) == 0 {
		return nil
	}
	var compared map[string]result
	var wg sync.WaitGroup
	wg.Go(func() { compared = v.compareAll(ctx, onTrial.Other(), trials) })
	results := v.round(ctx, onTrial, pods, trials)
	wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	if now, err := v.pods(ctx, onTrial); err == nil {
		results = stillThere(results, now)
	}
	v.Record("probe", proofsOf(results))
	return append(verdicts(trials, results, compared), v.unreachable(results)...)
}

// nextPods are the pods of this round: it begins where the last one ended.
func (v *Verifier) nextPods(pods []Pod) []Pod {
	if len(pods) <= probedPods {
		return pods
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	begin := v.turn % len(pods)
	v.turn += probedPods
	return append(pods[begin:len(pods):len(pods)], pods[:begin]...)[:probedPods]
}

// compareAll asks one pod of the side that is not on trial everything that it can be asked.
func (v *Verifier) compareAll(ctx context.Context, side plan.Side, trials []trial) map[string]result {
	assumed := make([]result, 0, len(trials))
	for _, t := range trials {
		assumed = append(assumed, result{trial: t, state: wrong})
	}
	return v.compare(ctx, side, assumed)
}

// verdicts judges each trial that was asked. Got is the number of pods that failed it.
func verdicts(trials []trial, results []result, compared map[string]result) []judge.Check {
	var checks []judge.Check
	for _, t := range trials {
		asked, failed := count(t, results)
		if asked == 0 {
			continue
		}
		c := judge.Check{Name: nameOf(t), Verdict: judge.Pass, Got: float64(len(failed)), Unit: "pods",
			Why: fmt.Sprintf("%d pods passed", asked)}
		if len(failed) > 0 {
			c = worst(c, failed[0], compared)
			c.Silent = !slices.ContainsFunc(failed, func(r result) bool { return r.state != silent })
		}
		checks = append(checks, c)
	}
	return checks
}

// worst is the verdict on a trial that a pod failed.
func worst(c judge.Check, r result, compared map[string]result) judge.Check {
	fault, note := faultOf(r, compared)
	c.Verdict, c.Where, c.Why = judge.Fail, r.pod.Name, r.line()+note
	if with, asked := compared[r.trial.key()]; fault != plan.FaultImage || !asked || with.state != passed {
		c.Verdict, c.Infrastructure = judge.Inconclusive, true
	}
	return c
}

func count(t trial, results []result) (asked int, failed []result) {
	for _, r := range results {
		if r.trial.key() != t.key() || r.state == unreached {
			continue
		}
		asked++
		if r.state != passed {
			failed = append(failed, r)
		}
	}
	return asked, failed
}

// unreachable tells about pods that could not be reached.
func (v *Verifier) unreachable(results []result) []judge.Check {
	v.mu.Lock()
	defer v.mu.Unlock()
	var checks []judge.Check
	for _, r := range results {
		if r.state != unreached {
			delete(v.missing, r.pod.UID)
			continue
		}
		v.missing[r.pod.UID]++
		n := v.missing[r.pod.UID]
		c := judge.Check{Name: "reach of the probes", Verdict: judge.Inconclusive, Infrastructure: true, Got: float64(n),
			Limit: missingRounds - 1, Unit: "rounds", Why: r.line(), Where: r.pod.Name}
		if n >= missingRounds {
			c.Verdict = judge.Fail
		}
		checks = append(checks, c)
	}
	return checks
}
