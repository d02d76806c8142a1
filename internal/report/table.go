package report

import (
	"bytes"
	"fmt"
	"strings"
)

// table writes a Markdown table of at most budget bytes (0: no limit). Cells are escaped by whoever makes them.
type table struct {
	b      *bytes.Buffer
	budget int
	last   bool // too many rows: keep the last ones, not the first
	rows   []string
}

func newTable(b *bytes.Buffer, budget int, columns ...string) *table {
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
	return &table{b: b, budget: budget}
}

func (t *table) row(cells ...string) {
	t.rows = append(t.rows, "| "+strings.Join(cells, " | ")+" |\n")
}

// end writes the rows that fit, and how many do not.
func (t *table) end() {
	from, to := t.fit()
	for _, row := range t.rows[from:to] {
		t.b.WriteString(row)
	}
	t.b.WriteString("\n")
	if left := len(t.rows) - (to - from); left > 0 {
		which := "more"
		if t.last {
			which = "earlier"
		}
		fmt.Fprintf(t.b, "%d %s rows are left out here; the evidence has them.\n\n", left, which)
	}
}

// fit returns the range of rows that the budget allows.
func (t *table) fit() (from, to int) {
	size := 0
	for i := range t.rows {
		row := t.rows[i]
		if t.last {
			row = t.rows[len(t.rows)-1-i]
		}
		if size += len(row); t.budget > 0 && size > t.budget {
			if t.last {
				return len(t.rows) - i, len(t.rows)
			}
			return 0, i
		}
	}
	return 0, len(t.rows)
}
