package cluster

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Objects reads what an upgrade changes or makes, but for the route: the user's Deployment, Service and HPA, and whatever
// carries our labels.
func (c *Cluster) Objects(ctx context.Context) (plan.Objects, error) {
	ns := c.target.Namespace
	all := plan.Objects{}
	add := func(kind string, o metav1.Object, spec any) error {
		return all.Add(kind, o.GetName(), o.GetLabels(), o.GetAnnotations(), spec)
	}
	production, err := c.deployment(ctx, c.target.Deployment)
	if err == nil && production != nil {
		err = add("Deployment", production, production.Spec)
	}
	gray, grayErr := c.gray(ctx)
	if grayErr == nil && gray != nil {
		grayErr = add("Deployment", gray, gray.Spec)
	}
	service, serviceErr := c.kube.CoreV1().Services(ns).Get(ctx, c.target.Service, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(serviceErr):
		serviceErr = nil
	case serviceErr == nil:
		serviceErr = add("Service", service, service.Spec)
	}
	scaler, scalerErr := c.scaler(ctx)
	if scalerErr == nil && scaler != nil {
		scalerErr = add("HorizontalPodAutoscaler", scaler, scaler.Spec)
	}
	if err := errors.Join(err, grayErr, serviceErr, scalerErr, c.addExtras(ctx, add)); err != nil {
		return nil, fmt.Errorf("read the objects of the upgrade: %w", err)
	}
	return all, nil
}

func (c *Cluster) addExtras(ctx context.Context, add func(kind string, o metav1.Object, spec any) error) error {
	services, budgets, err := c.grayExtras(ctx)
	if err != nil {
		return err
	}
	jobs, err := c.jobs(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, s := range services {
		faults = append(faults, add("Service", &s, nil))
	}
	for _, b := range budgets {
		faults = append(faults, add(kindPDB, &b, nil))
	}
	for _, j := range jobs {
		faults = append(faults, add(kindJob, &j, nil))
	}
	return errors.Join(faults...)
}
