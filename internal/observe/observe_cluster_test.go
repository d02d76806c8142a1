package observe

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// shop is the demo app on a real cluster: one pod a side.
type shop struct {
	t    *testing.T
	kube kubernetes.Interface
	ns   string
}

func (s shop) start(side plan.Side, change ...func(*corev1.Container)) {
	s.t.Helper()
	app := corev1.Container{
		Name: "app", Image: "127.0.0.1:5000/shop/app:v1", Args: []string{"--mode=" + string(side)},
		ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)},
		}},
	}
	for _, f := range change {
		f(&app)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: string(side), Labels: map[string]string{"side": string(side)}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{app}},
	}
	_, err := s.kube.CoreV1().Pods(s.ns).Create(s.t.Context(), pod, metav1.CreateOptions{})
	require.NoError(s.t, err)
}

// ask sends n requests to the app in a pod; what it answers does not matter.
func (s shop) ask(side plan.Side, n int) {
	s.t.Helper()
	for range n {
		_, err := s.kube.CoreV1().RESTClient().Get().Namespace(s.ns).Resource("pods").Name(string(side) + ":8080").
			SubResource("proxy").DoRaw(s.t.Context())
		_ = err // a 500, or a crash, is what is asked for
	}
}

// askOn asks for some seconds: one request in ten writes a new error line, and what is written within a quarter of a second
// is weighed once.
func (s shop) askOn(side plan.Side) {
	s.t.Helper()
	for range 20 {
		s.ask(side, 10)
		time.Sleep(logBlock)
	}
}

func (s shop) fault(side plan.Side, faults string) {
	s.t.Helper()
	require.NoError(s.t, s.kube.CoreV1().RESTClient().Post().Namespace(s.ns).Resource("pods").Name(string(side)+":8081").
		SubResource("proxy").Suffix("faults").Body([]byte(faults)).Do(s.t.Context()).Error())
}

func newShop(t *testing.T) shop {
	t.Helper()
	cfg := clustertest.Config(t)
	kube, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	return shop{t: t, kube: kube, ns: clustertest.Namespace(t, cfg)}
}

// watch returns a watch that sees the one pod of each side, and its log. There is no gateway unless change makes one.
func (s shop) watch(change func(*Options)) (w *Watch, findings <-chan judge.Finding, stop func()) {
	s.t.Helper()
	o := Options{
		Kube: s.kube, Target: plan.Target{Namespace: s.ns}, Limits: judge.Defaults(), Metrics: s.kube.CoreV1().RESTClient(),
		Traffic:   func(context.Context) (gray, production judge.Traffic, err error) { return gray, production, nil },
		Selectors: bySide,
	}
	if change != nil {
		change(&o)
	}
	w = New(o)
	ctx, stop := context.WithCancel(s.t.Context())
	findings = w.Watch(ctx)
	require.Eventually(s.t, func() bool {
		sample := w.Sample()
		return sample.OnTrial.Pods == 1 && sample.Reference.Pods == 1 && sample.OnTrial.Streams == 1 && sample.Reference.Streams == 1
	}, 2*time.Minute, 100*time.Millisecond)
	return w, findings, stop
}

// TestWatchOnARealCluster follows real logs and a real crash of one pod a side.
func TestWatchOnARealCluster(t *testing.T) {
	s := newShop(t)
	s.start(plan.Gray)
	s.start(plan.Production)
	w, findings, stop := s.watch(nil)
	next := func(d time.Duration) (judge.Finding, bool) {
		select {
		case f := <-findings:
			return f, true
		case <-time.After(d):
			return judge.Finding{}, false
		}
	}

	// A failure of both sides is no news.
	s.fault(plan.Production, `{"errorShare":1}`)
	s.fault(plan.Gray, `{"errorShare":1}`)
	s.ask(plan.Production, 1)
	time.Sleep(time.Second)
	w.Begin(plan.Gray, 50)
	s.ask(plan.Gray, 3)
	f, found := next(2 * time.Second)
	assert.False(t, found, "%v", f)
	require.NotEmpty(t, w.Sample().OnTrial.Logs, "gray's errors were read")

	// An error line of gray alone is.
	s.fault(plan.Gray, `{"newErrorLog":true}`)
	begun := time.Now()
	s.askOn(plan.Gray)
	f, found = next(10 * time.Second)
	require.True(t, found)
	t.Logf("new error lines found %v after the first request", f.At.Sub(begun))
	assert.Equal(t, []string{"new-error-logs"}, names(f.Checks))
	assert.Contains(t, f.Checks[0].Why, "inventory cache out of step")
	assert.True(t, verdictOf(t, w.Verdict(), "memory").Absent || !w.Sample().NoResources)

	// So is a crash.
	w.Begin(plan.Gray, 50)
	s.fault(plan.Gray, `{"crashAfter":1}`)
	begun = time.Now()
	s.ask(plan.Gray, 1)
	crash := judge.Check{}
	for crash.Name != "restarts" {
		f, found = next(10 * time.Second)
		require.True(t, found)
		for _, c := range f.Checks {
			if c.Name == "restarts" {
				crash = c
			}
		}
	}
	t.Logf("crash found %v after its request", f.At.Sub(begun))
	assert.Contains(t, crash.Why, "app of pod gray: Error, exit code 2")
	assert.Equal(t, "Pod gray", crash.Where)

	// The log of the new container is followed too.
	require.Eventually(t, func() bool { return w.Sample().OnTrial.Pods == 1 }, time.Minute, 100*time.Millisecond)
	w.Begin(plan.Gray, 50)
	s.fault(plan.Gray, `{"newErrorLog":true}`)
	s.askOn(plan.Gray)
	f, found = next(20 * time.Second) // a container that was away for a moment is looked for every 5 s
	require.True(t, found)
	assert.Equal(t, []string{"new-error-logs"}, names(f.Checks))

	// A pod that is deleted ends by nobody's fault.
	w.Begin(plan.Gray, 50)
	require.NoError(t, s.kube.CoreV1().Pods(s.ns).Delete(t.Context(), string(plan.Gray), metav1.DeleteOptions{}))
	f, found = next(5 * time.Second)
	assert.False(t, found, "%v", f)

	stop()
	for f := range findings {
		t.Errorf("after the end: %v", f)
	}
}
