package cluster

import (
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// CloneOptions say how gray differs from production.
type CloneOptions struct {
	Target     plan.Target
	Image      string // "" only with Template
	Container  string
	Parameters config.Parameters
	Replicas   int32
	Template   *corev1.PodTemplateSpec // whole template instead of production's
	Others     []Selection             // what else selects pods in the namespace
	Claims     map[string][]corev1.PersistentVolumeAccessMode
}

// Clone makes gray's Deployment and Service from production's baseline. A *plan.Failure with FaultInput says why
// that cannot be, naming the input that allows it where there is one.
func Clone(production *appsv1.Deployment, service *corev1.Service, o CloneOptions) (*appsv1.Deployment, *corev1.Service, error) {
	template, err := startingTemplate(production, o.Template)
	if err != nil {
		return nil, nil, err
	}
	if err := refuse(production, template, o.Claims); err != nil {
		return nil, nil, err
	}
	where := describe("Deployment", production)
	c := change{where: where, input: "gray", image: o.Image, container: o.Container, parameters: o.Parameters}
	if err := c.apply(&template.Spec); err != nil {
		return nil, nil, err
	}

	own := Selection{Kind: "Deployment", Name: production.Name, Selector: production.Spec.Selector}
	labels, caught := grayLabels(template.Labels, service, append([]Selection{own}, o.Others...))
	for _, s := range caught {
		if s.Kind != kindPDB { // a PDB of all pods sends no requests: preflight warns of it
			return nil, nil, plan.Failf(plan.FaultInput, where, "%s would select gray pods too, and changed label values cannot keep it off; let it select production by the value of a label", s)
		}
	}
	rewriteSelfReferences(&template.Spec, production.Namespace, template.Labels, labels)
	addGate(&template.Spec)
	template.Labels = labels
	return grayDeployment(production, service, template, o), grayService(service, labels, o.Target), nil
}

// startingTemplate is a copy of production's template or of the one given; a given one must suit production's
// selector, which cannot be changed.
func startingTemplate(production *appsv1.Deployment, given *corev1.PodTemplateSpec) (*corev1.PodTemplateSpec, error) {
	if given == nil {
		return production.Spec.Template.DeepCopy(), nil
	}
	if !matches(production.Spec.Selector, given.Labels) {
		return nil, plan.Failf(plan.FaultInput, describe("Deployment", production),
			"manifest: the labels of the pod template do not match the Deployment's selector %s", metav1.FormatLabelSelector(production.Spec.Selector))
	}
	return given.DeepCopy(), nil
}

func addGate(spec *corev1.PodSpec) {
	gate := corev1.PodReadinessGate{ConditionType: plan.ConditionVerified}
	if !slices.Contains(spec.ReadinessGates, gate) {
		spec.ReadinessGates = append(spec.ReadinessGates, gate)
	}
}

func grayDeployment(production *appsv1.Deployment, service *corev1.Service, template *corev1.PodTemplateSpec, o CloneOptions) *appsv1.Deployment {
	selector := map[string]string{plan.LabelSide: string(plan.Gray), plan.LabelService: service.Name}
	for key, value := range template.Labels {
		if production.Spec.Template.Labels[key] != value {
			selector[key] = value
		}
	}
	zero, surge := intstr.FromInt32(0), intstr.FromString("25%")
	meta := grayMeta(o.Target.GrayDeployment(), production, service.Name)
	meta.Annotations[annotationBaseline] = Hash(&production.Spec.Template)
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Replicas: &o.Replicas,
			Selector: &metav1.LabelSelector{MatchLabels: selector},
			Template: *template,
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: &zero, MaxSurge: &surge},
			},
			MinReadySeconds:         production.Spec.MinReadySeconds,
			ProgressDeadlineSeconds: production.Spec.ProgressDeadlineSeconds,
		},
	}
}

// grayService has the ports and manners of production's Service, and nothing that is reserved outside the cluster.
// It never publishes addresses that are not ready: that would pass by the verification.
func grayService(service *corev1.Service, labels map[string]string, target plan.Target) *corev1.Service {
	selector := maps.Clone(service.Spec.Selector)
	for key := range selector {
		selector[key] = labels[key]
	}
	ports := slices.Clone(service.Spec.Ports)
	for i := range ports {
		ports[i].NodePort = 0
	}
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: grayMeta(target.GrayService(), service, service.Name),
		Spec: corev1.ServiceSpec{
			Type:                  corev1.ServiceTypeClusterIP,
			Selector:              selector,
			Ports:                 ports,
			SessionAffinity:       service.Spec.SessionAffinity,
			SessionAffinityConfig: service.Spec.SessionAffinityConfig.DeepCopy(),
			IPFamilies:            slices.Clone(service.Spec.IPFamilies),
			IPFamilyPolicy:        service.Spec.IPFamilyPolicy,
			InternalTrafficPolicy: service.Spec.InternalTrafficPolicy,
			TrafficDistribution:   service.Spec.TrafficDistribution,
		},
	}
}

// grayBudget is the PDB of gray: production's, over gray pods. An absolute minAvailable is sized for production, so
// gray gets the next thing to it: one pod at a time.
func grayBudget(pdb *policyv1.PodDisruptionBudget, gray *appsv1.Deployment, service string) *policyv1.PodDisruptionBudget {
	spec := pdb.Spec.DeepCopy()
	spec.Selector = gray.Spec.Selector.DeepCopy()
	if spec.MinAvailable != nil && spec.MinAvailable.Type == intstr.Int {
		one := intstr.FromInt32(1)
		spec.MinAvailable, spec.MaxUnavailable = nil, &one
	}
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: kindPDB},
		ObjectMeta: grayMeta(plan.GrayName(pdb.Name), pdb, service),
		Spec:       *spec,
	}
}

const kindPDB = "PodDisruptionBudget"

// tracking are the prefixes of labels and annotations by which another tool finds what it owns: kept on a clone,
// that tool would prune, adopt or publish it.
var tracking = []string{
	"kubectl.kubernetes.io/", "deployment.kubernetes.io/", "meta.helm.sh/", "helm.sh/", "app.kubernetes.io/managed-by",
	"app.kubernetes.io/instance", "argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/",
	"config.k8s.io/", "kapp.k14s.io/", "objectset.rio.cattle.io/", "pulumi.com/", "external-dns.alpha.kubernetes.io/",
	"reloader.stakater.com/", "keel.sh/", plan.Domain + "/", "fence." + plan.Domain + "/",
}

// grayMeta is the metadata of a gray object: the labels and annotations of its original without tracking and
// without owners, and the marks by which we know it as ours.
func grayMeta(name string, original metav1.Object, service string) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{
		Name:        name,
		Namespace:   original.GetNamespace(),
		Labels:      untracked(original.GetLabels()),
		Annotations: untracked(original.GetAnnotations()),
	}
	meta.Labels[plan.LabelSide] = string(plan.Gray)
	meta.Labels[plan.LabelService] = service
	return meta
}

func untracked(from map[string]string) map[string]string {
	kept := map[string]string{}
	for key, value := range from {
		if !slices.ContainsFunc(tracking, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			kept[key] = value
		}
	}
	return kept
}

// ours says whether the object is one that we made for the service.
func ours(o metav1.Object, service string) bool {
	labels := o.GetLabels()
	return labels[plan.LabelSide] == string(plan.Gray) && labels[plan.LabelService] == service
}

func describe(kind string, o metav1.Object) string {
	return kind + " " + o.GetNamespace() + "/" + o.GetName()
}
