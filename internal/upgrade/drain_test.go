package upgrade

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

func TestLongestOf(t *testing.T) {
	h := func(counts ...float64) []judge.Bucket {
		bounds := []float64{0.1, 1.2, 5, math.Inf(1)}
		all := make([]judge.Bucket, len(counts))
		for i, c := range counts {
			all[i] = judge.Bucket{Le: bounds[i], Count: c}
		}
		return all
	}
	for _, tt := range []struct {
		name string
		h    []judge.Bucket
		want time.Duration
	}{
		{"nothing counted", nil, 0},
		{"no request", h(0, 0, 0, 0), 0},
		{"all fast", h(9, 9, 9, 9), 100 * time.Millisecond},
		{"one slow", h(9, 9, 10, 10), 5 * time.Second},
		{"one beyond the histogram", h(9, 9, 9, 10), 30 * time.Second},
	} {
		assert.Equal(t, tt.want, longestOf(tt.h), tt.name)
	}
}
