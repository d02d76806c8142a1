package main

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func TestEveryOutcomeHasItsExitCode(t *testing.T) {
	for outcome, want := range map[plan.Outcome]int{
		plan.Promoted: 0, plan.Unchanged: 0, plan.Planned: 0, plan.RolledBack: 1, plan.Invalid: 2, plan.Refused: 3,
		plan.Stuck: 4, plan.Closed: 5, plan.Undecided: 5, plan.Interrupted: 130,
	} {
		assert.Equal(t, want, exitCode(outcome), outcome)
	}
}
