package judge

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// restarts fails where more containers ended than allowed, whatever their exit code: a service that ends with 0 while
// it serves has ended all the same.
func restarts(s Sample, l Limits) Check {
	c := Check{Name: NameRestarts, Unit: "restarts"}
	all := s.OnTrial.Restarts
	if len(all) == 0 && s.OnTrial.Pods == 0 && len(s.OnTrial.NotReady) == 0 {
		return c.unknown("no pod of %s was seen", s.OnTrial.Name)
	}
	if len(all) == 0 {
		c.Why = fmt.Sprintf("no container of %s ended (%s)", s.OnTrial.Name, several(s.OnTrial.Pods, "pod"))
		return c.decide(0, float64(l.Restarts))
	}
	own := slices.DeleteFunc(slices.Clone(all), func(r Restart) bool { return r.Foreign })
	if len(own) > l.Restarts {
		all = own
	}
	first := worstRestart(all)
	c.Where = "Pod " + first.Pod
	c.Why = fmt.Sprintf("%s of %s ended (limit %d): %s of pod %s: %s, exit code %d",
		several(len(all), "container"), s.OnTrial.Name, l.Restarts, first.Container, first.Pod, first.cause(), first.ExitCode)
	if c = c.decide(float64(len(all)), float64(l.Restarts)); c.Verdict == Fail && len(own) <= l.Restarts {
		c.Infrastructure = true
		c.Why += "; without those that do not run the upgraded image it is not above the limit"
	}
	if c.Verdict == Fail && s.Reference.endsByPod() > 0 && s.Reference.endsByPod() >= s.OnTrial.endsByPod() {
		c.Infrastructure = true
		c.Why += fmt.Sprintf("; %s had %d of %d pods, so the image is not blamed", s.Reference.Name, len(s.Reference.Restarts), s.Reference.Pods)
	}
	return c
}

// endsByPod is the share (0..1) of pods in which a container ended that runs what is upgraded; one that ends again and again is
// one. A pod whose container has just ended is neither counted as serving nor as not ready.
func (n Numbers) endsByPod() float64 {
	own, of := map[string]bool{}, map[string]bool{}
	for _, r := range n.Restarts {
		of[r.Pod] = true
		if !r.Foreign {
			own[r.Pod] = true
		}
	}
	return ratio(float64(len(own)), float64(max(n.Pods+len(n.NotReady), len(of))))
}

// worstRestart is the one to name: an OOM kill before the others.
func worstRestart(all []Restart) Restart {
	for _, r := range all {
		if r.Reason == oomKilled {
			return r
		}
	}
	return all[0]
}

const oomKilled = "OOMKilled"

func (r Restart) cause() string {
	switch r.Reason {
	case oomKilled:
		return "killed because it was out of memory (OOMKilled)"
	case "":
		return "no reason given"
	default:
		return r.Reason
	}
}

// ready fails where a larger share of the pods on trial than of the reference's is not ready any more. Where the
// reference suffers as much, something they share is to blame: inconclusive.
func ready(s Sample) Check {
	c := Check{Name: NameReady, Unit: "pods"}
	lost := len(s.OnTrial.NotReady)
	switch {
	case lost == 0 && s.OnTrial.Pods == 0:
		return c.unknown("no pod of %s was seen", s.OnTrial.Name)
	case lost == 0:
		c.Why = fmt.Sprintf("no pod of %s lost its readiness (%s)", s.OnTrial.Name, several(s.OnTrial.Pods, "pod"))
		return c.decide(0, 0)
	}
	c.Where = "Pod " + s.OnTrial.NotReady[0]
	c.Why = fmt.Sprintf("%d of %d pods of %s are not ready any more: %s; %s %d of %d", lost, lost+s.OnTrial.Pods,
		s.OnTrial.Name, s.OnTrial.NotReady[0], s.Reference.Name, len(s.Reference.NotReady),
		len(s.Reference.NotReady)+s.Reference.Pods)
	c = c.decide(float64(lost), 0)
	switch {
	case lostShare(s.OnTrial) <= lostShare(s.Reference):
		c.Verdict = Inconclusive
	case s.OnTrial.Pods == 0 && len(s.Reference.NotReady) > 0:
		c.Infrastructure = true // few pods, and the other side loses some, too: users must go, nobody is blamed
	}
	return c
}

func lostShare(n Numbers) float64 {
	return ratio(float64(len(n.NotReady)), float64(len(n.NotReady)+n.Pods))
}

// newErrorLogs fails where the side on trial writes more error-level templates that are not known than allowed, in at
// least `strayLines` lines. Fewer lines blame nobody: of a whole step they pass. Without a log of the reference, or with
// one that overflowed or lines of which were dropped, what is new cannot be told.
func newErrorLogs(s Sample, l Limits, n looks) Check {
	c := newTemplates(s, l, n)
	for _, side := range []Numbers{s.OnTrial, s.Reference} {
		if side.LogsDropped > 0 {
			c.Why += fmt.Sprintf("; %d lines of %s came too fast to be looked at", side.LogsDropped, side.Name)
		}
	}
	return c
}

func newTemplates(s Sample, l Limits, n looks) Check {
	c := Check{Name: NameNewErrorLogs, Unit: "templates"}
	if s.OnTrial.Streams == 0 && len(s.OnTrial.Logs) == 0 {
		return c.unknown("no log of %s could be read", s.OnTrial.Name)
	}
	fresh := unknownTemplates(s)
	if missed := s.OnTrial.LogsCut + s.OnTrial.LogsDropped; len(fresh) == 0 && missed > s.OnTrial.Lines/100 {
		return c.unknown("%d lines of %s could not be looked at: too many came at once, or error lines of too many kinds", missed, s.OnTrial.Name)
	}
	if len(fresh) == 0 {
		c.Why = fmt.Sprintf("%s wrote nothing at error level that %s does not (logs of %s containers)",
			s.OnTrial.Name, s.Reference.Name, s.OnTrial.logs())
		return c.decide(0, float64(l.NewErrorLogs))
	}
	c.Lines = telling(fresh)
	first, lines := c.Lines[0], written(fresh)
	c.Where = "Pod " + first.Pod
	c.OnTrial, c.Reference = several(len(fresh), "kind")+", "+several(lines, "line"), "0 lines"
	c.Why = fmt.Sprintf("%s wrote error lines that %s does not, %d different (limit %d); the most telling, %d times: %s",
		s.OnTrial.Name, s.Reference.Name, len(fresh), l.NewErrorLogs, first.Count, first.Line)
	c = c.decide(float64(len(fresh)), float64(l.NewErrorLogs))
	if c.Verdict != Fail {
		return c
	}
	switch {
	case lines < strayLines && n == endOfStep:
		c.Verdict = Pass
		c.Why += fmt.Sprintf("; %d of the %d lines it takes to blame the image", lines, strayLines)
	case lines < strayLines:
		c.Verdict = Inconclusive
		c.Why += "; too few lines to tell it from chance"
	case s.Reference.Streams == 0 || s.Reference.LogsCut > 0 || s.Reference.LogsDropped > 0:
		c.Verdict = Inconclusive
		c.Why = fmt.Sprintf("the logs of %s are not known well enough to say what is new: %s", s.Reference.Name, c.Why)
	case s.Evidence != nil:
		return c.weigh((likeliest(fresh, l.NewErrorLogs)+s.Evidence.NewLogs)/2, l.need(forLogs), false)
	case often(fresh, l.NewErrorLogs) < pastLines:
		c.Why += fmt.Sprintf("; none %d times, which it takes where %s does not write now", pastLines, s.Reference.Name)
		if c.Verdict = Inconclusive; n == endOfStep {
			c.Verdict = Pass
		}
	}
	return c
}

// maxTelling is how many templates a check shows.
const maxTelling = 3

// telling are the templates to look at first: most evidence, then most lines, then oldest.
func telling(fresh []LogTemplate) []LogTemplate {
	all := slices.Clone(fresh)
	slices.SortStableFunc(all, func(a, b LogTemplate) int {
		return cmp.Or(cmp.Compare(b.Evidence, a.Evidence), cmp.Compare(b.Count, a.Count))
	})
	return all[:min(len(all), maxTelling)]
}

// pastLines is how often a template must be written where the reference has no users now. What is rare on both sides may be
// written first by either: ten times by one of two that have written for as long happens in one of 2^10 such templates.
const pastLines = 10

// often is how many times the next template after so many was written, in the order of that.
func often(fresh []LogTemplate, allowed int) float64 {
	return next(fresh, allowed, func(t LogTemplate) float64 { return float64(t.Count) })
}

// likeliest is the evidence that more than so many templates are new: that of the next one, in the order of evidence.
func likeliest(fresh []LogTemplate, allowed int) float64 {
	return next(fresh, allowed, func(t LogTemplate) float64 { return t.Evidence })
}

// next is a number of the template after the first so many, in the falling order of that number.
func next(fresh []LogTemplate, allowed int, of func(LogTemplate) float64) float64 {
	all := make([]float64, 0, len(fresh))
	for _, t := range fresh {
		all = append(all, of(t))
	}
	slices.Sort(all)
	return all[len(all)-1-allowed]
}

// logs is of how many containers the log was read.
func (n Numbers) logs() string {
	if n.Unread == 0 {
		return strconv.Itoa(n.Streams)
	}
	return fmt.Sprintf("%d of %d", n.Streams, n.Streams+n.Unread)
}

// strayLines is how many new error lines it takes to blame the image: one may be a dependency that was slow for once.
const strayLines = 3

// written is how many lines the templates were written as.
func written(all []LogTemplate) int {
	lines := 0
	for _, t := range all {
		lines += t.Count
	}
	return lines
}

func unknownTemplates(s Sample) []LogTemplate {
	known := make(map[string]bool, len(s.Reference.Logs))
	for _, t := range s.Reference.Logs {
		known[t.Template] = true
	}
	var fresh []LogTemplate
	for _, t := range s.OnTrial.Logs {
		if !known[t.Template] {
			fresh = append(fresh, t)
		}
	}
	return fresh
}
