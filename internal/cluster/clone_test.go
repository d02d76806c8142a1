package cluster

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/golden"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func selection(kind, name string, match map[string]string) Selection {
	return Selection{Kind: kind, Name: name, Selector: &metav1.LabelSelector{MatchLabels: match}}
}

func TestCloneGolden(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		edit func(*CloneOptions)
	}{
		"plain": {file: "plain.yaml", edit: func(o *CloneOptions) {
			o.Image = "registry.example.com/shop/web:v2"
			o.Parameters.Args = []string{"--mode=gray"}
		}},
		"rich": {file: "rich.yaml", edit: func(o *CloneOptions) {
			o.Image = "registry.example.com:5000/shop/checkout:v8"
			o.Parameters = config.Parameters{
				Args: []string{"--mode=gray"},
				Env:  []config.EnvVar{{Name: "MODE", Value: "gray"}, {Name: "TOKEN", Value: "none"}, {Name: "JOBS", Value: "off"}},
			}
			o.Others = []Selection{
				selection("Service", "metrics", map[string]string{"metrics": "yes"}),
				selection("Service", "cart", map[string]string{"component": "cart"}),
				selection(kindPDB, "checkout", map[string]string{"component": "checkout"}),
			}
		}},
		"named": {file: "rich.yaml", edit: func(o *CloneOptions) {
			o.Image, o.Container = "registry.example.com:5000/mesh/proxy:2", "proxy"
			o.Parameters.Env = []config.EnvVar{{Name: "MODE", Value: "gray"}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := load(t, c.file)
			before := s.deployment.DeepCopy()
			o := CloneOptions{Target: target(s), Replicas: 1}
			c.edit(&o)
			d, service, err := Clone(s.deployment, s.service, o)
			require.NoError(t, err)
			assert.Equal(t, before, s.deployment, "production is not changed")
			objects := []any{d, service}
			if s.budget != nil {
				objects = append(objects, grayBudget(s.budget, d, s.service.Name))
			}
			golden.Equal(t, "clone-"+name+".golden.yaml", text(t, objects...))
		})
	}
}

// TestCloneIsApart holds for every sample: no selector of production's reaches gray pods, and gray's own do.
func TestCloneIsApart(t *testing.T) {
	for _, file := range []string{"plain.yaml", "rich.yaml"} {
		s := load(t, file)
		others := []Selection{selection("Service", "metrics", map[string]string{"metrics": "yes"})}
		d, service, err := Clone(s.deployment, s.service, CloneOptions{
			Target: target(s), Replicas: 1, Image: s.deployment.Spec.Template.Spec.Containers[0].Image, Others: others,
		})
		require.NoError(t, err)
		gray := d.Spec.Template.Labels
		assert.False(t, matches(s.deployment.Spec.Selector, gray), "%s: production's Deployment", file)
		assert.False(t, labels.SelectorFromSet(s.service.Spec.Selector).Matches(labels.Set(gray)), "%s: production's Service", file)
		assert.False(t, matches(others[0].Selector, gray), "%s: another Service", file)
		assert.True(t, matches(d.Spec.Selector, gray), "%s: gray's Deployment", file)
		assert.False(t, matches(d.Spec.Selector, s.deployment.Spec.Template.Labels), "%s: gray's Deployment and production", file)
		assert.True(t, labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(gray)), "%s: gray's Service", file)
		assert.False(t, service.Spec.PublishNotReadyAddresses, "%s: only verified pods", file)
	}
}

func TestCloneRefuses(t *testing.T) {
	mode := corev1.ReadWriteOnce
	for name, c := range map[string]struct {
		edit func(*appsv1.Deployment, *CloneOptions)
		want []string
	}{
		"no container with the image": {
			edit: func(_ *appsv1.Deployment, o *CloneOptions) { o.Image = "registry.example.com/shop/other:v2" },
			want: []string{"registry.example.com/shop/other", "web (registry.example.com/shop/web:v1)", "container"},
		},
		"no such container": {
			edit: func(_ *appsv1.Deployment, o *CloneOptions) { o.Container = "wbe" },
			want: []string{`no container "wbe"`, "web (registry.example.com/shop/web:v1)"},
		},
		"args would drop the command": {
			edit: func(d *appsv1.Deployment, o *CloneOptions) {
				d.Spec.Template.Spec.Containers[0].Args = nil
				o.Parameters.Args = []string{"--gray"}
			},
			want: []string{"gray-args", "drop the image's own command", "gray-env"},
		},
		"everything that cannot run twice, at once": {
			edit: func(d *appsv1.Deployment, o *CloneOptions) {
				d.Spec.Paused = true
				d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType
				spec := &d.Spec.Template.Spec
				spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 8080}}
				spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
					PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "disk"},
				}}}
				o.Claims = map[string][]corev1.PersistentVolumeAccessMode{"disk": {mode}}
			},
			want: []string{"paused", "Recreate", "hostPort 8080", "claim disk", "ReadWriteOnce", "manifest"},
		},
		"hostNetwork": {
			edit: func(d *appsv1.Deployment, _ *CloneOptions) { d.Spec.Template.Spec.HostNetwork = true },
			want: []string{"hostNetwork", "manifest"},
		},
		"a Service that selects by a key alone cannot be kept off": {
			edit: func(_ *appsv1.Deployment, o *CloneOptions) {
				o.Others = []Selection{{Kind: "Service", Name: "all", Selector: &metav1.LabelSelector{
					MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpExists}},
				}}}
			},
			want: []string{"Service all", "would select gray pods too"},
		},
		"a Service that waits for gray's labels": {
			edit: func(_ *appsv1.Deployment, o *CloneOptions) {
				o.Others = []Selection{selection("Service", "web-canary", map[string]string{"app": "web-gray"})}
			},
			want: []string{"Service web-canary"},
		},
		"a template that production would not select": {
			edit: func(_ *appsv1.Deployment, o *CloneOptions) {
				o.Template = &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "other"}}}
			},
			want: []string{"manifest", "app=web"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := load(t, "plain.yaml")
			o := CloneOptions{Target: target(s), Replicas: 1, Image: "registry.example.com/shop/web:v2"}
			c.edit(s.deployment, &o)
			_, _, err := Clone(s.deployment, s.service, o)
			assert.Equal(t, plan.FaultInput, fault(t, err))
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
		})
	}
}

func TestCloneAllows(t *testing.T) {
	for name, edit := range map[string]func(*appsv1.Deployment, *CloneOptions){
		"args behind a command": func(d *appsv1.Deployment, o *CloneOptions) {
			d.Spec.Template.Spec.Containers[0].Args = nil
			d.Spec.Template.Spec.Containers[0].Command = []string{"/app"}
			o.Parameters.Args = []string{"--gray"}
		},
		"a shared claim": func(d *appsv1.Deployment, o *CloneOptions) {
			d.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "nfs"},
			}}}
			o.Claims = map[string][]corev1.PersistentVolumeAccessMode{"nfs": {corev1.ReadWriteMany}}
		},
		"a budget of all pods": func(_ *appsv1.Deployment, o *CloneOptions) {
			o.Others = []Selection{selection(kindPDB, "all", nil)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := load(t, "plain.yaml")
			o := CloneOptions{Target: target(s), Replicas: 1, Image: "registry.example.com/shop/web:v2"}
			edit(s.deployment, &o)
			_, _, err := Clone(s.deployment, s.service, o)
			assert.NoError(t, err)
		})
	}
}

func TestGrayNamesAndValues(t *testing.T) {
	long := strings.Repeat("x", 63)
	for value, want := range map[string]string{"": "gray", "web": "web-gray"} {
		assert.Equal(t, want, grayValue(value))
	}
	assert.LessOrEqual(t, len(grayValue(long)), 63)
	assert.NotEqual(t, grayValue(long), grayValue(long[:62]+"y"))
}

func TestParseManifest(t *testing.T) {
	const template = "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web:v2}]}}\n"
	for name, c := range map[string]struct{ text, want string }{
		"PodTemplate":   {text: "apiVersion: v1\nkind: PodTemplate\n" + template},
		"Deployment":    {text: "apiVersion: apps/v1\nkind: Deployment\nspec:\n  " + template},
		"other kind":    {text: "kind: Pod", want: `kind is "Pod"; allowed are Deployment and PodTemplate`},
		"unknown field": {text: "kind: PodTemplate\ntemplate: {spec: {containres: []}}", want: "containres"},
		"no containers": {text: "kind: PodTemplate\ntemplate: {spec: {}}", want: "no containers"},
		"two documents": {text: "kind: PodTemplate\n---\nkind: PodTemplate\n", want: "several documents"},
		"no YAML":       {text: "kind: [", want: "manifest web.yaml"},
		"comment first": {text: "# Copyright Shop Ltd.\n---\nkind: PodTemplate\n" + template + "---\n# the end\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseManifest("web.yaml", []byte(c.text))
			if c.want != "" {
				assert.Equal(t, plan.FaultInput, fault(t, err))
				assert.ErrorContains(t, err, c.want)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "web:v2", got.Spec.Containers[0].Image)
		})
	}
}

// FuzzParseFiles: no file makes the parsers fall over, and what they take has a container.
func FuzzParseFiles(f *testing.F) {
	f.Add([]byte("kind: PodTemplate\ntemplate: {spec: {containers: [{name: web}]}}\n"))
	f.Add([]byte("apiVersion: batch/v1\nkind: Job\nspec: {template: {spec: {containers: [{name: test}]}}}\n"))
	f.Add([]byte("kind: Deployment\nspec: {template: {spec: {containers: [null]}}}\n---\n#"))
	f.Add([]byte("{\"kind\": \"Deployment\", \"spec\": []}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if template, err := ParseManifest("web.yaml", data); err == nil {
			assert.NotEmpty(t, template.Spec.Containers)
		} else {
			assert.ErrorContains(t, err, "web.yaml")
		}
		if job, err := ParseJob("test.yaml", data); err == nil {
			assert.NotEmpty(t, job.Spec.Template.Spec.Containers)
		} else {
			assert.ErrorContains(t, err, "test.yaml")
		}
	})
}
