package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const silentPoll = 500 * time.Millisecond

// Silent returns when no replica of the gateway has counted a request for the side for the quiet time; production's count
// also where they come by another route than ours. Every replica
// must have been readable throughout; a request, a replica that cannot be read and a new replica start the time anew.
// Requests count when they end, so quiet must be longer than the longest one. When ctx ends, the error names the
// replicas that still count (or cannot be read) and how many requests.
func (h *HTTPRoute) Silent(ctx context.Context, side plan.Side, quiet time.Duration) error {
	if h.gone(ctx) {
		return h.wait(ctx, goneWait+quiet, false)
	}
	if h.blind(ctx) {
		return h.wait(ctx, h.o.Confirm.Wait+quiet, false)
	}
	s := &silence{side: side, tracker: newTracker(), past: map[types.UID]float64{}, counted: map[string]float64{}}
	tick := time.NewTicker(silentPoll)
	defer tick.Stop()
	for {
		asked := time.Now()
		readings, err := h.pods.readAll(ctx)
		if ctx.Err() != nil {
			return s.broken(h, context.Cause(ctx))
		}
		s.look(readings, err)
		if asked.Sub(s.since) >= quiet && s.err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return s.broken(h, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

type silence struct {
	side    plan.Side
	tracker *tracker
	past    map[types.UID]float64 // of the last reading
	since   time.Time
	counted map[string]float64 // by replica, since the call
	err     error
}

func (s *silence) look(readings map[replica]reading, err error) {
	s.err = err
	loud := err != nil || s.since.IsZero()
	for p, now := range readings {
		counted, fresh := s.tracker.since(p.uid, now)
		loud = loud || fresh
		for _, c := range counted {
			if c.side == s.side && !c.bucket {
				loud = true
				s.counted[p.String()] += c.value
			}
		}
		if more := now.past - s.past[p.uid]; s.side == plan.Production && !fresh && more > 0 {
			loud = true
			s.counted[p.String()+", by another route,"] += more
		}
		s.past[p.uid] = now.past
	}
	if loud {
		s.since = time.Now()
	}
}

func (s *silence) broken(h *HTTPRoute, cause error) error {
	var who []string
	for pod, n := range s.counted {
		who = append(who, fmt.Sprintf("%s counted %.0f requests", pod, n))
	}
	slices.Sort(who)
	if s.err != nil {
		who = append(who, cut(s.err.Error()))
	}
	if len(who) == 0 {
		who = []string{"no request was counted, but not for long enough"}
	}
	return plan.Failf(plan.FaultInfrastructure, h.where(), "%s is not seen silent behind %s: %s: %w", s.side, h.where(), strings.Join(who, "; "), cause)
}
