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

// TestThePostStepTakesOverItsOwnJobOnly: main may have been killed while it waited for another one.
func TestThePostStepTakesOverItsOwnJobOnly(t *testing.T) {
	kube := fake.NewClientset()
	lease := state.New(state.Options{Kube: kube, Namespace: "shop", Service: "web", Identity: plan.Identity{Run: "close"}})
	env := map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "shop/web", "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_JOB": "deploy", "RUNNER_NAME": "r1"}
	var out bytes.Buffer
	s := newSession(world{Getenv: func(name string) string { return env[name] }, Stdout: &out, Stderr: &out})
	leases := kube.CoordinationV1().Leases("shop")
	for holder, takes := range map[string][2]bool{ // as the post step, as a person's close
		"github/shop/web/7/1/deploy/r1":   {true, true},
		"github/shop/web/8/1/deploy/r2":   {false, true},
		"watchdog/shop/web-watchdog-5x2b": {true, true},
	} {
		_, err := leases.Create(t.Context(), &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: "gray-upgrade-web"}, Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To(holder)},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		for i, after := range []bool{true, false} {
			s.after = after
			assert.Equal(t, takes[i], s.takesOver(t.Context(), lease), "%s, post step: %v", holder, after)
		}
		require.NoError(t, leases.Delete(t.Context(), "gray-upgrade-web", metav1.DeleteOptions{}))
	}
}
