package observe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// notReadyAfter is how long the containers of a pod that served must not be ready to count: a probe with a threshold
// of one may fail once.
const notReadyAfter = 3 * time.Second

// listAgain is the pause between the end of a watch on pods and the next list. Nothing is lost in it: ends of containers
// stay in the pod's status.
const listAgain = 500 * time.Millisecond

// keepRestarts bounds the restarts kept of a window.
const keepRestarts = 100

// pod is what is known of one pod.
type pod struct {
	name       string
	ready      bool      // serves
	served     bool      // was ready at some time
	servedAt   time.Time // when that was seen first
	going      bool      // deleted, evicted or lost: what happens to it now is not the image's fault
	lost       time.Time
	readyAt    time.Time       // when it last became ready, by the cluster's clock
	joined     time.Time       // when that was seen, by ours
	containers []string        // that have run, and run what is upgraded
	memory     float64         // bytes: limit of those together; 0: one has none
	ended      map[string]bool // ends of containers that were seen
}

// Disrupted is the evidence of a pod that went for a reason that is not the image's.
type Disrupted struct {
	Pod    string    `json:"pod"`
	Side   plan.Side `json:"side"`
	Reason string    `json:"reason"`
}

// followPods keeps a side's pods up to date: a list, then a watch; both again whenever the watch ends.
func (w *Watch) followPods(ctx context.Context, s plan.Side, selector labels.Selector) {
	source := "the pods of " + string(s)
	for {
		err := w.followPodsOnce(ctx, s, selector, source)
		if ctx.Err() != nil {
			return
		}
		w.report(source, err)
		if err != nil {
			w.Log.Debug("watch pods", "side", string(s), "error", err)
		}
		if !pause(ctx, listAgain) {
			return
		}
	}
}

func (w *Watch) followPodsOnce(ctx context.Context, s plan.Side, selector labels.Selector, source string) error {
	w.asking(source)
	pods := w.Kube.CoreV1().Pods(w.Target.Namespace)
	list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	w.seePods(s, list.Items)
	changes, err := pods.Watch(ctx, metav1.ListOptions{LabelSelector: selector.String(), ResourceVersion: list.ResourceVersion})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	defer changes.Stop()
	w.report(source, nil)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, open := <-changes.ResultChan():
			if !open {
				return nil
			}
			if err := w.seeEvent(s, e); err != nil {
				return err
			}
		}
	}
}

func (w *Watch) seeEvent(s plan.Side, e watch.Event) error {
	p, ok := e.Object.(*corev1.Pod)
	switch {
	case e.Type == watch.Error:
		return fmt.Errorf("watch pods: %w", apierrors.FromObject(e.Object))
	case !ok:
		return errors.New("watch pods: an answer that is no pod")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Type == watch.Deleted {
		w.forget(s, string(p.UID))
		return nil
	}
	w.see(s, p, false)
	return nil
}

// seePods takes a whole list: pods that are not in it are gone.
func (w *Watch) seePods(s plan.Side, list []corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := !w.of(s).listed
	w.of(s).listed = true
	here := map[string]bool{}
	for i := range list {
		here[string(list[i].UID)] = true
		w.see(s, &list[i], first)
	}
	for uid := range w.of(s).pods {
		if !here[uid] {
			w.forget(s, uid)
		}
	}
}

func (w *Watch) forget(s plan.Side, uid string) {
	if known := w.of(s).pods[uid]; known != nil && !known.going {
		w.take(s, known) // killed without a word before
	}
	delete(w.of(s).pods, uid)
	signal(w.pods)
}

// take notes that a pod goes for a reason that is not its image's.
func (w *Watch) take(s plan.Side, known *pod) {
	known.going = true
	if known.served && len(w.window.taken[s]) < keepRestarts {
		w.window.taken[s] = append(w.window.taken[s], known.name)
	}
}

// see takes one pod as it is now. Ends of containers before the first list are no news.
func (w *Watch) see(s plan.Side, p *corev1.Pod, first bool) {
	side := w.of(s)
	known := side.pods[string(p.UID)]
	if known == nil {
		known = &pod{name: p.Name, ended: map[string]bool{}}
		side.pods[string(p.UID)] = known
	}
	if reason := disruption(p); reason != "" && !known.going {
		w.take(s, known)
		w.Record("disrupted", Disrupted{Pod: p.Name, Side: s, Reason: reason})
	}
	known.follow(p, time.Now(), w.Renews)
	for _, r := range known.ends(p) {
		if first || known.going || len(w.window.restarts[s]) >= keepRestarts {
			continue
		}
		r.Foreign = !w.Renews(&p.Spec, r.Container)
		w.window.restarts[s] = append(w.window.restarts[s], r)
		signal(w.wake)
	}
	if outgrown(p) {
		known.going, known.lost = true, time.Time{} // its end is told, and another pod comes
	}
	signal(w.pods)
}

// follow notes readiness and containers. A pod whose containers are ready but that is not Ready has lost its node, waits for
// its gate or for a sidecar: no fault of the image.
func (k *pod) follow(p *corev1.Pod, now time.Time, renews func(*corev1.PodSpec, string) bool) {
	ready, since := condition(p, corev1.PodReady)
	if ready {
		k.readyAt = since
	}
	if ready && !k.ready {
		k.joined = now
	}
	k.ready = ready && !k.going
	if k.ready && !k.served {
		k.served, k.servedAt = true, now
	}
	switch {
	case !k.served || k.going || containersReady(p, renews):
		k.lost = time.Time{}
	case k.lost.IsZero():
		k.lost = now
	}
	k.containers = k.containers[:0]
	for _, c := range p.Status.ContainerStatuses {
		if c.ContainerID != "" && renews(&p.Spec, c.Name) {
			k.containers = append(k.containers, c.Name)
		}
	}
	slices.Sort(k.containers)
	k.memory = memoryLimit(p, k.containers)
}

// containersReady says whether all containers are ready that run what is upgraded.
func containersReady(p *corev1.Pod, renews func(*corev1.PodSpec, string) bool) bool {
	all, _ := condition(p, corev1.ContainersReady)
	return all || !slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return !c.Ready && renews(&p.Spec, c.Name) })
}

// memoryLimit is that of the containers together, in bytes; 0 where one has none.
func memoryLimit(p *corev1.Pod, containers []string) float64 {
	sum := 0.0
	for _, c := range p.Spec.Containers {
		if !slices.Contains(containers, c.Name) {
			continue
		}
		limit := c.Resources.Limits.Memory().AsApproximateFloat64()
		if limit == 0 {
			return 0
		}
		sum += limit
	}
	return sum
}

// ends returns the ends of containers that were not seen before. Init containers end as a matter of course.
func (k *pod) ends(p *corev1.Pod) []judge.Restart {
	var all []judge.Restart
	for _, c := range p.Status.ContainerStatuses {
		for _, t := range []*corev1.ContainerStateTerminated{c.LastTerminationState.Terminated, c.State.Terminated} {
			if t == nil {
				continue
			}
			id := c.Name + " " + t.ContainerID + " " + t.FinishedAt.String()
			if k.ended[id] || lostContainer(t.Reason) {
				continue
			}
			k.ended[id] = true
			all = append(all, judge.Restart{Pod: p.Name, Container: c.Name, Reason: t.Reason, ExitCode: t.ExitCode})
		}
	}
	return all
}

// lostContainer says whether a container ended because its node did: the kubelet, or containerd, found it gone.
func lostContainer(reason string) bool {
	return reason == "ContainerStatusUnknown" || reason == "Unknown"
}

// disruption returns why a pod goes for a reason that is not its image's; "" while it stays. status.reason is set only
// by the kubelet and the node controller when they give a whole pod up (Evicted, NodeLost, NodeShutdown, ...).
func disruption(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return c.Reason
		}
	}
	if p.DeletionTimestamp != nil {
		return "deleted"
	}
	if outgrown(p) {
		return ""
	}
	return p.Status.Reason
}

// outgrown says that a pod was evicted because it took more storage than its own limits allow, which is its image's doing: its
// containers ended. Only the kubelet's message tells it from an eviction by a node that is low on something (localStorageEviction
// in Kubernetes' pkg/kubelet/eviction; since 1.26 there is no condition DisruptionTarget then).
func outgrown(p *corev1.Pod) bool {
	return p.Status.Reason == "Evicted" && slices.ContainsFunc([]string{
		"exceeds the limit",                          // Usage of EmptyDir volume "tmp" exceeds the limit "1Gi".
		"exceeds the total limit of containers",      // Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.
		"exceeded its local ephemeral storage limit", // Container app exceeded its local ephemeral storage limit "1Gi".
	}, func(words string) bool { return strings.Contains(p.Status.Message, words) })
}

// condition says whether a condition holds, and since when.
func condition(p *corev1.Pod, name corev1.PodConditionType) (holds bool, since time.Time) {
	for _, c := range p.Status.Conditions {
		if c.Type == name {
			return c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	return false, time.Time{}
}

// comesBack is how long a pod that restarted is left to the restarts: then it is one that is not ready.
const comesBack = 30 * time.Second

// serving counts the pods that serve and names those that did and do not any more, after a grace.
func (s *side) serving(now time.Time, grace time.Duration, restarts []judge.Restart) (ready int, notReady []string) {
	for _, uid := range slices.Sorted(maps.Keys(s.pods)) {
		p := s.pods[uid]
		wait := grace
		if slices.ContainsFunc(restarts, func(r judge.Restart) bool { return r.Pod == p.name }) {
			wait = comesBack
		}
		switch {
		case p.ready:
			ready++
		case !p.lost.IsZero() && now.Sub(p.lost) >= wait:
			notReady = append(notReady, p.name)
		}
	}
	slices.Sort(notReady)
	return ready, notReady
}
