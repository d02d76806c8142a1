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
	timelineBytes = 180 << 10
	weightBytes   = 60 << 10
	proofBytes    = 140 << 10
	signalBytes   = 90 << 10
	checkBytes    = 80 << 10
	lineBytes     = 50 << 10
	planBytes     = 40 << 10
	changeBytes   = 40 << 10
)

// Markdown is the step summary: the verdict first, for a failure what, where, done and next, then everything that
// happened. It is at most MaxMarkdown bytes.
func Markdown(s plan.Story) []byte {
	var b bytes.Buffer
	sign, line := verdict(s)
	fmt.Fprintf(&b, "## %s %s\n\n", sign, prose(line, reasonLength))
	if names := unjudged(s); names != "" {
		fmt.Fprintf(&b, "**Not judged in any step**: %s\n\n", prose(names, 2*reasonLength))
	}
	failure(&b, s)
	logLines(&b, s)
	list(&b, "Warnings", s.Warnings, warningBytes)
	evidence(&b, s)
	b.WriteString("### Upgrade\n\n")
	facts(&b, s)
	timeline(&b, s)
	weights(&b, s)
	proofs(&b, s.Proofs)
	changes(&b, s)
	steps(&b, s)
	if s.Evidence != "" {
		fmt.Fprintf(&b, "Evidence, every sample and decision: %s\n", code(s.Evidence, reasonLength))
	}
	return b.Bytes()
}

// failure writes the four answers that a person needs; what to do next is a list, its commands ready to be copied.
func failure(b *bytes.Buffer, s plan.Story) {
	if s.Failure == nil {
		return
	}
	for _, answer := range answers(s) {
		fmt.Fprintf(b, "- **%s**: %s\n", answer.Question, prose(answer.Text, reasonLength))
	}
	b.WriteString("\n")
	if s.Failure.Next == "" {
		return
	}
	b.WriteString("**What to do next**\n\n")
	for i, do := range todo(s.Failure.Next) {
		fmt.Fprintf(b, "%d. %s\n", i+1, prose(do.Text, reasonLength))
		if do.Command != "" {
			fmt.Fprintf(b, "\n   ```sh\n   %s\n   ```\n\n", do.Command)
		}
	}
	b.WriteString("\n")
}

// facts say which upgrade this was. Images are long: one line each.
func facts(b *bytes.Buffer, s plan.Story) {
	run := code(runName(s), nameLength)
	if s.Identity.URL != "" {
		run = link(runName(s), s.Identity.URL)
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
func timeline(b *bytes.Buffer, s plan.Story) {
	if len(s.Entries) == 0 {
		return
	}
	b.WriteString("### Timeline (UTC)\n\n")
	table := newTable(b, timelineBytes, "time", "phase", "step", "weight configured", "served", "verdict", "took")
	table.last = true
	for _, e := range s.Entries {
		words := prose(e.Step.String(), cellLength)
		if e.Step.Why != "" && e.Step.Kind != plan.Await { // Await's own words are its reason
			words += ": " + prose(e.Step.Why, cellLength)
		}
		for _, note := range notes(e) {
			words += "<br>" + prose(note, cellLength)
		}
		verdict := strong(result(s, e))
		if why := wrong(s, e); why != "" {
			verdict += ": " + prose(why, cellLength)
		}
		table.row(clock(e.Begin), prose(string(e.Step.Phase), cellLength), words, fmt.Sprintf("%d %%", e.Weight), servedCell(e.Served), verdict, took(e.Begin, e.End))
	}
	table.end()
}

// strong makes what a reader must not miss bold.
func strong(verdict string) string {
	for _, calm := range []string{string(judge.Pass), "done", "running"} {
		if strings.HasPrefix(verdict, calm) {
			return prose(verdict, 2*cellLength)
		}
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
	table := newTable(b, weightBytes, "time", "configured", "served", "answers of gray", "answers of production", "seen by")
	table.last = true
	for _, e := range seen {
		asked := fmt.Sprintf("counters of %d gateway replicas", e.Served.Replicas)
		if e.Served.Probed {
			asked = fmt.Sprintf("the tool's own probes of %d gateway replicas", e.Served.Replicas)
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
