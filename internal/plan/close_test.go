package plan

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// production is a workload of 4 wanted pods.
func production(t Template, ready, old int32) Workload {
	return Workload{Exists: true, Template: t, Replicas: 4, Ready: ready, Old: old, Whole: ready == 4 && old == 0}
}

func gray(ready int32) Workload {
	return Workload{Exists: true, Template: Ours, Replicas: 4, Ready: ready}
}

func TestCloseTakesTheFirstRuleThatMatches(t *testing.T) {
	tests := []struct {
		name string
		seen Observed
		why  Reason
		want Step
	}{
		{"whole production: users home at once", Observed{Production: production(Baseline, 4, 0), Gray: gray(2), Weight: 50}, ReasonAnomaly, Step{Kind: ShiftTraffic, Weight: 0}},
		{"one of four not ready: home at once all the same", Observed{Production: production(Baseline, 3, 0), Gray: gray(1), Weight: 5}, ReasonAnomaly, Step{Kind: ShiftTraffic, Weight: 0}},
		{"exactly at the floor is usable", Observed{Production: production(Baseline, 2, 0), Gray: gray(4), Weight: 100}, ReasonAnomaly, Step{Kind: ShiftTraffic, Weight: 0}},
		{"below the floor: least overload", Observed{Production: production(Baseline, 1, 0), Gray: gray(3), Weight: 100}, ReasonAnomaly, Step{Kind: ShiftTraffic, Weight: 75}},
		{"below the floor: never above the weight there is", Observed{Production: production(Baseline, 1, 0), Gray: gray(3), Weight: 5}, ReasonAnomaly, Step{Kind: Await}},
		{"no production pod: users to gray", Observed{Production: production(Baseline, 0, 0), Gray: gray(2), Weight: 50}, ReasonAnomaly, Step{Kind: ShiftTraffic, Weight: 100}},
		{"no gray pod: users to production", Observed{Production: production(Baseline, 1, 0), Gray: gray(0), Weight: 100}, ReasonInfrastructure, Step{Kind: ShiftTraffic, Weight: 0}},
		{"neither serves: wait", Observed{Production: production(Baseline, 0, 0), Gray: gray(0), Weight: 50}, ReasonAnomaly, Step{Kind: Await}},
		{"mid-roll: users stay, the roll is undone", Observed{Production: production(Ours, 1, 2), Gray: gray(4), Weight: 100, Served: 100}, ReasonInterrupted, Step{Kind: UndoRoll}},
		{"rolled, not promoted: first see that gray has all", Observed{Production: production(Ours, 4, 0), Gray: gray(4), Weight: 100, Served: -1}, ReasonInterrupted, Step{Kind: ShiftTraffic, Weight: 100}},
		{"rolled, not promoted, all on gray: undo", Observed{Production: production(Ours, 4, 0), Gray: gray(4), Weight: 100, Served: 100}, ReasonInterrupted, Step{Kind: UndoRoll}},
		{"rolling back: wait on gray", Observed{Production: production(Baseline, 1, 3), Gray: gray(4), Weight: 100, Served: 100}, ReasonAnomaly, Step{Kind: Await}},
		{"promoted and cancelled: forward", Observed{Production: production(Ours, 4, 0), Gray: gray(4), Weight: 50, Promoted: true}, ReasonInterrupted, Step{Kind: ShiftTraffic, Weight: 0}},
		{"promoted, below the floor: gray keeps the users", Observed{Production: production(Ours, 1, 0), Gray: gray(4), Weight: 100, Promoted: true}, ReasonInterrupted, Step{Kind: Await}},
		{"promoted, not ready yet: wait", Observed{Production: production(Ours, 0, 0), Gray: gray(4), Weight: 100, Promoted: true}, ReasonInterrupted, Step{Kind: Await}},
		{"promoted, then an anomaly on the way back: gray takes users", Observed{Production: production(Ours, 4, 0), Gray: gray(4), Weight: 50, Promoted: true}, ReasonAnomaly, Step{Kind: ShiftTraffic, Weight: 100}},
		{"foreign and ready: users there", Observed{Production: production(Foreign, 2, 0), Gray: gray(4), Weight: 100}, ReasonInterrupted, Step{Kind: ShiftTraffic, Weight: 0}},
		{"foreign and not ready: wait", Observed{Production: production(Foreign, 0, 1), Gray: gray(4), Weight: 100}, ReasonInterrupted, Step{Kind: Await}},
		{"weight 0 but never confirmed: confirm", Observed{Production: production(Baseline, 4, 0), Gray: gray(1), Served: -1, Touched: true}, ReasonInterrupted, Step{Kind: ShiftTraffic, Weight: 0}},
		{"served 0, not drained: wait for silence", Observed{Production: production(Baseline, 4, 0), Gray: gray(1), Touched: true}, ReasonInterrupted, Step{Kind: Silence, Side: Gray}},
		{"drained: remove", Observed{Production: production(Baseline, 4, 0), Gray: gray(1), Drained: true, Touched: true}, ReasonInterrupted, Step{Kind: RemoveGray}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			steps := Close(tt.seen, tt.why, 50)
			require.NotEmpty(t, steps)
			got := steps[0]
			assert.Equal(t, tt.want.Kind, got.Kind)
			assert.Equal(t, tt.want.Side, got.Side)
			if tt.want.Kind == ShiftTraffic {
				assert.Equal(t, tt.want.Weight, got.Weight)
			}
		})
	}
}

// TestCloseSaysWhatItWaitsFor: a person who finds it stuck reads this.
func TestCloseSaysWhatItWaitsFor(t *testing.T) {
	o := Observed{Production: production(Baseline, 1, 3), Gray: gray(4), Weight: 100, Served: 100}
	o.Production.Paused = true
	assert.Contains(t, Close(o, ReasonAnomaly, 50)[0].Why, "paused: resume it")
	gone := Observed{Gray: gray(4), Weight: 100, Served: 100}
	assert.Contains(t, Close(gone, ReasonInfrastructure, 50)[0].Why, "apply it again")
}

func TestCloseIsDoneWhenNothingOfOursIsLeft(t *testing.T) {
	assert.Empty(t, Close(Observed{Production: production(Baseline, 4, 0)}, ReasonAnomaly, 50))
	assert.Empty(t, Close(Observed{Production: production(Baseline, 0, 0)}, ReasonAnomaly, 50), "an unready production alone is not ours to mend")
	assert.Empty(t, Close(Observed{Production: production(Foreign, 4, 0)}, ReasonInterrupted, 50))
}

// A drift is something that the world does between two looks.
var drifts = []struct {
	name  string
	apply func(*Observed)
}{
	{"nothing", func(*Observed) {}},
	{"a production pod is lost", func(o *Observed) { o.Production.Ready = max(0, o.Production.Ready-1) }},
	{"all production pods are lost", func(o *Observed) { o.Production.Ready, o.Production.Old = 0, 0 }},
	{"a gray pod is lost", func(o *Observed) { o.Gray.Ready = max(0, o.Gray.Ready-1) }},
	{"all gray pods are lost", func(o *Observed) { o.Gray.Ready = 0 }},
	{"somebody sets weight 25", func(o *Observed) {
		if o.Gray.Exists {
			o.Weight, o.Served, o.Drained = 25, -1, false
		}
	}},
	{"somebody changes production's template", func(o *Observed) {
		o.Production.Template, o.Production.Old, o.Production.Ready = Foreign, o.Production.Old+o.Production.Ready, 0
	}},
}

// TestCloseInEveryState runs close from every starting state, with every drift after every one of the first steps,
// and checks what must hold at each step and at the end.
func TestCloseInEveryState(t *testing.T) {
	runs, longest := 0, 0
	for _, start := range states() {
		for _, why := range []Reason{ReasonAnomaly, ReasonInterrupted} {
			for at := range 5 {
				for i, drift := range drifts {
					if i == 0 && at > 0 {
						continue // no drift is the same at any step
					}
					steps, err := runModel(start, why, at, drift.apply, true)
					require.NoError(t, err, "start %+v, %s, after step %d %s", start, why, at, drift.name)
					runs, longest = runs+1, max(longest, steps)
				}
			}
		}
	}
	t.Logf("%d runs, at most %d steps each", runs, longest)
	assert.Greater(t, runs, 100_000)
}

// TestCloseNeverEmptiesTheServingSideWhenTheWayBackStaysDown is the model in which production never becomes ready.
func TestCloseNeverEmptiesTheServingSideWhenTheWayBackStaysDown(t *testing.T) {
	o := Observed{Production: production(Ours, 0, 0), Gray: gray(4), Weight: 100, Served: 100, Touched: true}
	_, err := runModel(o, ReasonAnomaly, 0, func(*Observed) {}, false)
	require.ErrorContains(t, err, "does not end")
}

func states() []Observed {
	var all []Observed
	for _, template := range []Template{Baseline, Ours, Foreign} {
		for ready := range int32(5) {
			for old := range 5 - ready {
				for grayReady := range int32(5) {
					for _, weight := range []int{0, 5, 25, 50, 100} {
						for _, served := range []int{-1, weight} {
							for _, promoted := range []bool{false, true} {
								if promoted && template == Baseline {
									continue
								}
								all = append(all, Observed{
									Production: production(template, ready, old), Gray: gray(grayReady),
									Weight: weight, Served: served, Promoted: promoted, Touched: true,
								})
							}
						}
					}
				}
			}
		}
	}
	return all
}

// runModel closes from o until nothing is left to do. After step number driftAt the drift happens once. Pods come
// back one at each look where production recovers. It returns the number of steps, looks included.
func runModel(o Observed, why Reason, driftAt int, drift func(*Observed), recovers bool) (int, error) {
	const limit = 60
	for n := range limit {
		steps := Close(o, why, 50)
		if len(steps) == 0 {
			return n, endsAtHome(o)
		}
		before := o
		if err := apply(&o, steps[0], recovers); err != nil {
			return n, err
		}
		if err := invariants(before, o, steps[0]); err != nil {
			return n, fmt.Errorf("step %d %s: %w", n, steps[0], err)
		}
		if n == driftAt {
			drift(&o)
		}
	}
	return limit, fmt.Errorf("does not end: %+v", o)
}

func apply(o *Observed, s Step, recovers bool) error {
	switch s.Kind {
	case ShiftTraffic:
		o.Weight, o.Served, o.Drained = s.Weight, s.Weight, false
	case UndoRoll:
		o.Production.Template, o.Promoted = Baseline, false
		o.Production.Ready, o.Production.Old = o.Production.Old, o.Production.Ready
	case Silence:
		o.Drained = true
	case RemoveGray:
		if !o.Drained || o.Weight != 0 || o.Served != 0 {
			return fmt.Errorf("gray is deleted while it may serve: %+v", *o)
		}
		o.Gray, o.Touched = Workload{}, false
	case Await:
		if !recovers {
			break
		}
		switch p := &o.Production; {
		case p.Ready+p.Old < p.Replicas:
			p.Ready++
		case p.Old > 0:
			p.Old, p.Ready = p.Old-1, p.Ready+1
		}
	default:
		return fmt.Errorf("close does not know %q", s.Kind)
	}
	return nil
}

func invariants(before, after Observed, s Step) error {
	baseline := before.Production.Old
	if before.Production.Template == Baseline {
		baseline = before.Production.Ready
	}
	switch {
	case s.Kind == UndoRoll && before.Production.Template != Ours:
		return fmt.Errorf("a template that is not ours was overwritten: %+v", before)
	case s.Kind == ShiftTraffic && after.Weight > before.Weight && baseline > 0:
		return fmt.Errorf("gray was raised from %d to %d while a baseline pod serves", before.Weight, after.Weight)
	case s.Kind == ShiftTraffic && after.Weight > 0 && after.Gray.Ready == 0 && serves(after.Production):
		return fmt.Errorf("users are left on a gray side with no pod")
	case s.Kind == ShiftTraffic && after.Weight < full && !serves(after.Production) && after.Gray.Ready > 0:
		return fmt.Errorf("users are left on a production side with no pod")
	}
	return nil
}

func endsAtHome(o Observed) error {
	if o.Weight != 0 || o.Gray.Exists || o.Touched {
		return fmt.Errorf("ended away from home: %+v", o)
	}
	return nil
}
