package observe

import (
	"context"
	"slices"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	// askAgain is the pause after a question that failed: one failure is no blindness, ten seconds of them are.
	askAgain = time.Second
	// keepAnswers bounds the readings kept of a side in a window: of a longer one its end is judged.
	keepAnswers = 100
)

// Query is a question about both sides that a monitoring server answers.
type Query struct {
	judge.Query
	Every time.Duration
	// Ask returns what is known of both sides now. It may be slow or fail: the other sources go on, and after 10 s the
	// blindness is a finding (of the infrastructure).
	Ask func(ctx context.Context) (gray, production judge.Answer, err error)
}

// answers are what one query said.
type answers struct {
	asked    int // since Begin
	readings map[plan.Side][]judge.Measured
	none     map[plan.Side]string           // why the last answer held no number; "" where it did
	past     map[plan.Side][]judge.Measured // of the last window in which the side had users
}

func newAnswers(queries []Query) []answers {
	all := make([]answers, len(queries))
	for i := range all {
		all[i].past = map[plan.Side][]judge.Measured{}
		all[i].begin()
	}
	return all
}

func (a *answers) begin() {
	a.asked, a.readings, a.none = 0, map[plan.Side][]judge.Measured{}, map[plan.Side]string{}
}

// add takes one answer.
func (a *answers) add(s plan.Side, answer judge.Answer) {
	a.none[s] = answer.None
	if answer.None != "" {
		return
	}
	kept := append(a.readings[s], answer.Measured)
	a.readings[s] = kept[max(0, len(kept)-keepAnswers):]
}

// pollQuery asks one query again and again, never twice at the same time.
func (w *Watch) pollQuery(ctx context.Context, i int) {
	q := w.Queries[i]
	for {
		wait := q.Every
		if err := w.askQuery(ctx, i); err != nil {
			wait = min(wait, askAgain)
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

func (w *Watch) askQuery(ctx context.Context, i int) error {
	q := w.Queries[i]
	source := judge.QueryPrefix + q.Name
	w.asking(source)
	w.mu.Lock()
	number := w.window.number
	w.mu.Unlock()
	call, cancel := context.WithTimeout(ctx, blindAfter)
	gray, production, err := q.Ask(call)
	cancel()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.report(source, err)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.window.number != number {
		return nil // of another weight
	}
	a := &w.answers[i]
	a.asked++
	a.add(plan.Gray, gray)
	a.add(plan.Production, production)
	signal(w.wake)
	return nil
}

// beginQueries keeps what each side did while it had users, before the window that ends is forgotten.
func (w *Watch) beginQueries() {
	for i := range w.answers {
		a := &w.answers[i]
		for side, readings := range a.readings {
			if !w.idle(side) && len(readings) >= judge.EnoughReadings {
				a.past[side] = readings
			}
		}
		a.begin()
	}
}

// idle says whether a side is to have no users in this window.
func (w *Watch) idle(s plan.Side) bool {
	return s == plan.Production && w.window.weight == 100 || s == plan.Gray && w.window.weight == 0
}

// series is what the queries answered since Begin. A side without users is no reference: then, as with the gateway's
// counts, it is what it did when it last had some.
func (w *Watch) series() []judge.Series {
	trial, ref := w.window.onTrial, w.window.onTrial.Other()
	var all []judge.Series
	for i, a := range w.answers {
		s := judge.Series{
			Query: w.Queries[i].Query, Asked: a.asked, None: a.none[trial],
			OnTrial: slices.Clone(a.readings[trial]), Reference: slices.Clone(a.readings[ref]),
		}
		if w.idle(ref) {
			s.Reference, s.ReferenceIsPast = slices.Clone(a.past[ref]), true
		}
		all = append(all, s)
	}
	return all
}
