// Package report tells one run to people: text made of a plan.Story and of nothing else, and the evidence as it was
// recorded. It decides nothing. Everything it prints that came from the cluster is escaped here.
package report

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// MaxMarkdown is the most bytes that Markdown returns. GitHub drops a step summary above 1 MiB whole.
const MaxMarkdown = 900 << 10

// Bytes that each part may take; together with the top, whose every text has a stated length, they stay below
// MaxMarkdown. A part that would be longer says how many rows it left out.
const (
	warningBytes  = 50 << 10
	timelineBytes = 240 << 10
	weightBytes   = 100 << 10
	proofBytes    = 180 << 10
	checkBytes    = 140 << 10
	lineBytes     = 20 << 10
	planBytes     = 40 << 10
	changeBytes   = 40 << 10
)

// Markdown is the step summary: the verdict first, for a failure what, where, done and next, then everything that
// happened. It is at most MaxMarkdown bytes.
func Markdown(s plan.Story) []byte {
	var b bytes.Buffer
	sign, line := verdict(s)
	fmt.Fprintf(&b, "## %s %s\n\n", sign, prose(line, reasonLength))
	failure(&b, s.Failure)
	list(&b, "Warnings", s.Warnings, warningBytes)
	b.WriteString("### Upgrade\n\n")
	facts(&b, s)
	timeline(&b, s.Entries)
	weights(&b, s)
	proofs(&b, s.Proofs)
	evidence(&b, s)
	changes(&b, s)
	steps(&b, s)
	if s.Evidence != "" {
		fmt.Fprintf(&b, "Evidence, every sample and decision: %s\n", code(s.Evidence, reasonLength))
	}
	return b.Bytes()
}

// failure writes the four answers that a person needs.
func failure(b *bytes.Buffer, f *plan.Failure) {
	if f == nil {
		return
	}
	for _, answer := range answers(f) {
		if answer.Text != "" {
			fmt.Fprintf(b, "- **%s**: %s\n", answer.Question, prose(answer.Text, reasonLength))
		}
	}
	b.WriteString("\n")
}

type answer struct{ Question, Text string }

func answers(f *plan.Failure) []answer {
	return []answer{{"what", f.What}, {"where", f.Where}, {"done", f.Done}, {"next", f.Next}}
}

// facts say which upgrade this was. Images are long: one line each.
func facts(b *bytes.Buffer, s plan.Story) {
	run := code(s.Identity.Run, nameLength)
	if s.Identity.URL != "" {
		run = link(s.Identity.Run, s.Identity.URL)
	}
	if s.Identity.Actor != "" {
		run += " by " + code(s.Identity.Actor, nameLength)
	}
	peak := ""
	if s.PeakPods > 0 {
		peak = fmt.Sprintf("%d pods of both sides at one time", s.PeakPods)
	}
	for _, fact := range []answer{
		{"service", code(named(s.Target), 2*nameLength)},
		{"route", code(s.Target.Route, nameLength)},
		{"from", code(s.From, imageLength)},
		{"to", code(s.To, imageLength)},
		{"began", day(s.Begin)},
		{"took", took(s.Begin, s.End)},
		{"peak", peak},
		{"run", run},
	} {
		if fact.Text != "" {
			fmt.Fprintf(b, "- %s: %s\n", fact.Question, fact.Text)
		}
	}
	b.WriteString("\n")
}

// changes show what is not as it was before, so that nobody has to look for leftovers.
func changes(b *bytes.Buffer, s plan.Story) {
	if s.Compared == 0 {
		return
	}
	b.WriteString("### Before and after\n\n")
	if len(s.Changes) == 0 {
		fmt.Fprintf(b, "The %d objects that this run worked on are as they were before it; nothing was added.\n\n", s.Compared)
		return
	}
	fmt.Fprintf(b, "Of the %d objects that this run worked on, and of those it made, this differs from before:\n\n", s.Compared)
	table := newTable(b, changeBytes, "object", "field", "before", "after")
	for _, c := range s.Changes {
		table.row(code(c.Object, nameLength), code(c.Field, cellLength), code(c.Before, imageLength), code(c.After, imageLength))
	}
	table.end()
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// timeline is one row a step. Where they are too many, the first ones go: what is near the end explains it.
func timeline(b *bytes.Buffer, entries []plan.Entry) {
	if len(entries) == 0 {
		return
	}
	b.WriteString("### Timeline (UTC)\n\n")
	table := newTable(b, timelineBytes, "time", "phase", "step", "weight configured", "served", "verdict", "took")
	table.last = true
	for _, e := range entries {
		words := prose(e.Step.String(), cellLength)
		if e.Step.Why != "" && e.Step.Kind != plan.Await { // Await's own words are its reason
			words += ": " + prose(e.Step.Why, cellLength)
		}
		for i, note := range e.Notes {
			if i == maxNotes {
				words += fmt.Sprintf("<br>and %d more notes", len(e.Notes)-i)
				break
			}
			words += "<br>" + prose(note, cellLength)
		}
		verdict := strong(result(e))
		if e.Error != "" {
			verdict += ": " + prose(e.Error, cellLength)
		}
		table.row(clock(e.Begin), prose(string(e.Step.Phase), cellLength), words, fmt.Sprintf("%d %%", e.Weight), servedCell(e.Served), verdict, took(e.Begin, e.End))
	}
	table.end()
}

// maxNotes is how many notes of one step are shown.
const maxNotes = 10

// strong makes what a reader must not miss bold.
func strong(verdict string) string {
	switch verdict {
	case string(judge.Pass), "done, not measured", "done", "running":
		return verdict
	}
	return "**" + prose(verdict, cellLength) + "**"
}

func servedCell(s *plan.Share) string {
	if s == nil {
		return ""
	}
	if p := percent(*s); p != "" {
		return p + " %"
	}
	return "no requests"
}

// weights is the chart of what was configured and served, with the same numbers beside it.
func weights(b *bytes.Buffer, s plan.Story) {
	var seen []plan.Entry
	for _, e := range s.Entries {
		if e.Served != nil {
			seen = append(seen, e)
		}
	}
	if len(seen) == 0 {
		return
	}
	b.WriteString("### Weights configured and served\n\n")
	mermaid(b, s.Target.Service, seen)
	table := newTable(b, weightBytes, "time", "configured", "served", "requests on gray", "requests on production", "gateway replicas asked")
	table.last = true
	for _, e := range seen {
		asked := strconv.Itoa(e.Served.Replicas)
		if e.Served.Probed {
			asked += " (by probes)"
		}
		table.row(clock(e.End), fmt.Sprintf("%d %%", e.Weight), servedCell(e.Served), number(e.Served.Gray), number(e.Served.Production), asked)
	}
	table.end()
}

// proofs is one row for each check of each account on each pod, what failed first.
func proofs(b *bytes.Buffer, all []plan.Proof) {
	if len(all) == 0 {
		return
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(x, y plan.Proof) int { return rank(x.Verdict) - rank(y.Verdict) })
	b.WriteString("### Verification by pod\n\n")
	table := newTable(b, proofBytes, "pod", "side", "account", "check", "verdict", "got", "want")
	for _, p := range all {
		table.row(code(p.Pod, nameLength), prose(string(p.Side), cellLength), prose(p.Account, cellLength), prose(p.Check, cellLength),
			strong(string(p.Verdict)), prose(p.Got, cellLength), prose(p.Want, cellLength))
	}
	table.end()
}

// ruled is a check, when it was judged, and which side was on trial then.
type ruled struct {
	judge.Check

	when string
	side plan.Side
}

// verdicts are all checks of a run, what failed first.
func verdicts(s plan.Story) []ruled {
	var all []ruled
	for _, e := range s.Entries {
		for _, c := range e.Checks {
			all = append(all, ruled{c, clock(e.End), e.Step.Side})
		}
	}
	if s.Failure != nil {
		for _, c := range s.Failure.Checks {
			known := slices.ContainsFunc(all, func(j ruled) bool { return j.Name == c.Name && j.Verdict == c.Verdict && j.Why == c.Why })
			if !known {
				all = append(all, ruled{c, "", s.Failure.Step.Side})
			}
		}
	}
	slices.SortStableFunc(all, func(x, y ruled) int { return rank(x.Verdict) - rank(y.Verdict) })
	return all
}

// evidence is one row a check, and the log lines that tell most.
func evidence(b *bytes.Buffer, s plan.Story) {
	all := verdicts(s)
	if len(all) == 0 {
		return
	}
	b.WriteString("### Checks\n\n")
	table := newTable(b, checkBytes, "time", "signal", "verdict", "on trial", "other side", "limit", "evidence", "why", "where")
	for _, j := range all {
		table.row(j.when, prose(j.Name, cellLength), strong(string(j.Verdict)), sideCell(j.side, j.mine(), course(j.Trend, true)),
			sideCell(opposite(j.side), j.Reference, course(j.Trend, false)), prose(measure(j.Limit, j.Unit), cellLength),
			prose(j.weight(), cellLength), prose(j.Why, 2*cellLength), code(j.Where, nameLength))
	}
	table.end()
	logLines(b, all)
}

// sideCell is what one side did, and how it went.
func sideCell(side plan.Side, did, course string) string {
	if did == "" && course == "" {
		return ""
	}
	cell := prose(strings.TrimSpace(string(side)+" "+did), cellLength)
	if course != "" {
		cell += "<br>" + prose(course, cellLength)
	}
	return cell
}

func opposite(side plan.Side) plan.Side {
	switch side {
	case plan.Gray:
		return plan.Production
	case plan.Production:
		return plan.Gray
	}
	return side
}

// maxLineTables is how many checks have their lines shown.
const maxLineTables = 2

// logLines shows the lines behind failed checks of the logs, as they were written.
func logLines(b *bytes.Buffer, all []ruled) {
	tables := 0
	for _, j := range all {
		if j.Verdict != judge.Fail || len(j.Lines) == 0 || tables == maxLineTables {
			continue
		}
		if tables++; tables == 1 {
			b.WriteString("### New log lines\n\n")
		}
		table := newTable(b, lineBytes, "line", "times on "+string(j.side), "first", "pods", "evidence")
		for _, l := range j.Lines {
			table.row(code(l.Line, cellLength), strconv.Itoa(l.Count), clock(l.First), code(strings.Join(l.Pods, " "), 2*nameLength), prose(odds(l.Evidence), cellLength))
		}
		table.end()
	}
}

// steps is the plan of a run that only planned.
func steps(b *bytes.Buffer, s plan.Story) {
	if s.Outcome != plan.Planned {
		return
	}
	b.WriteString("### Plan\n\n")
	table := newTable(b, planBytes, "", "phase", "step", "why")
	for i, p := range s.Plan.Steps {
		table.row(strconv.Itoa(i+1), prose(string(p.Phase), cellLength), prose(p.String(), cellLength), prose(p.Why, cellLength))
	}
	table.end()
	if s.Foresight != "" {
		b.WriteString(prose(s.Foresight, reasonLength) + "\n\n")
	}
}

// list is a heading and one line a text.
func list(b *bytes.Buffer, heading string, texts []string, budget int) {
	if len(texts) == 0 {
		return
	}
	fmt.Fprintf(b, "### %s\n\n", heading)
	begin := b.Len()
	for i, text := range texts {
		line := "- " + prose(text, reasonLength) + "\n"
		if b.Len()-begin+len(line) > budget {
			fmt.Fprintf(b, "- and %d more\n", len(texts)-i)
			break
		}
		b.WriteString(line)
	}
	b.WriteString("\n")
}
