package cluster

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/golden"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func TestProductionGolden(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		o    ProductionOptions
	}{
		"plain": {file: "plain.yaml", o: ProductionOptions{Image: "registry.example.com/shop/web:v2", Digest: "sha256:ab"}},
		"rich": {file: "rich.yaml", o: ProductionOptions{
			Image: "registry.example.com:5000/shop/checkout@sha256:cd", Digest: "sha256:cd",
			Parameters: config.Parameters{Args: []string{"--mode=production"}, Env: []config.EnvVar{{Name: "TOKEN", Value: "none"}, {Name: "JOBS", Value: "on"}}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := load(t, c.file)
			to, err := Production(s.deployment, c.o)
			require.NoError(t, err)
			forward, err := templatePatch(&s.deployment.Spec.Template, to)
			require.NoError(t, err)
			back, err := templatePatch(to, &s.deployment.Spec.Template)
			require.NoError(t, err)
			rolled, returned := s.deployment.DeepCopy(), &appsv1.Deployment{}
			rolled.Spec.Template = *to
			require.NoError(t, apply(rolled, back, returned))
			assert.Equal(t, Hash(&s.deployment.Spec.Template), Hash(&returned.Spec.Template), "the way back leads to the baseline")
			golden.Equal(t, "production-"+name+".golden.yaml", text(t, map[string]any{
				"forward": append(nameTests(&s.deployment.Spec.Template.Spec, forward), forward...), "back": back,
			}))
		})
	}
}

// TestProductionTwice: args that production has from its last upgrade are not added again.
func TestProductionTwice(t *testing.T) {
	s := load(t, "plain.yaml")
	o := ProductionOptions{Image: "registry.example.com/shop/web:v2", Parameters: config.Parameters{Args: []string{"--mode=production", "-v"}}}
	once, err := Production(s.deployment, o)
	require.NoError(t, err)
	s.deployment.Spec.Template = *once
	twice, err := Production(s.deployment, o)
	require.NoError(t, err)
	assert.Equal(t, Hash(once), Hash(twice))
	assert.Equal(t, []string{"--port=8080", "--mode=production", "-v"}, twice.Spec.Containers[0].Args)
}

func TestHash(t *testing.T) {
	s := load(t, "rich.yaml")
	template := &s.deployment.Spec.Template
	before := Hash(template)
	assert.Len(t, before, 32)

	replicaSets := template.DeepCopy()
	replicaSets.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = "abc"
	assert.Equal(t, before, Hash(replicaSets), "a ReplicaSet's copy is the same template")

	other := template.DeepCopy()
	other.Spec.Containers[0].Env[0].Value = "x"
	assert.NotEqual(t, before, Hash(other))
}

// rolled is production on our template, with the way back as Roll writes it.
func rolled(t *testing.T, d *appsv1.Deployment, image string) *appsv1.Deployment {
	t.Helper()
	to, err := Production(d, ProductionOptions{Image: image})
	require.NoError(t, err)
	back, err := templatePatch(to, &d.Spec.Template)
	require.NoError(t, err)
	note, err := json.Marshal(undo{Run: "1", Baseline: Hash(&d.Spec.Template), Ours: Hash(to), Patch: back})
	require.NoError(t, err)
	after := d.DeepCopy()
	after.Spec.Template = *to
	after.Annotations[plan.AnnotationUndo] = string(note)
	return after
}

func TestTemplateOf(t *testing.T) {
	const v2, v3 = "registry.example.com/shop/web:v2", "registry.example.com/shop/web:v3"
	s := load(t, "plain.yaml")
	gray, _, err := Clone(s.deployment, s.service, CloneOptions{Target: target(s), Image: v2})
	require.NoError(t, err)
	after := rolled(t, s.deployment, v2)
	with := func(d *appsv1.Deployment, image string) *appsv1.Deployment {
		d = d.DeepCopy()
		d.Spec.Template.Spec.Containers[0].Image = image
		return d
	}
	unreadable := s.deployment.DeepCopy()
	unreadable.Annotations[plan.AnnotationUndo] = "{"
	for name, c := range map[string]struct {
		production, gray *appsv1.Deployment
		want             plan.Template
	}{
		"untouched":                           {s.deployment, nil, plan.Baseline},
		"gray cloned from it":                 {s.deployment, gray, plan.Baseline},
		"changed after gray was cloned":       {with(s.deployment, v3), gray, plan.Foreign},
		"changed, and nothing of ours stands": {with(s.deployment, v3), nil, plan.Baseline},
		"rolled":                              {after, gray, plan.Ours},
		"rolled, gray gone":                   {after, nil, plan.Ours},
		"given back, note still there":        {with(after, "registry.example.com/shop/web:v1"), gray, plan.Baseline},
		"changed after the roll":              {with(after, v3), gray, plan.Foreign},
		"the note cannot be read":             {unreadable, gray, plan.Foreign},
	} {
		assert.Equal(t, c.want, templateOf(c.production, c.gray), name)
	}
	before, err := baseline(after)
	require.NoError(t, err)
	assert.Equal(t, Hash(&s.deployment.Spec.Template), Hash(&before.Spec.Template))
	_, err = baseline(unreadable)
	assert.ErrorContains(t, err, plan.AnnotationUndo)
}
