package observe

import (
	"slices"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/drain"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// tally is how much was written.
type tally struct {
	levels  [drain.Error + 1]int // lines
	bytes   int
	long    int // lines of them that were cut
	dropped int // lines of them that were not looked at
}

func (a tally) plus(b tally) tally { return a.with(b, 1) }

func (a tally) minus(b tally) tally { return a.with(b, -1) }

func (a tally) with(b tally, sign int) tally {
	for i, n := range b.levels {
		a.levels[i] += sign * n
	}
	a.bytes += sign * b.bytes
	a.long += sign * b.long
	a.dropped += sign * b.dropped
	return a
}

// written is how much the pods of a side wrote since they served.
type written struct {
	window int   // its number
	before tally // all that was written before it
	all    tally
	marks  []mark // of the window, oldest first
}

// mark is how much had been written by a moment.
type mark struct {
	at time.Time
	tally
}

// marksEvery is how close marks are, and so how exact the figures of a part of a window.
const marksEvery = 250 * time.Millisecond

// add counts what was written, and keeps the marks that a sliding window may begin at.
func (w *written) add(t tally, window int, now time.Time) {
	if w.window != window {
		*w = written{window: window, before: w.all, all: w.all}
	}
	if n := len(w.marks); n == 0 || now.Sub(w.marks[n-1].at) >= marksEvery {
		w.marks = slices.DeleteFunc(w.marks, func(m mark) bool { return now.Sub(m.at) > 2*rateWindow })
		w.marks = append(w.marks, mark{now, w.all})
	}
	w.all = w.all.plus(t)
}

// in is what was written in a window.
func (w *written) in(window int) tally {
	if w.window != window {
		return tally{}
	}
	return w.all.minus(w.before)
}

// since is what was written from a moment on.
func (w *written) since(from time.Time) tally {
	for _, m := range w.marks {
		if !m.at.Before(from) {
			return w.all.minus(m.tally)
		}
	}
	return tally{}
}

// count adds to what a pod wrote. What it writes when it starts is not for requests.
func (w *Watch) count(key stream, t tally) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.of(key.side)
	if p := s.pods[key.uid]; p != nil && p.served {
		s.written.add(t, w.window.number, time.Now())
	}
}

// tellWritten fills in how much a side wrote from a moment on, in the whole window for none. What was not looked at is
// missing in all of it.
func (w *Watch) tellWritten(n *judge.Numbers, s *side, from time.Time) {
	all := s.written.in(w.window.number)
	n.LogsDropped, n.LinesCut = all.dropped, all.long
	if !from.IsZero() {
		all = s.written.since(from)
	}
	n.Lines, n.Bytes, n.Levels = 0, all.bytes, map[string]int{}
	for level, lines := range all.levels {
		n.Lines += lines
		if lines > 0 {
			n.Levels[drain.Level(level).String()] = lines
		}
	}
}
