package verify

import (
	"errors"
	"fmt"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// trial is one check as one account.
type trial struct {
	check   config.Check
	account config.Account // Name "": nobody
	path    jsonPath       // compiled JSONPath of the check
}

// key names a trial within one Verifier.
func (t trial) key() string { return t.check.Name + "\x00" + t.account.Name }

// ready is the proof of a pod that there is no check for.
var ready = trial{check: config.Check{Name: "ready"}}

// appliesTo selects the checks for a side.
func appliesTo(side plan.Side) func(config.Check) bool {
	return func(c config.Check) bool { return c.On(string(side)) }
}

// trials returns every selected check as every account it is for, in the user's order.
func (v *Verifier) trials(selected func(config.Check) bool) ([]trial, error) {
	var trials []trial
	var problems []error
	for _, c := range v.Checks {
		if !selected(c) {
			continue
		}
		path, err := parsePath(c.JSONPath)
		if err != nil {
			problems = append(problems, fmt.Errorf("check %q: json-path %q: %w", c.Name, c.JSONPath, err))
		}
		accounts := v.accountsOf(c)
		if len(accounts) == 0 {
			problems = append(problems, fmt.Errorf("check %q: no account is called %q", c.Name, c.Account))
		}
		for _, a := range accounts {
			trials = append(trials, trial{check: c, account: a, path: path})
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, plan.Failf(plan.FaultInput, "", "%w", err)
	}
	return trials, nil
}

// accountsOf are the accounts that a check is asked as: the one it names, else all, else nobody.
func (v *Verifier) accountsOf(c config.Check) []config.Account {
	if c.Account == "" && len(v.Accounts) == 0 {
		return []config.Account{{}}
	}
	var out []config.Account
	for _, a := range v.Accounts {
		if c.Account == "" || c.Account == a.Name {
			out = append(out, a)
		}
	}
	return out
}
