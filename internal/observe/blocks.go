package observe

import (
	"maps"
	"slices"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// logBlock is how long a block of the logs is at least: lines that come together may have one cause.
const logBlock = 250 * time.Millisecond

// maxBlockLines is how many new error templates of one block are weighed: more of them at once are no better evidence.
const maxBlockLines = 50

// concurrent says whether both sides have users now, so that they can be compared as they are at the same time.
func (w *Watch) concurrent() bool { return w.window.weight > 0 && w.window.weight < 100 }

// addBlock weighs what happened between two answers of the gateway and writes it down.
func (w *Watch) addBlock(from, to snapshot) {
	trial, ref := w.window.onTrial, w.window.onTrial.Other()
	now := to.at.Round(0) // wall time alone, as a replay reads it
	count := w.counting(difference(w.history[w.first()].of(ref), from.of(ref)).Latency)
	b := judge.Block{
		To: now, Window: w.window.number, Share: w.shareOnTrial(),
		OnTrial: count(difference(from.of(trial), to.of(trial))), Reference: count(difference(from.of(ref), to.of(ref))),
	}
	w.window.trend.Add(b)
	if w.concurrent() {
		w.sequence.Add(b)
		w.Record("block", b)
	}
}

// counting returns what counts a block, given the latencies of the reference before it; where they say nothing yet, those
// of when it last had traffic. While a pod on trial is cold, no answer counts as slow.
func (w *Watch) counting(before []judge.Bucket) func(judge.Traffic) judge.Counts {
	bound, known := judge.SlowBound(before, w.Limits)
	if !known {
		bound, known = judge.SlowBound(w.past[w.window.onTrial.Other()].Traffic.Latency, w.Limits)
	}
	known = known && w.of(w.window.onTrial).warm(time.Now())
	return func(t judge.Traffic) judge.Counts {
		c := judge.Counts{Requests: t.Requests, Errors: t.Errors}
		if known {
			c.Slow = judge.Slower(bound, t.Latency)
		}
		return c
	}
}

// coldStart is how long a pod may answer slowly: programs that compile while they run, empty caches and connections that
// have to be made. What its first users wait for is not held against the image.
const coldStart = 15 * time.Second

// warm says whether all pods that serve are past their cold start.
func (s *side) warm(now time.Time) bool {
	if s.users.IsZero() || now.Sub(s.users) < coldStart {
		return false
	}
	for _, p := range s.pods {
		if p.ready && now.Sub(p.joined) < coldStart {
			return false
		}
	}
	return true
}

// addLogBlock weighs the new error lines since the last one and writes them down.
func (w *Watch) addLogBlock(now time.Time) {
	if len(w.lines) == 0 && w.novel == [2]int{} || now.Sub(w.weighed) < logBlock {
		return
	}
	b := judge.LogBlock{To: now.Round(0), Share: w.logShare(), OnTrial: w.novel[0], Reference: w.novel[1]}
	for _, template := range slices.Sorted(maps.Keys(w.lines)) {
		b.Lines = append(b.Lines, *w.lines[template])
	}
	clear(w.lines)
	w.weighed, w.novel = now, [2]int{}
	w.sequence.AddLogs(b)
	w.Record("log-block", b)
}

// shareOnTrial is the percent of requests configured to go to the side on trial.
func (w *Watch) shareOnTrial() int {
	return judge.ShareOnTrial(string(w.window.onTrial), w.window.weight)
}

// turnsUp counts, for the next block, a template that neither side wrote before, and says whether it is one.
func (w *Watch) turnsUp(side plan.Side, group int) bool {
	own := w.of(side).known.entries[group]
	if !w.concurrent() || own == nil || own.Count > 1 || w.of(side.Other()).known.entries[group] != nil {
		return false
	}
	if side == w.window.onTrial {
		w.novel[0]++
	} else {
		w.novel[1]++
	}
	return true
}

// wrote counts an event of an error template for the next block. What the reference is known to write is no news; what it
// writes counts only against what the side on trial wrote first.
func (w *Watch) wrote(side plan.Side, group int) {
	if group == 0 || !w.concurrent() {
		return
	}
	template := w.miner.Name(group)
	onTrial, l := side == w.window.onTrial, w.lines[template]
	switch {
	case onTrial && w.of(side.Other()).known.entries[group] != nil:
	case onTrial && l != nil:
		l.OnTrial++
	case !onTrial && l != nil:
		l.Reference++
	case onTrial && len(w.lines) < maxBlockLines:
		w.lines[template] = &judge.Lines{Template: template, OnTrial: 1}
	case !onTrial && w.sequence.Template(template) > 0:
		w.lines[template] = &judge.Lines{Template: template, Reference: 1}
	}
}

// takeBack uncounts an event of the side on trial that turned out to be of another group.
func (w *Watch) takeBack(group int) {
	w.window.logs.takeBack(group)
	template := w.miner.Name(group)
	l := w.lines[template]
	if l == nil || l.OnTrial == 0 {
		return
	}
	if l.OnTrial--; l.OnTrial+l.Reference == 0 {
		delete(w.lines, template)
	}
}

// logShare is what the side on trial would write of the logs that are read, if it were like the other one: some lines are
// written by request, some by pod, so it is the larger of both shares.
func (w *Watch) logShare() float64 {
	trial, ref := w.of(w.window.onTrial), w.of(w.window.onTrial.Other())
	mine, theirs := trial.heard(), ref.heard()
	if mine == 0 || theirs == 0 {
		return 1
	}
	share := max(mine/(mine+theirs), float64(w.shareOnTrial())/100)
	from, to, ok := w.between(0)
	if !ok {
		return share
	}
	requests := difference(from.of(trial.name), to.of(trial.name)).Requests
	others := difference(from.of(ref.name), to.of(ref.name)).Requests * min(1, theirs/float64(len(ref.pods)))
	if requests+others > 0 {
		share = max(share, requests/(requests+others))
	}
	return share
}

// heard is of how many pods a log is followed now.
func (s *side) heard() float64 {
	pods := map[string]bool{}
	for key := range s.open {
		pods[key.uid] = true
	}
	return float64(len(pods))
}
