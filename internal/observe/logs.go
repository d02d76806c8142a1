package observe

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// maxStreams is how many logs are followed at once, of both sides.
const maxStreams = 20

// stream is the log of one container.
type stream struct {
	side           plan.Side
	uid, pod, name string
}

// followLogs follows the logs that matter now, and others when the pods or the side on trial change.
func (w *Watch) followLogs(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	stops := map[stream]context.CancelFunc{}
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	for {
		wanted := w.wanted(stops)
		for key, stop := range stops {
			if !slices.Contains(wanted, key) {
				stop()
				delete(stops, key)
			}
		}
		for _, key := range wanted {
			if stops[key] != nil {
				continue
			}
			one, stop := context.WithCancel(ctx)
			stops[key] = stop
			running.Go(func() { w.newTail(key).follow(one) })
		}
		select {
		case <-ctx.Done():
			return
		case <-w.pods:
		}
	}
}

// wanted chooses the logs to follow; those already followed come first, so that a new pod does not move them.
func (w *Watch) wanted(followed map[stream]context.CancelFunc) []stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	trial, ref := w.of(w.window.onTrial), w.of(w.window.onTrial.Other())
	return choose(trial.streams(followed), ref.streams(followed), maxStreams)
}

// choose takes all logs of both sides: the more of the reference is heard, the less passes for new. Above the limit each
// side is left at least half of it.
func choose(trial, ref [][]stream, limit int) []stream {
	mine, theirs := slices.Concat(trial...), slices.Concat(ref...)
	if len(mine)+len(theirs) > limit {
		theirs = theirs[:min(len(theirs), max(limit/2, limit-len(mine)))]
		mine = mine[:min(len(mine), limit-len(theirs))]
	}
	return append(mine, theirs...)
}

// streams returns the logs of a side, one entry a pod, in a stable order: pods that are followed first, then by name. What a
// sidecar writes blames nobody, so it is not read.
func (s *side) streams(followed map[stream]context.CancelFunc) [][]stream {
	var old, fresh [][]stream
	byName := func(a, b string) int { return strings.Compare(s.pods[a].name+a, s.pods[b].name+b) }
	for _, uid := range slices.SortedFunc(maps.Keys(s.pods), byName) {
		p := s.pods[uid]
		var all []stream
		seen := false
		for _, container := range p.containers {
			key := stream{side: s.name, uid: uid, pod: p.name, name: container}
			all = append(all, key)
			seen = seen || followed[key] != nil
		}
		switch {
		case p.going || len(all) == 0:
		case seen:
			old = append(old, all)
		default:
			fresh = append(fresh, all)
		}
	}
	return append(old, fresh...)
}

// unread counts the containers whose log could be read now and was not at any time since Begin.
func (s *side) unread() int {
	n := 0
	for uid, p := range s.pods {
		for _, container := range p.containers {
			if !p.going && !s.read[stream{side: s.name, uid: uid, pod: p.name, name: container}] {
				n++
			}
		}
	}
	return n
}
