package gateway

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// TestAProcessThatBeganAgainCountsFromZero, also what it has counted beyond what the one before had by then: it is read
// again only when it answers, and the series that fell and those that did not would else be of different times.
func TestAProcessThatBeganAgainCountsFromZero(t *testing.T) {
	read := func(began, good, bad float64) map[replica]reading {
		return map[replica]reading{{uid: "gw-1"}: {began: began, counts: map[string]count{
			"200": {side: plan.Gray, value: good}, "500": {side: plan.Gray, failed: true, value: bad},
		}}}
	}
	for name, tt := range map[string]struct {
		now              map[replica]reading
		requests, errors float64
	}{
		"it goes on":                  {read(1, 110, 51), 11, 1},
		"it began again":              {read(2, 60, 70), 130, 70},
		"its node's clock was set":    {read(2, 110, 51), 11, 1},
		"a series began again":        {read(1, 60, 51), 61, 1},
		"it began again with nothing": {read(2, 0, 0), 0, 0},
	} {
		total := newTraffic()
		total.add(read(1, 100, 50))
		gray, _ := total.add(tt.now)
		assert.InDelta(t, tt.requests, gray.Requests, 0, name)
		assert.InDelta(t, tt.errors, gray.Errors, 0, name)
	}
}
