package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
)

// Delete removes every gray object of the service and returns when the pods are gone. Objects of gray's names that
// are not ours stay.
func (c *Cluster) Delete(ctx context.Context) error {
	err := retry.OnError(conflicts, apierrors.IsConflict, func() error {
		d, err := c.gray(ctx)
		if err != nil || d == nil || d.DeletionTimestamp != nil {
			return err
		}
		return c.remove(ctx, "Deployment", d, c.kube.AppsV1().Deployments(d.Namespace).Delete, metav1.DeletePropagationForeground)
	})
	if err != nil {
		return err
	}
	return errors.Join(c.awaitGone(ctx), c.deleteExtras(ctx))
}

// deleteExtras follows when the pods are gone, so that no route ever leads to a Service that is not there while its
// pods serve.
func (c *Cluster) deleteExtras(ctx context.Context) error {
	return retry.OnError(conflicts, apierrors.IsConflict, func() error {
		services, budgets, err := c.grayExtras(ctx)
		if err != nil {
			return err
		}
		for _, s := range services {
			if err := c.remove(ctx, "Service", &s, c.kube.CoreV1().Services(s.Namespace).Delete, metav1.DeletePropagationBackground); err != nil {
				return err
			}
		}
		for _, b := range budgets {
			if err := c.remove(ctx, kindPDB, &b, c.kube.PolicyV1().PodDisruptionBudgets(b.Namespace).Delete, metav1.DeletePropagationBackground); err != nil {
				return err
			}
		}
		jobs, err := c.jobs(ctx)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if j.Name == c.target.Watchdog() {
				continue // it goes last: Watchdog.Stop
			}
			if err := c.remove(ctx, kindJob, &j, c.kube.BatchV1().Jobs(j.Namespace).Delete, metav1.DeletePropagationBackground); err != nil {
				return err
			}
		}
		return nil
	})
}

// remove deletes the object as it was read, after the fence. One that is gone already is not an error.
func (c *Cluster) remove(ctx context.Context, kind string, o metav1.Object,
	del func(context.Context, string, metav1.DeleteOptions) error, propagation metav1.DeletionPropagation,
) error {
	if _, err := c.fenceFor(ctx, o); err != nil {
		return err
	}
	uid, version := o.GetUID(), o.GetResourceVersion()
	err := del(ctx, o.GetName(), metav1.DeleteOptions{
		PropagationPolicy: &propagation,
		Preconditions:     &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s: %w", describe(kind, o), err)
	}
	c.log.Info("gray object deleted", "kind", kind, "name", o.GetName())
	return nil
}

// lostAfter is how long past its grace period a pod may stay before its node counts as lost: the kubelet takes seconds.
const lostAfter = 30 * time.Second

// awaitGone waits for the Deployment and for every pod with our labels. Pods that stay past their grace period are on nodes that
// do not answer any more: only an administrator, or the node's own end, takes them away, and they serve nobody.
func (c *Cluster) awaitGone(ctx context.Context) error {
	grace, begin := time.Duration(0), time.Now()
	look := func(ctx context.Context) (sight, error) {
		s := sight{}
		pods, err := c.kube.CoreV1().Pods(c.target.Namespace).List(ctx, metav1.ListOptions{LabelSelector: c.graySelector()})
		if err != nil {
			return s, fmt.Errorf("list gray pods: %w", err)
		}
		s.ending = pods.Items
		s.deployment, err = c.gray(ctx)
		return s, err
	}
	s, err := look(ctx)
	if err != nil {
		return err
	}
	for _, pod := range s.ending {
		if seconds := pod.Spec.TerminationGracePeriodSeconds; seconds != nil {
			grace = max(grace, time.Duration(*seconds)*time.Second)
		}
	}
	return c.await(ctx, goal{
		what: "gray pods are not gone", look: look, watch: c.changesOfGray, gone: true, limit: grace + c.config.PodTimeout,
		done: func(s sight) (bool, int) {
			lost := time.Since(begin) > grace+lostAfter && onlyLost(s)
			if lost {
				c.log.Warn("gray pods are still being deleted: their nodes do not answer", "first", s.ending[0].Name, "node", s.ending[0].Spec.NodeName, "pods", len(s.ending))
			}
			return lost || s.deployment == nil && len(s.ending) == 0, -len(s.ending)
		},
	})
}

// onlyLost says that nothing is left but what is deleted already.
func onlyLost(s sight) bool {
	stays := func(pod corev1.Pod) bool { return pod.DeletionTimestamp == nil }
	return len(s.ending) > 0 && !slices.ContainsFunc(s.ending, stays) && (s.deployment == nil || s.deployment.DeletionTimestamp != nil)
}
