package cluster

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	authv1 "k8s.io/api/authorization/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func TestPermissions(t *testing.T) {
	kube := fake.NewClientset()
	denied := map[string]bool{"patch pods/status": true, "patch apps/deployments": true, "delete apps/deployments": true, "list /events": true, "create /leases in gateway": true}
	kube.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authv1.SelfSubjectAccessReview)
		a := review.Spec.ResourceAttributes
		key := a.Verb + " " + a.Group + "/" + a.Resource
		if a.Subresource != "" {
			key = a.Verb + " " + a.Resource + "/" + a.Subresource
		}
		if a.Namespace != "shop" {
			key += " in " + a.Namespace
		}
		review.Status.Allowed = !denied[key]
		return true, review, nil
	})
	c := New(Options{Kube: kube, Target: plan.Target{Namespace: "shop"}})
	warnings, err := c.permissions(t.Context(), append(Rules(), Rule{Namespace: "gateway", Resource: "leases", Verbs: []string{"get", "create"}}))
	assert.Equal(t, plan.FaultInput, fault(t, err))
	assert.Equal(t, `missing permission: add to the role in namespace shop the rule {apiGroups: [""], resources: ["pods/status"], verbs: ["patch"]}
missing permission: add to the role in namespace shop the rule {apiGroups: ["apps"], resources: ["deployments"], verbs: ["patch", "delete"]}
missing permission: add to the role in namespace gateway the rule {apiGroups: [""], resources: ["leases"], verbs: ["create"]}`, err.Error())
	assert.Equal(t, []string{`no event explains a pod that does not start: the role in namespace shop lacks {apiGroups: [""], resources: ["events"], verbs: ["list"]}`}, warnings)
}

func TestOwnership(t *testing.T) {
	for name, c := range map[string]struct {
		labels, annotations map[string]string
		manager             string
		refused             []string
		warned              []string
	}{
		"nobody":           {},
		"instance alone":   {labels: map[string]string{"app.kubernetes.io/instance": "shop"}},
		"Argo annotation":  {annotations: map[string]string{"argocd.argoproj.io/tracking-id": "x"}, refused: []string{"Argo CD owns Deployment shop/web", "annotation argocd.argoproj.io/tracking-id", ".spec.template", "ignoreDifferences", "gitops: warn"}},
		"Argo label":       {labels: map[string]string{"argocd.argoproj.io/instance": "x"}, refused: []string{"label argocd.argoproj.io/instance"}},
		"Argo manager":     {manager: "argocd-controller", refused: []string{"field manager argocd-controller"}},
		"Flux label":       {labels: map[string]string{"kustomize.toolkit.fluxcd.io/name": "x"}, refused: []string{"Flux owns", "suspend"}},
		"Flux Helm":        {labels: map[string]string{"helm.toolkit.fluxcd.io/name": "x"}, refused: []string{"Flux owns"}},
		"Flux manager":     {manager: "kustomize-controller", refused: []string{"Flux owns"}},
		"Helm is noted":    {labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"}, annotations: map[string]string{"meta.helm.sh/release-name": "front"}, warned: []string{"Helm release front", "image value", "registry.example.com/shop/web:v1"}},
		"kubectl is fine":  {manager: "kubectl-client-side-apply"},
		"status only, too": {manager: "kube-controller-manager"},
	} {
		t.Run(name, func(t *testing.T) {
			d := load(t, "plain.yaml").deployment
			d.Labels, d.Annotations = c.labels, c.annotations
			d.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: c.manager}}
			refuse := New(Options{Config: config.Config{GitOps: config.Refuse}})
			warnings, err := refuse.ownership(d, nil)
			if c.refused == nil {
				require.NoError(t, err)
				require.Equal(t, len(c.warned) > 0, len(warnings) > 0)
				for _, want := range c.warned {
					assert.Contains(t, warnings[0], want)
				}
				return
			}
			assert.Equal(t, plan.FaultRefused, fault(t, err))
			for _, want := range c.refused {
				assert.ErrorContains(t, err, want)
			}
			warn := New(Options{Config: config.Config{GitOps: config.Warn}})
			warnings, err = warn.ownership(d, nil)
			require.NoError(t, err)
			assert.Len(t, warnings, 1)
		})
	}
	h := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Labels: map[string]string{"argocd.argoproj.io/instance": "x"}}}
	_, err := New(Options{Config: config.Config{GitOps: config.Refuse}}).ownership(load(t, "plain.yaml").deployment, h)
	assert.ErrorContains(t, err, ".spec.minReplicas")
}

func TestReadiness(t *testing.T) {
	for name, c := range map[string]struct {
		replicas int32
		build    func(*stage)
		fault    plan.Fault
		text     string // of the error, or of the warning
	}{
		"whole":                {2, func(s *stage) { s.pod("new", true); s.pod("new", true) }, "", ""},
		"one is not ready":     {2, func(s *stage) { s.pod("new", true); s.pod("new", false) }, "", "1 of 2 pods ready"},
		"no replicas":          {0, func(*stage) {}, plan.FaultInput, "0 replicas"},
		"a rollout":            {2, func(s *stage) { s.pod("new", true); s.pod("old", true) }, plan.FaultRefused, "a rollout of production is under way: 1 of 2 pods"},
		"a rollout just begun": {1, func(s *stage) { s.pod("new", true); s.deployment.Generation = 3 }, plan.FaultRefused, "under way"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, c.replicas)
			c.build(s)
			warnings, err := readiness(s.see())
			switch {
			case c.fault != "":
				assert.Equal(t, c.fault, fault(t, err))
				assert.ErrorContains(t, err, c.text)
			case c.text != "":
				require.NoError(t, err)
				require.Len(t, warnings, 1)
				assert.Contains(t, warnings[0], c.text)
			default:
				require.NoError(t, err)
				assert.Empty(t, warnings)
			}
		})
	}
}

func TestQuota(t *testing.T) {
	each := needs(&load(t, "rich.yaml").deployment.Spec.Template.Spec)
	quota := func(hard, used corev1.ResourceList) *corev1.ResourceQuota {
		return &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "small"}, Status: corev1.ResourceQuotaStatus{Hard: hard, Used: used}}
	}
	list := func(name corev1.ResourceName, q string) corev1.ResourceList {
		return corev1.ResourceList{name: resource.MustParse(q)}
	}
	for name, c := range map[string]struct {
		quota *corev1.ResourceQuota
		want  string
	}{
		"room for exactly that":   {quota(list("pods", "10"), list("pods", "6")), ""},
		"one pod too few":         {quota(list("pods", "10"), list("pods", "7")), "pods: 4 more pods at the peak need 4, the quota leaves 3 of 10"},
		"counted as objects":      {quota(list("count/pods", "10"), list("count/pods", "9")), "count/pods: 4 more pods"},
		"cpu as requests":         {quota(list("requests.cpu", "2"), list("requests.cpu", "1")), "requests.cpu: 4 more pods at the peak need 2, the quota leaves 1 of 2"},
		"cpu alone":               {quota(list("cpu", "2"), list("cpu", "1")), "cpu: 4 more pods"},
		"memory":                  {quota(list("memory", "1Gi"), list("memory", "768Mi")), "memory: 4 more pods at the peak need 512Mi, the quota leaves 256Mi of 1Gi"},
		"something not asked for": {quota(list("secrets", "1"), list("secrets", "1")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := tooSmall(c.quota, 4, each)
			if c.want == "" {
				assert.NoError(t, err)
				return
			}
			assert.Equal(t, plan.FaultInfrastructure, fault(t, err))
			assert.ErrorContains(t, err, c.want)
			c.quota.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
			assert.NoError(t, tooSmall(c.quota, 4, each), "a scoped quota counts other pods")
		})
	}
}

func TestSurge(t *testing.T) {
	d := &appsv1.Deployment{}
	assert.Equal(t, int32(1), surge(d, 3), "the API's default")
	half := intstr.FromString("50%")
	d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: &half}
	assert.Equal(t, int32(2), surge(d, 3))
}

func TestMissesGray(t *testing.T) {
	production, gray := map[string]string{"app": "web", "tier": "front"}, map[string]string{"app": "web-gray", "tier": "front"}
	match := func(key, value string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
	}
	policy := func(spec networkingv1.NetworkPolicySpec) *networkingv1.NetworkPolicy {
		return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: spec}
	}
	from := func(peer networkingv1.NetworkPolicyPeer) networkingv1.NetworkPolicySpec {
		return networkingv1.NetworkPolicySpec{PodSelector: *match("app", "db"), Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{peer}}}}
	}
	for name, c := range map[string]struct {
		spec networkingv1.NetworkPolicySpec
		want string
	}{
		"of all pods":           {networkingv1.NetworkPolicySpec{}, ""},
		"of another app":        {networkingv1.NetworkPolicySpec{PodSelector: *match("app", "cart")}, ""},
		"of a label they share": {networkingv1.NetworkPolicySpec{PodSelector: *match("tier", "front")}, ""},
		"of production only":    {networkingv1.NetworkPolicySpec{PodSelector: *match("app", "web")}, "applies to production pods and not to gray ones"},
		"opens to production":   {from(networkingv1.NetworkPolicyPeer{PodSelector: match("app", "web")}), "opens other pods to production pods"},
		"opens to both":         {from(networkingv1.NetworkPolicyPeer{PodSelector: match("tier", "front")}), ""},
		"opens to others":       {from(networkingv1.NetworkPolicyPeer{PodSelector: match("app", "web"), NamespaceSelector: match("name", "x")}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := missesGray(policy(c.spec), production, gray)
			if c.want == "" {
				assert.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			assert.Contains(t, got[0], c.want)
			assert.Contains(t, got[0], "app=web-gray")
		})
	}
}

func TestRemarks(t *testing.T) {
	s := load(t, "rich.yaml")
	c := New(Options{Config: config.Config{Image: "registry.example.com:5000/shop/checkout:v8"}})
	m := &material{production: s.deployment, service: s.service, others: []Selection{selection(kindPDB, "all", nil)}}
	gray, _, err := Clone(s.deployment, s.service, CloneOptions{Target: target(s), Image: c.config.Image, Others: m.others})
	require.NoError(t, err)
	got := c.remarks(m, gray)
	require.Len(t, got, 3)
	assert.Contains(t, got[0], "no gray parameters")
	assert.Contains(t, got[1], "init container migrate")
	assert.Contains(t, got[2], "PodDisruptionBudget all")

	c.config.Gray.Args = []string{"--gray"}
	m.others = nil
	gray.Spec.Template.Spec.InitContainers = nil
	assert.Empty(t, c.remarks(m, gray))
}
