package verify

import (
	"fmt"
	"slices"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// state is what became of one trial on one pod.
type state int

const (
	passed    state = iota + 1
	wrong           // the app answered, and not what is expected
	silent          // the app took the connection and gave no answer, or none in time
	unreached       // the pod could not be asked: not its app's doing
)

// result is one trial on one pod.
type result struct {
	pod   Pod
	side  plan.Side
	trial trial
	state state
	want  string // in words
	got   string // in words; foreign text in it is quoted, cut and masked
	took  time.Duration
}

// line is the result in words, told of its pod.
func (r result) line() string { return "pod " + r.pod.Name + " " + r.told() }

// told is the result in words, without who was asked.
func (r result) told() string {
	who := "without an account"
	if r.trial.account.Name != "" {
		who = fmt.Sprintf("as account %q", r.trial.account.Name)
	}
	if r.state == unreached {
		return fmt.Sprintf("could not be asked check %q %s: %s", r.trial.check.Name, who, r.got)
	}
	return fmt.Sprintf("failed check %q %s: expected %s, got %s", r.trial.check.Name, who, r.want, r.got)
}

// proof is the result as the report shows it.
func (r result) proof() plan.Proof {
	p := plan.Proof{
		Pod: r.pod.Name, Side: r.side, Account: r.trial.account.Name, Check: r.trial.check.Name,
		Verdict: judge.Pass, Got: r.got, Want: r.want, Took: r.took,
	}
	switch r.state {
	case passed:
	case wrong, silent:
		p.Verdict = judge.Fail
	case unreached:
		p.Verdict = judge.Inconclusive
	}
	return p
}

// stillThere drops what is about pods that are gone: a lost node is not the image's fault. A wrong answer stays one.
func stillThere(results []result, now []Pod) []result {
	return slices.DeleteFunc(results, func(r result) bool { return r.state != wrong && index(now, r.pod) < 0 })
}

// index finds the same pod, -1 where it is gone.
func index(pods []Pod, pod Pod) int {
	return slices.IndexFunc(pods, func(p Pod) bool { return p.UID == pod.UID && p.Name == pod.Name })
}

func podsOf(results []result) []Pod {
	var pods []Pod
	for _, r := range results {
		if index(pods, r.pod) < 0 {
			pods = append(pods, r.pod)
		}
	}
	return pods
}

func proofsOf(results []result) []plan.Proof {
	var proofs []plan.Proof
	for _, r := range results {
		proofs = append(proofs, r.proof())
	}
	return proofs
}

func bad(results []result) []result {
	var out []result
	for _, r := range results {
		if r.state != passed {
			out = append(out, r)
		}
	}
	return out
}
