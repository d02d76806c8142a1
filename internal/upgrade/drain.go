package upgrade

import (
	"math"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

const (
	// leastDrain is how long a side is silent at least before its pods are stopped, whatever the user set: a gateway counts a
	// request when it ends, so one that runs now is not seen yet.
	leastDrain = 10 * time.Second
	// beyond stands for requests that took longer than the gateway's histogram can tell.
	beyond = 30 * time.Second
)

// quiet is how long a side must have served nothing: the user's drain, at least 10 s, and at least the longest request
// that this run has seen.
func (r *run) quiet(planned time.Duration) time.Duration {
	r.measure()
	return max(leastDrain, r.Config.Drain, planned, r.longest)
}

// measure remembers the longest request of the current window.
func (r *run) measure() {
	s := r.Watcher.Sample()
	r.longest = max(r.longest, longestOf(s.OnTrial.Traffic.Latency), longestOf(s.Reference.Traffic.Latency))
}

// longestOf is the bound of the highest bucket that holds a request; 0 for an empty histogram.
func longestOf(h []judge.Bucket) time.Duration {
	var longest time.Duration
	below := 0.0
	for _, b := range h {
		if b.Count > below {
			longest = beyond
			if !math.IsInf(b.Le, 1) {
				longest = time.Duration(b.Le * float64(time.Second))
			}
		}
		below = b.Count
	}
	return longest
}
