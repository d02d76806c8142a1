package cluster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// gitOps is how each tool shows that it owns an object and writes it back. app.kubernetes.io/instance alone is no
// proof: Helm charts set it too.
var gitOps = []struct {
	tool     string
	prefixes []string // of labels and annotations
	managers []string // in managedFields
	ignore   string   // how to make it leave a field alone; %s is the field
}{
	{
		tool: "Argo CD", prefixes: []string{"argocd.argoproj.io/"}, managers: []string{"argocd-controller", "argocd-application-controller"},
		ignore: "list %s under ignoreDifferences of the Application with syncOption RespectIgnoreDifferences=true",
	},
	{
		tool: "Flux", prefixes: []string{"kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"}, managers: []string{"kustomize-controller", "helm-controller"},
		ignore: "suspend its Kustomization or HelmRelease for the upgrade, or leave %s out of what it applies",
	},
}

// ownership refuses, or warns of, tools that would revert what the upgrade writes on the user's objects.
func (c *Cluster) ownership(d *appsv1.Deployment, h *autoscalingv2.HorizontalPodAutoscaler) (warnings []string, err error) {
	var found []error
	found = append(found, Owner("Deployment", d, ".spec.template"))
	if h != nil {
		found = append(found, Owner("HorizontalPodAutoscaler", h, ".spec.minReplicas"))
	}
	err = errors.Join(found...)
	if err != nil && c.config.GitOps == config.Warn {
		warnings, err = append(warnings, strings.Split(err.Error(), "\n")...), nil
	}
	if d.Labels["app.kubernetes.io/managed-by"] == "Helm" || d.Annotations["meta.helm.sh/release-name"] != "" {
		warnings = append(warnings, fmt.Sprintf("Helm release %s manages Deployment %s: after the upgrade set its image value to the output image, or the next helm upgrade brings %s back",
			d.Annotations["meta.helm.sh/release-name"], d.Name, primary(&d.Spec.Template.Spec, c.config.Image, c.config.Container).Image))
	}
	return warnings, err
}

// Owner returns a *plan.Failure with FaultRefused where a GitOps tool owns the object and would revert the field: it names
// the tool, its trace and the way out.
func Owner(kind string, o metav1.Object, field string) error {
	for _, g := range gitOps {
		trace := traceOf(o, g.prefixes, g.managers)
		if trace == "" {
			continue
		}
		return plan.Failf(plan.FaultRefused, describe(kind, o), "%s owns %s (%s) and would revert %s: commit the new image where it reads from, or %s; gitops: warn goes on regardless",
			g.tool, describe(kind, o), trace, field, fmt.Sprintf(g.ignore, field))
	}
	return nil
}

func traceOf(o metav1.Object, prefixes, managers []string) string {
	known := func(key string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
	}
	labels, annotations := slices.Sorted(maps.Keys(o.GetLabels())), slices.Sorted(maps.Keys(o.GetAnnotations()))
	if i := slices.IndexFunc(labels, known); i >= 0 {
		return "label " + labels[i]
	}
	if i := slices.IndexFunc(annotations, known); i >= 0 {
		return "annotation " + annotations[i]
	}
	for _, m := range o.GetManagedFields() {
		if m.Subresource == "" && slices.Contains(managers, m.Manager) {
			return "field manager " + m.Manager
		}
	}
	return ""
}
