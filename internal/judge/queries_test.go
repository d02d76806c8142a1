package judge

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// read makes readings of values.
func read(all ...float64) []Measured {
	var out []Measured
	for _, v := range all {
		out = append(out, Measured{Value: v})
	}
	return out
}

// of makes readings of so many requests each.
func of(requests float64, all ...float64) []Measured {
	out := read(all...)
	for i := range out {
		out[i].Of = requests
	}
	return out
}

func limit(x float64) *float64 { return &x }

// asked is a sample in which a query was answered.
func asked(v Series) Sample {
	v.Name = "depth"
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	return Sample{
		From: now, To: now.Add(time.Minute), Weight: 20,
		OnTrial: Numbers{Name: "gray", Pods: 1}, Reference: Numbers{Name: "production", Pods: 4}, Queries: []Series{v},
	}
}

func TestQueries(t *testing.T) {
	like := Query{Ratio: 1.5}
	for name, tc := range map[string]struct {
		series    Series
		end, look Verdict
		why       string
	}{
		"at the limit":                   {Series{Query: Query{Limit: limit(10)}, OnTrial: read(10, 10, 10)}, Pass, Pass, "the median of 3 readings of gray is 10 (at most 10)"},
		"above the limit":                {Series{Query: Query{Limit: limit(10), Unit: "ms"}, OnTrial: read(12, 9, 11)}, Fail, Pass, "is 11 ms (at most 10 ms)"},
		"twice above the limit":          {Series{Query: Query{Limit: limit(10)}, OnTrial: read(1, 1, 1, 1, 21, 22, 23)}, Pass, Fail, "is 1 (at most 10)"},
		"exactly twice the limit":        {Series{Query: Query{Limit: limit(10)}, OnTrial: read(20, 20, 20)}, Fail, Pass, ""},
		"one good reading of three":      {Series{Query: Query{Limit: limit(10)}, OnTrial: read(90, 9, 90)}, Fail, Pass, ""},
		"both break the limit":           {Series{Query: Query{Limit: limit(10)}, OnTrial: read(90, 90, 90), Reference: read(80, 80, 80)}, Inconclusive, Inconclusive, "both break it"},
		"a limit of 0":                   {Series{Query: Query{Limit: limit(0)}, OnTrial: read(1, 1, 1), Reference: read(0, 0, 0)}, Fail, Fail, ""},
		"a negative limit":               {Series{Query: Query{Limit: limit(-10)}, OnTrial: read(-5, -5, -5)}, Fail, Pass, ""},
		"higher, at the limit":           {Series{Query: Query{Limit: limit(10), Higher: true}, OnTrial: read(10, 10, 10)}, Pass, Pass, "at least 10"},
		"higher, below the limit":        {Series{Query: Query{Limit: limit(10), Higher: true}, OnTrial: read(9, 9, 9)}, Fail, Pass, ""},
		"higher, below half of it":       {Series{Query: Query{Limit: limit(10), Higher: true}, OnTrial: read(4, 4, 4)}, Fail, Fail, ""},
		"like production":                {Series{Query: like, OnTrial: read(14, 15, 16), Reference: read(9, 10, 11)}, Pass, Pass, "; production 10"},
		"worse than production":          {Series{Query: like, OnTrial: read(16, 16, 16), Reference: read(9, 10, 11)}, Fail, Pass, "at most 15"},
		"far worse than production":      {Series{Query: like, OnTrial: read(31, 31, 31), Reference: read(9, 10, 11)}, Fail, Fail, ""},
		"production now suffers as much": {Series{Query: like, OnTrial: read(10, 10, 10, 10, 31, 31, 31), Reference: read(10, 10, 10, 10, 31, 31, 31)}, Pass, Pass, ""},
		"higher, worse than production":  {Series{Query: Query{Ratio: 2, Higher: true}, OnTrial: read(4, 4, 4), Reference: read(10, 10, 10)}, Fail, Pass, "at least 5"},
		"higher, far worse":              {Series{Query: Query{Ratio: 2, Higher: true}, OnTrial: read(2, 2, 2), Reference: read(10, 10, 10)}, Fail, Fail, ""},
		"within the slack":               {Series{Query: Query{Ratio: 1.5, Slack: 20}, OnTrial: read(29, 29, 29), Reference: read(10, 10, 10)}, Pass, Pass, "at most 30"},
		"higher, within the slack":       {Series{Query: Query{Ratio: 1.5, Slack: 8, Higher: true}, OnTrial: read(2, 2, 2), Reference: read(10, 10, 10)}, Pass, Pass, "at least 2"},
		"when it last had users":         {Series{Query: like, OnTrial: read(16, 16, 16), Reference: read(10, 10, 10), ReferenceIsPast: true}, Fail, Pass, "production 10 when it last had users"},
		"like nothing":                   {Series{Query: like, OnTrial: read(1, 1, 1), Reference: read(0, 0, 0)}, Inconclusive, Inconclusive, "nothing is like 0"},
		"nothing like nothing":           {Series{Query: like, OnTrial: read(0, 0, 0), Reference: read(0, 0, 0)}, Pass, Pass, ""},
		"a ratio below 0":                {Series{Query: like, OnTrial: read(-1, -1, -1), Reference: read(1, 1, 1)}, Inconclusive, Inconclusive, "negative numbers"},
		"a ratio to what is below 0":     {Series{Query: like, OnTrial: read(1, 1, 1), Reference: read(-1, -1, -1)}, Inconclusive, Inconclusive, "negative numbers"},
		"too large":                      {Series{Query: like, OnTrial: read(1e308, 1e308, 1e308), Reference: read(1e308, 1e308, 1e308)}, Inconclusive, Inconclusive, "too large"},
		"two readings":                   {Series{Query: like, Asked: 4, OnTrial: read(1, 1), Reference: read(1, 1, 1)}, Inconclusive, Inconclusive, "gray has 2 readings in 4 answers, 3 are needed"},
		"nothing found":                  {Series{Query: like, Asked: 7, None: "found nothing"}, Inconclusive, Inconclusive, "no number for gray in 7 answers, the last one found nothing"},
		"nothing to compare with":        {Series{Query: like, OnTrial: read(1, 1, 1), Reference: read(1, 1)}, Inconclusive, Inconclusive, "production has 2 readings of the 3"},
		"a limit needs no reference":     {Series{Query: Query{Limit: limit(10)}, OnTrial: read(30, 30, 30), Reference: read(90)}, Fail, Fail, ""},
		"an error share":                 {Series{Query: Query{Ratio: 1, Slack: 1, Part: PartShare}, OnTrial: of(1000, 3.5, 3.5, 3.5), Reference: of(5000, 1, 1, 1)}, Fail, Pass, ""},
		"an error share, doubtful":       {Series{Query: Query{Ratio: 1, Slack: 1, Part: PartShare}, OnTrial: of(1000, 2.4, 2.4, 2.4), Reference: of(5000, 1, 1, 1)}, Inconclusive, Pass, "tell it from chance"},
		"an error share, by chance":      {Series{Query: Query{Ratio: 1, Slack: 1, Part: PartShare}, OnTrial: of(100, 2.4, 2.4, 2.4), Reference: of(5000, 1, 1, 1)}, Pass, Pass, "chance explains it"},
		"five errors where none were":    {Series{Query: Query{Ratio: 1, Slack: 1, Part: PartShare}, OnTrial: of(100, 5, 5, 5), Reference: of(5000, 0, 0, 0)}, Fail, Fail, ""},
		"four":                           {Series{Query: Query{Ratio: 1, Slack: 1, Part: PartShare}, OnTrial: of(100, 4, 4, 4), Reference: of(5000, 0, 0, 0)}, Inconclusive, Inconclusive, "tell it from chance"},
		"two":                            {Series{Query: Query{Ratio: 1, Slack: 1, Part: PartShare}, OnTrial: of(100, 2, 2, 2)}, Inconclusive, Inconclusive, "production has 0 readings"},
		"of nobody knows how many":       {Series{Query: Query{Ratio: 1, Slack: 1, Part: PartShare}, OnTrial: read(90, 90, 90), Reference: of(5000, 0, 0, 0)}, Pass, Pass, "chance explains it"},
		"error-percent 0":                {Series{Query: Query{Ratio: 1, Part: PartShare}, OnTrial: of(1000, 1, 1, 1), Reference: of(5000, 0, 0, 0)}, Fail, Fail, ""},
		"p99":                            {Series{Query: Query{Ratio: 2, Slack: 100, Part: PartTail}, OnTrial: of(1000, 900, 900, 900), Reference: of(5000, 100, 100, 100)}, Fail, Fail, ""},
		"p99 of few requests":            {Series{Query: Query{Ratio: 2, Slack: 100, Part: PartTail}, OnTrial: of(999, 900, 900, 900), Reference: of(5000, 100, 100, 100)}, Pass, Pass, "chance explains it"},
	} {
		t.Run(name, func(t *testing.T) {
			s := asked(tc.series)
			end, look := queries(s, endOfStep)[0], queries(s, manyLooks)[0]
			assert.Equal(t, tc.end, end.Verdict, end.Why)
			assert.Equal(t, tc.look, look.Verdict, look.Why)
			assert.Equal(t, "query depth", end.Name)
			assert.Contains(t, end.Why, tc.why)
			assert.Equal(t, tc.look == Fail, len(AtOnce(s, Limits{})) == 1, "at once only what is far off")
			assert.Contains(t, Judge(s, Limits{}), end)
			_, err := json.Marshal(s)
			require.NoError(t, err)
			_, err = json.Marshal([]Check{end, look})
			require.NoError(t, err)
		})
	}
}

func TestAQueryIsWaitedFor(t *testing.T) {
	s := asked(Series{Query: Query{Ratio: 1.5}, Asked: 2, None: "found nothing"})
	missing := Missing(queries(s, endOfStep), Limits{})
	require.Len(t, missing, 1)
	assert.Equal(t, "query depth", missing[0].Name)

	s = asked(Series{Query: Query{Ratio: 1.5}, OnTrial: read(1, 1, 1)})
	assert.Len(t, Missing(queries(s, endOfStep), Limits{}), 1, "production has users, and will have readings")
	s.Weight = 100
	assert.Empty(t, Missing(queries(s, endOfStep), Limits{}), "it gets none any more")
	assert.Equal(t, Inconclusive, queries(s, endOfStep)[0].Verdict, "which is no pass")
}

func TestAQueryBlamesNobodyForAPodThatWasTaken(t *testing.T) {
	s := asked(Series{Query: Query{Limit: limit(10)}, OnTrial: read(30, 30, 30)})
	s.OnTrial.Taken = []string{"cart-gray-1"}
	c := queries(s, endOfStep)[0]
	assert.Equal(t, Fail, c.Verdict)
	assert.True(t, c.Infrastructure)
}

func TestMiddle(t *testing.T) {
	assert.True(t, math.IsNaN(middle(nil)))
	assert.InDelta(t, 2, middle([]float64{3, 1, 2}), 0)
	assert.InDelta(t, 2.5, middle([]float64{4, 1, 2, 3}), 0)
	all := []float64{3, 1, 2}
	middle(all)
	assert.Equal(t, []float64{3, 1, 2}, all, "the readings keep their order")
}

// TestAPresetsErrorShareBlamesByChanceSeldom simulates steps of a minute, looked at every ten seconds, of error shares of the
// last minute: with an image that is no worse almost nobody is blamed, with one that is, everybody.
func TestAPresetsErrorShareBlamesByChanceSeldom(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	failed := func(share, normal, perSecond float64) (percent float64) {
		const runs, steps = 200, 5
		for range runs {
			if blames(random, steps, share, normal, perSecond) {
				percent += 100.0 / runs
			}
		}
		return percent
	}
	for _, perSecond := range []float64{0.5, 2, 10, 50} {
		for _, normal := range []float64{0.0005, 0.005, 0.05} {
			assert.LessOrEqual(t, failed(normal, normal, perSecond), 1.0, "%g requests a second, %g of them fail on both sides", perSecond, normal)
		}
		assert.Greater(t, failed(0.3, 0.001, perSecond), 99.0, "%g requests a second, three in ten fail", perSecond)
	}
	assert.Greater(t, failed(0.011, 0.001, 50), 99.0, "one in a hundred more fails")
}

// blames runs the steps of one upgrade, in which production gets four times the requests of gray.
func blames(random *rand.Rand, steps int, share, normal, perSecond float64) bool {
	const minute, more = 6, 4
	errors := func(mean float64) (n float64) { // of ten seconds: Poisson, by waiting times
		for left := mean - random.ExpFloat64(); left > 0; left -= random.ExpFloat64() {
			n++
		}
		return n
	}
	var gray, production []float64
	v := Series{Query: Query{Name: "errors", Ratio: 1, Slack: 0.5, Part: PartShare}}
	reading := func(all []float64, perSecond float64) Measured {
		sum := 0.0
		for _, n := range all[len(all)-minute:] {
			sum += n
		}
		return Measured{Value: 100 * sum / (60 * perSecond), Of: 60 * perSecond}
	}
	for i := range (1 + steps) * minute {
		gray, production = append(gray, errors(10*perSecond*share)), append(production, errors(10*more*perSecond*normal))
		if i < minute {
			continue
		}
		v.OnTrial, v.Reference = append(v.OnTrial, reading(gray, perSecond)), append(v.Reference, reading(production, more*perSecond))
		if len(AtOnce(asked(v), Limits{})) > 0 {
			return true
		}
		if (i+1)%minute == 0 {
			if queries(asked(v), endOfStep)[0].Verdict == Fail {
				return true
			}
			v.OnTrial, v.Reference = nil, nil
		}
	}
	return false
}
