package e2e

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	watchdogAfter = 10 * time.Second
	watchdogPods  = plan.LabelWatchdog + "=web"
	watchdogImage = "--watchdog-image=127.0.0.1:5000/gray-upgrade:dev"
)

// watched are the flags of a run that has a watchdog.
func watched(extra ...string) []string {
	return quickly(append([]string{image("v2"), "--watchdog=required", watchdogImage, "--watchdog-after=" + watchdogAfter.String()}, extra...)...)
}

// watchedShop is a shop whose namespace has the objects of tekton/rbac.yaml.
func watchedShop(t *testing.T, o Options) (*Shop, map[string]string) {
	t.Helper()
	s, _ := shopFor(t, o)
	text, err := os.ReadFile("../../tekton/rbac.yaml")
	require.NoError(t, err)
	own := "gray-upgrade-gateway-" + s.Namespace
	clustertest.Apply(t, s.Rest, strings.NewReplacer("namespace: shop", "namespace: "+s.Namespace, "gray-upgrade-gateway", own).Replace(string(text)))
	t.Cleanup(func() {
		assert.NoError(t, s.Kube.RbacV1().Roles("gateway").Delete(contextOf(t), own, metav1.DeleteOptions{}))
		assert.NoError(t, s.Kube.RbacV1().RoleBindings("gateway").Delete(contextOf(t), own, metav1.DeleteOptions{}))
	})
	before, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	return s, before
}

// readyWatchdog returns the watchdog's pod, other than the one named, that is ready; nil: none is.
func readyWatchdog(ctx context.Context, s *Shop, other string) *corev1.Pod {
	pods, err := s.Pods(ctx, watchdogPods)
	if err != nil {
		return nil
	}
	for i, pod := range pods {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && pod.Name != other && pod.DeletionTimestamp == nil {
				return &pods[i]
			}
		}
	}
	return nil
}

// watchdogGone waits until no pod of the watchdog is left, and with it no upgrade.
func watchdogGone(t *testing.T, s *Shop) {
	t.Helper()
	require.Eventually(t, func() bool {
		pods, err := s.Pods(t.Context(), watchdogPods)
		return err == nil && len(pods) == 0
	}, 2*time.Minute, 100*time.Millisecond, "the watchdog is left")
}

// atWeight20 starts a run and returns when its users are on gray.
func atWeight20(t *testing.T, s *Shop, flags ...string) *Tool {
	t.Helper()
	tool, err := s.StartTool(t.Context(), t.TempDir(), "run", flags...)
	require.NoError(t, err)
	reaches(t, tool, "watch gray at weight 20")
	return tool
}

func TestWatchdogClosesForARunnerThatIsKilled(t *testing.T) {
	t.Parallel()
	s, before := watchedShop(t, Options{Replicas: 1})
	load, err := s.StartLoad(t.TempDir(), 50)
	require.NoError(t, err)
	tool := atWeight20(t, s, watched("--step-duration=2m", "--timeout=15m", forwarded)...)
	assert.NotNil(t, readyWatchdog(t.Context(), s, ""), "users are on gray without a watchdog")
	time.Sleep(3 * time.Second)
	allowed := watchdogAfter + 5*time.Second + 40*pace(t, s) // what a busy machine adds is not its fault
	killed := time.Now()
	require.NoError(t, tool.Signal(syscall.SIGKILL))
	_, err = tool.Wait()
	require.Error(t, err)
	watchdogGone(t, s)
	summary, answers, err := load.Stop()
	require.NoError(t, err)
	var last time.Time
	for _, a := range answers {
		if a.Side == "gray" && a.At().After(last) {
			last = a.At()
		}
	}
	t.Logf("last answer of gray %.1f s after the kill, of %s", last.Sub(killed).Seconds(), allowed)
	assert.True(t, last.After(killed), "the load never met gray")
	assert.Less(t, last.Sub(killed), allowed)
	assert.Zero(t, summary.Lost)
	atHome(t, s, before, "v1")
	_, status, err := s.RunTool(t.Context(), t.TempDir(), "status")
	require.NoError(t, err)
	assert.Contains(t, status, "running     nothing")
	assert.Contains(t, status, "interrupted")
	assert.Contains(t, status, "brought home by watchdog/"+s.Namespace+"/web-watchdog-")
	assert.NotContains(t, status, "on hold")
}

// TestWatchdogClosesForARunnerThatIsStopped, or that reaches the cluster no more: when it goes on it writes nothing.
func TestWatchdogClosesForARunnerThatIsStopped(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(t *testing.T, tool *Tool, p *Proxy) (goOn func()){
		"paused": func(t *testing.T, tool *Tool, _ *Proxy) func() {
			require.NoError(t, tool.Signal(syscall.SIGSTOP))
			return func() { _ = tool.Signal(syscall.SIGCONT) }
		},
		"cut off": func(_ *testing.T, _ *Tool, p *Proxy) func() { return p.Cut() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, before := watchedShop(t, Options{Replicas: 1})
			proxy, flag := proxied(t, s, "")
			tool := atWeight20(t, s, watched("--step-duration=2m", "--timeout=15m", flag)...)
			goOn := stop(t, tool, proxy)
			t.Cleanup(goOn)
			watchdogGone(t, s)
			atHome(t, s, before, "v1")
			versions := s.versions(t)
			goOn()
			code, err := tool.Wait()
			require.NoError(t, err)
			assert.Equal(t, 5, code, tool.Output())
			assert.Equal(t, versions, s.versions(t), "the run that lost its Lease wrote something")
			atHome(t, s, before, "v1")
		})
	}
}

// versions are the resourceVersions of what an upgrade writes.
func (s *Shop) versions(t *testing.T) []string {
	t.Helper()
	route, err := s.Dynamic.Resource(httpRoutes).Namespace(s.Namespace).Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	lease, err := s.Kube.CoordinationV1().Leases(s.Namespace).Get(t.Context(), "gray-upgrade-web", metav1.GetOptions{})
	require.NoError(t, err)
	d, err := s.Deployment(t.Context(), "web")
	require.NoError(t, err)
	return []string{route.GetResourceVersion(), lease.ResourceVersion, d.ResourceVersion}
}

// TestWatchdogThatIsDeletedIsReplaced: the weight does not rise before another one stands by, and then it does.
func TestWatchdogThatIsDeletedIsReplaced(t *testing.T) {
	t.Parallel()
	s, before := watchedShop(t, Options{Replicas: 1})
	route, err := s.WatchRoute(contextOf(t))
	require.NoError(t, err)
	defer route.Stop()
	tool := atWeight20(t, s, watched("--step-duration=3s")...)
	first := readyWatchdog(t.Context(), s, "")
	require.NotNil(t, first)
	require.NoError(t, s.Kube.CoreV1().Pods(s.Namespace).Delete(t.Context(), first.Name, metav1.DeleteOptions{}))
	var second time.Time
	require.Eventually(t, func() bool {
		pod := readyWatchdog(t.Context(), s, first.Name)
		if pod == nil {
			return false
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady {
				second = c.LastTransitionTime.Time
			}
		}
		return true
	}, time.Minute, 50*time.Millisecond, "the watchdog is not replaced")
	reaches(t, tool, "watch gray at weight 100")
	require.NoError(t, tool.Signal(syscall.SIGTERM))
	code, err := tool.Wait()
	require.NoError(t, err)
	require.Equal(t, 130, code, tool.Output())
	for _, w := range route.Weights() {
		if w.Percent > 20 {
			assert.False(t, w.At.Before(second), "weight %d at %s, the second watchdog was ready at %s", w.Percent, w.At, second)
		}
	}
	watchdogGone(t, s)
	atHome(t, s, before, "v1")
}

func TestWatchdogIsMissing(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 1})
	code, output, err := s.RunTool(t.Context(), t.TempDir(), "run", watched()...)
	require.NoError(t, err)
	assert.Equal(t, 2, code, output)
	assert.Contains(t, output, "watchdog: required, and it lacks the ServiceAccount gray-upgrade-watchdog in namespace "+s.Namespace)
	atHome(t, s, before, "v1")

	code, output, err = s.RunTool(t.Context(), t.TempDir(), "run", watched("--watchdog=auto", "--dry-run")...)
	require.NoError(t, err)
	assert.Equal(t, 0, code, output)
	assert.Contains(t, output, "no watchdog: it lacks the ServiceAccount gray-upgrade-watchdog")
	assert.NotContains(t, output, "start the watchdog")
	atHome(t, s, before, "v1")
}
