package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// rewrite writes the route's rules as somebody else does.
func (s *Shop) rewrite(ctx context.Context, by string, rules func(now []any) []any) error {
	routes := s.Dynamic.Resource(httpRoutes).Namespace(s.Namespace)
	for {
		u, err := routes.Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		now, _, err := unstructured.NestedSlice(u.Object, "spec", "rules")
		if err != nil {
			return err
		}
		if err := unstructured.SetNestedSlice(u.Object, rules(now), "spec", "rules"); err != nil {
			return err
		}
		_, err = routes.Update(ctx, u, metav1.UpdateOptions{FieldManager: by})
		if err == nil || !strings.Contains(err.Error(), "the object has been modified") {
			return err
		}
	}
}

// A move is what somebody else does while users are on gray.
type move struct {
	name string
	make func(t *testing.T, s *Shop)
	says []string
}

// moves end an upgrade: by no fault of the image, with users on production.
var moves = []move{
	{
		name: "a person writes another weight",
		make: func(t *testing.T, s *Shop) {
			require.NoError(t, s.rewrite(t.Context(), "kubectl-edit", func(rules []any) []any {
				for _, b := range rules[0].(map[string]any)["backendRefs"].([]any) {
					b.(map[string]any)["weight"] = int64(50)
				}
				return rules
			}))
		},
		says: []string{"the weight in the route is 50, and this run wrote 20", "HTTPRoute"},
	},
	{
		name: "a GitOps controller reverts the route every three seconds",
		make: func(t *testing.T, s *Shop) {
			heal := func(ctx context.Context) {
				assert.NoError(t, s.rewrite(ctx, "fleet-controller", func(rules []any) []any {
					rules[0].(map[string]any)["backendRefs"] = []any{map[string]any{"name": "web", "port": int64(80)}}
					return rules
				}))
			}
			heal(t.Context())
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				for next := time.NewTicker(3 * time.Second); ; heal(context.WithoutCancel(ctx)) {
					select {
					case <-ctx.Done():
						next.Stop()
						return
					case <-next.C:
					}
				}
			}()
			t.Cleanup(func() {
				stop()
				<-done
			})
		},
		says: []string{"the weight in the route is 0, and this run wrote 20", "GitOps"},
	},
	{
		name: "a hotfix of production",
		make: func(t *testing.T, s *Shop) {
			fix := `{"spec":{"template":{"metadata":{"annotations":{"shop.test/hotfix":"1"}}}}}`
			_, err := s.Kube.AppsV1().Deployments(s.Namespace).Patch(t.Context(), "web", types.StrategicMergePatchType, []byte(fix), metav1.PatchOptions{})
			require.NoError(t, err)
		},
		says: []string{"production's pod template was changed by somebody else", "not overwritten"},
	},
}

// TestTheWorldMoves: what others do in mid-run ends the upgrade with users at home, is named, and is not undone.
func TestTheWorldMoves(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 1})
	for _, m := range moves {
		t.Run(m.name, func(t *testing.T) {
			tool := atWeight20(t, s, quickly(image("v2"), "--step-duration=1m")...)
			m.make(t, s)
			code, err := tool.Wait()
			require.NoError(t, err)
			assert.Equal(t, 5, code, tool.Output())
			for _, want := range m.says {
				assert.Contains(t, tool.Output(), want)
			}
			_, status, err := s.RunTool(t.Context(), t.TempDir(), "status")
			require.NoError(t, err)
			assert.NotContains(t, status, "on hold")
		})
	}
	fixed, err := s.Deployment(t.Context(), "web")
	require.NoError(t, err)
	assert.Equal(t, "1", fixed.Spec.Template.Annotations["shop.test/hotfix"])
	after, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	for _, line := range Diff(before, after) {
		assert.Regexp(t, `^deployments/web: [+-] ("shop.test/hotfix": "1"|"annotations": \{|"(labels|creationTimestamp)": .*|[{}],?)$`, line, "left behind")
	}
}

// scale gives production so many pods, and does not wait.
func (s *Shop) scale(t *testing.T, replicas int) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	_, err := s.Kube.AppsV1().Deployments(s.Namespace).Patch(t.Context(), "web", types.MergePatchType, patch, metav1.PatchOptions{})
	require.NoError(t, err)
}

// grown is an upgrade in which production grows, and loses a pod to an eviction: gray grows with it, and nobody is left alone.
func grown(t *testing.T, s *Shop, flags ...string) {
	t.Helper()
	guard, err := s.Guard(contextOf(t))
	require.NoError(t, err)
	tool := atWeight20(t, s, quickly(flags...)...)
	s.scale(t, 2)
	require.Eventually(t, func() bool {
		d, err := s.Deployment(t.Context(), "web")
		return err == nil && d.Status.ReadyReplicas == 2
	}, time.Minute, 50*time.Millisecond, "production grows")
	pods, err := s.Pods(t.Context(), ProductionSelector)
	require.NoError(t, err)
	require.NoError(t, s.Kube.CoreV1().Pods(s.Namespace).EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pods[0].Name}}))
	code, err := tool.Wait()
	require.NoError(t, err)
	assert.Equal(t, 0, code, tool.Output())
	assert.Empty(t, guard.Stop(), "a side with users and no serving endpoint")
	assert.Contains(t, tool.Output(), "gray grows to 2 pods, not 1: production has 2 now")
}
