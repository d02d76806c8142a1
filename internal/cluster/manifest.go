package cluster

import (
	"bytes"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// ParseManifest reads a whole pod template from YAML or JSON of kind Deployment or PodTemplate, strictly: a field
// that Kubernetes does not know is an error. name is the file's, for the error text.
func ParseManifest(name string, data []byte) (*corev1.PodTemplateSpec, error) {
	fault := func(format string, args ...any) error {
		return plan.Failf(plan.FaultInput, name, "manifest %s: "+format, append([]any{name}, args...)...)
	}
	if documents(data) > 1 {
		return nil, fault("has several documents; give one Deployment or PodTemplate")
	}
	var kind struct {
		Kind string `json:"kind"`
	}
	if err := yaml.Unmarshal(data, &kind); err != nil {
		return nil, fault("%w", err)
	}
	var template corev1.PodTemplateSpec
	var err error
	switch kind.Kind {
	case "Deployment":
		var d appsv1.Deployment
		err = yaml.UnmarshalStrict(data, &d)
		template = d.Spec.Template
	case "PodTemplate":
		var p corev1.PodTemplate
		err = yaml.UnmarshalStrict(data, &p)
		template = p.Template
	default:
		return nil, fault("kind is %q; allowed are Deployment and PodTemplate", kind.Kind)
	}
	if err != nil {
		return nil, fault("%w", err)
	}
	if len(template.Spec.Containers) == 0 {
		return nil, fault("has no containers")
	}
	return &template, nil
}

func documents(data []byte) int {
	n := 0
	for _, d := range bytes.Split(data, []byte("\n---")) {
		if slices.ContainsFunc(bytes.Split(d, []byte("\n")), says) {
			n++
		}
	}
	return n
}

// says tells a line of YAML from a comment and from none.
func says(line []byte) bool {
	line = bytes.TrimSpace(line)
	return len(line) > 0 && line[0] != '#'
}
