package gateway

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func counted(router string, gray, production float64) []count {
	return []count{{side: plan.Gray, router: router, value: gray}, {side: plan.Production, router: router, value: production}}
}

func TestWindow(t *testing.T) {
	type part struct {
		router           string
		gray, production float64
	}
	for name, c := range map[string]struct {
		percent int
		before  []int // weights that stood since the last confirmed one
		parts   []part
		agrees  bool
	}{
		"0: 40 in a row":                          {0, []int{5}, []part{{"a", 0, 40}}, true},
		"0: 39 in a row":                          {0, []int{5}, []part{{"a", 0, 39}}, false},
		"0: a late gray one restarts":             {0, []int{5}, []part{{"a", 0, 39}, {"b", 1, 0}, {"a", 0, 39}}, false},
		"0: 40 after a late gray one":             {0, []int{5}, []part{{"a", 1, 39}, {"a", 0, 40}}, true},
		"0: 40 over two balancers are no proof":   {0, []int{5}, []part{{"a", 0, 20}, {"b", 0, 20}}, false},
		"0 after 1: 40 prove nothing":             {0, []int{1}, []part{{"a", 0, 199}}, false},
		"0 after 1":                               {0, []int{1}, []part{{"a", 0, 200}}, true},
		"0 after nobody knows what":               {0, nil, []part{{"a", 0, 100}}, true},
		"0 after 50 and 2":                        {0, []int{50, 2}, []part{{"a", 0, 99}}, false},
		"100: 40 in a row":                        {100, []int{50}, []part{{"a", 40, 0}}, true},
		"100: one of production":                  {100, []int{50}, []part{{"a", 400, 1}}, false},
		"5 after 0: too few":                      {5, []int{0}, []part{{"a", 9, 190}}, false},
		"5 after 0":                               {5, []int{0}, []part{{"a", 10, 190}}, true},
		"5 after 0: still 0":                      {5, []int{0}, []part{{"a", 0, 400}}, false},
		"20 after 5: still 5":                     {20, []int{5}, []part{{"a", 20, 380}}, false},
		"20 after 5":                              {20, []int{5}, []part{{"a", 40, 160}}, true},
		"20 after 5: the newest count":            {20, []int{5}, []part{{"a", 20, 380}, {"a", 40, 160}}, true},
		"55 after 50: nearer to the new one":      {55, []int{50}, []part{{"a", 220, 180}}, true},
		"55 after 50: nearer to the old one":      {55, []int{50}, []part{{"a", 205, 195}}, false},
		"50 again: the tolerance of 3 deviations": {50, []int{50}, []part{{"a", 13, 27}}, true},
		"50 again: out of it":                     {50, []int{50}, []part{{"a", 10, 30}}, false},
		"1 of its own: 1000 requests":             {1, nil, []part{{"a", 9, 990}}, false},
		"99: 1000 requests":                       {99, nil, []part{{"a", 990, 10}}, true},
	} {
		var l lastWeight
		for _, w := range c.before {
			l.note(w)
		}
		w := newWindow(c.percent, &l)
		agreed := false
		for _, p := range c.parts {
			w.add(counted(p.router, p.gray, p.production))
			_, agreed = w.agrees()
			agreed = agreed || w.turned
		}
		assert.Equal(t, c.agrees, agreed, "%s (%+v)", name, w)
	}
}

// A share that is reported was served after the turn.
func TestWindowLeavesTheTurnOut(t *testing.T) {
	var l lastWeight
	l.note(5)
	w := newWindow(50, &l)
	w.add(counted("a", 1, 19))
	w.add(counted("a", 10, 10))
	_, agreed := w.agrees()
	assert.False(t, agreed, "the window that shows the turn is a mixture")
	w.add(counted("a", 20, 20))
	p, agreed := w.agrees()
	assert.True(t, agreed)
	assert.Equal(t, portion{gray: 20, production: 20}, p)
}
