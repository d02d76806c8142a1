package cluster

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Preflight checks everything in the cluster that can be checked without a change, and returns warnings for the top
// of the summary, or all faults at once. extra are the permissions of the other parts of the tool.
func (c *Cluster) Preflight(ctx context.Context, extra ...Rule) (warnings []string, err error) {
	warnings, err = c.permissions(ctx, append(Rules(), extra...))
	if err != nil {
		return warnings, err // what may not be read cannot be checked
	}
	m, err := c.material(ctx)
	if err != nil {
		return warnings, err
	}
	gray, service, cloneErr := c.clone(m, 1)
	s, err := c.look(ctx, c.target.Deployment, c.target.Service)
	if err != nil {
		return warnings, err
	}
	scaler, err := c.scaler(ctx)
	if err != nil {
		return warnings, err
	}
	w, ownedErr := c.ownership(s.deployment, scaler)
	warnings = append(warnings, w...)
	w, readyErr := readiness(s)
	warnings = append(warnings, w...)
	readyErr = errors.Join(readyErr, c.alone("Deployment", s.deployment))
	if cloneErr != nil {
		return warnings, errors.Join(cloneErr, ownedErr, readyErr)
	}
	warnings = append(warnings, c.networkPolicies(ctx, m, gray)...)
	warnings = append(warnings, c.remarks(m, gray)...)
	return warnings, errors.Join(ownedErr, readyErr, c.quota(ctx, s, &gray.Spec.Template), c.rehearse(ctx, gray, service), c.rehearseRoll(ctx, m, s))
}

// readiness says whether production can be upgraded as it stands now.
func readiness(s sight) (warnings []string, err error) {
	where := describe("Deployment", s.deployment)
	serving, wanted := s.serving(s.current), s.replicas()
	switch {
	case wanted == 0:
		return nil, plan.Failf(plan.FaultInput, where, "production has 0 replicas: there is nothing to upgrade gradually; scale it up first")
	case len(s.other) > 0 || s.replicaSet == "" || s.deployment.Status.ObservedGeneration < s.deployment.Generation:
		return nil, plan.Failf(plan.FaultRefused, where, "a rollout of production is under way: %d of %d pods run the current template and serve, %d run another one; wait for it or undo it, then rerun",
			serving, wanted, len(s.other))
	case serving < wanted:
		return []string{fmt.Sprintf("production has %d of %d pods ready at the start", serving, wanted)}, nil
	}
	return nil, nil
}

// remarks are what a person should know before it starts.
func (c *Cluster) remarks(m *material, gray *appsv1.Deployment) []string {
	var warnings []string
	if len(c.config.Gray.Args)+len(c.config.Gray.Env) == 0 {
		warnings = append(warnings, "no gray parameters are set (gray-args, gray-env): gray pods consume queues, run schedules and migrations as production does")
	}
	chooser := change{image: c.config.Image, container: c.config.Container}
	if c.config.Image != "" || c.config.Container != "" {
		for _, init := range chooser.chosen(gray.Spec.Template.Spec.InitContainers) {
			warnings = append(warnings, fmt.Sprintf("init container %s gets the new image: it runs before verification, and what it does is not undone", init.Name))
		}
	}
	for _, o := range m.others {
		if o.Kind == kindPDB && matches(o.Selector, gray.Spec.Template.Labels) {
			warnings = append(warnings, fmt.Sprintf("%s selects gray pods too, whatever their labels: it counts them with production's, and pods with two budgets cannot be evicted", o))
		}
	}
	return warnings
}

// rehearse sends the first writes without storing them: admission, quota on objects and validation speak now.
func (c *Cluster) rehearse(ctx context.Context, gray *appsv1.Deployment, service *corev1.Service) error {
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: fieldManager}
	_, err := c.kube.AppsV1().Deployments(gray.Namespace).Create(ctx, gray.DeepCopy(), dry)
	if apierrors.IsAlreadyExists(err) {
		_, err = c.standing(ctx, gray)
	}
	_, serviceErr := c.kube.CoreV1().Services(service.Namespace).Create(ctx, service.DeepCopy(), dry)
	if apierrors.IsAlreadyExists(serviceErr) {
		serviceErr = c.ownService(ctx, service.Name)
	}
	return errors.Join(refused(describe("Deployment", gray), err), refused(describe("Service", service), serviceErr))
}

func (c *Cluster) ownService(ctx context.Context, name string) error {
	s, err := c.kube.CoreV1().Services(c.target.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err == nil && !ours(s, c.target.Service) {
		return c.notOurs("Service", name)
	}
	return err
}

// rehearseRoll does the same for production's new template, before any digest is known.
func (c *Cluster) rehearseRoll(ctx context.Context, m *material, s sight) error {
	if touched(s.deployment) {
		return nil // an earlier run is being finished
	}
	to, err := Production(m.production, ProductionOptions{
		Image: c.config.Image, Container: c.config.Container, Parameters: c.config.Production, Template: m.template,
	})
	if err != nil {
		return err
	}
	ops, err := templatePatch(&m.production.Spec.Template, to)
	if err != nil || len(ops) == 0 {
		return err
	}
	taken, err := c.patchDry(ctx, m.production, ops)
	switch {
	case errors.Is(err, errConflict):
		return nil // a status write came between: nothing is wrong with the patch
	case err == nil:
		c.rehearsed.Store(&taken.Spec.Template)
	}
	return refused(describe("Deployment", m.production), err)
}

// refused says who is at fault for a write that the API server did not take in rehearsal.
func refused(where string, err error) error {
	var failure *plan.Failure
	switch {
	case err == nil || errors.As(err, &failure):
		return err
	case apierrors.IsInvalid(err):
		return plan.Failf(plan.FaultInput, where, "the API server would not take %s: %w", where, err)
	}
	return plan.Failf(plan.FaultInfrastructure, where, "the API server would not take %s: %w", where, err)
}

// surge is how many pods production adds while it rolls.
func surge(d *appsv1.Deployment, replicas int32) int32 {
	if d.Spec.Strategy.RollingUpdate == nil || d.Spec.Strategy.RollingUpdate.MaxSurge == nil {
		return (replicas + 3) / 4 // the API's default: 25 %, rounded up
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(d.Spec.Strategy.RollingUpdate.MaxSurge, int(replicas), true)
	if err != nil {
		return 0
	}
	return int32(n) //nolint:gosec // a number of pods
}
