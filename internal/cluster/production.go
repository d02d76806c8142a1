package cluster

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
)

// ProductionOptions say how production differs from its baseline after the roll.
type ProductionOptions struct {
	Image      string // as the user wrote it; "" only with Template
	Digest     string // of the gray pods; "": the image is not pinned
	Container  string
	Parameters config.Parameters
	Template   *corev1.PodTemplateSpec // whole template instead of production's
}

// Production makes the template that production runs after the roll: the gray template's image, in production mode.
func Production(production *appsv1.Deployment, o ProductionOptions) (*corev1.PodTemplateSpec, error) {
	template, err := startingTemplate(production, o.Template)
	if err != nil {
		return nil, err
	}
	c := change{where: describe("Deployment", production), input: "production",
		image: pinned(o.Image, o.Digest), container: o.Container, parameters: o.Parameters}
	if err := c.apply(&template.Spec); err != nil {
		return nil, err
	}
	return template, nil
}

// templatePatch turns one template into the other, as operations on the Deployment.
func templatePatch(from, to *corev1.PodTemplateSpec) ([]Op, error) {
	f, err := tree(from)
	if err != nil {
		return nil, err
	}
	t, err := tree(to)
	if err != nil {
		return nil, err
	}
	return diff("/spec/template", f, t), nil
}
