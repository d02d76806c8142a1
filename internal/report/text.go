package report

import (
	"fmt"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Text is the end of a run for a terminal or a log: the verdict, the four answers, warnings, where the evidence is.
// Every line but the first is indented, and none holds a control character, so none can be taken for a command.
func Text(s plan.Story) string {
	var b strings.Builder
	_, line := verdict(s)
	fmt.Fprintf(&b, "gray-upgrade: %s\n", clean(line, reasonLength))
	if s.Failure != nil {
		for _, a := range answers(s) {
			field(&b, a.Question, a.Text)
		}
		field(&b, "next", s.Failure.Next)
	}
	for i, w := range s.Warnings {
		if i == maxNotes {
			field(&b, "warning", fmt.Sprintf("and %d more", len(s.Warnings)-i))
			break
		}
		field(&b, "warning", w)
	}
	field(&b, "took", took(s.Begin, s.End))
	field(&b, "evidence", s.Evidence)
	return b.String()
}

// field writes one indented line, or none where there is nothing to say.
func field(b *strings.Builder, name, text string) {
	if text = clean(text, reasonLength); text != "" {
		fmt.Fprintf(b, "  %-9s %s\n", name+":", text)
	}
}
