package e2e

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// TestGrayIsTakenAway deletes gray under its users: they go home, nothing is left, and the image is not blamed.
func TestGrayIsTakenAway(t *testing.T) {
	t.Parallel()
	for what, take := range map[string]func(ctx context.Context, s *Shop) error{
		"the pod": func(ctx context.Context, s *Shop) error {
			return s.Kube.CoreV1().Pods(s.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: GraySelector})
		},
		"the Deployment": func(ctx context.Context, s *Shop) error {
			return s.Kube.AppsV1().Deployments(s.Namespace).Delete(ctx, "web-gray", metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationForeground)})
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, before := shopFor(t, Options{Replicas: 1})
			load, err := s.StartLoad(t.TempDir(), 40)
			require.NoError(t, err)
			tool, err := s.StartTool(t.Context(), t.TempDir(), "run", quickly(image("v2"), "--step-duration=8s")...)
			require.NoError(t, err)
			reaches(t, tool, "watch gray at weight 20")
			time.Sleep(time.Second) // users are on gray
			require.NoError(t, take(t.Context(), s))
			code, err := tool.Wait()
			require.NoError(t, err)
			_, _, err = load.Stop()
			require.NoError(t, err)
			if code == 0 && what == "the pod" { // its replacement was proven and served before anybody looked
				atHome(t, s, before, "v2")
				return
			}
			assert.Equal(t, 5, code, tool.Output())
			_, status, err := s.RunTool(t.Context(), t.TempDir(), "status")
			require.NoError(t, err)
			assert.NotContains(t, status, "on hold")
			atHome(t, s, before, "v1")
		})
	}
}

// TestCloseAfterTheRouteWasDeleted: what an unfinished upgrade was about stands in its record.
func TestCloseAfterTheRouteWasDeleted(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 1})
	tool := atWeight20(t, s, quickly(image("v2"), "--step-duration=1m")...)
	require.NoError(t, tool.Signal(syscall.SIGKILL))
	_, err := tool.Wait()
	require.Error(t, err)
	require.NoError(t, s.Dynamic.Resource(httpRoutes).Namespace(s.Namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	code, output, err := s.RunTool(t.Context(), t.TempDir(), "close")
	require.NoError(t, err)
	assert.Equal(t, 0, code, output)
	delete(before, "httproutes/web")
	atHome(t, s, before, "v1")
}

// TestTwoServicesOfOneRoute upgrades both at the same time, each behind a path of its own.
func TestTwoServicesOfOneRoute(t *testing.T) {
	t.Parallel()
	s, _ := shopFor(t, Options{Replicas: 2, Cart: true})
	rules := `[{"op":"replace","path":"/spec/rules","value":[
		{"matches":[{"path":{"type":"PathPrefix","value":"/cart"}}],"backendRefs":[{"name":"cart","port":80}]},
		{"matches":[{"path":{"type":"PathPrefix","value":"/"}}],"backendRefs":[{"name":"web","port":80}]}]}]`
	_, err := s.Dynamic.Resource(httpRoutes).Namespace(s.Namespace).Patch(t.Context(), "web", types.JSONPatchType, []byte(rules), metav1.PatchOptions{})
	require.NoError(t, err)
	before, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	cart, err := s.StartTool(t.Context(), t.TempDir(), "run", quickly(image("v2"), "--service=cart")...)
	require.NoError(t, err)
	code, output, err := s.RunTool(t.Context(), t.TempDir(), "run", quickly(image("v2"))...)
	require.NoError(t, err)
	assert.Equal(t, 0, code, output)
	code, err = cart.Wait()
	require.NoError(t, err)
	assert.Equal(t, 0, code, cart.Output())
	after, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	for _, line := range Diff(before, after) {
		assert.True(t, strings.HasPrefix(line, "deployments/") && strings.Contains(line, `"image":`), "left behind: %s", line)
	}
}

// TestUsersAScalerAndABudget upgrades a service that has all three, and names no version in its answers: no request is
// lost, and scaler and budget are as before at the end.
func TestUsersAScalerAndABudget(t *testing.T) {
	t.Parallel()
	s, _ := shopFor(t, Options{Replicas: 2, Args: []string{"--name-version=false"}})
	scalers := s.Kube.AutoscalingV2().HorizontalPodAutoscalers(s.Namespace)
	_, err := scalers.Create(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, MaxReplicas: 5,
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = s.Kube.PolicyV1().PodDisruptionBudgets(s.Namespace).Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr.To(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	before, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	load, err := s.StartLoad(t.TempDir(), 50)
	require.NoError(t, err)
	tool, err := s.StartTool(t.Context(), t.TempDir(), "run", quickly(image("v2"))...)
	require.NoError(t, err)
	reaches(t, tool, "watch gray at weight 20")
	pinned, err := scalers.Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, int32(2), *pinned.Spec.MinReplicas)
	code, err := tool.Wait()
	require.NoError(t, err)
	assert.Equal(t, 0, code, tool.Output())
	summary, err := tool.File("summary.md")
	require.NoError(t, err)
	_, differs, ok := strings.Cut(summary, "this differs from before")
	require.True(t, ok, summary)
	assert.Equal(t, 1, strings.Count(differs, "<code>Deployment web</code>"), differs)
	assert.Contains(t, differs, "containers&#91;web&#93;.image")
	replays(t, tool)
	users, answers, err := load.Stop()
	require.NoError(t, err)
	assert.Zero(t, users.Lost, "of %d requests: %v", users.Requests, users.Whys)
	assert.Zero(t, users.Requests-users.Codes["200"], "%v", users.Codes)
	assert.True(t, slices.ContainsFunc(answers, func(a Answer) bool { return a.Side == "gray" }), "no user met gray: it shows nothing")
	atHome(t, s, before, "v2")
}
