package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/state"
)

// TestFinallyTakesOverWhatItsOwnPipelineRunHolds: the holder that counts is the one in the Lease.
func TestFinallyTakesOverWhatItsOwnPipelineRunHolds(t *testing.T) {
	kube := fake.NewClientset()
	lease := state.New(state.Options{Kube: kube, Namespace: "shop", Service: "web", Identity: plan.Identity{Run: "close"}})
	env := map[string]string{"GRAY_CI": "tekton", "GRAY_RUN": "tekton/shop/deploy-7/deploy-7-close/0"}
	var out bytes.Buffer
	s := newSession(world{Getenv: func(name string) string { return env[name] }, Stdout: &out, Stderr: &out})
	assert.False(t, s.takesOver(t.Context(), lease), "no Lease: nobody to be taken over")

	leases := kube.CoordinationV1().Leases("shop")
	have, err := leases.Create(t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: "gray-upgrade-web"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To("tekton/shop/deploy-8/deploy-8-upgrade/0")},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	assert.False(t, s.takesOver(t.Context(), lease), "another PipelineRun upgrades: this one was refused")

	have.Spec.HolderIdentity = ptr.To("tekton/shop/deploy-7/deploy-7-upgrade/0")
	_, err = leases.Update(t.Context(), have, metav1.UpdateOptions{})
	require.NoError(t, err)
	assert.True(t, s.takesOver(t.Context(), lease), "our own task, still ending")
}
