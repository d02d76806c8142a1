package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Guard looks whether a side that the route gives users has a ready endpoint, whenever one of them changes.
type Guard struct {
	stop   context.CancelFunc
	done   chan struct{}
	looks  int // that saw both sides
	faults []string
}

// Guard starts looking.
func (s *Shop) Guard(ctx context.Context) (*Guard, error) {
	ctx, stop := context.WithCancel(ctx)
	routes, err := s.Dynamic.Resource(httpRoutes).Namespace(s.Namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		stop()
		return nil, err
	}
	endpoints, err := s.Kube.DiscoveryV1().EndpointSlices(s.Namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		stop()
		return nil, err
	}
	g := &Guard{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(g.done)
		defer endpoints.Stop()
		defer routes.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-routes.ResultChan():
			case <-endpoints.ResultChan():
			}
			g.look(ctx, s)
		}
	}()
	return g, nil
}

func (g *Guard) look(ctx context.Context, s *Shop) {
	fault, err := s.emptySide(ctx)
	if err == nil {
		g.looks++
	}
	if fault != "" && !slices.Contains(g.faults, fault) {
		g.faults = append(g.faults, fault)
	}
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
