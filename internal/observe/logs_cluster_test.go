package observe

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// TestLogsOfARealKubelet: what a container writes is heard once, also its last words, through two crashes.
func TestLogsOfARealKubelet(t *testing.T) {
	s := newShop(t)
	s.start(plan.Gray)
	s.start(plan.Production)
	w, findings, stop := s.watch(func(o *Options) { o.Limits.NewErrorLogs, o.Limits.Restarts, o.Metrics = 1000, 1000, nil })
	w.Begin(plan.Gray, 50)

	for crashes := range 2 {
		s.fault(plan.Gray, `{"crashAfter":1}`)
		s.ask(plan.Gray, 1)
		require.Eventually(t, func() bool { return s.restarts() == crashes+1 && w.Sample().OnTrial.Pods == 1 }, time.Minute, 100*time.Millisecond)
		s.ask(plan.Gray, 10)
		assert.Eventually(t, func() bool { return lastWords(w.Sample()) == crashes+1 }, 30*time.Second, 100*time.Millisecond,
			"%d crashes: %v", crashes+1, w.Sample().OnTrial.Logs)
	}
	time.Sleep(2 * lastRetry) // for doubles to come
	sample := w.Sample()
	assert.Equal(t, 2, lastWords(sample), "%v", sample.OnTrial.Logs)
	assert.GreaterOrEqual(t, sample.OnTrial.Lines, 20, "a line for each request")
	assert.Greater(t, sample.OnTrial.Bytes, 20*sample.OnTrial.Lines)
	assert.Zero(t, sample.OnTrial.LogsDropped+sample.Reference.LogsDropped)
	t.Logf("gray wrote %d lines, %v", sample.OnTrial.Lines, sample.OnTrial.Levels)

	stop()
	for range findings {
		continue // only its end matters
	}
}

func (s shop) restarts() int {
	s.t.Helper()
	pod, err := s.kube.CoreV1().Pods(s.ns).Get(s.t.Context(), string(plan.Gray), metav1.GetOptions{})
	require.NoError(s.t, err)
	n := 0
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Running != nil && pod.Status.Phase == corev1.PodRunning {
			n += int(c.RestartCount)
		}
	}
	return n
}

// lastWords counts what the app writes when it crashes.
func lastWords(s judge.Sample) int {
	n := 0
	for _, l := range s.OnTrial.Logs {
		if strings.Contains(l.Line, "out of order, giving up") {
			n += l.Count
		}
	}
	return n
}
