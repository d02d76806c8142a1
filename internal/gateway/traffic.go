package gateway

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// tracker turns readings into what was counted since the one before. It hides counter resets: a counter that fell
// started again from 0.
type tracker struct {
	last map[types.UID]reading
}

func newTracker() *tracker { return &tracker{last: map[types.UID]reading{}} }

// since returns what the replica counted since its last reading. fresh: there is none to compare with (the replica is
// new to us), or its process started again since.
func (t *tracker) since(p types.UID, now reading) (counted []count, fresh bool) {
	before, known := t.last[p]
	t.last[p] = now
	if !known {
		return nil, true
	}
	fresh = now.began != before.began
	again := fresh && now.fellSince(before)
	for series, c := range now.counts {
		was := before.counts[series].value // 0: a series that was not there
		if again || c.value < was {
			was, fresh = 0, true
		}
		if c.value -= was; c.value > 0 {
			counted = append(counted, c)
		}
	}
	return counted, fresh
}

// fellSince says whether some series fell or vanished. Together with another begin of the process it means that all of them
// started again, also those that have since grown beyond what they were; the begin alone may only mean that the node's clock
// was set.
func (r reading) fellSince(before reading) bool {
	for series, was := range before.counts {
		if r.counts[series].value < was.value {
			return true
		}
	}
	return false
}

// traffic adds up both sides over all replicas and their restarts.
type traffic struct {
	mu      sync.Mutex
	tracker *tracker
	sides   map[plan.Side]*sideTotal
}

type sideTotal struct {
	requests, errors float64
	buckets          map[float64]float64
}

func newTraffic() *traffic {
	return &traffic{tracker: newTracker(), sides: map[plan.Side]*sideTotal{
		plan.Gray: {buckets: map[float64]float64{}}, plan.Production: {buckets: map[float64]float64{}},
	}}
}

// Traffic returns what the gateway counted for each side since the first call: sums over all replicas, never falling.
// A replica counts from when it was first seen. Requests count when they end, so an open stream is not in them. Where
// a replica cannot be read, the error names it, and the sums hold what the others counted.
func (h *HTTPRoute) Traffic(ctx context.Context) (gray, production judge.Traffic, err error) {
	readings, err := h.pods.readAll(ctx)
	gray, production = h.traffic.add(readings)
	return gray, production, err
}

func (t *traffic) add(readings map[replica]reading) (gray, production judge.Traffic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p, now := range readings {
		counted, _ := t.tracker.since(p.uid, now)
		for _, c := range counted {
			t.sides[c.side].add(c)
		}
	}
	return t.sides[plan.Gray].sum(), t.sides[plan.Production].sum()
}

func (s *sideTotal) add(c count) {
	switch {
	case c.bucket:
		s.buckets[c.le] += c.value
	case c.failed:
		s.errors += c.value
		s.requests += c.value
	default:
		s.requests += c.value
	}
}

func (s *sideTotal) sum() judge.Traffic {
	t := judge.Traffic{Requests: s.requests, Errors: s.errors}
	for le, n := range s.buckets {
		t.Latency = append(t.Latency, judge.Bucket{Le: le, Count: n})
	}
	slices.SortFunc(t.Latency, func(a, b judge.Bucket) int { return cmp.Compare(a.Le, b.Le) })
	return t
}
