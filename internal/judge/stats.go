package judge

import (
	"math"
	"slices"
)

// exactUpTo is up to how many values together the rank test counts all ways to share them out; from there on the normal
// distribution is as good.
const exactUpTo = 40

// mannWhitney returns the one-sided p-value of a being larger than b: how often chance alone would give a ranks as high as
// these, were all values drawn from one distribution. Values must be independent for it to be that; equal ones share their
// mean rank. Up to `exactUpTo` values it is exact, ties and all (every way to share the ranks out is counted, by the shift
// algorithm of Streitberg & Röhmel 1986); above, it is normal, with the variance corrected for ties and with a correction
// for continuity. Nothing to compare, or a value that is no finite number, is no evidence: 1.
//
// Source: Mann & Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the Other",
// Annals of Mathematical Statistics 18 (1947); the ranks are Wilcoxon's (1945).
func mannWhitney(a, b []float64) float64 {
	if len(a) == 0 || len(b) == 0 || !finite(a...) || !finite(b...) {
		return 1
	}
	all := slices.Sorted(slices.Values(slices.Concat(a, b)))
	sum := 0
	for _, v := range a {
		sum += rank2(all, v)
	}
	if len(all) <= exactUpTo {
		return ranksAtLeast(all, len(a), sum)
	}
	return ranksNormal(all, len(a), sum)
}

// rank2 is twice the mean rank of a value among all: twice, so that it is whole.
func rank2(all []float64, v float64) int {
	first, _ := slices.BinarySearch(all, v)
	after, _ := slices.BinarySearchFunc(all, v, func(x, v float64) int {
		if x <= v {
			return -1
		}
		return 1
	})
	return first + 1 + after
}

// ranksAtLeast is the share of all ways to choose m of the values whose doubled ranks add up to least or more.
func ranksAtLeast(all []float64, m, least int) float64 {
	n := len(all)
	ways := make([][]float64, m+1) // by how many are chosen, by their sum
	for k := range ways {
		ways[k] = make([]float64, n*(n+1)+1)
	}
	ways[0][0] = 1
	for _, v := range all {
		r := rank2(all, v)
		for k := m; k > 0; k-- {
			for s := r; s < len(ways[k]); s++ {
				ways[k][s] += ways[k-1][s-r]
			}
		}
	}
	return sum(ways[m][least:]) / sum(ways[m])
}

// ranksNormal is that share by the normal distribution.
func ranksNormal(all []float64, chosen, least int) float64 {
	m, total := float64(chosen), float64(len(all))
	u := float64(least)/2 - m*(m+1)/2
	middle := m * (total - m) / 2
	variance := middle / 6 * (total + 1 - ties(all)/(total*(total-1)))
	if variance <= 0 {
		return 1
	}
	return math.Erfc((u-middle-0.5)/math.Sqrt(2*variance)) / 2
}

// ties is the sum of t³-t over groups of t equal values.
func ties(all []float64) float64 {
	sum := 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j] == all[i] {
			j++
		}
		t := float64(j - i)
		sum += t*t*t - t
		i = j
	}
	return sum
}

// choose is the number of ways to choose k of n.
func choose(n, k int) float64 {
	ways := 1.0
	for i := range k {
		ways = ways * float64(n-i) / float64(i+1)
	}
	return ways
}

// point is a value at a time, in seconds. Only points of one group are compared with each other: what lifts all of a group
// is no trend.
type point struct {
	at, value float64
	group     int
}

// theilSen returns the median slope of a line through any two points of a group, by second, and the slope that the true
// one is above with a confidence of 1-alpha (one-sided). It asks for no distribution, and a stray value hardly moves it.
// The bound is the slope below which the points would be in order as chance puts them there with a probability of alpha at
// most; that probability is exact without ties, and with ties (which narrow it) on the safe side. ok is false where so few
// points could not tell any trend, or where they are no numbers in the order of time.
//
// Sources: Theil, "A rank-invariant method of linear and polynomial regression analysis" (1950); Sen, "Estimates of the
// regression coefficient based on Kendall's tau", Journal of the American Statistical Association 63 (1968), which has the
// bound; Kendall, "A new measure of rank correlation" (1938), which has the probabilities; Hirsch, Slack & Smith,
// "Techniques of trend analysis for monthly water quality data" (1982), for groups.
func theilSen(points []point, alpha float64) (slope, atLeast float64, ok bool) {
	sizes := map[int]int{}
	for _, p := range points {
		sizes[p.group]++
	}
	slopes, ok := slopesOf(points)
	against := mostAgainst(sizes, alpha)
	if !ok || against < 0 {
		return 0, 0, false
	}
	return median(slopes), slopes[against], true
}

// slopesOf are those between any two points of a group, in order; ok is false for points that are no numbers in the order of
// time.
func slopesOf(points []point) (slopes []float64, ok bool) {
	for i, p := range points {
		for _, q := range points[:i] {
			if q.group != p.group {
				continue
			}
			s := (p.value - q.value) / (p.at - q.at)
			if p.at <= q.at || !finite(s) {
				return nil, false
			}
			slopes = append(slopes, s)
		}
	}
	slices.Sort(slopes)
	return slopes, true
}

// mostAgainst is how many pairs may be in falling order, at most, for chance to put so few there with a probability of alpha
// at most; -1 where not even none is that rare.
func mostAgainst(sizes map[int]int, alpha float64) int {
	probability := []float64{1} // by the number of pairs in falling order
	for _, n := range sizes {
		for i := 2; i <= n; i++ {
			probability = oneMore(probability, i)
		}
	}
	most, sum := -1, 0.0
	for k, p := range probability {
		if sum += p; sum > alpha {
			break
		}
		most = k
	}
	return most
}

// oneMore adds the i-th point of a group: it stands, as likely as not, above any number of those before it.
func oneMore(probability []float64, i int) []float64 {
	next := make([]float64, len(probability)+i-1)
	for k, p := range probability {
		for j := range i {
			next[k+j] += p / float64(i)
		}
	}
	return next
}

// median of values in order; NaN for none.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// middle is the median of values in any order.
func middle(all []float64) float64 { return median(slices.Sorted(slices.Values(all))) }

func sum(all []float64) float64 {
	s := 0.0
	for _, v := range all {
		s += v
	}
	return s
}

func finite(all ...float64) bool {
	for _, v := range all {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}
