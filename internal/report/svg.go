package report

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// The chart's size and the box that the line is drawn in, in pixels.
const (
	svgWidth, svgHeight = 760, 260
	svgLeft, svgRight   = 48, 744
	svgTop, svgBottom   = 56, 218
)

// SVG is a picture of the run, in one file without scripts or fonts: the weight configured as a line, what was served
// as dots, a failure as a red mark.
func SVG(s plan.Story) []byte {
	var b bytes.Buffer
	_, line := verdict(s)
	c := newCanvas(s)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n",
		svgWidth, svgHeight, svgWidth, svgHeight)
	fmt.Fprintf(&b, "<title>%s</title>\n", markup(line, reasonLength))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", svgWidth, svgHeight)
	fmt.Fprintf(&b, `<text x="%d" y="20" font-size="13" font-weight="bold" fill="#222">%s</text>`+"\n", svgLeft, markup(title(s), 90))
	c.phases(&b, s.Entries)
	c.axes(&b)
	c.configured(&b, s.Entries)
	c.served(&b, s.Entries)
	c.failure(&b, s)
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// title fits into the picture: what became of which upgrade.
func title(s plan.Story) string {
	_, line := verdict(s)
	became, _, _ := strings.Cut(line, ":")
	return strings.TrimSpace(became + ": " + named(s.Target) + " to " + short(s.To))
}

// canvas turns times and percents into pixels.
type canvas struct {
	begin time.Time
	whole time.Duration // never 0
}

func newCanvas(s plan.Story) canvas {
	begin, end := s.Begin, s.End
	for _, e := range s.Entries {
		if begin.IsZero() {
			begin = e.Begin
		}
		for _, t := range []time.Time{e.Begin, e.End} {
			if t.After(end) {
				end = t
			}
		}
	}
	return canvas{begin: begin, whole: max(end.Sub(begin), time.Second)}
}

func (c canvas) x(t time.Time) float64 {
	share := float64(t.Sub(c.begin)) / float64(c.whole)
	return svgLeft + min(max(share, 0), 1)*(svgRight-svgLeft)
}

func (c canvas) y(percent float64) float64 {
	return svgBottom - min(max(percent, 0), 100)/100*(svgBottom-svgTop)
}

// phases are bands, named where the name fits.
func (c canvas) phases(b *bytes.Buffer, entries []plan.Entry) {
	const letter = 5.4 // pixels of one, about
	for i, band := 0, 0; i < len(entries); band++ {
		first := i
		for i < len(entries) && entries[i].Step.Phase == entries[first].Step.Phase {
			i++
		}
		left, right := c.x(entries[first].Begin), c.x(entries[i-1].End)
		if right <= left {
			continue
		}
		if band%2 == 1 {
			fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#f1f4f8"/>`+"\n", left, svgTop, right-left, svgBottom-svgTop)
		}
		name := clean(string(entries[first].Step.Phase), nameLength)
		if letter*float64(utf8.RuneCountInString(name)) < right-left {
			fmt.Fprintf(b, `<text x="%.1f" y="%d" font-size="10" fill="#888">%s</text>`+"\n", left+3, svgTop-4, markup(name, nameLength))
		}
	}
}

// axes are a line at each quarter of the weight, and round times.
func (c canvas) axes(b *bytes.Buffer) {
	for percent := 0; percent <= 100; percent += 25 {
		y := c.y(float64(percent))
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#555">%d %%</text>`+"\n",
			svgLeft, y, svgRight, svgLeft-6, y+4, percent)
	}
	for at := time.Duration(0); at <= c.whole; at += c.tick() {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%s</text>`+"\n", c.x(c.begin.Add(at)), svgBottom+18, round.Replace(span(at)))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="#555">percent of requests on gray: <tspan fill="#1667c7">line configured</tspan>, <tspan fill="#e08a00">dots served</tspan></text>`+"\n",
		svgLeft, svgBottom+35)
}

// round takes the zeros off a round time: 2m0s is 2m.
var round = strings.NewReplacer("h0m0s", "h", "m0s", "m")

// tick is a round time that goes into the whole at most eight times.
func (c canvas) tick() time.Duration {
	for _, d := range []time.Duration{
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour,
	} {
		if c.whole <= 8*d {
			return d
		}
	}
	return (c.whole / 4).Round(time.Hour)
}

// configured draws steps: a weight holds until the entry that changed it ended.
func (c canvas) configured(b *bytes.Buffer, entries []plan.Entry) {
	if len(entries) == 0 {
		return
	}
	fmt.Fprintf(b, `<path d="M%.1f %.1f`, c.x(c.begin), c.y(0))
	last := c.begin
	for _, e := range entries {
		if e.End.Before(last) { // still running, or out of order
			continue
		}
		last = e.End
		fmt.Fprintf(b, "H%.1fV%.1f", c.x(e.End), c.y(float64(e.Weight)))
	}
	b.WriteString(`" fill="none" stroke="#1667c7" stroke-width="2"/>` + "\n")
}

func (c canvas) served(b *bytes.Buffer, entries []plan.Entry) {
	for _, e := range entries {
		if e.Served == nil || e.End.IsZero() {
			continue
		}
		if share, seen := e.Served.Percent(); seen {
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="4" fill="#e08a00"/>`+"\n", c.x(e.End), c.y(share))
		}
	}
}

// failure marks when the first step went wrong, and the phase it was in.
func (c canvas) failure(b *bytes.Buffer, s plan.Story) {
	if s.Failure == nil {
		return
	}
	e := failing(s.Entries)
	if e.End.IsZero() {
		return
	}
	x, anchor := c.x(e.End), "start"
	if x > (svgLeft+svgRight)/2 {
		anchor = "end"
	}
	fmt.Fprintf(b, `<path d="M%.1f %dV%d" stroke="#c62828" stroke-dasharray="4 3"/><text x="%.1f" y="%d" text-anchor="%s" fill="#c62828">%s</text>`+"\n",
		x, svgTop-14, svgBottom, x, svgTop-17, anchor, markup(broke(s.Failure, e), 60))
}

// broke names what failed: its checks, or the step.
func broke(f *plan.Failure, e plan.Entry) string {
	var names []string
	for _, c := range judge.Failed(f.Checks) {
		names = append(names, c.Name)
	}
	return "failed: " + cmp.Or(strings.Join(names, ", "), e.Step.String())
}
