package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	// tick is how often a wait looks without being told to: against a watch that broke without a word.
	tick = 2 * time.Second
	// gather is how long a wait collects changes before it looks: pods change in bursts.
	gather = 100 * time.Millisecond
	// reopen is the pause before a broken watch is opened again.
	reopen = time.Second
)

// goal is what a wait waits for.
type goal struct {
	what  string // in words, as the failure begins: "2 gray pods are not ready"
	look  func(ctx context.Context) (sight, error)
	watch func(ctx context.Context) <-chan struct{}
	// done says whether the goal is reached, and how far it is: any number that rises.
	done func(s sight) (reached bool, progress int)
	// gone: the wait is for pods to go, so their trouble does not matter.
	gone bool
	// limit counts from the last progress.
	limit time.Duration
}

// await looks at each change until the goal is reached. A *plan.Failure
// says why it is not reached, at once where waiting on is pointless.
func (c *Cluster) await(ctx context.Context, g goal) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := g.watch(watching)
	w := waiting{progress: math.MinInt, since: time.Now()}
	for {
		s, err := g.look(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && final(err) {
			return err
		}
		if err == nil && s.deployment == nil && !g.gone {
			return plan.Failf(plan.FaultInfrastructure, "namespace "+c.target.Namespace, "%s: the Deployment was deleted meanwhile", g.what)
		}
		if err == nil {
			reached, progress := g.done(s)
			if reached {
				return nil
			}
			if failure := c.judge(ctx, g, s, &w, progress); failure != nil {
				return failure
			}
		} else if time.Since(w.since) > g.limit {
			return err
		}
		if err := pause(ctx, changed); err != nil {
			return err
		}
	}
}

// waiting is what a wait remembers between two looks.
type waiting struct {
	progress int
	since    time.Time // of the last progress
	trouble  string    // container in trouble, and
	from     time.Time // since when it has been
	absent   bool      // its image was once said to be in no registry: the kubelet's back-off need not repeat it
}

// judge ends a wait whose deadline has passed, or whose trouble has lasted beyond its patience.
func (c *Cluster) judge(ctx context.Context, g goal, s sight, w *waiting, progress int) error {
	now := time.Now()
	if progress > w.progress {
		w.progress, w.since = progress, now
	}
	t := c.blamed(s, s.trouble())
	if g.gone {
		t = nil
	}
	key := ""
	if t != nil {
		key = fmt.Sprint(t.fault, t.container, t.patience)
	}
	if key != w.trouble {
		w.trouble, w.from, w.absent = key, now, false
	}
	if t != nil {
		w.absent = w.absent || t.absent
		t.absent = w.absent
	}
	if t != nil && now.Sub(w.from) >= t.patience {
		return c.failure(ctx, s, t, g.what)
	}
	if now.Sub(w.since) > g.limit {
		return c.failure(ctx, s, t, fmt.Sprintf("%s after %s", g.what, g.limit))
	}
	return nil
}

func pause(ctx context.Context, changed <-chan struct{}) error {
	timer := time.NewTimer(tick)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	case <-changed:
	}
	time.Sleep(gather)
	return nil
}

// final says that asking again will not help.
func final(err error) bool {
	var failure *plan.Failure
	return errors.As(err, &failure) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)
}

// changes tells of any change to the pods, the Deployment and the endpoints of a side. What changed is not said:
// whoever is told looks for himself. A watch that cannot be opened is tried again; the wait then lives on its tick.
func (c *Cluster) changes(ctx context.Context, deployment, service, pods string) <-chan struct{} {
	ns := c.target.Namespace
	out := make(chan struct{}, 1)
	go follow(ctx, out, c.watchPods(pods))
	go follow(ctx, out, func(ctx context.Context) (watch.Interface, error) {
		return c.kube.AppsV1().Deployments(ns).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + deployment})
	})
	go follow(ctx, out, func(ctx context.Context) (watch.Interface, error) {
		return c.kube.DiscoveryV1().EndpointSlices(ns).Watch(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	})
	return out
}

func (c *Cluster) changesOfGray(ctx context.Context) <-chan struct{} {
	return c.changes(ctx, c.target.GrayDeployment(), c.target.GrayService(), c.graySelector())
}

// GrayChanges tells of every change to gray pods until ctx ends. Several changes may be told once.
func (c *Cluster) GrayChanges(ctx context.Context) <-chan struct{} {
	out := make(chan struct{}, 1)
	go follow(ctx, out, c.watchPods(c.graySelector()))
	return out
}

func (c *Cluster) watchPods(selector string) func(context.Context) (watch.Interface, error) {
	return func(ctx context.Context) (watch.Interface, error) {
		return c.kube.CoreV1().Pods(c.target.Namespace).Watch(ctx, metav1.ListOptions{LabelSelector: selector})
	}
}

func follow(ctx context.Context, out chan<- struct{}, open func(context.Context) (watch.Interface, error)) {
	for ctx.Err() == nil {
		w, err := open(ctx)
		if err == nil {
			tell(ctx, out, w)
			w.Stop()
		}
		select {
		case <-ctx.Done():
		case <-time.After(reopen):
		}
	}
}

func tell(ctx context.Context, out chan<- struct{}, w watch.Interface) {
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-w.ResultChan():
			if !open {
				return
			}
			select {
			case out <- struct{}{}:
			default: // told already
			}
		}
	}
}
