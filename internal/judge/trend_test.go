package judge

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCourse keeps every request, in at most thirty points, however long the window.
func TestCourse(t *testing.T) {
	for _, blocks := range []int{1, 29, 30, 31, 60, 61, 1000} {
		var c Course
		for i := range blocks {
			b := Block{OnTrial: Counts{Requests: 10}, Reference: Counts{Requests: 40, Errors: 4}}
			if i >= blocks/2 {
				b.OnTrial.Errors = 5
			}
			c.Add(b)
		}
		all, parts := 0.0, len(c.points)
		for _, p := range c.points {
			all += p.OnTrial.Requests
		}
		assert.InDelta(t, 10*blocks, all, 0)
		assert.LessOrEqual(t, parts, maxPoints)
		assert.GreaterOrEqual(t, parts, min(blocks, maxPoints/2))
		checks := c.Explain([]Check{{Name: NameErrors}, {Name: NameReady}, {Name: NameLatency}})
		require.NotNil(t, checks[0].Trend)
		assert.Nil(t, checks[1].Trend)
		assert.InDelta(t, 50, checks[0].Trend.OnTrial[parts-1], 0)
		assert.InDelta(t, 10, checks[0].Trend.Reference[0], 1e-9)
		assert.InDelta(t, 0, checks[2].Trend.OnTrial[0], 0)
	}
	var empty Course
	assert.Nil(t, empty.Explain([]Check{{Name: NameErrors}})[0].Trend)
}
