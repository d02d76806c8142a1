package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// blame says whose fault the failures on a side are, nil where there are none. What failed is asked of one pod of the
// other side in the same moment: a request that fails there too says nothing about the image. The failure lists
// every result as a check; its text tells the first five, the image's faults first.
func (v *Verifier) blame(ctx context.Context, side plan.Side, bad []result) *plan.Failure {
	if len(bad) == 0 {
		return nil
	}
	compared := v.compare(ctx, side.Other(), bad)
	f := &plan.Failure{Fault: plan.FaultInfrastructure}
	var image, ours, pods []string
	for _, r := range bad {
		fault, note := faultOf(r, compared)
		check := judge.Check{
			Name: nameOf(r.trial), Verdict: judge.Fail, Got: 1, Unit: "failures", Why: r.line() + note, Where: r.pod.Name,
			Infrastructure: fault != plan.FaultImage,
		}
		f.Checks = append(f.Checks, check)
		if fault == plan.FaultImage {
			f.Fault = fault
			image = append(image, check.Why)
		} else {
			ours = append(ours, check.Why)
		}
		if !slices.Contains(pods, r.pod.Name) {
			pods = append(pods, r.pod.Name)
		}
	}
	f.What = joined(append(image, ours...))
	f.Where = "Pod " + strings.Join(pods[:min(len(pods), maxLines)], ", ")
	return f
}

// faultOf says whose fault one result is, and what the other side's answer adds to its text.
func faultOf(r result, compared map[string]result) (plan.Fault, string) {
	if r.state == unreached {
		return plan.FaultInfrastructure, ""
	}
	c, asked := compared[r.trial.key()]
	switch {
	case asked && c.state == passed:
		return plan.FaultImage, fmt.Sprintf(" (%s passes it)", c.side)
	case asked && c.state != unreached:
		return plan.FaultInfrastructure, fmt.Sprintf(" (%s fails it too: got %s)", c.side, c.got)
	case r.state == wrong:
		return plan.FaultImage, "" // it is no longer what the check passed on before the upgrade
	}
	return plan.FaultInfrastructure, fmt.Sprintf(" (no pod of %s could be asked the same)", r.side.Other())
}

// compare asks one pod of a side what failed on the other; a trial that it could not be asked is missing in the answer.
// Gray is asked only what is meant for gray.
func (v *Verifier) compare(ctx context.Context, side plan.Side, bad []result) map[string]result {
	var trials []trial
	for _, r := range bad {
		known := slices.ContainsFunc(trials, func(t trial) bool { return t.key() == r.trial.key() })
		if r.state != unreached && !known && askable(r.trial, side) {
			trials = append(trials, r.trial)
		}
	}
	out := map[string]result{}
	if len(trials) == 0 {
		return out
	}
	pods, err := v.pods(ctx, side)
	if err != nil {
		v.Log.Warn("compare with the other side", "side", side, "error", err)
		return out
	}
	pods = serving(side, pods)
	if len(pods) == 0 {
		return out
	}
	for _, r := range v.examine(ctx, side, pods[0], trials) {
		v.Record("comparison", r.proof())
		out[r.trial.key()] = r
	}
	return out
}

// askable says whether a trial means something on a side. Every check passed on production before the upgrade.
func askable(t trial, side plan.Side) bool {
	return side == plan.Production || t.check.On(string(side))
}

// serving are the pods of a side that may get users.
func serving(side plan.Side, pods []Pod) []Pod {
	return slices.DeleteFunc(slices.Clone(pods), func(p Pod) bool { return !p.Ready || side == plan.Gray && !p.Verified })
}

func nameOf(t trial) string {
	if t.account.Name == "" {
		return t.check.Name
	}
	return t.check.Name + " as " + t.account.Name
}

// maxLines is how many failures are told in words; the checks of the failure hold all of them.
const maxLines = 5

func joined(lines []string) string {
	more := ""
	if n := len(lines) - maxLines; n > 0 {
		lines, more = lines[:maxLines], fmt.Sprintf("; and %d more", n)
	}
	return strings.Join(lines, "; ") + more
}
