package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Guard looks again and again whether a side that the route gives users has a ready endpoint.
type Guard struct {
	stop   context.CancelFunc
	done   chan struct{}
	looks  int // that saw both sides
	faults []string
}

// Guard starts looking, ten times a second.
func (s *Shop) Guard(ctx context.Context) *Guard {
	ctx, stop := context.WithCancel(ctx)
	g := &Guard{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(g.done)
		for ctx.Err() == nil {
			fault, err := s.emptySide(ctx)
			if err == nil {
				g.looks++
			}
			if fault != "" && !slices.Contains(g.faults, fault) {
				g.faults = append(g.faults, fault)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	return g
}

// Stop ends it and returns what it saw; that it saw nothing at all is a fault too.
func (g *Guard) Stop() []string {
	g.stop()
	<-g.done
	if g.looks == 0 {
		return []string{"the guard never saw both sides"}
	}
	return g.faults
}

// emptySide names a side with users and no ready endpoint, "" where there is none. Route and endpoints are read one after
// the other, so a fault counts only if it is still there at a second look.
func (s *Shop) emptySide(ctx context.Context) (string, error) {
	if fault, err := s.emptyNow(ctx); fault == "" || err != nil {
		return "", err
	}
	return s.emptyNow(ctx)
}

func (s *Shop) emptyNow(ctx context.Context) (string, error) {
	route, err := s.Dynamic.Resource(httpRoutes).Namespace(s.Namespace).Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	weight := weightOf(route)
	production, err1 := s.readyEndpoints(ctx, "web")
	gray, err2 := s.readyEndpoints(ctx, "web-gray")
	switch {
	case err1 != nil || err2 != nil:
		return "", errors.Join(err1, err2)
	case weight < 100 && production == 0:
		return fmt.Sprintf("production has no ready endpoint at weight %d", weight), nil
	case weight > 0 && gray == 0:
		return fmt.Sprintf("gray has no ready endpoint at weight %d", weight), nil
	}
	return "", nil
}

func (s *Shop) readyEndpoints(ctx context.Context, service string) (int, error) {
	slices, err := s.Kube.DiscoveryV1().EndpointSlices(s.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	if err != nil {
		return 0, err
	}
	ready := 0
	for _, slice := range slices.Items {
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				ready++
			}
		}
	}
	return ready, nil
}
