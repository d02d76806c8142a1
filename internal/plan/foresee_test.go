package plan

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// watching is a plan that watches gray at these weights for so long each.
func watching(d time.Duration, weights ...int) Plan {
	var p Plan
	for _, w := range weights {
		p.Steps = append(p.Steps, Step{Kind: ShiftTraffic, Weight: w}, Step{Kind: Watch, Side: Gray, Weight: w, Duration: d})
	}
	p.Steps = append(p.Steps, Step{Kind: Watch, Side: Production, Weight: 50, Duration: time.Hour})
	return p
}

func TestForesee(t *testing.T) {
	tests := []struct {
		name string
		plan Plan
		rate float64
		want string
		seen bool
	}{
		{"enough in one step", watching(time.Minute, 5, 20, 100), 200, "at 200 requests/s, as measured now, an image that fails 1 % more of its requests than production " +
			"is told from chance in about 42s at weight 5, 15s at weight 20, in half of the runs sooner; evidence adds up from step to step, so it is found by the end of the watch at weight 20 in most runs", true},
		{"enough in two steps", watching(time.Minute, 5, 20), 100, "1m20s at weight 5, 30s at weight 20, in half of the runs sooner; evidence adds up from step to step, so it is found by the end of the watch at weight 20 in most runs", true},
		{"too little traffic", watching(time.Minute, 5), 20, "7m0s at weight 5, in half of the runs sooner; the steps of this plan bring 7 % of the time that it takes to be sure: it may be promoted. Make step-duration longer", false},
		{"hardly any", watching(time.Minute, 5), 0.02, "at 0.02 requests/s", false},
		{"all at once", watching(time.Minute, 100), 200, "no step has users on both sides", true},
		{"a short last weight", watching(time.Minute, 5, 100), 500, "; with metrics.k8s.io weight 100 is watched for up to 2m0s, until there are the readings that tell a leak", true},
		{"steps too short for memory and CPU", watching(15*time.Second, 5, 100), 500, "; a leak, or more CPU by request, is hardly seen in steps of 15s: metrics.k8s.io tells of it once in 15 s. From a step-duration of 30s on, weight 100 waits for that", false},
		{"a long last weight", watching(2*time.Minute, 5, 100), 200, "requests/s", true},
		{"no traffic", watching(time.Minute, 5), 0, "no requests could be counted", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, seen := Foresee(tt.plan, tt.rate, judge.Traffic{}, judge.Defaults())
			assert.Contains(t, text, tt.want)
			assert.Equal(t, tt.seen, seen)
			short := slices.ContainsFunc(tt.plan.Steps, func(s Step) bool { return s.Kind == Watch && s.Weight == 100 && s.Duration < judge.LongestWait })
			assert.Equal(t, short, strings.Contains(text, "metrics.k8s.io"))
		})
	}
}

// TestForeseeSaysWhereALimitCannotBeSeen, with the buckets that Traefik has by default.
func TestForeseeSaysWhereALimitCannotBeSeen(t *testing.T) {
	now := judge.Traffic{Requests: 100, Latency: []judge.Bucket{{Le: 0.1, Count: 90}, {Le: 0.3, Count: 99}, {Le: 1.2, Count: 100}, {Le: 5, Count: 100}, {Le: math.Inf(1), Count: 100}}}
	for limit, want := range map[time.Duration]string{
		0:                       "",
		800 * time.Millisecond:  "; p99-ms 800 lies inside a bucket of the gateway's histogram, 300 to 1200 ms, so a faster service may seem slower than that",
		50 * time.Millisecond:   "p99-ms 50 lies inside a bucket of the gateway's histogram, 0 to 100 ms",
		300 * time.Millisecond:  "",
		310 * time.Millisecond:  "",
		1200 * time.Millisecond: "",
		7 * time.Second:         "",
	} {
		l := judge.Defaults()
		l.P99 = limit
		text, _ := Foresee(watching(time.Minute, 5, 20), 200, now, l)
		assert.Equal(t, want != "", strings.Contains(text, "p99-ms"), "%s: %s", limit, text)
		assert.Contains(t, text, want)
	}
}
