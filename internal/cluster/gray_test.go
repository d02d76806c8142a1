package cluster

import (
	"testing"

	"github.com/stretchr/testify/assert"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const newImage = "registry.example.com/shop/web:v2"

// graySight is a gray side with a migration and the main container of the new image, and somebody else's sidecar.
func graySight(pods ...corev1.Pod) sight {
	d := &appsv1.Deployment{}
	d.Spec.Template.Spec = corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "wait", Image: "busybox"}, {Name: "migrate", Image: newImage}},
		Containers:     []corev1.Container{{Name: "proxy", Image: "mesh/proxy:1"}, {Name: "web", Image: newImage}},
	}
	return sight{deployment: d, replicaSet: "web-gray-1", current: pods}
}

// reports is a pod whose node says which images its containers run; names of init containers begin with i:.
func reports(ids map[string]string) corev1.Pod {
	p := corev1.Pod{}
	for name, id := range ids {
		if name[:2] == "i:" {
			p.Status.InitContainerStatuses = append(p.Status.InitContainerStatuses, corev1.ContainerStatus{Name: name[2:], ImageID: id})
			continue
		}
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: name, ImageID: id})
	}
	return p
}

// TestPulled: one pod and one container that tell are enough to put the image on hold.
func TestPulled(t *testing.T) {
	const repo = "registry.example.com/shop/web@"
	mute := reports(map[string]string{"i:wait": "busybox@sha256:bb", "i:migrate": "", "proxy": "mesh/proxy@sha256:ee", "web": ""})
	for name, c := range map[string]struct {
		pods []corev1.Pod
		want string
	}{
		"no pod":                 {nil, ""},
		"none tells":             {[]corev1.Pod{mute}, ""},
		"nothing started yet":    {[]corev1.Pod{{}}, ""},
		"the main container":     {[]corev1.Pod{reports(map[string]string{"web": repo + "sha256:aa"})}, "sha256:aa"},
		"the init container":     {[]corev1.Pod{reports(map[string]string{"i:migrate": repo + "sha256:aa", "web": ""})}, "sha256:aa"},
		"the second pod":         {[]corev1.Pod{mute, reports(map[string]string{"web": repo + "sha256:aa"})}, "sha256:aa"},
		"the second pod's init":  {[]corev1.Pod{mute, reports(map[string]string{"i:migrate": repo + "sha256:aa"})}, "sha256:aa"},
		"two that do not agree":  {[]corev1.Pod{reports(map[string]string{"web": repo + "sha256:aa"}), reports(map[string]string{"web": repo + "sha256:cc"})}, "sha256:aa"},
		"somebody else's images": {[]corev1.Pod{reports(map[string]string{"i:wait": "busybox@sha256:bb", "proxy": "mesh/proxy@sha256:ee"})}, ""},
	} {
		assert.Equal(t, c.want, graySight(c.pods...).pulled(newImage, ""), name)
	}
	s := graySight(reports(map[string]string{"proxy": "mesh/proxy@sha256:ee", "web": repo + "sha256:aa"}))
	assert.Equal(t, "sha256:ee", s.pulled("mesh/proxy:2", "proxy"), "the container that the user names")
	assert.Equal(t, "sha256:ee", s.pulled("", ""), "of a whole template the first container")
	assert.Empty(t, sight{}.pulled(newImage, ""))
	assert.Equal(t, "sha256:aa", webAs(newImage).observed(sight{}, s, nil).Pulled)
}

// TestTheSurgeIsTheDeployments: what the peak is told by.
func TestTheSurgeIsTheDeployments(t *testing.T) {
	s := newStage(t, 20)
	quarter := intstr.FromString("25%")
	s.deployment.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: &quarter}
	assert.Equal(t, int32(5), webAs("").observed(s.see(), sight{}, nil).Surge)
	three := intstr.FromInt32(3)
	s.deployment.Spec.Strategy.RollingUpdate.MaxSurge = &three
	assert.Equal(t, int32(3), webAs("").observed(s.see(), sight{}, nil).Surge)
}
