package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// quota compares what the pods at the peak need, beyond those that run, with what the namespace's quotas leave.
// Without the permission to list quotas it says nothing: that is a warning already.
func (c *Cluster) quota(ctx context.Context, s sight, gray *corev1.PodTemplateSpec) error {
	list, err := c.kube.CoreV1().ResourceQuotas(c.target.Namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list ResourceQuotas of namespace %s: %w", c.target.Namespace, err)
	}
	existing, err := c.gray(ctx)
	if err != nil {
		return err
	}
	o := plan.Observed{Production: plan.Workload{Replicas: s.replicas()}, MaxPods: s.replicas(), Surge: surge(s.deployment, s.replicas())}
	more := plan.PeakPods(c.config, o) - s.replicas()
	if existing != nil {
		more -= sight{deployment: existing}.replicas() // counted as used already
	}
	var faults []error
	for i := range list.Items {
		faults = append(faults, tooSmall(&list.Items[i], more, needs(&gray.Spec)))
	}
	return errors.Join(faults...)
}

// tooSmall names every resource of one quota that the additional pods would exceed. Quotas with scopes count only some pods:
// which ones is the API server's to say.
func tooSmall(q *corev1.ResourceQuota, pods int32, each corev1.ResourceList) error {
	if len(q.Spec.Scopes) > 0 || q.Spec.ScopeSelector != nil {
		return nil
	}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(q.Status.Hard)) {
		one, counted := each[name]
		if !counted {
			continue
		}
		hard, used := q.Status.Hard[name], q.Status.Used[name]
		want := one.DeepCopy()
		want.Mul(int64(pods))
		left := hard.DeepCopy()
		left.Sub(used)
		if want.Cmp(left) > 0 {
			faults = append(faults, plan.Failf(plan.FaultInfrastructure, describe("ResourceQuota", q),
				"%s: %d more pods at the peak need %s, the quota leaves %s of %s; raise it, or upgrade with fewer replicas",
				name, pods, want.String(), left.String(), hard.String()))
		}
	}
	return errors.Join(faults...)
}

// needs is what one pod counts in each resource of a quota, as its containers ask for it.
func needs(spec *corev1.PodSpec) corev1.ResourceList {
	one := *resource.NewQuantity(1, resource.DecimalSI)
	sum := corev1.ResourceList{corev1.ResourcePods: one, "count/pods": one}
	add := func(as corev1.ResourceName, q resource.Quantity) {
		have := sum[as]
		have.Add(q)
		sum[as] = have
	}
	for _, c := range spec.Containers {
		for name, q := range c.Resources.Requests {
			add("requests."+name, q)
			add(name, q) // cpu and memory alone mean requests
		}
		for name, q := range c.Resources.Limits {
			add("limits."+name, q)
		}
	}
	return sum
}
