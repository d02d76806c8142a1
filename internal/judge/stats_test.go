package judge

import (
	"math"
	"math/bits"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// larger counts pairs, the way Mann and Whitney define U: a pair of equals is half of one.
func pairsLarger(a, b []float64) float64 {
	u := 0.0
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				u++
			case x == y:
				u += 0.5
			}
		}
	}
	return u
}

// everyShare shares the values out in every way and counts those whose U is at least that of a.
func everyShare(a, b []float64) float64 {
	all, least := slices.Concat(a, b), pairsLarger(a, b)
	as, total := 0.0, 0.0
	for set := range uint(1) << len(all) {
		if bits.OnesCount(set) != len(a) {
			continue
		}
		var x, y []float64
		for i, v := range all {
			if set>>i&1 == 1 {
				x = append(x, v)
			} else {
				y = append(y, v)
			}
		}
		total++
		if pairsLarger(x, y) >= least {
			as++
		}
	}
	return as / total
}

func TestMannWhitneyCountsEveryShare(t *testing.T) {
	for name, tt := range map[string]struct {
		a, b []float64
		want float64 // worked by hand; 0: only counted
	}{
		"all above":           {[]float64{4, 5, 6}, []float64{1, 2, 3}, 1. / 20},
		"all below":           {[]float64{1, 2, 3}, []float64{4, 5, 6}, 1},
		"one swap":            {[]float64{3, 5, 6}, []float64{1, 2, 4}, 2. / 20},
		"one against a ninth": {[]float64{10}, []float64{1, 2, 3, 4, 5, 6, 7, 8, 9}, 1. / 10},
		"five of nine":        {[]float64{5, 6, 7, 8, 9}, []float64{1, 2, 3, 4}, 1. / 126},
		"all alike":           {[]float64{1, 1}, []float64{1, 1, 1}, 1},
		"ties across":         {[]float64{2, 2}, []float64{1, 2}, 1. / 2},
		"ties within":         {[]float64{7, 7, 7, 5}, []float64{1, 1, 5, 2, 2}, 0},
		"many ties":           {[]float64{1, 2, 2, 3, 3, 3}, []float64{1, 1, 1, 2, 2, 3}, 0},
		"mixed":               {[]float64{1.1, 3.2, 0.3, 9, 4.4, 7}, []float64{2.5, 3.3, 0.1, 8, 4.5, 6, 0.2}, 0},
	} {
		got := mannWhitney(tt.a, tt.b)
		assert.InDelta(t, everyShare(tt.a, tt.b), got, 1e-12, name)
		if tt.want > 0 {
			assert.InDelta(t, tt.want, got, 1e-12, name)
		}
	}
}

// TestMannWhitneyOfMany holds the normal distribution against the exact one where they meet.
func TestMannWhitneyOfMany(t *testing.T) {
	for _, tied := range []float64{1, 4} {
		var all []float64
		for i := range exactUpTo {
			all = append(all, math.Floor(float64(i)/tied))
		}
		for u := 0; u <= 400; u += 10 {
			least := 2*u + 20*21
			exact := ranksAtLeast(all, 20, least)
			assert.InDelta(t, exact, ranksNormal(all, 20, least), 0.02, "U at least %d, ties of %v", u, tied)
			if exact < 0.05 { // where it is decided
				assert.InDelta(t, exact, ranksNormal(all, 20, least), 0.002, "U at least %d, ties of %v", u, tied)
			}
		}
	}
	// By hand: m = 21, n = 21, all above: U = 441, mean 220.5, variance 441*43/12 = 1580.25; z = 220/39.7524 = 5.5343.
	a, b := make([]float64, 21), make([]float64, 21)
	for i := range a {
		a[i], b[i] = float64(100+i), float64(i)
	}
	assert.InDelta(t, 1.56e-8, mannWhitney(a, b), 0.02e-8)
	// All alike but for two groups: ties of 21 take (21³-21)*2 / (42*41) = 10.756 off the 43.
	for i := range a {
		a[i], b[i] = 1, 0
	}
	z := 220 / math.Sqrt(441./12*(43-18480./1722))
	assert.InDelta(t, math.Erfc(z/math.Sqrt2)/2, mannWhitney(a, b), 1e-15)
	assert.Equal(t, 1.0, mannWhitney(b, slices.Repeat([]float64{0}, 30)), "all alike")
}

func TestMannWhitneyOfNothing(t *testing.T) {
	one := []float64{1, 2, 3}
	for name, v := range map[string][]float64{"empty": nil, "NaN": {1, math.NaN()}, "Inf": {math.Inf(1)}, "-Inf": {math.Inf(-1)}} {
		assert.Equal(t, 1.0, mannWhitney(v, one), name)
		assert.Equal(t, 1.0, mannWhitney(one, v), name)
	}
}

func series(values ...float64) []point {
	var all []point
	for i, v := range values {
		all = append(all, point{at: 10 * float64(i), value: v})
	}
	return all
}

// orders returns, for each number of pairs in falling order, the share of all orders of n values that has it.
func orders(n int) []float64 {
	count, total := make([]float64, n*(n-1)/2+1), 0.0
	var place func(rest, order []int)
	place = func(rest, order []int) {
		if len(rest) == 0 {
			falling := 0
			for i := range order {
				for _, earlier := range order[:i] {
					if earlier > order[i] {
						falling++
					}
				}
			}
			count[falling]++
			total++
		}
		for i, v := range rest {
			place(slices.Delete(slices.Clone(rest), i, i+1), append(order, v))
		}
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	place(all, nil)
	for i := range count {
		count[i] /= total
	}
	return count
}

func TestTrendIsAsRareAsEveryOrderSays(t *testing.T) {
	for n := 1; n <= 7; n++ {
		exact := orders(n)
		cumulated := 0.0
		for falling, p := range exact {
			cumulated += p
			assert.Equal(t, falling, mostAgainst(map[int]int{0: n}, cumulated+1e-12), "%d points, %d falling", n, falling)
			assert.Equal(t, falling-1, mostAgainst(map[int]int{0: n}, cumulated-1e-12), "%d points, %d falling", n, falling)
		}
	}
	// Two groups: none of the pairs of either falls in one of 4! * 3! orders.
	assert.Equal(t, 0, mostAgainst(map[int]int{0: 4, 1: 3}, 1./144+1e-12))
	assert.Equal(t, -1, mostAgainst(map[int]int{0: 4, 1: 3}, 1./144-1e-12))
	assert.Equal(t, -1, mostAgainst(nil, 0.01))
}

func TestTheilSen(t *testing.T) {
	const alpha = 0.01
	tests := []struct {
		name           string
		points         []point
		slope, atLeast float64
		ok             bool
	}{
		{"a line", series(1, 2, 3, 4, 5), 0.1, 0.1, true},
		{"a falling line", series(5, 4, 3, 2, 1), -0.1, -0.1, true},
		{"flat", series(3, 3, 3, 3, 3), 0, 0, true},
		// Slopes by 10 s: 1 3 6 10 / 2 5 9 over 1..4 steps; sorted: 1, 1.5, 2, 2, 2.5, 2.5, 3, 3, 3.5, 4.
		{"a parabola", series(0, 1, 3, 6, 10), 0.25, 0.1, true},
		{"one wild value of seven", series(1, 2, 3, 400, 5, 6, 7), 0.1, -13.1, true},
		{"four points tell nothing", series(1, 2, 3, 4), 0, 0, false},
		{"none", nil, 0, 0, false},
		{"NaN", series(1, 2, math.NaN(), 4, 5), 0, 0, false},
		{"Inf", series(1, 2, math.Inf(1), 4, 5), 0, 0, false},
		{"times that repeat", append(series(1, 2, 3, 4, 5), point{at: 40, value: 6}), 0, 0, false},
		// Ten times the level from one group to the next is no trend; within both it rises.
		{"groups", append(series(1, 2, 3, 4), point{40, 101, 1}, point{50, 102, 1}, point{60, 103, 1}, point{70, 104, 1}), 0.1, 0.1, true},
		{"a level that lifts once", append(series(1, 1, 1, 1), point{40, 9, 1}, point{50, 9, 1}, point{60, 9, 1}, point{70, 9, 1}), 0, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			slope, atLeast, ok := theilSen(tt.points, alpha)
			require.Equal(t, tt.ok, ok)
			assert.InDelta(t, tt.slope, slope, 1e-12)
			assert.InDelta(t, tt.atLeast, atLeast, 1e-12)
		})
	}
}

// TestNoiseIsNotGrowth goes through every order of seven values: the bound is above 0 in one of a hundred at most.
func TestNoiseIsNotGrowth(t *testing.T) {
	growing, total := 0.0, 0.0
	var place func(rest, order []float64)
	place = func(rest, order []float64) {
		if len(rest) == 0 {
			_, atLeast, ok := theilSen(series(order...), 0.01)
			require.True(t, ok)
			total++
			if atLeast > 0 {
				growing++
			}
		}
		for i, v := range rest {
			place(slices.Delete(slices.Clone(rest), i, i+1), append(order, v))
		}
	}
	place([]float64{1, 2, 4, 8, 16, 32, 64}, nil)
	assert.LessOrEqual(t, growing/total, 0.01)
	assert.Greater(t, growing/total, 0.004, "and not never")
}
