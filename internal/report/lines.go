package report

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// maxLines is how many error lines are shown.
const maxLines = 5

// told is an error line of the side on trial, as a reader needs it.
type told struct {
	judge.LogTemplate

	Other  int  // times that the other side wrote it
	Reason bool // a check failed for it
}

// telling are the error lines of the side on trial when the run failed, each template once: first those that a check failed for,
// then those that tell most.
func telling(s plan.Story) []told {
	var all []told
	if s.Failure != nil {
		for _, c := range judge.Failed(s.Failure.Checks) {
			for _, l := range c.Lines {
				all = append(all, told{LogTemplate: l, Reason: true})
			}
		}
	}
	if s.Watched == nil {
		return all[:min(len(all), maxLines)]
	}
	seen := slices.Clone(s.Watched.OnTrial.Logs)
	slices.SortStableFunc(seen, func(a, b judge.LogTemplate) int {
		return cmp.Or(cmp.Compare(b.Evidence, a.Evidence), cmp.Compare(b.Count, a.Count))
	})
	for _, l := range seen {
		if !slices.ContainsFunc(all, func(t told) bool { return t.Template == l.Template }) {
			all = append(all, told{LogTemplate: l})
		}
	}
	for i := range all {
		all[i].Other = times(s.Watched.Reference.Logs, all[i].Template)
	}
	return all[:min(len(all), maxLines)]
}

// times is how often a template was written.
func times(all []judge.LogTemplate, template string) int {
	for _, l := range all {
		if l.Template == template {
			return l.Count
		}
	}
	return 0
}

// blame says what the lines are to the failure.
func blame(all []told) string {
	reasons := 0
	for _, t := range all {
		if t.Reason {
			reasons++
		}
	}
	switch reasons {
	case 0:
	case len(all):
		return "They are a reason of the failure."
	default:
		return fmt.Sprintf("The first %d are a reason of the failure, the others are not.", reasons)
	}
	return "No check failed for them: they are not themselves the reason, but they may explain it."
}

// sides are the one on trial when the run failed, and the other.
func sides(s plan.Story) (trial, other plan.Side) {
	trial = plan.Gray
	if s.Watched != nil {
		trial = plan.Side(s.Watched.OnTrial.Name)
	}
	return trial, trial.Other()
}

// logLines shows what the side on trial wrote at error level, as it was written.
func logLines(b *bytes.Buffer, s plan.Story) {
	all := telling(s)
	if len(all) == 0 {
		return
	}
	trial, other := sides(s)
	fmt.Fprintf(b, "### Error lines of %s\n\n%s\n\n", prose(string(trial), cellLength), blame(all))
	table := newTable(b, lineBytes, "line", "times on "+prose(string(trial), cellLength), "on "+prose(string(other), cellLength), "first seen", "pods")
	for _, l := range all {
		table.row(code(l.Line, cellLength), strconv.Itoa(l.Count), strconv.Itoa(l.Other), clock(l.First), code(strings.Join(l.Pods, " "), 2*nameLength))
	}
	table.end()
}

// met says how many requests gray answered with an error in all; "" for none.
func met(s plan.Story) string {
	if s.Met.Errors == 0 {
		return ""
	}
	return fmt.Sprintf("gray answered %.0f of %.0f requests with an error (5xx), from its first weight until its last", s.Met.Errors, s.Met.Requests)
}
