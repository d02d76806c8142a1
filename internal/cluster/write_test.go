package cluster

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// TestTwoServicesOfOneDeployment: the second upgrade does not begin, and the first one goes on.
func TestTwoServicesOfOneDeployment(t *testing.T) {
	c := &Cluster{target: plan.Target{Namespace: "shop", Deployment: "web", Service: "web", Flags: " --context prod"}}
	with := func(annotations ...string) *appsv1.Deployment {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: map[string]string{}}}
		for _, a := range annotations {
			d.Annotations[a] = "7"
		}
		return d
	}
	require.NoError(t, c.alone("Deployment", with()))
	require.NoError(t, c.alone("Deployment", with(plan.FenceKey("web"))))
	require.NoError(t, c.alone("Deployment", with(plan.FenceKey("web"), plan.FenceKey("web-admin"))), "a close is never stopped by the other")
	err := c.alone("Deployment", with(plan.FenceKey("web-admin"), plan.AnnotationUndo))
	var f *plan.Failure
	require.ErrorAs(t, err, &f)
	assert.Equal(t, plan.FaultRefused, f.Fault)
	assert.Contains(t, f.What, "an upgrade of Service web-admin works on Deployment web, too")
	assert.Contains(t, f.Next, "gray-upgrade close --namespace shop --service web-admin --context prod")
}
