package cluster

import (
	"context"
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Observe reads both workloads and what of ours is on the user's objects. Weight, Served and Drained stay zero: they
// are the gateway's to say.
func (c *Cluster) Observe(ctx context.Context) (plan.Observed, error) {
	var production, gray sight
	var scaler *autoscalingv2.HorizontalPodAutoscaler
	var left []string
	err := together(
		func() (err error) { production, err = c.look(ctx, c.target.Deployment, c.target.Service); return },
		func() (err error) { gray, err = c.lookGray(ctx); return },
		func() (err error) { scaler, err = c.scaler(ctx); return },
		func() (err error) { left, err = c.leftovers(ctx); return },
	)
	if err != nil {
		return plan.Observed{}, fmt.Errorf("observe %s/%s: %w", c.target.Namespace, c.target.Deployment, err)
	}
	o := c.observed(production, gray, scaler)
	o.Touched = o.Touched || len(left) > 0
	c.compare(&o, production)
	if o.Production.Exists && o.Production.Ready+o.Production.Old == 0 {
		o.Production.Unserved, err = c.unserved(ctx)
	}
	return o, err
}

// unserved says that production's Service is not there, which is why none of its pods serves.
func (c *Cluster) unserved(ctx context.Context) (bool, error) {
	_, err := c.kube.CoreV1().Services(c.target.Namespace).Get(ctx, c.target.Service, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read Service %s/%s: %w", c.target.Namespace, c.target.Service, err)
	}
	return false, nil
}

// observed is the pure part of Observe.
func (c *Cluster) observed(production, gray sight, scaler *autoscalingv2.HorizontalPodAutoscaler) plan.Observed {
	image, container := c.config.Image, c.config.Container
	o := plan.Observed{Gray: gray.workload(plan.Ours, image, container), Pulled: gray.pulled(image, container)}
	if d := production.deployment; d != nil {
		o.Production = production.workload(templateOf(d, gray.deployment), image, container)
		o.Touched = touched(d) && !c.others(d)
		o.Promoted = o.Touched && d.Annotations[plan.AnnotationPromoted] != ""
		o.MaxPods = production.replicas()
		o.Surge = surge(d, o.MaxPods)
	}
	if scaler != nil {
		o.Touched = o.Touched || touched(scaler) && !c.others(scaler)
		o.MaxPods = max(o.MaxPods, scaler.Spec.MaxReplicas)
	}
	return o
}

// touched says whether an annotation of ours is on the object.
func touched(o metav1.Object) bool {
	for key := range o.GetAnnotations() {
		if isOurs(key) {
			return true
		}
	}
	return false
}

func isOurs(key string) bool {
	return strings.HasPrefix(key, plan.Domain+"/") || strings.HasPrefix(key, "fence."+plan.Domain+"/")
}

// leftovers names the gray Services, PDBs and Jobs of this service.
func (c *Cluster) leftovers(ctx context.Context) ([]string, error) {
	services, budgets, err := c.grayExtras(ctx)
	if err != nil {
		return nil, err
	}
	jobs, err := c.jobs(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, j := range jobs {
		names = append(names, describe(kindJob, &j))
	}
	for _, s := range services {
		names = append(names, describe("Service", &s))
	}
	for _, b := range budgets {
		names = append(names, describe(kindPDB, &b))
	}
	return names, nil
}

// grayExtras are the gray objects beside the Deployment, found by our labels.
func (c *Cluster) grayExtras(ctx context.Context) ([]corev1.Service, []policyv1.PodDisruptionBudget, error) {
	mine := metav1.ListOptions{LabelSelector: c.graySelector()}
	var services *corev1.ServiceList
	var budgets *policyv1.PodDisruptionBudgetList
	err := together(
		func() (err error) {
			services, err = c.kube.CoreV1().Services(c.target.Namespace).List(ctx, mine)
			return
		},
		func() (err error) {
			budgets, err = c.kube.PolicyV1().PodDisruptionBudgets(c.target.Namespace).List(ctx, mine)
			return
		},
	)
	if err != nil {
		return nil, nil, fmt.Errorf("list gray objects of namespace %s: %w", c.target.Namespace, err)
	}
	return services.Items, budgets.Items, nil
}

// graySelector finds every object and pod that we made for the service.
func (c *Cluster) graySelector() string {
	return plan.LabelSide + "=" + string(plan.Gray) + "," + plan.LabelService + "=" + c.target.Service
}
