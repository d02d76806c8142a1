package cluster

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// sight is one side as read at one moment.
type sight struct {
	deployment *appsv1.Deployment // nil: not there
	replicaSet string             // of the current template; "" while the controller has not made it
	current    []corev1.Pod       // of the current template; neither ended nor being deleted
	other      []corev1.Pod       // of another template of the same Deployment; likewise
	ending     []corev1.Pod       // being deleted, of any template
	endpoints  map[string]bool    // pods that are ready endpoints of the side's Service
}

// look reads a Deployment with its pods and the endpoints of a Service.
func (c *Cluster) look(ctx context.Context, deployment, service string) (sight, error) {
	s := sight{}
	d, err := c.deployment(ctx, deployment)
	if err != nil || d == nil {
		return s, err
	}
	ns := c.target.Namespace
	mine := metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)}
	var sets *appsv1.ReplicaSetList
	var pods *corev1.PodList
	var endpoints *discoveryv1.EndpointSliceList
	err = together(
		func() (err error) { sets, err = c.kube.AppsV1().ReplicaSets(ns).List(ctx, mine); return },
		func() (err error) { pods, err = c.kube.CoreV1().Pods(ns).List(ctx, mine); return },
		func() (err error) {
			endpoints, err = c.kube.DiscoveryV1().EndpointSlices(ns).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
			return
		},
	)
	if err != nil {
		return s, fmt.Errorf("read the pods of Deployment %s/%s: %w", ns, deployment, err)
	}
	return see(d, sets.Items, pods.Items, endpoints.Items), nil
}

// lookGray is look for gray: a Deployment of gray's name that is not ours is not there.
func (c *Cluster) lookGray(ctx context.Context) (sight, error) {
	s, err := c.look(ctx, c.target.GrayDeployment(), c.target.GrayService())
	if err == nil && s.deployment != nil && !ours(s.deployment, c.target.Service) {
		return sight{}, nil
	}
	return s, err
}

// see sorts what was read.
func see(d *appsv1.Deployment, sets []appsv1.ReplicaSet, pods []corev1.Pod, endpoints []discoveryv1.EndpointSlice) sight {
	s := sight{deployment: d, endpoints: readyEndpoints(endpoints)}
	now := Hash(&d.Spec.Template)
	isCurrent := map[string]bool{} // by UID of the ReplicaSet
	for _, set := range sets {
		if !metav1.IsControlledBy(&set, d) {
			continue
		}
		current := Hash(&set.Spec.Template) == now
		isCurrent[string(set.UID)] = current
		if current {
			s.replicaSet = set.Name
		}
	}
	for _, pod := range pods {
		owner := metav1.GetControllerOfNoCopy(&pod)
		if owner == nil {
			continue
		}
		current, mine := isCurrent[string(owner.UID)]
		switch {
		case !mine || pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded:
		case pod.DeletionTimestamp != nil:
			s.ending = append(s.ending, pod)
		case current:
			s.current = append(s.current, pod)
		default:
			s.other = append(s.other, pod)
		}
	}
	return s
}

// readyEndpoints are the pods behind ready endpoints. Unknown counts as ready, as the API asks of its readers.
func readyEndpoints(list []discoveryv1.EndpointSlice) map[string]bool {
	ready := map[string]bool{}
	for _, slice := range list {
		for _, e := range slice.Endpoints {
			isReady := e.Conditions.Ready == nil || *e.Conditions.Ready
			ending := e.Conditions.Terminating != nil && *e.Conditions.Terminating
			if isReady && !ending && e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
				ready[e.TargetRef.Name] = true
			}
		}
	}
	return ready
}

func (s sight) serving(pods []corev1.Pod) int32 {
	var n int32
	for _, pod := range pods {
		if s.endpoints[pod.Name] {
			n++
		}
	}
	return n
}

func (s sight) replicas() int32 {
	if s.deployment.Spec.Replicas == nil {
		return 1 // the API's default
	}
	return *s.deployment.Spec.Replicas
}

// whole says that every wanted pod runs the current template and serves, and none of another template is left.
func (s sight) whole() bool {
	seen := s.deployment.Status.ObservedGeneration >= s.deployment.Generation
	wanted := int(s.replicas())
	return seen && len(s.other) == 0 && len(s.current) == wanted && int(s.serving(s.current)) == wanted
}

func (s sight) workload(template plan.Template, image, container string) plan.Workload {
	if s.deployment == nil {
		return plan.Workload{}
	}
	runs := primary(&s.deployment.Spec.Template.Spec, image, container)
	return plan.Workload{
		Exists:   true,
		Template: template,
		Image:    runs.Image,
		Replicas: s.replicas(),
		Ready:    s.serving(s.current),
		Old:      s.serving(s.other),
		Whole:    s.whole(),
		Paused:   s.deployment.Spec.Paused,
		Unready:  s.unready(runs.Name),
	}
}

// unready counts the verified pods whose container of that name says that it is not ready. A pod whose node is lost says
// nothing any more, and one that is evicted is taken away: those do not count.
func (s sight) unready(container string) int32 {
	var n int32
	for _, pod := range s.current {
		says := slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.Name == container && !c.Ready })
		if says && condition(&pod, plan.ConditionVerified) && !condition(&pod, corev1.DisruptionTarget) {
			n++
		}
	}
	return n
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
