package replay

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// String tells a person: one row a window, then why, then what differs. It holds foreign text.
func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d blocks weighed, %d samples judged\n\n", r.Blocks, r.Samples)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "WINDOW\tON TRIAL\tWEIGHT\tBEGAN (UTC)\tTHEN\tREPLAYED")
	for _, w := range r.Windows {
		_, _ = fmt.Fprintf(table, "%d\t%s\t%d\t%s\t%s\t%s\n", w.Number, w.OnTrial, w.Weight, w.From.UTC().Format("15:04:05"), w.Then, w.Now)
	}
	_ = table.Flush() // into memory
	if slices.ContainsFunc(r.Windows, func(w Window) bool { return w.Then.Open || w.Now.Open }) {
		fmt.Fprintf(&b, "\n%s: nothing would have ended it by then, where its evidence ends", notJudged)
	}
	if r.Cut {
		b.WriteString("\nThe last line is not whole, as a killed run leaves it: it is left out.")
	}
	for _, w := range r.Windows {
		for _, c := range w.Now.Deciding {
			fmt.Fprintf(&b, "\nwindow %d, %s: %s", w.Number, c.Name, c.Why)
		}
	}
	b.WriteString("\n")
	if r.Changed {
		b.WriteString("\nWith other limits: a window that then ended earlier than it does now shows nothing of what came after its end, and\n" +
			"stricter limits may have ended one up to a second before a sample of it was written down. Slow answers stay counted\n" +
			"with the bound of the run.\n")
		return b.String()
	}
	if len(r.Windows) == 0 {
		b.WriteString("\nNo window was judged: no user was on gray while the run was watched.\n")
		return b.String()
	}
	if len(r.Differences) == 0 {
		b.WriteString("\nThe same limits lead to the same verdicts.\n")
		return b.String()
	}
	b.WriteString("\nNot the same as recorded:\n")
	for _, d := range r.Differences {
		b.WriteString("  " + d + "\n")
	}
	return b.String()
}

const notJudged = "not judged"

// String is the end in a few words.
func (e End) String() string {
	if e.Open {
		return notJudged
	}
	words := string(e.Verdict)
	if e.AtOnce {
		words += " at once"
	}
	words += " " + e.At.UTC().Format("15:04:05.0")
	for i, c := range e.Deciding {
		if i > 0 {
			words += ","
		}
		words += " " + c.Name
	}
	return words
}
