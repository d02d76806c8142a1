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
	"clean":   func(v any) string { return clean(fmt.Sprint(v), reasonLength) },
	"day":     day,
	"clock":   clock,
	"took":    took,
	"result":  result,
	"measure": measure,
	"line":    polyline,
}).Parse(pageText))

// Page is the whole story as one HTML file, without scripts and without anything from elsewhere, for those who prefer to
// look.
func Page(s plan.Story) []byte {
	sign, line := verdict(s)
	var b bytes.Buffer
	err := page.Execute(&b, map[string]any{
		"Sign": sign, "Line": clean(line, reasonLength), "Good": s.Failure == nil, "Story": s, "Service": named(s.Target),
		"Answers": failed(s.Failure), "Chart": template.HTML(SVG(s)), "Checks": cards(s), //nolint:gosec // SVG escapes its texts
	})
	if err != nil {
		return []byte("<!doctype html><title>gray-upgrade</title><p>The report could not be written: " + template.HTMLEscapeString(err.Error()))
	}
	return b.Bytes()
}

func failed(f *plan.Failure) []answer {
	if f == nil {
		return nil
	}
	return answers(f)
}

// card is a check as the page shows it.
type card struct {
	judge.Check

	When         string
	Side, Other  plan.Side
	Mine, Weight string
	Top          string // of the chart: the highest number of both sides
}

// maxCards is how many checks the page shows: those that failed come first.
const maxCards = 300

func cards(s plan.Story) []card {
	var all []card
	for _, j := range verdicts(s) {
		if len(all) == maxCards {
			break
		}
		c := card{Check: j.Check, When: j.when, Side: j.side, Other: opposite(j.side), Mine: clean(j.mine(), cellLength), Weight: j.weight()}
		if j.Trend != nil {
			c.Top = measure(highest(j.Trend), j.Trend.Unit)
		}
		all = append(all, c)
	}
	return all
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
		b.WriteString(number(x) + "," + number(cardHeight-(cardHeight-2)*sound(v)/most-1) + " ")
	}
	return b.String()
}
