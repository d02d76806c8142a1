package report

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// ruled is a check, when and at which weight it was judged, and which side was on trial then.
type ruled struct {
	judge.Check

	when   string
	weight int
	side   plan.Side
}

// verdicts are all checks of a run, what failed first.
func verdicts(s plan.Story) []ruled {
	var all []ruled
	for _, e := range s.Entries {
		for _, c := range e.Checks {
			all = append(all, ruled{withMemory(c, s.Watched), clock(e.End), e.Weight, e.Step.Side})
		}
	}
	if s.Failure != nil {
		e := failing(s.Entries)
		for _, c := range s.Failure.Checks {
			known := slices.ContainsFunc(all, func(j ruled) bool { return j.Name == c.Name && j.Verdict == c.Verdict && j.Why == c.Why })
			if !known {
				all = append(all, ruled{withMemory(c, s.Watched), clock(e.End), e.Weight, cmp.Or(s.Failure.Step.Side, e.Step.Side)})
			}
		}
	}
	slices.SortStableFunc(all, func(x, y ruled) int { return rank(x.Verdict) - rank(y.Verdict) })
	return all
}

// failing is the step that went wrong first; the zero Entry where none did.
func failing(entries []plan.Entry) plan.Entry {
	i := slices.IndexFunc(entries, func(e plan.Entry) bool { return e.Error != "" && !e.End.IsZero() })
	if i < 0 {
		return plan.Entry{}
	}
	return entries[i]
}

// withMemory gives a failed check of growth its course: the readings that it was judged on, of its pod and of the first pod
// of the other side.
func withMemory(c judge.Check, s *judge.Sample) judge.Check {
	if c.Name != judge.NameMemoryGrowth || c.Verdict != judge.Fail || c.Trend != nil || s == nil {
		return c
	}
	t := &judge.Trend{Unit: "MiB"}
	for _, u := range s.OnTrial.Usage {
		if c.Where == "Pod "+u.Pod {
			t.OnTrial = memory(u)
		}
	}
	if len(s.Reference.Usage) > 0 {
		t.Reference = memory(s.Reference.Usage[0])
	}
	if len(t.OnTrial) > 1 {
		c.Trend = t
	}
	return c
}

func memory(u judge.Usage) (mebi []float64) {
	for _, r := range u.Readings {
		mebi = append(mebi, r.Memory/(1<<20))
	}
	return mebi
}

// signal is what a run says of one rule: its worst check, and in how many steps the rule was asked and could not judge.
type signal struct {
	ruled

	asked, unjudged int
}

// signals are one for each rule, what failed first. What is not judged in some steps is no news; where a run ended for it, it is.
func signals(s plan.Story) []signal {
	var all []signal
	for _, j := range verdicts(s) {
		i := slices.IndexFunc(all, func(r signal) bool { return r.Name == j.Name })
		if i < 0 {
			i = len(all)
			all = append(all, signal{ruled: j})
		}
		row := &all[i]
		row.asked++
		if j.Verdict == judge.Inconclusive {
			row.unjudged++
		}
		if worse(j, row.ruled, s.Failure != nil && s.Failure.Fault == plan.FaultEvidence) {
			row.ruled = j
		}
	}
	slices.SortStableFunc(all, func(x, y signal) int { return rank(x.Verdict) - rank(y.Verdict) })
	return all
}

// worse says which of two checks of a rule tells more.
func worse(a, b ruled, undecided bool) bool {
	switch {
	case a.Verdict == judge.Inconclusive && b.Verdict == judge.Inconclusive:
		return true // the last reason
	case a.Verdict == b.Verdict:
		return a.Verdict == judge.Pass && closeness(a.Check) > closeness(b.Check)
	case a.Verdict == judge.Inconclusive || b.Verdict == judge.Inconclusive:
		return b.Verdict != judge.Fail && (a.Verdict == judge.Inconclusive) == undecided
	}
	return a.Verdict == judge.Fail
}

// closeness is how near a check came to its limit, from either side: 0 to 1.
func closeness(c judge.Check) float64 {
	got, limit := sound(c.Got), sound(c.Limit)
	if got == 0 || limit == 0 {
		return 0
	}
	return min(got/limit, limit/got)
}

// verdict is that of the worst check, and in how many steps there was none.
func (r signal) verdict() string {
	switch {
	case r.unjudged == r.asked:
		return "not judged"
	case r.unjudged > 0 && r.Verdict == judge.Pass:
		return fmt.Sprintf("%s; not judged in %d of %d steps", r.Verdict, r.unjudged, r.asked)
	}
	return string(r.Verdict)
}

// unjudged names the rules that could judge in no step, with why of each group; "" where there are none. A run that ended
// before a step was judged, or for this, says so itself.
func unjudged(s plan.Story) string {
	var names []string
	why := ""
	for _, r := range signals(s) {
		if r.unjudged == r.asked {
			names = append(names, clean(r.Name, cellLength))
			why = cmp.Or(why, r.Why)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%s)", strings.Join(names[:min(len(names), maxNotes)], ", "), clean(why, cellLength))
}

// evidence is one row a rule, and behind it one row a check.
func evidence(b *bytes.Buffer, s plan.Story) {
	rows, all := signals(s), verdicts(s)
	if len(rows) == 0 {
		return
	}
	b.WriteString("### Checks, the worst of each over all steps\n\n")
	table := newTable(b, signalBytes, "signal", "verdict", "when", "on trial", "other side", "limit", "odds against chance", "why")
	for _, r := range rows {
		table.row(r.cells(s, r.verdict())...)
	}
	table.end()
	if len(all) == len(rows) {
		return
	}
	fmt.Fprintf(b, "<details><summary>All %d checks, step by step</summary>\n\n", len(all))
	table = newTable(b, checkBytes, "signal", "verdict", "when", "on trial", "other side", "limit", "odds against chance", "why")
	for _, j := range all {
		table.row(j.cells(s, string(j.Verdict))...)
	}
	table.end()
	b.WriteString("</details>\n\n")
}

func (j ruled) cells(s plan.Story, verdict string) []string {
	why := prose(j.reason(s), 2*cellLength)
	if j.Where != "" {
		why += "<br>" + code(j.Where, nameLength)
	}
	return []string{
		prose(j.Name, cellLength), strong(verdict), j.at(), sideCell(j.side, j.mine(), course(j.Trend, true)),
		sideCell(j.side.Other(), j.Reference, course(j.Trend, false)), prose(j.limit(), cellLength), prose(j.odds(), cellLength), why,
	}
}

// at is when a check was judged, and at which weight.
func (j ruled) at() string {
	if j.when == "" {
		return ""
	}
	return fmt.Sprintf("%s, weight %d", j.when, j.weight)
}

// reason is why the verdict is what it is; what stands on top already is not said again.
func (j ruled) reason(s plan.Story) string {
	if s.Failure != nil && j.Why == s.Failure.What {
		return "as said on top"
	}
	return j.Why
}

// inWords are the rules whose two numbers are not a measure and its upper limit: their reason says both.
var inWords = map[string]bool{
	judge.NameRequests: true, judge.NameReady: true, judge.NameNewErrorLogs: true, judge.NameMemoryGrowth: true,
	judge.NameRouting: true, judge.NameAccounts: true,
}

// mine is what the side on trial did. Where nothing could be measured, or nothing was, its zero is a number that nobody has seen.
func (j ruled) mine() string {
	switch {
	case j.OnTrial != "" || inWords[j.Name]:
		return j.OnTrial
	case j.Absent || j.compared() == "":
		return "not measured"
	}
	return measure(j.Got, j.Unit)
}

// compared is the limit, or "" where nothing was held against it.
func (j ruled) compared() string {
	if j.Verdict == judge.Inconclusive && j.Got == 0 {
		return ""
	}
	return measure(j.Limit, j.Unit)
}

func (j ruled) limit() string {
	if inWords[j.Name] {
		return ""
	}
	return j.compared()
}

// odds is the evidence there is, of what it takes to fail.
func (j ruled) odds() string {
	if j.Need == 0 {
		return ""
	}
	return cmp.Or(odds(j.Evidence), "none") + " (" + odds(j.Need) + " needed)"
}

// odds is evidence in words: nobody reads the difference between a million and more.
func odds(evidence float64) string {
	switch {
	case evidence == 0:
		return ""
	case evidence >= 1e6:
		return "over 1000000 : 1"
	}
	return number(evidence) + " : 1"
}

// did is what one side did; "" where that is not known.
func did(side plan.Side, what string) string {
	if what == "" {
		return ""
	}
	return clean(strings.TrimSpace(string(side)+" "+what), cellLength)
}

// sideCell is what one side did, and how it went.
func sideCell(side plan.Side, what, course string) string {
	return strings.TrimPrefix(prose(did(side, what), cellLength)+strings.TrimSuffix("<br>"+prose(course, cellLength), "<br>"), "<br>")
}
