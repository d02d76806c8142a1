package observe

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// TestAPodThatLeaksAndBurns is read by a real metrics-server: its leak is found before the kernel ends it.
func TestAPodThatLeaksAndBurns(t *testing.T) {
	s := newShop(t)
	s.start(plan.Gray, func(c *corev1.Container) {
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")}
	})
	s.start(plan.Production)

	begun := time.Now()
	w, findings, stop := s.watch(func(o *Options) {
		o.Traffic = func(context.Context) (gray, production judge.Traffic, err error) {
			served := judge.Traffic{Requests: 100 * time.Since(begun).Seconds()}
			return served, served, nil
		}
	})
	s.fault(plan.Gray, `{"leakMBPerSecond":0.7,"cpuBurn":0.2}`)
	w.Begin(plan.Gray, 50)
	faulty := time.Now()

	select {
	case f := <-findings:
		t.Logf("found after %v: %s", f.At.Sub(faulty).Round(time.Second), f.Checks[0].Why)
		require.Equal(t, []string{"memory-growth"}, names(f.Checks))
		assert.False(t, f.Infrastructure)
		assert.Regexp(t, `at this slope the limit of 256 MiB is reached in \d+ min`, f.Checks[0].Why)
	case <-time.After(5 * time.Minute):
		t.Fatalf("nothing found: %+v", w.Verdict())
	}
	checks := w.Verdict()
	for _, name := range []string{"memory", "cpu", "memory-growth"} {
		c := verdictOf(t, checks, name)
		t.Log(c.Why)
		assert.Equal(t, judge.Fail, c.Verdict, "%s: %s", name, c.Why)
	}
	for _, u := range slices.Concat(w.Sample().OnTrial.Usage, w.Sample().Reference.Usage) {
		assert.False(t, u.Warming, u.Pod)
		for i, r := range u.Readings[1:] {
			assert.InDelta(t, 15, r.At.Sub(u.Readings[i].At).Seconds(), 10, "pod %s", u.Pod)
		}
	}
	stop()
	for range findings {
		continue
	}
}
