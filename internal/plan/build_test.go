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

// TestBuildRefusesAPlanThatCannotEndInTime: weights and watches are added to the user's own, and only the plan knows of all.
func TestBuildRefusesAPlanThatCannotEndInTime(t *testing.T) {
	c := config.Config{Steps: []int{5, 20, 50}, StepDuration: time.Minute, ReturnSteps: []int{50, 0}, Drain: 10 * time.Second, Timeout: 7*time.Minute + 20*time.Second}
	o := Observed{Production: Workload{Replicas: 4}}
	_, err := Build(c, o)
	var f *Failure
	require.ErrorAs(t, err, &f)
	assert.Equal(t, FaultInput, f.Fault)
	assert.Equal(t, "timeout 7m20s: this plan takes at least 7m20s (7 watches of step-duration 1m0s, and two drains of 10s)", f.What)
	c.Timeout += time.Second
	p, err := Build(c, o)
	require.NoError(t, err)
	assert.Equal(t, 7*time.Minute+20*time.Second, p.Least())
}

// TestForetellTellsWhatIsOnRecord: of a tag no more than a warning, for it may mean another digest by now.
func TestForetellTellsWhatIsOnRecord(t *testing.T) {
	held := Hold{Digest: "sha256:bad", Template: "t", Image: "shop:v2"}
	r := Record{Identity: Identity{Run: "job 7"}, Holds: []Hold{held}}
	assert.Empty(t, Foretell(Observed{Held: "t"}, r, "shop:v3", false))
	assert.Empty(t, Foretell(Observed{Held: "other"}, r, "shop:v2", false))
	assert.Empty(t, Foretell(Observed{Held: "t"}, r, "shop:v2@sha256:bad", false), "Decide refuses that")
	told := Foretell(Observed{Held: "t"}, r, "shop:v2", false)
	require.Len(t, told, 1)
	assert.Contains(t, told[0], "shop:v2 is on hold since 0001-01-01T00:00:00Z where it stands for sha256:bad")
	r.Open = true
	assert.Equal(t, "an earlier run left work behind (job 7): a run closes it first", Foretell(Observed{}, r, "shop:v3", false)[0])
	assert.Empty(t, Foretell(Observed{Touched: true}, r, "shop:v3", true))
}

func TestGrayForFollowsTheLoad(t *testing.T) {
	o := seen(4)
	o.MaxPods = 6
	for _, tt := range []struct {
		name       string
		weight     int
		planned    int32
		rate, base float64
		want       int32
	}{
		{"as at the start", 75, 3, 200, 200, 3},
		{"less load", 75, 3, 100, 200, 3},
		{"twice the load", 50, 2, 400, 200, 4},
		{"a tenth more is noise", 75, 3, 220, 200, 3},
		{"over a tenth more rounds up", 75, 3, 221, 200, 4},
		{"not measured", 75, 3, 0, 0, 3},
		{"no first measurement", 75, 3, 500, 0, 3},
		{"up to the HPA's bound", 100, 4, 300, 200, 6},
		{"as much above it as production would be", 100, 4, 449, 200, 6},
		{"the user's many pods carry more", 50, 5, 500, 200, 5},
		{"the user's pods above the bound", 50, 8, 400, 200, 8},
	} {
		got, err := GrayFor(Step{Kind: GrowGray, Weight: tt.weight, Replicas: tt.planned}, o, tt.rate, tt.base)
		require.NoError(t, err, tt.name)
		assert.Equal(t, tt.want, got, tt.name)
	}
}

// TestGrayForEndsWhereGrayWouldBeTooSmall: the weight does not rise on a gray that its bound keeps small.
func TestGrayForEndsWhereGrayWouldBeTooSmall(t *testing.T) {
	o := seen(4)
	for _, tt := range []struct {
		name    string
		maxPods int32
		rate    float64
		needs   string
	}{
		{"no HPA, just above", 4, 301, "gray needs 7 pods for weight 100 (301 requests/s now, 200 at the start); the most there may be are 4"},
		{"no HPA, at it", 4, 300, ""},
		{"above the HPA's bound", 6, 452, "gray needs 10 pods for weight 100 (452 requests/s now, 200 at the start); the most there may be are 6"},
		{"at the HPA's bound", 6, 450, ""},
	} {
		o.MaxPods = tt.maxPods
		got, err := GrayFor(Step{Kind: GrowGray, Weight: 100, Replicas: 4}, o, tt.rate, 200)
		if tt.needs == "" {
			require.NoError(t, err, tt.name)
			assert.Equal(t, tt.maxPods, got, tt.name)
			continue
		}
		var f *Failure
		require.ErrorAs(t, err, &f, tt.name)
		assert.Equal(t, FaultInfrastructure, f.Fault, tt.name)
		assert.Equal(t, tt.needs, f.What, tt.name)
		assert.Contains(t, f.Next, "maxReplicas")
	}
}

func TestPeakPodsCountsTheSurge(t *testing.T) {
	o := seen(20)
	o.Surge = 5 // 25 %
	assert.Equal(t, int32(45), PeakPods(wanted(5), o))
	c := wanted(5)
	c.GrayReplicas = 30
	assert.Equal(t, int32(55), PeakPods(c, o))
}

// TestTheBalanceIsCheckedAtTheBalanceWeight: at that weight, and at no other, a gray pod gets as much as a production pod.
func TestTheBalanceIsCheckedAtTheBalanceWeight(t *testing.T) {
	for _, tt := range []struct {
		steps    []int
		replicas int32
		gray     int32
		want     []int
	}{
		{[]int{5, 20, 50}, 4, 1, []int{20}},
		{[]int{5, 10}, 4, 1, []int{20}},
		{[]int{5, 20, 50}, 4, 4, []int{50}},
		{[]int{5}, 20, 0, []int{9}},
		{[]int{100}, 4, 1, nil},
	} {
		c := wanted(tt.steps...)
		c.GrayReplicas = tt.gray
		p, err := Build(c, seen(tt.replicas))
		require.NoError(t, err)
		var at []int
		for _, s := range p.Steps {
			if s.Balance {
				assert.Equal(t, Watch, s.Kind)
				at = append(at, s.Weight)
			}
		}
		assert.Equal(t, tt.want, at, "%v of %d pods", tt.steps, tt.replicas)
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
