package report

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// maxBars is how many measurements the chart shows: the last ones. More cannot be told apart at a summary's width.
const maxBars = 40

// mermaid writes a chart of entries that have a measurement: bars are served, the line is configured. The same
// numbers always stand in a table beside it, for whoever does not see the chart.
func mermaid(b *bytes.Buffer, service string, seen []plan.Entry) {
	seen = seen[max(0, len(seen)-maxBars):]
	var times, configured, served []string
	for i, e := range seen {
		share := percent(*e.Served)
		if share == "" {
			share = "0"
		}
		times = append(times, fmt.Sprintf("%q", fmt.Sprintf("%d. %s", i+1, clock(e.End)))) // the number keeps equal times apart
		configured = append(configured, fmt.Sprint(e.Weight))
		served = append(served, share)
	}
	fmt.Fprintf(b, "```mermaid\nxychart-beta\n  title \"%s: percent of requests on gray (bars served, line configured)\"\n", label(service, 63))
	fmt.Fprintf(b, "  x-axis [%s]\n  y-axis \"percent\" 0 --> 100\n  bar [%s]\n  line [%s]\n```\n\n",
		strings.Join(times, ", "), strings.Join(served, ", "), strings.Join(configured, ", "))
}
