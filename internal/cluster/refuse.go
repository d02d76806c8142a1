package cluster

import (
	"errors"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// refuse names every reason why a second set of these pods cannot run beside the first, all at once.
func refuse(production *appsv1.Deployment, template *corev1.PodTemplateSpec, claims map[string][]corev1.PersistentVolumeAccessMode) error {
	where := describe("Deployment", production)
	fault := func(format string, args ...any) error { return plan.Failf(plan.FaultInput, where, format, args...) }
	var faults []error
	if production.Spec.Paused {
		faults = append(faults, fault("the Deployment is paused, so it could not be rolled; resume it first"))
	}
	if production.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		faults = append(faults, fault("strategy Recreate says that two versions must not run at once, and gray runs beside production; "+
			"if they may, set strategy RollingUpdate"))
	}
	if template.Spec.HostNetwork {
		faults = append(faults, fault("hostNetwork: gray pods would need the node ports that production pods hold; give a template without it in manifest"))
	}
	for _, c := range slices.Concat(template.Spec.InitContainers, template.Spec.Containers) {
		for _, p := range c.Ports {
			if p.HostPort != 0 && !template.Spec.HostNetwork {
				faults = append(faults, fault("container %s holds hostPort %d, which a gray pod on the same node could not get; give a template without it in manifest",
					c.Name, p.HostPort))
			}
		}
	}
	for _, v := range template.Spec.Volumes {
		if claim := v.PersistentVolumeClaim; claim != nil && !claim.ReadOnly && !shared(claims[claim.ClaimName]) {
			faults = append(faults, fault("volume %s: claim %s cannot be written from several nodes at once (%v); give a template without it in manifest",
				v.Name, claim.ClaimName, claims[claim.ClaimName]))
		}
	}
	return errors.Join(faults...)
}

// shared says whether pods of two sides, on any node, may use a claim together.
func shared(modes []corev1.PersistentVolumeAccessMode) bool {
	return slices.Contains(modes, corev1.ReadWriteMany) || slices.Contains(modes, corev1.ReadOnlyMany)
}
