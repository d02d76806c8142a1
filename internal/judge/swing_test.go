package judge

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestSwing: what happens by itself varies as chance makes it; what comes together varies as many times more as come.
func TestSwing(t *testing.T) {
	of := func(change func(*traffic)) float64 {
		with := traffic{rate: 100, weight: 20, production: 0.01}
		change(&with)
		s, q := newSource(with, 1), NewSequence()
		for at := look; at <= 20*time.Minute; at += look {
			q.Add(s.block(at))
		}
		return q.Swing()
	}
	assert.InDelta(t, 1, of(func(*traffic) {}), 0.3)
	assert.InDelta(t, 5, of(func(t *traffic) { t.burst = 5 }), 1.5)
	assert.Equal(t, 1.0, of(func(t *traffic) { t.production = 0 }), "no error, nothing known")
	assert.Greater(t, of(func(t *traffic) {
		t.shape = func(at time.Duration) (float64, float64) { return 1, float64(int(at.Minutes()) % 5) }
	}), 5.0)
}
