package report

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func check(name string, v judge.Verdict, got float64) judge.Check {
	return judge.Check{Name: name, Verdict: v, Got: got, Limit: 10, Unit: "ms", Why: name + " " + string(v)}
}

// TestSignals are one row for each rule: a failure, else the pass that came closest to its limit.
func TestSignals(t *testing.T) {
	s := story().
		did(time.Minute, 5, watch(5), judged(check("a", judge.Pass, 1), check("b", judge.Pass, 9), check("c", judge.Inconclusive, 0))).
		did(time.Minute, 20, watch(20), judged(check("a", judge.Fail, 11), check("b", judge.Inconclusive, 0), check("c", judge.Inconclusive, 0))).
		did(time.Minute, 25, watch(25), judged(check("b", judge.Pass, 2), check("c", judge.Inconclusive, 0))).Story
	rows := signals(s)
	require.Len(t, rows, 3)
	for i, want := range []struct {
		name, verdict string
		weight        int
		limit         string
	}{
		{"a", "fail", 20, "10 ms"},
		{"c", "not judged", 25, ""},
		{"b", "pass; not judged in 1 of 3 steps", 5, "10 ms"},
	} {
		assert.Equal(t, want.name, rows[i].Name)
		assert.Equal(t, want.verdict, rows[i].verdict())
		assert.Equal(t, want.weight, rows[i].weight)
		assert.Equal(t, want.limit, rows[i].limit())
	}
	assert.Equal(t, "c (c inconclusive)", unjudged(s))
	assert.Contains(t, string(Markdown(s)), "## ⏳ running: shop/web at 25 % on gray: watch gray at weight 25 for 1m0s\n\n**Not judged in any step**: c (c inconclusive)\n")
}

// TestARunThatEndsWithoutEvidenceShowsWhatWasMissing, though the rule passed at an earlier weight.
func TestARunThatEndsWithoutEvidenceShowsWhatWasMissing(t *testing.T) {
	missing := check("p99", judge.Inconclusive, 0)
	s := story().
		did(time.Minute, 5, watch(5), judged(check("p99", judge.Pass, 1))).
		did(time.Minute, 20, watch(20), judged(missing), broken("too few")).Story
	s.Failure = &plan.Failure{Fault: plan.FaultEvidence, Checks: []judge.Check{missing}}
	rows := signals(s)
	require.Len(t, rows, 1)
	assert.Equal(t, judge.Inconclusive, rows[0].Verdict)
}

// TestAFailureHasItsTimeAndWeight though no step was judged: the watch found it in the middle of one.
func TestAFailureHasItsTimeAndWeight(t *testing.T) {
	s := story().did(10*time.Second, 20, watch(20), broken("x")).Story
	s.Failure = &plan.Failure{What: "a fail", Step: watch(20), Checks: []judge.Check{check("a", judge.Fail, 11)}}
	rows := signals(s)
	require.Len(t, rows, 1)
	assert.Equal(t, "12:00:10, weight 20", rows[0].at())
	assert.Equal(t, "gray 11 ms", did(rows[0].side, rows[0].mine()))
	assert.Equal(t, "as said on top", rows[0].reason(s))
	assert.Equal(t, 1, strings.Count(string(Markdown(s)), "a fail"), "a sentence is said once")
}

func TestGrowthHasTheCourseOfItsPod(t *testing.T) {
	growth := judge.Check{Name: judge.NameMemoryGrowth, Verdict: judge.Fail, Where: "Pod b"}
	readings := func(mebi ...float64) (all []judge.Reading) {
		for _, m := range mebi {
			all = append(all, judge.Reading{Memory: m * (1 << 20)})
		}
		return all
	}
	s := &judge.Sample{
		OnTrial:   judge.Numbers{Usage: []judge.Usage{{Pod: "a", Readings: readings(9, 9)}, {Pod: "b", Readings: readings(3, 20, 53)}}},
		Reference: judge.Numbers{Usage: []judge.Usage{{Pod: "c", Readings: readings(7)}}},
	}
	assert.Equal(t, &judge.Trend{Unit: "MiB", OnTrial: []float64{3, 20, 53}, Reference: []float64{7}}, withMemory(growth, s).Trend)
	assert.Nil(t, withMemory(growth, nil).Trend)
	growth.Verdict = judge.Pass
	assert.Nil(t, withMemory(growth, s).Trend)
}

// TestTellingLines are those of a failed check first, then those of the window, whatever failed.
func TestTellingLines(t *testing.T) {
	line := func(template string, count int, evidence float64) judge.LogTemplate {
		return judge.LogTemplate{Template: template, Line: template, Count: count, Evidence: evidence}
	}
	s := plan.Story{
		Failure: &plan.Failure{Checks: []judge.Check{{Name: "errors", Verdict: judge.Fail}}},
		Watched: &judge.Sample{
			OnTrial:   judge.Numbers{Name: "gray", Logs: []judge.LogTemplate{line("often", 9, 1), line("new", 4, 128), line("reason", 1, 2)}},
			Reference: judge.Numbers{Name: "production", Logs: []judge.LogTemplate{line("often", 7, 0)}},
		},
	}
	names := func() (all []string) {
		for _, l := range telling(s) {
			all = append(all, l.Line)
		}
		return all
	}
	assert.Equal(t, []string{"new", "reason", "often"}, names())
	assert.Equal(t, 7, telling(s)[2].Other)
	assert.Contains(t, blame(telling(s)), "not themselves the reason")
	s.Failure.Checks = append(s.Failure.Checks, judge.Check{Verdict: judge.Fail, Lines: []judge.LogTemplate{line("reason", 1, 2)}})
	assert.Equal(t, []string{"reason", "new", "often"}, names())
	assert.Equal(t, "The first 1 are a reason of the failure, the others are not.", blame(telling(s)))
	s.Watched = nil
	assert.Equal(t, []string{"reason"}, names())
}

func TestTodo(t *testing.T) {
	assert.Equal(t, []do{
		{"look (it is deleted)", ""},
		{"or test it (with the rest):", "gray-upgrade offline-test run --namespace shop --service web"},
		{"then rerun", ""},
	}, todo("look (it is deleted); or test it: gray-upgrade offline-test run --namespace shop --service web (with the rest); then rerun"))
	assert.Equal(t, []do{{"rerun (the image is not blamed)", ""}}, todo("rerun; the image is not blamed"))
	for _, harmless := range []string{"look at that run: gray-upgrade status names it", "run: gray-upgrade close --service `x`"} {
		assert.Equal(t, []do{{harmless, ""}}, todo(harmless))
	}
}

func TestAStepSaysWhatItDidNotMeasure(t *testing.T) {
	e := plan.Entry{End: noon, Checks: []judge.Check{check("errors", judge.Pass, 1), check("memory", judge.Inconclusive, 0), check("cpu", judge.Inconclusive, 0)}}
	assert.Equal(t, "passed; not measured: memory, cpu", result(plan.Story{}, e))
	e.Checks = e.Checks[1:]
	assert.Equal(t, "done; not measured: memory, cpu", result(plan.Story{}, e))
	same := plan.Entry{End: noon, Error: "production already runs this image", Notes: []string{"a", "closing: production already runs this image"}}
	assert.Equal(t, "done", result(plan.Story{Outcome: plan.Unchanged}, same))
	assert.Equal(t, "failed", result(plan.Story{}, same))
	assert.Equal(t, []string{"a"}, notes(same))
}

func TestAFailedOfflineTestIsNoRollback(t *testing.T) {
	s := accountFailure()
	s.Plan.Steps = []plan.Step{{Kind: plan.RecordPass}}
	_, line := verdict(s)
	assert.Equal(t, "offline test failed: no user of shop/web met app:v2@sha256:9f8e7d6c5b4a, which is on hold until it passes an offline test", line)
}

func TestNumber(t *testing.T) {
	for in, want := range map[float64]string{0: "0", 5.004: "5", 0.2703: "0.27", 73.95: "74", 99.6: "100", 202.56: "203", 1.5: "1.5", 14380: "14380"} {
		assert.Equal(t, want, number(in))
	}
}
