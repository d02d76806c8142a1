package cluster

import (
	"context"
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Pod is one node of a side.
type Pod struct {
	Name            string
	UID             string
	IP              string
	Node            string
	Port            int  // container port behind the first port of the Service; 0: the pod names no such port
	ContainersReady bool // its containers are ready
	Ready           bool // it is ready: for gray that includes verified
	Verified        bool // it has passed verification
	Restarts        int32
}

// GrayPods are the gray pods that are not ending.
func (c *Cluster) GrayPods(ctx context.Context) ([]Pod, error) {
	s, err := c.lookGray(ctx)
	if err != nil {
		return nil, err
	}
	return c.podsOf(ctx, append(s.current, s.other...))
}

// ProductionPods are the production pods of the template that the Deployment has now.
func (c *Cluster) ProductionPods(ctx context.Context) ([]Pod, error) {
	s, err := c.look(ctx, c.target.Deployment, c.target.Service)
	if err != nil {
		return nil, err
	}
	return c.podsOf(ctx, s.current)
}

func (c *Cluster) podsOf(ctx context.Context, pods []corev1.Pod) ([]Pod, error) {
	if len(pods) == 0 {
		return nil, nil
	}
	service, err := c.kube.CoreV1().Services(c.target.Namespace).Get(ctx, c.target.Service, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Service %s/%s: %w", c.target.Namespace, c.target.Service, err)
	}
	list := make([]Pod, 0, len(pods))
	for i := range pods {
		list = append(list, podOf(&pods[i], service))
	}
	return list, nil
}

func podOf(pod *corev1.Pod, service *corev1.Service) Pod {
	p := Pod{
		Name: pod.Name, UID: string(pod.UID), IP: pod.Status.PodIP, Node: pod.Spec.NodeName, Port: targetPort(&pod.Spec, service),
		ContainersReady: condition(pod, corev1.ContainersReady),
		Ready:           condition(pod, corev1.PodReady),
		Verified:        condition(pod, plan.ConditionVerified),
	}
	for _, s := range pod.Status.ContainerStatuses {
		p.Restarts += s.RestartCount
	}
	return p
}

// targetPort resolves the first port of the Service to a number, by name where it is one.
func targetPort(spec *corev1.PodSpec, service *corev1.Service) int {
	if len(service.Spec.Ports) == 0 {
		return 0
	}
	port := service.Spec.Ports[0]
	switch {
	case port.TargetPort.Type == intstr.Int && port.TargetPort.IntVal != 0:
		return int(port.TargetPort.IntVal)
	case port.TargetPort.Type == intstr.Int:
		return int(port.Port)
	}
	for _, c := range spec.Containers {
		for _, p := range c.Ports {
			if p.Name == port.TargetPort.StrVal {
				return int(p.ContainerPort)
			}
		}
	}
	return 0
}

// Namespace is where both sides live.
func (c *Cluster) Namespace() string { return c.target.Namespace }

// TargetPort is the container port behind the first port of the production Service.
func (c *Cluster) TargetPort(ctx context.Context) (int, error) {
	var d *appsv1.Deployment
	var service *corev1.Service
	err := together(
		func() (err error) { d, err = c.production(ctx); return },
		func() (err error) {
			service, err = c.kube.CoreV1().Services(c.target.Namespace).Get(ctx, c.target.Service, metav1.GetOptions{})
			return
		},
	)
	if err != nil {
		return 0, fmt.Errorf("read the port of Service %s/%s: %w", c.target.Namespace, c.target.Service, err)
	}
	port := targetPort(&d.Spec.Template.Spec, service)
	if port == 0 {
		return 0, plan.Failf(plan.FaultInput, describe("Service", service), "the first port of Service %s names a container port that no container has", service.Name)
	}
	return port, nil
}

// Selectors are the label selectors of the pods of both sides.
func (c *Cluster) Selectors(ctx context.Context) (production, gray string, err error) {
	d, err := c.production(ctx)
	if err != nil {
		return "", "", err
	}
	return labelSelector(d), c.graySelector(), nil
}

// GrayOwner is the reference by which another object goes with the gray Deployment.
func (c *Cluster) GrayOwner(ctx context.Context) (metav1.OwnerReference, error) {
	d, err := c.gray(ctx)
	if err != nil {
		return metav1.OwnerReference{}, err
	}
	if d == nil {
		return metav1.OwnerReference{}, plan.Failf(plan.FaultInfrastructure, "namespace "+c.target.Namespace, "there is no gray Deployment %s", c.target.GrayDeployment())
	}
	return ownedBy(d), nil
}

// SetVerified writes the readiness gate of a gray pod: ok lets it become a ready endpoint. A pod that is not ours is
// not written; one that is gone is no error.
func (c *Cluster) SetVerified(ctx context.Context, pod string, ok bool, message string) error {
	err := write(ctx, c, c.kube.CoreV1().Pods(c.target.Namespace), edit[*corev1.Pod]{
		kind: "Pod", name: pod, subresource: []string{"status"},
		ops: func(_ context.Context, p *corev1.Pod) ([]Op, error) {
			if !ours(p, c.target.Service) {
				return nil, c.notOurs("Pod", p.Name)
			}
			return verifiedOps(p, ok, message, time.Now()), nil
		},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func verifiedOps(pod *corev1.Pod, ok bool, message string, now time.Time) []Op {
	want := corev1.PodCondition{
		Type: plan.ConditionVerified, Status: corev1.ConditionFalse, Reason: "Failed", Message: cut(message), LastTransitionTime: metav1.NewTime(now),
	}
	if ok {
		want.Status, want.Reason = corev1.ConditionTrue, "Passed"
	}
	for i, c := range pod.Status.Conditions {
		if c.Type != plan.ConditionVerified {
			continue
		}
		if c.Status == want.Status && c.Message == want.Message {
			return nil
		}
		at := "/status/conditions/" + strconv.Itoa(i)
		return []Op{{Op: "test", Path: at + "/type", Value: c.Type}, {Op: "replace", Path: at, Value: want}}
	}
	if pod.Status.Conditions == nil {
		return []Op{{Op: "add", Path: "/status/conditions", Value: []corev1.PodCondition{want}}}
	}
	return []Op{{Op: "add", Path: "/status/conditions/-", Value: want}}
}

func labelSelector(d *appsv1.Deployment) string { return metav1.FormatLabelSelector(d.Spec.Selector) }
