package report

import (
	"regexp"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

type answer struct{ Question, Text string }

// answers are what a person asks of a failure, but for what to do next: see todo.
func answers(s plan.Story) []answer {
	var all []answer
	for _, a := range []answer{{"what", s.Failure.What}, {"users", met(s)}, {"where", s.Failure.Where}, {"done", s.Failure.Done}} {
		if a.Text != "" {
			all = append(all, a)
		}
	}
	return all
}

// do is one thing to do, with its command, if it has one.
type do struct{ Text, Command string }

// command is one that can be copied as it is: it holds nothing that a shell or Markdown would interpret.
var command = regexp.MustCompile(`:? gray-upgrade [a-z][a-z-]*(?: [a-z][a-z-]*)?(?: --[a-z-]+[ =][A-Za-z0-9._/:@+-]+)+`)

// todo takes what to do next apart: it is one sentence, its parts end with a semicolon. That nobody is blamed is nothing to do.
func todo(next string) []do {
	var all []do
	next = strings.ReplaceAll(next, "; the image is not blamed", " (the image is not blamed)")
	for part := range strings.SplitSeq(clean(next, 2*reasonLength), "; ") {
		found := command.FindString(part)
		if found != "" {
			part = strings.Replace(part, found, "", 1) + ":"
		}
		all = append(all, do{part, strings.TrimPrefix(strings.TrimPrefix(found, ":"), " ")})
	}
	return all
}

// runName is the run without the ends of it that are not known.
func runName(s plan.Story) string { return strings.TrimRight(s.Identity.Run, "/") }
