package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Find names the Service and the Deployment whose pods it selects. deployment "" means: the only one. A
// *plan.Failure with FaultInput says what is there instead. Route stays empty.
func Find(ctx context.Context, kube kubernetes.Interface, namespace, service, deployment string) (plan.Target, error) {
	s, err := kube.CoreV1().Services(namespace).Get(ctx, service, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return plan.Target{}, plan.Failf(plan.FaultInput, "Service "+namespace+"/"+service, "service: there is no Service %s in namespace %s; there are %s",
			service, namespace, services(ctx, kube, namespace))
	}
	if err != nil {
		return plan.Target{}, fmt.Errorf("read Service %s/%s: %w", namespace, service, err)
	}
	if err := usable(s); err != nil {
		return plan.Target{}, err
	}
	list, err := kube.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return plan.Target{}, fmt.Errorf("list Deployments of namespace %s: %w", namespace, err)
	}
	name, err := choose(s, list.Items, deployment)
	return plan.Target{Namespace: namespace, Service: service, Deployment: name}, err
}

// services lists those that a person may have meant.
func services(ctx context.Context, kube kubernetes.Interface, namespace string) string {
	list, err := kube.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "others, perhaps: they may not be listed"
	}
	var names []string
	for i := range list.Items {
		if usable(&list.Items[i]) == nil {
			names = append(names, list.Items[i].Name)
		}
	}
	return listed(names)
}

// usable refuses, by name, Services whose traffic cannot be told apart by pod.
func usable(s *corev1.Service) error {
	fault := func(format string, args ...any) error {
		return plan.Failf(plan.FaultInput, describe("Service", s), "service: "+format, args...)
	}
	switch {
	case s.Labels[plan.LabelSide] == string(plan.Gray):
		return fault("Service %s is the gray side of %s; name that one", s.Name, s.Labels[plan.LabelService])
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		return fault("Service %s is of type ExternalName: it leads out of the cluster and has no pods", s.Name)
	case len(s.Spec.Selector) == 0:
		return fault("Service %s has no selector: its endpoints are not made from pods", s.Name)
	case s.Spec.ClusterIP == corev1.ClusterIPNone:
		return fault("Service %s is headless: its clients choose pods by themselves, so no share of them can be moved", s.Name)
	}
	return nil
}

func choose(s *corev1.Service, deployments []appsv1.Deployment, wanted string) (string, error) {
	selector := labels.SelectorFromSet(s.Spec.Selector)
	var all, selected []string
	for _, d := range deployments {
		if ours(&d, s.Name) {
			continue
		}
		all = append(all, d.Name)
		if selector.Matches(labels.Set(d.Spec.Template.Labels)) {
			selected = append(selected, d.Name)
		}
	}
	fault := func(format string, args ...any) error {
		return plan.Failf(plan.FaultInput, describe("Service", s), "deployment: "+format, args...)
	}
	switch {
	case wanted != "" && slices.Contains(selected, wanted):
		return wanted, nil
	case wanted != "" && !slices.Contains(all, wanted):
		return "", fault("there is no Deployment %s in namespace %s; there are %s", wanted, s.Namespace, listed(all))
	case wanted != "":
		return "", fault("Service %s (%s) does not select the pods of Deployment %s; it selects those of %s", s.Name, selector, wanted, listed(selected))
	case len(selected) == 0:
		return "", fault("Service %s (%s) selects the pods of no Deployment; there are %s", s.Name, selector, listed(all))
	case len(selected) > 1:
		return "", fault("Service %s selects the pods of %d Deployments: %s; name one in deployment", s.Name, len(selected), listed(selected))
	}
	return selected[0], nil
}

// listed is a list of names for an error text: at most 10.
func listed(names []string) string {
	const most = 10
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
