//go:build crash

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// restart takes the API server away for so long, as it goes when it restarts: what is open breaks, what comes is refused.
func (p *Proxy) restart(away time.Duration) {
	p.Before(func(Call) *http.Response { panic(http.ErrAbortHandler) })
	p.server.CloseClientConnections()
	time.AfterFunc(away, func() { p.Before(nil) })
}

// TestAnAPIServerThatRestarts while users are on gray, and while production is rolled: nobody has to be brought home for it.
func TestAnAPIServerThatRestarts(t *testing.T) {
	for name, step := range map[string]string{"in a watch": "watch gray at weight 20", "in the roll": "roll production"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, before := shopFor(t, Options{Replicas: 1})
			proxy, flag := proxied(t, s, "")
			tool, err := s.StartTool(t.Context(), t.TempDir(), "run", quickly(image("v2"), "--step-duration=8s", flag)...)
			require.NoError(t, err)
			reaches(t, tool, step)
			time.Sleep(time.Second)
			proxy.restart(6 * time.Second)
			code, err := tool.Wait()
			require.NoError(t, err)
			assert.Equal(t, 0, code, tool.Output())
			atHome(t, s, before, "v2")
			tally.add("API server: away for 6 s "+name, 1, "promoted")
		})
	}
}

// TestWatchdogAndRerunAtTheSameMoment: one of them brings users home, the other one waits for it or is refused.
func TestWatchdogAndRerunAtTheSameMoment(t *testing.T) {
	t.Parallel()
	s, before := watchedShop(t, Options{Replicas: 1})
	guard, err := s.Guard(contextOf(t))
	require.NoError(t, err)
	const leaseTime = "--watchdog-after=15s" // as long as a Lease lives: both find it dead at the same moment
	killed := atWeight20(t, s, watched("--step-duration=2m", "--timeout=15m", leaseTime)...)
	require.NoError(t, killed.Signal(syscall.SIGKILL))
	_, err = killed.Wait()
	require.Error(t, err)
	rerun, err := s.StartTool(t.Context(), t.TempDir(), "run", watched(leaseTime)...)
	require.NoError(t, err)
	code, err := rerun.Wait()
	require.NoError(t, err)
	assert.Contains(t, []int{0, 3}, code, rerun.Output())
	assert.Empty(t, guard.Stop(), "a side with users and no serving endpoint")
	watchdogGone(t, s)
	version := map[int]string{0: "v2", 3: "v1"}[code]
	atHome(t, s, before, version)
	tally.add("Watchdog and rerun at the same moment", 1, map[int]string{0: "promoted", 3: "closed by the watchdog, rerun refused"}[code])
}

// TestABudgetThatAllowsNoEviction hinders no upgrade, and still allows none at its end.
func TestABudgetThatAllowsNoEviction(t *testing.T) {
	t.Parallel()
	s, _ := shopFor(t, Options{Replicas: 1})
	_, err := s.Kube.PolicyV1().PodDisruptionBudgets(s.Namespace).Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr.To(intstr.FromString("100%")), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	evict := func() error {
		pods, err := s.Pods(t.Context(), ProductionSelector)
		require.NoError(t, err)
		return s.Kube.CoreV1().Pods(s.Namespace).EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pods[0].Name}})
	}
	require.Eventually(t, func() bool { return apierrors.IsTooManyRequests(evict()) }, time.Minute, 100*time.Millisecond)
	before, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	code, output, err := s.RunTool(t.Context(), t.TempDir(), "run", quickly(image("v2"))...)
	require.NoError(t, err)
	assert.Equal(t, 0, code, output)
	assert.True(t, apierrors.IsTooManyRequests(evict()))
	atHome(t, s, before, "v2")
}

// TestAQuotaThatRefusesGrayPods in mid-run, when users are on gray already: it ends at home, by no fault of the image.
func TestAQuotaThatRefusesGrayPods(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 2})
	tool := atWeight20(t, s, quickly(image("v2"), "--step-duration=5s")...)
	quotas := s.Kube.CoreV1().ResourceQuotas(s.Namespace)
	_, err := quotas.Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "full"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	code, err := tool.Wait()
	require.NoError(t, err)
	assert.Equal(t, 5, code, tool.Output())
	for _, want := range []string{"web-gray", "exceeded quota: full"} {
		assert.Contains(t, tool.Output(), want)
	}
	require.NoError(t, quotas.Delete(t.Context(), "full", metav1.DeleteOptions{}))
	atHome(t, s, before, "v1")
}

// TestTheServiceIsDeleted while it has users: they go to gray, and home when it is there again.
func TestTheServiceIsDeleted(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 1})
	tool := atWeight20(t, s, quickly(image("v2"), "--step-duration=1m")...)
	services := s.Kube.CoreV1().Services(s.Namespace)
	web, err := services.Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, services.Delete(t.Context(), "web", metav1.DeleteOptions{}))
	reaches(t, tool, "production's Service is gone, and gray has its users: apply it again")
	web.ResourceVersion, web.UID = "", ""
	_, err = services.Create(t.Context(), web, metav1.CreateOptions{})
	require.NoError(t, err)
	anew, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	before["services/web"] = anew["services/web"] // another UID and time of creation
	code, err := tool.Wait()
	require.NoError(t, err)
	assert.Equal(t, 5, code, tool.Output())
	assert.Contains(t, tool.Output(), "production's Service was deleted by somebody else")
	atHome(t, s, before, "v1")
	tally.add("Service deleted while users are on gray, and applied again", 1, "closed")
}

// TestNodeStopsAnswering takes the only node away for as long as it takes Kubernetes to notice: it runs alone. Nobody is to
// blame, and when the node is back users are at home.
func TestNodeStopsAnswering(t *testing.T) {
	s, before := shopFor(t, Options{Replicas: 1})
	tool := atWeight20(t, s, quickly(image("v2"), "--step-duration=5m", "--timeout=25m")...)
	kubelet := kubeletOf(t)
	require.NoError(t, syscall.Kill(kubelet, syscall.SIGSTOP))
	goOn := sync.OnceFunc(func() { assert.NoError(t, syscall.Kill(kubelet, syscall.SIGCONT)) })
	t.Cleanup(goOn)
	require.Eventually(t, func() bool {
		pods, err := s.Pods(t.Context(), GraySelector)
		return err == nil && len(pods) == 1 && slices.ContainsFunc(pods[0].Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status != corev1.ConditionTrue
		})
	}, 5*time.Minute, time.Second, "Kubernetes does not notice")
	time.Sleep(20 * time.Second)
	goOn()
	code, err := tool.Wait()
	require.NoError(t, err)
	assert.Equal(t, 5, code, tool.Output())
	_, status, err := s.RunTool(t.Context(), t.TempDir(), "status")
	require.NoError(t, err)
	assert.NotContains(t, status, "on hold")
	atHome(t, s, before, "v1")
	tally.add("Node does not answer until Kubernetes calls it lost", 1, "closed")
}

// kubeletOf finds the kubelet of this cluster, which has the tests for a descendant of the same parent.
func kubeletOf(t *testing.T) int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, file := range all {
		line, err := os.ReadFile(file)
		words := strings.Split(string(line), "\x00")
		if err != nil || len(words) < 2 || filepath.Base(words[0]) != "kube" || words[1] != "kubelet" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		require.NoError(t, err)
		return pid
	}
	t.Fatal("no kubelet")
	return 0
}
