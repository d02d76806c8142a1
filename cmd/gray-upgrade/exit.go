package main

import "github.com/gray-upgrade/gray-upgrade/internal/plan"

// Exit codes. 4 comes before all others: whatever began it, a close that is not confirmed needs a person.
const (
	exitDone           = 0   // promoted, unchanged, or passed offline
	exitImage          = 1   // the image's fault: closed, on hold, an offline test is needed
	exitInput          = 2   // bad input, missing permission, credential too short: nothing was changed
	exitRefused        = 3   // held image, another run, GitOps owner: nothing was changed
	exitStuck          = 4   // close is not confirmed: a person must act
	exitInfrastructure = 5   // infrastructure fault, not enough evidence, timed out, drift: closed, no hold, rerun is fine
	exitInterrupted    = 130 // interrupted, closed
)

// exitCode is the exit code of a run that ended so.
func exitCode(o plan.Outcome) int {
	switch o {
	case plan.Promoted, plan.Unchanged, plan.Planned, plan.Passed:
		return exitDone
	case plan.RolledBack:
		return exitImage
	case plan.Invalid:
		return exitInput
	case plan.Refused:
		return exitRefused
	case plan.Stuck:
		return exitStuck
	case plan.Interrupted:
		return exitInterrupted
	case plan.Closed, plan.Undecided:
		return exitInfrastructure
	}
	return exitInfrastructure
}
