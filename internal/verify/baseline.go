package verify

import (
	"context"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Baseline asks one production pod every check, whatever side it is for, before anything is changed. What production
// fails cannot judge gray: a *plan.Failure with FaultInfrastructure says which check is broken.
func (v *Verifier) Baseline(ctx context.Context) error {
	trials, err := v.trials(func(config.Check) bool { return true })
	if err != nil || len(trials) == 0 {
		return err
	}
	pods, err := v.pods(ctx, plan.Production)
	if err != nil {
		return err
	}
	ready := serving(plan.Production, pods)
	if len(ready) == 0 {
		return plan.Failf(plan.FaultInfrastructure, "", "no production pod is ready to try the checks on: %d found", len(pods))
	}
	var broken, unasked []string
	for _, r := range v.examine(ctx, plan.Production, ready[0], trials) {
		v.Record("baseline", r.proof())
		switch r.state {
		case passed:
		case wrong, silent:
			broken = append(broken, r.line())
		case unreached:
			unasked = append(unasked, r.line())
		}
	}
	where := "Pod " + ready[0].Name
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(broken) > 0:
		return plan.Failf(plan.FaultInfrastructure, where, "the check is broken: production fails it too: %s", joined(broken))
	case len(unasked) > 0:
		return plan.Failf(plan.FaultInfrastructure, where, "%s", joined(unasked))
	}
	return nil
}
