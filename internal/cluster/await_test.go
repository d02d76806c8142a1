package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// TestAwaitOfADeploymentThatIsDeleted: nothing is asked of a side that is not there any more.
func TestAwaitOfADeploymentThatIsDeleted(t *testing.T) {
	c := New(Options{Target: plan.Target{Namespace: "shop", Deployment: "web"}})
	err := c.await(t.Context(), goal{
		what: "production pods are not ready", limit: time.Minute,
		look:  func(context.Context) (sight, error) { return sight{}, nil },
		watch: func(context.Context) <-chan struct{} { return nil },
		done:  func(s sight) (bool, int) { return s.whole(), 0 },
	})
	assert.ErrorContains(t, err, "production pods are not ready: the Deployment was deleted meanwhile")
	assert.Equal(t, plan.FaultInfrastructure, fault(t, err))
}

// TestARollThatChangesNothing: there would be no way back from it, and nothing to wait for.
func TestARollThatChangesNothing(t *testing.T) {
	c := New(Options{Target: plan.Target{Namespace: "shop", Deployment: "web"}, Config: config.Config{Image: "registry.example.com/web:latest"}})
	d := &appsv1.Deployment{}
	d.Name, d.Namespace = "web", "shop"
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "web", Image: "registry.example.com/web:latest"}}
	_, err := c.rollOps(t.Context(), d, d.Spec.Template.DeepCopy(), "web-1")
	assert.ErrorContains(t, err, "the roll would change nothing: production is set to registry.example.com/web:latest already")
	assert.Equal(t, plan.FaultInfrastructure, fault(t, err))

	// An older version of this tool may have left such a mark: it is the baseline, and nothing is to be undone.
	hash := Hash(&d.Spec.Template)
	d.Annotations = map[string]string{plan.AnnotationUndo: `{"run":"x","baseline":"` + hash + `","ours":"` + hash + `","patch":[]}`}
	assert.Equal(t, plan.Baseline, templateOf(d, nil))
}
