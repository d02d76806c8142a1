package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

func TestForesee(t *testing.T) {
	watch := func(d time.Duration, weights ...int) Plan {
		var p Plan
		for _, w := range weights {
			p.Steps = append(p.Steps, Step{Kind: ShiftTraffic, Weight: w}, Step{Kind: Watch, Side: Gray, Weight: w, Duration: d})
		}
		p.Steps = append(p.Steps, Step{Kind: Watch, Side: Production, Weight: 50, Duration: time.Hour})
		return p
	}
	tests := []struct {
		name string
		plan Plan
		rate float64
		want string
		seen bool
	}{
		{"enough in one step", watch(time.Minute, 5, 20, 100), 200, "at 200 requests/s, as measured now, an image that fails 1 % more of its requests than production " +
			"is told from chance in about 42s at weight 5, 15s at weight 20, in half of the runs sooner; evidence adds up from step to step, so it is found by the end of the watch at weight 20 in most runs", true},
		{"enough in two steps", watch(time.Minute, 5, 20), 100, "1m20s at weight 5, 30s at weight 20, in half of the runs sooner; evidence adds up from step to step, so it is found by the end of the watch at weight 20 in most runs", true},
		{"too little traffic", watch(time.Minute, 5), 20, "7m0s at weight 5, in half of the runs sooner; the steps of this plan bring 7 % of the time that it takes to be sure: it may be promoted. Make step-duration longer", false},
		{"hardly any", watch(time.Minute, 5), 0.02, "at 0.02 requests/s", false},
		{"all at once", watch(time.Minute, 100), 200, "no step has users on both sides", true},
		{"a short last weight", watch(time.Minute, 5, 100), 500, "; with metrics.k8s.io weight 100 is watched for up to 2m0s, until there are the readings that tell a leak", true},
		{"steps too short for memory and CPU", watch(15*time.Second, 5, 100), 500, "; a leak, or more CPU by request, is hardly seen in steps of 15s: metrics.k8s.io tells of it once in 15 s. From a step-duration of 30s on, weight 100 waits for that", false},
		{"a long last weight", watch(2*time.Minute, 5, 100), 200, "requests/s", true},
		{"no traffic", watch(time.Minute, 5), 0, "no requests could be counted", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, seen := Foresee(tt.plan, tt.rate, 0, judge.Defaults())
			assert.Contains(t, text, tt.want)
			assert.Equal(t, tt.seen, seen)
			short := slices.ContainsFunc(tt.plan.Steps, func(s Step) bool { return s.Kind == Watch && s.Weight == 100 && s.Duration < judge.LongestWait })
			assert.Equal(t, short, strings.Contains(text, "metrics.k8s.io"))
		})
	}
}
