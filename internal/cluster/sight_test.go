package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// stage is a Deployment with two ReplicaSets, and pods and endpoints put on it one by one.
type stage struct {
	deployment *appsv1.Deployment
	sets       []appsv1.ReplicaSet
	pods       []corev1.Pod
	slice      discoveryv1.EndpointSlice
}

func newStage(t *testing.T, replicas int32) *stage {
	d := load(t, "plain.yaml").deployment
	d.UID, d.Spec.Replicas = "deployment", &replicas
	old := d.Spec.Template.DeepCopy()
	old.Spec.Containers[0].Image = "registry.example.com/shop/web:v0"
	s := &stage{deployment: d}
	for name, template := range map[string]*corev1.PodTemplateSpec{"new": d.Spec.Template.DeepCopy(), "old": old} {
		template.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = name
		s.sets = append(s.sets, appsv1.ReplicaSet{
			ObjectMeta: metav1.ObjectMeta{Name: "web-" + name, UID: types.UID(name), OwnerReferences: []metav1.OwnerReference{controlledBy("Deployment", "deployment")}},
			Spec:       appsv1.ReplicaSetSpec{Template: *template},
		})
	}
	return s
}

func controlledBy(kind string, uid types.UID) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{Kind: kind, UID: uid, Controller: &yes}
}

func (s *stage) pod(set types.UID, ready bool, edit ...func(*corev1.Pod)) {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: fmt.Sprintf("web-%s-%d", set, len(s.pods)), OwnerReferences: []metav1.OwnerReference{controlledBy("ReplicaSet", set)},
	}}
	for _, e := range edit {
		e(&p)
	}
	s.pods = append(s.pods, p)
	s.slice.Endpoints = append(s.slice.Endpoints, discoveryv1.Endpoint{
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: p.Name}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
	})
}

func (s *stage) see() sight {
	return see(s.deployment, s.sets, s.pods, []discoveryv1.EndpointSlice{s.slice})
}

func TestWorkload(t *testing.T) {
	ending := func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }
	evicted := func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }
	for name, c := range map[string]struct {
		build      func(*stage)
		ready, old int32
		whole      bool
	}{
		"whole":                                {func(s *stage) { s.pod("new", true); s.pod("new", true) }, 2, 0, true},
		"one not ready":                        {func(s *stage) { s.pod("new", true); s.pod("new", false) }, 1, 0, false},
		"one missing":                          {func(s *stage) { s.pod("new", true) }, 1, 0, false},
		"one too many":                         {func(s *stage) { s.pod("new", true); s.pod("new", true); s.pod("new", true) }, 3, 0, false},
		"in a rollout":                         {func(s *stage) { s.pod("new", true); s.pod("new", true); s.pod("old", true) }, 2, 1, false},
		"an old one that does not serve":       {func(s *stage) { s.pod("new", true); s.pod("new", true); s.pod("old", false) }, 2, 0, false},
		"old ones that end do not count":       {func(s *stage) { s.pod("new", true); s.pod("new", true); s.pod("old", true, ending) }, 2, 0, true},
		"evicted ones do not count":            {func(s *stage) { s.pod("new", true); s.pod("new", true); s.pod("new", false, evicted) }, 2, 0, true},
		"pods of somebody else do not count":   {func(s *stage) { s.pod("other", true); s.pod("other", true) }, 0, 0, false},
		"a template that is not seen yet":      {func(s *stage) { s.deployment.Generation = 2; s.pod("new", true); s.pod("new", true) }, 2, 0, false},
		"a template without a ReplicaSet":      {func(s *stage) { s.sets = s.sets[:0]; s.pod("new", true) }, 0, 0, false},
		"a pod that is no endpoint":            {func(s *stage) { s.pod("new", true); s.pod("new", true); s.slice.Endpoints = s.slice.Endpoints[:1] }, 1, 0, false},
		"unknown readiness counts as ready":    {func(s *stage) { s.pod("new", true); s.pod("new", true); s.slice.Endpoints[0].Conditions.Ready = nil }, 2, 0, true},
		"an endpoint that ends does not serve": {func(s *stage) { s.pod("new", true); yes := true; s.slice.Endpoints[0].Conditions.Terminating = &yes }, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 2)
			c.build(s)
			w := s.see().workload(plan.Baseline, "registry.example.com/shop/web:v9", "")
			assert.Equal(t, plan.Workload{
				Exists: true, Template: plan.Baseline, Image: "registry.example.com/shop/web:v1", Replicas: 2, Ready: c.ready, Old: c.old, Whole: c.whole,
			}, w)
		})
	}
}

// webAs is the upgrade of Service web to an image.
func webAs(image string) *Cluster {
	return New(Options{Target: plan.Target{Service: "web", Deployment: "web"}, Config: config.Config{Image: image}})
}

func TestObserved(t *testing.T) {
	s := newStage(t, 2)
	s.pod("new", true)
	o := webAs("").observed(s.see(), sight{}, nil)
	assert.Equal(t, plan.Workload{}, o.Gray)
	assert.Equal(t, int32(2), o.MaxPods)
	assert.False(t, o.Touched)
	assert.False(t, o.Promoted)

	hpa := &autoscalingv2.HorizontalPodAutoscaler{Spec: autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 9}}
	assert.Equal(t, int32(9), webAs("").observed(s.see(), sight{}, hpa).MaxPods)
	assert.False(t, webAs("").observed(s.see(), sight{}, hpa).Touched)
	hpa.Annotations = map[string]string{plan.AnnotationMinimum: "{}"}
	assert.True(t, webAs("").observed(s.see(), sight{}, hpa).Touched, "a pinned HPA")

	for _, key := range []string{plan.AnnotationPromoted, plan.FenceKey("web"), plan.AnnotationUndo} {
		s.deployment.Annotations = map[string]string{key: "{}"}
		o := webAs("").observed(s.see(), sight{}, nil)
		assert.True(t, o.Touched, key)
		assert.Equal(t, key == plan.AnnotationPromoted, o.Promoted, key)
	}
	s.deployment.Annotations = map[string]string{plan.FenceKey("web-internal"): "1", plan.AnnotationPromoted: "{}", plan.AnnotationUndo: "{}"}
	o = webAs("").observed(s.see(), sight{}, nil)
	assert.False(t, o.Touched || o.Promoted, "the marks of another Service's upgrade are not ours to bring home")
	s.deployment.Annotations[plan.FenceKey("web")] = "2"
	assert.True(t, webAs("").observed(s.see(), sight{}, nil).Touched, "we stand on it, too")
	assert.Equal(t, plan.Observed{}, webAs("").observed(sight{}, sight{}, nil), "nothing there")
}

// TestUnready counts what is the image's doing: proven, there, and its own container says no.
func TestUnready(t *testing.T) {
	says := func(container string, ready bool, conditions ...corev1.PodConditionType) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: container, Ready: ready}}
			for _, c := range conditions {
				p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: c, Status: corev1.ConditionTrue})
			}
		}
	}
	for name, tt := range map[string]struct {
		pod  func(*corev1.Pod)
		want int32
	}{
		"it hangs":              {says("web", false, plan.ConditionVerified), 1},
		"it is ready":           {says("web", true, plan.ConditionVerified), 0},
		"its sidecar hangs":     {says("proxy", false, plan.ConditionVerified), 0},
		"it was not proven yet": {says("web", false), 0},
		"it is evicted":         {says("web", false, plan.ConditionVerified, corev1.DisruptionTarget), 0},
	} {
		s := newStage(t, 1)
		s.pod("new", false, tt.pod)
		got := see(s.deployment, s.sets, s.pods, []discoveryv1.EndpointSlice{s.slice}).workload(plan.Ours, "registry.example.com/shop/web:v1", "")
		assert.Equal(t, tt.want, got.Unready, name)
	}
}

// TestHeldAs: what restarts pods, or tells a chart's release, lets no held image in.
func TestHeldAs(t *testing.T) {
	template := &load(t, "plain.yaml").deployment.Spec.Template
	image := template.Spec.Containers[0].Image
	c := New(Options{Config: config.Config{Image: image}})
	held := c.heldAs(template)
	again := template.DeepCopy()
	metav1.SetMetaDataAnnotation(&again.ObjectMeta, "kubectl.kubernetes.io/restartedAt", "2026-01-01T00:00:00Z")
	again.Labels["helm.sh/chart"] = "web-1.2.3"
	assert.Equal(t, held, c.heldAs(again))
	retagged := again.DeepCopy()
	retagged.Spec.Containers[0].Image = parseReference(image).repo + ":another"
	assert.Equal(t, held, c.heldAs(retagged))
	assert.Equal(t, held, New(Options{Config: config.Config{Manifest: "web.yaml"}}).heldAs(retagged), "as a manifest gives it")
	again.Spec.Containers[0].Args = append(again.Spec.Containers[0].Args, "--repaired")
	assert.NotEqual(t, held, c.heldAs(again))
}
