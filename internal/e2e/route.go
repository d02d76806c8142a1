package e2e

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var httpRoutes = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}

// Weight is a weight of gray as it stood in the route from At on.
type Weight struct {
	At      time.Time
	Percent int
}

// RouteWatch follows the route's weight by a watch of its own: every change, not a sample.
type RouteWatch struct {
	mu      sync.Mutex
	weights []Weight
	stop    context.CancelFunc
	done    chan struct{}
}

// WatchRoute begins to follow the route web.
func (s *Shop) WatchRoute(ctx context.Context) (*RouteWatch, error) {
	ctx, stop := context.WithCancel(ctx)
	w, err := s.Dynamic.Resource(httpRoutes).Namespace(s.Namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=web"})
	if err != nil {
		stop()
		return nil, err
	}
	r := &RouteWatch{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for event := range w.ResultChan() {
			if u, ok := event.Object.(*unstructured.Unstructured); ok {
				r.add(weightOf(u))
			}
		}
	}()
	return r, nil
}

func (r *RouteWatch) add(percent int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.weights); n == 0 || r.weights[n-1].Percent != percent {
		r.weights = append(r.weights, Weight{time.Now(), percent})
	}
}

// Weights is every weight seen until now, in order; the first is the one that stood at the beginning.
func (r *RouteWatch) Weights() []Weight {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Weight(nil), r.weights...)
}

// Now is the weight that stands now.
func (r *RouteWatch) Now() int {
	all := r.Weights()
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1].Percent
}

// Highest is the highest weight seen.
func (r *RouteWatch) Highest() int {
	highest := 0
	for _, w := range r.Weights() {
		highest = max(highest, w.Percent)
	}
	return highest
}

// Stop ends the watch.
func (r *RouteWatch) Stop() {
	r.stop()
	<-r.done
}

// WaitFor waits until the weight stands in the route.
func (r *RouteWatch) WaitFor(percent int, within time.Duration) bool {
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if r.Now() == percent {
			return true
		}
	}
	return false
}

// weightOf reads gray's share of the first rule from the object, by itself: it is the witness, not the tool.
func weightOf(u *unstructured.Unstructured) int {
	rules, _, _ := unstructured.NestedSlice(u.Object, "spec", "rules")
	var gray, all int64
	for _, rule := range rules {
		backends, _, _ := unstructured.NestedSlice(rule.(map[string]any), "backendRefs")
		for _, b := range backends {
			backend := b.(map[string]any)
			weight, given := backend["weight"].(int64)
			if !given {
				weight = 1
			}
			all += weight
			if backend["name"] == "web-gray" {
				gray += weight
			}
		}
	}
	if all == 0 {
		return 0
	}
	return int(100 * gray / all)
}
