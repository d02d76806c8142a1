package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/golden"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

func wanted(steps ...int) config.Config {
	return config.Config{Image: "shop:v2", Steps: steps, StepDuration: time.Minute, ReturnSteps: []int{50, 0}, Drain: 10 * time.Second, Watchdog: config.GuardOff}
}

func guarded(steps ...int) config.Config {
	c := wanted(steps...)
	c.Watchdog = config.GuardRequired
	return c
}

func seen(replicas int32) Observed {
	return Observed{Production: Workload{Exists: true, Template: Baseline, Replicas: replicas, Ready: replicas}, MaxPods: replicas}
}

func TestBuildReadsLikeTheMethod(t *testing.T) {
	for name, p := range map[string]struct {
		c config.Config
		o Observed
	}{
		"plan-4-pods":    {guarded(5, 20, 50), seen(4)},
		"plan-20-pods":   {wanted(5, 20, 50), seen(20)},
		"plan-1-pod":     {wanted(5, 20, 50), seen(1)},
		"plan-fast-lane": {wanted(100), seen(3)},
	} {
		built, err := Build(p.c, p.o)
		require.NoError(t, err)
		golden.Equal(t, name+".txt", []byte(built.String()))
	}
}

// TestEveryPlanKeepsItsPromises enumerates sizes and steps: gray is sized before its weight rises, verified after every
// growth, watched at every weight, and production is rolled only at 100 after its silence.
func TestEveryPlanKeepsItsPromises(t *testing.T) {
	for replicas := int32(1); replicas <= 30; replicas++ {
		for _, steps := range [][]int{{5, 20, 50}, {1}, {100}, {50, 100}, {99}, {10, 25, 50, 75, 90}} {
			for grayReplicas := range int32(4) {
				c := wanted(steps...)
				c.GrayReplicas = grayReplicas
				for _, c.Watchdog = range []config.Guard{config.GuardOff, config.GuardAuto, config.GuardRequired} {
					p, err := Build(c, seen(replicas))
					require.NoError(t, err)
					assertPromises(t, p, replicas, c.Watchdog != config.GuardOff)
				}
			}
		}
	}
}

func assertPromises(t *testing.T, p Plan, production int32, watchdog bool) {
	t.Helper()
	var size int32
	weight, verified, silent, promoted, guarded := 0, false, false, false, !watchdog
	for i, s := range p.Steps {
		switch s.Kind {
		case StartGray, GrowGray:
			assert.GreaterOrEqual(t, s.Replicas, size)
			size, verified = s.Replicas, false
		case VerifyGray:
			verified = true
		case Guard:
			guarded = true
		case ShiftTraffic:
			assert.True(t, guarded, "weight %d before the watchdog stands by", s.Weight)
			if s.Weight > weight && !promoted {
				assert.True(t, verified, "weight %d before verification", s.Weight)
				perGray, perProduction := float64(s.Weight)/float64(size), 100/float64(production)
				assert.LessOrEqual(t, perGray, perProduction+1e-9, "at weight %d %d gray pods carry more than production's %d did", s.Weight, size, production)
				assert.Equal(t, Watch, p.Steps[i+1].Kind)
			}
			weight = s.Weight
		case Silence:
			silent = silent || s.Side == Production
		case Roll:
			assert.Equal(t, 100, weight)
			assert.True(t, silent)
			assert.GreaterOrEqual(t, size, production)
		case Promote:
			assert.Equal(t, VerifyProduction, p.Steps[i-1].Kind)
			promoted = true
		case RemoveGray:
			assert.Equal(t, 0, weight)
			assert.True(t, promoted)
		case Identify, VerifyRoute, PinScaling, Watch, VerifyProduction, UndoRoll, Await:
		}
	}
	assert.Equal(t, RemoveGray, p.Steps[len(p.Steps)-1].Kind)
}

func TestBuildRefusesNothingToUpgrade(t *testing.T) {
	_, err := Build(wanted(5), seen(0))
	var f *Failure
	require.ErrorAs(t, err, &f)
	assert.Equal(t, FaultInput, f.Fault)
}

func TestGrayForFollowsTheLoad(t *testing.T) {
	o := seen(4)
	o.MaxPods = 6
	for _, tt := range []struct {
		name       string
		planned    int32
		rate, base float64
		want       int32
	}{
		{"as at the start", 3, 200, 200, 3},
		{"less load", 3, 100, 200, 3},
		{"twice the load", 2, 400, 200, 4},
		{"a tenth more is noise", 3, 220, 200, 3},
		{"over a tenth more rounds up", 3, 221, 200, 4},
		{"never above the HPA's bound", 4, 900, 200, 6},
		{"not measured", 3, 0, 0, 3},
	} {
		assert.Equal(t, tt.want, GrayFor(tt.planned, o, tt.rate, tt.base), tt.name)
	}
}

func TestBalance(t *testing.T) {
	sample := func(gray, production float64) judge.Sample {
		return judge.Sample{OnTrial: judge.Numbers{Traffic: judge.Traffic{Requests: gray}}, Reference: judge.Numbers{Traffic: judge.Traffic{Requests: production}}}
	}
	for _, tt := range []struct {
		name             string
		gray, production float64
		want             judge.Verdict
	}{
		{"equal by pod", 500, 1500, judge.Pass},
		{"15 % apart", 425, 1500, judge.Pass},
		{"a little more than 15 % apart", 420, 1500, judge.Fail},
		{"999 requests are too few", 249, 750, judge.Inconclusive},
		{"1,000 are enough", 250, 750, judge.Pass},
		{"gray gets nothing", 0, 2000, judge.Fail},
	} {
		assert.Equal(t, tt.want, Balance(sample(tt.gray, tt.production), 1, 3).Verdict, tt.name)
	}
}

func TestNamesStayBelowTheLimit(t *testing.T) {
	assert.Equal(t, "web-gray", GrayName("web"))
	assert.Equal(t, "web-watchdog", WatchdogName("web"))
	assert.Len(t, WatchdogName(strings.Repeat("a", 60)), 63)
	a, b := GrayName(strings.Repeat("a", 60)+"b"), GrayName(strings.Repeat("a", 60)+"c")
	assert.Len(t, a, 63)
	assert.NotEqual(t, a, b)
	assert.Equal(t, strings.Repeat("a", 58)+"-gray", GrayName(strings.Repeat("a", 58)))
	assert.NotContains(t, GrayName(strings.Repeat("a", 48)+"."+strings.Repeat("b", 20)), ".-", "no label of a name ends in a dot")
}
