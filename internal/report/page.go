package report

import (
	"bytes"
	_ "embed" // of the page
	"fmt"
	"html/template"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

//go:embed page.html
var pageText string

// page escapes by itself whatever is put into it; only our own chart, whose texts are escaped, goes in as it is.
var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"clean": func(v any) string { return clean(fmt.Sprint(v), reasonLength) },
	"day":   day,
	"clock": clock,
	"took":  took,
	"line":  polyline,
}).Parse(pageText))

// Page is the whole story as one HTML file, without scripts and without anything from elsewhere, for those who prefer to
// look.
func Page(s plan.Story) []byte {
	sign, line := verdict(s)
	view := map[string]any{
		"Sign": sign, "Line": clean(line, reasonLength), "Good": s.Failure == nil, "Story": s, "Service": named(s.Target), "Run": runName(s),
		"Chart": template.HTML(SVG(s)), "Unjudged": unjudged(s), "Steps": lines(s), //nolint:gosec // SVG escapes its texts
	}
	if s.Failure != nil {
		view["What"], view["Answers"], view["Todo"] = s.Failure.What, answers(s), todo(s.Failure.Next)
	}
	if told := telling(s); len(told) > 0 {
		view["Lines"], view["Blame"] = told, blame(told)
		view["Trial"], view["Other"] = sides(s)
	}
	var failed, worst, all []card
	for _, r := range signals(s) {
		c := newCard(s, r.ruled, r.verdict())
		if worst = append(worst, c); r.Verdict == judge.Fail {
			failed = append(failed, c)
		}
	}
	for _, j := range verdicts(s) {
		all = append(all, newCard(s, j, string(j.Verdict)))
	}
	view["Failed"], view["Worst"], view["All"] = failed[:min(len(failed), maxCards)], worst[:min(len(worst), maxCards)], all[:min(len(all), maxCards)]
	var b bytes.Buffer
	if err := page.Execute(&b, view); err != nil {
		return []byte("<!doctype html><title>gray-upgrade</title><p>The report could not be written: " + template.HTMLEscapeString(err.Error()))
	}
	return b.Bytes()
}

// maxCards is how many checks each part of the page shows: those that failed come first.
const maxCards = 300

// step is a line of the timeline as the page shows it.
type step struct {
	plan.Entry

	Result, Wrong string
	Told          []string
}

func lines(s plan.Story) []step {
	var all []step
	for _, e := range s.Entries {
		all = append(all, step{e, result(s, e), wrong(s, e), notes(e)})
	}
	return all
}

// card is a check as the page shows it.
type card struct {
	judge.Check

	Said, At, Mine, Other, Allowed, Odds, Reason, Top string // Top is the highest number of the chart
}

func newCard(s plan.Story, j ruled, said string) card {
	c := card{
		Check: j.Check, Said: said, At: j.at(), Mine: did(j.side, j.mine()), Other: did(j.side.Other(), j.Reference),
		Allowed: j.limit(), Odds: j.odds(), Reason: j.reason(s),
	}
	if j.Trend != nil {
		c.Top = measure(highest(j.Trend), j.Trend.Unit)
	}
	return c
}

// Size of a card's chart in pixels.
const cardWidth, cardHeight = 240, 48

// polyline are the points of one side's course, on the scale of both.
func polyline(t *judge.Trend, onTrial bool) string {
	values, most := t.Reference, highest(t)
	if onTrial {
		values = t.OnTrial
	}
	var b strings.Builder
	for i, v := range values {
		x := cardWidth * (float64(i) + 0.5) / float64(len(values))
		fmt.Fprintf(&b, "%.1f,%.1f ", x, cardHeight-(cardHeight-2)*sound(v)/most-1)
	}
	return b.String()
}
