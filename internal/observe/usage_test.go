package observe

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/replay"
)

// resources is a story with a metrics.k8s.io that reads every pod once in ten seconds; memory is in MiB, since the story
// began.
func resources(t *testing.T, memory func(pod string, since time.Duration) float64, tell func(t *testing.T, s *scene)) {
	t.Helper()
	bubble(t, func(t *testing.T, s *scene) {
		begun := time.Now()
		s.api.metrics = func(selector string) (int, string) {
			at := time.Now().Truncate(10 * time.Second)
			pods := []string{"cart-1", "cart-2", "cart-3", "cart-4"}
			if strings.Contains(selector, "gray") {
				pods = []string{"cart-gray-1", "cart-gray-2"}
			}
			var items []string
			for _, pod := range pods {
				items = append(items, fmt.Sprintf(`{"metadata":{"name":"%s"},"timestamp":"%s","window":"10s","containers":[
					{"name":"app","usage":{"cpu":"100m","memory":"%.0fKi"}},{"name":"proxy","usage":{"cpu":"50000000n","memory":"1Gi"}}]}`,
					pod, at.UTC().Format(time.RFC3339), 1024*memory(pod, at.Sub(begun))))
			}
			return 200, `{"kind":"PodMetricsList","items":[` + strings.Join(items, ",") + `]}`
		}
		s.Metrics, s.noResources = s.api.client(t).CoreV1().RESTClient(), false
		s.Renews = func(_ *corev1.PodSpec, container string) bool { return container == "app" }
		tell(t, s)
	})
}

// limited is a pod of two containers that became ready at a time, with limits of 256 MiB and 1 GiB.
func limited(side plan.Side, name string, ready time.Time) *corev1.Pod {
	p := podOf(side, name)
	limit := func(v string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(v)}}
	}
	p.Spec.Containers = []corev1.Container{{Name: "app", Resources: limit("256Mi")}, {Name: "proxy", Resources: limit("1Gi")}}
	p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: "proxy", ContainerID: "containerd://2"})
	p.Status.Conditions[0].LastTransitionTime = metav1.NewTime(ready)
	return p
}

// megabytes are the readings of the window, and of those before it, but for the first ones.
func megabytes(u judge.Usage) (window, before []float64) {
	for _, r := range u.Readings {
		if r.First {
			continue
		}
		if r.Ago == 0 {
			window = append(window, r.Memory/(1<<20))
		} else {
			before = append(before, r.Memory/(1<<20))
		}
	}
	return window, before
}

func TestReadingsOfAWindow(t *testing.T) {
	memory := func(_ string, since time.Duration) float64 { return 100 + since.Seconds() }
	resources(t, memory, func(t *testing.T, s *scene) {
		s.api.send("MODIFIED", limited(plan.Gray, "cart-gray-1", time.Now().Add(-time.Hour)))
		s.run(t)
		s.Begin(plan.Gray, 20)
		s.flow(40, 160, 0, 0)
		time.Sleep(66 * time.Second)
		sample := s.Sample()
		require.Len(t, sample.OnTrial.Usage, 2)
		require.Len(t, sample.Reference.Usage, 4)
		window, before := megabytes(sample.OnTrial.Usage[0])
		assert.Equal(t, []float64{120, 130, 140, 150, 160}, window, "but the first two of a pod")
		assert.Empty(t, before)
		assert.InDelta(t, 0.1, sample.OnTrial.Usage[0].Readings[0].CPU, 1e-9, "without the sidecar")
		assert.Equal(t, []float64{256 << 20, 0}, []float64{sample.OnTrial.Usage[0].Limit, sample.OnTrial.Usage[1].Limit})
		c := verdictOf(t, s.Verdict(), "memory")
		assert.Equal(t, judge.Pass, c.Verdict, c.Why)

		s.Begin(plan.Gray, 50)
		time.Sleep(30 * time.Second) // readings at 70, 80 and 90 s
		window, before = megabytes(s.Sample().OnTrial.Usage[0])
		assert.Equal(t, []float64{180, 190}, window, "the first one tells of the time before")
		assert.Equal(t, []float64{120, 130, 140, 150, 160}, before)

		all := s.Sample().OnTrial.Usage[0].Readings
		first := func(r judge.Reading) bool { return r.First }
		assert.Equal(t, 5, slices.IndexFunc(all, first), "that of 170 s is marked")
		assert.InDelta(t, 20, all[0].Load, 1, "40 requests a second of two pods")
		assert.Zero(t, all[len(all)-1].Load, "this window is not over")

		for _, r := range s.recorded("sample") {
			for _, u := range r.(judge.Sample).OnTrial.Usage {
				assert.LessOrEqual(t, len(u.Readings), 1, "what is written down every second is small")
			}
		}
		s.api.mu.Lock()
		s.api.metrics = nil
		s.api.mu.Unlock()
		time.Sleep(6 * time.Second)
		c = verdictOf(t, s.Verdict(), "memory")
		assert.True(t, c.Absent, "the API is gone: %s", c.Why)
	})
}

// TestANewPodWarmsUp: what it uses at first is nobody's.
func TestANewPodWarmsUp(t *testing.T) {
	memory := func(pod string, since time.Duration) float64 {
		if pod == "cart-gray-1" && since < 60*time.Second {
			return 200
		}
		return 100
	}
	resources(t, memory, func(t *testing.T, s *scene) {
		s.api.send("MODIFIED", limited(plan.Gray, "cart-gray-1", time.Now()))
		starting := unready(limited(plan.Gray, "cart-gray-2", time.Now()), corev1.ConditionFalse, corev1.ConditionTrue)
		s.api.send("MODIFIED", starting)
		s.run(t)
		s.Begin(plan.Gray, 20)
		time.Sleep(56 * time.Second)
		for _, u := range s.Sample().OnTrial.Usage {
			assert.True(t, u.Warming, u.Pod)
			assert.Empty(t, u.Readings, u.Pod)
		}
		c := verdictOf(t, s.Verdict(), "memory")
		assert.Equal(t, judge.Inconclusive, c.Verdict)
		assert.Contains(t, c.Why, "no pod of gray is warm yet")
		time.Sleep(40 * time.Second)
		usage := s.Sample().OnTrial.Usage
		window, _ := megabytes(usage[0])
		assert.Equal(t, []float64{100, 100, 100, 100}, window, "60 s after it was ready")
		assert.False(t, usage[0].Warming)
		assert.True(t, usage[1].Warming, "it was never ready")
	})
}

func TestALeakIsFoundBeforeItsEnd(t *testing.T) {
	leak := func(pod string, since time.Duration) float64 {
		if pod == "cart-gray-2" {
			return 180 + 0.3*since.Seconds()
		}
		return 100
	}
	resources(t, leak, func(t *testing.T, s *scene) {
		for _, pod := range []string{"cart-gray-1", "cart-gray-2"} {
			s.api.send("MODIFIED", limited(plan.Gray, pod, time.Now().Add(-time.Hour)))
		}
		s.run(t)
		s.Begin(plan.Gray, 20)
		s.flow(40, 160, 0, 0)
		begun := time.Now()
		f, found := s.next(3 * time.Minute)
		require.True(t, found)
		assert.Equal(t, []string{"memory-growth"}, names(f.Checks))
		assert.False(t, f.Infrastructure)
		assert.Equal(t, "Pod cart-gray-2", f.Checks[0].Where)
		assert.Contains(t, f.Checks[0].Why, "at this slope the limit of 256 MiB is reached in 3 min")
		assert.LessOrEqual(t, f.At.Sub(begun), 80*time.Second, "the first two are left out, then six")
		assert.Equal(t, judge.Fail, verdictOf(t, s.Verdict(), "memory-growth").Verdict)
		found1, ok := s.recorded("finding")[0].(judge.Found)
		require.True(t, ok)
		assert.Equal(t, []string{"memory-growth"}, names(judge.AtOnce(found1.Sample, s.Limits)), "the evidence says it again")
		again, err := replay.Replay(strings.NewReader(s.written()), unchanged)
		require.NoError(t, err)
		assert.Empty(t, again.Differences)
		require.Len(t, again.Windows, 1)
		assert.Equal(t, []string{"memory-growth"}, names(again.Windows[0].Now.Deciding))
	})
}

func TestReadingsAreBounded(t *testing.T) {
	u, p := &usage{window: -1}, &pod{name: "p", served: true}
	for i := range 1000 {
		u.add(reading{Reading: judge.Reading{At: time.Unix(int64(i), 0), Memory: float64(i)}, window: i / 500})
		u.add(reading{Reading: judge.Reading{At: time.Unix(int64(i), 0), Memory: -1}, window: i / 500}) // the same one, seen again
		if i == 505 {
			window, before := megabytes(u.of(p, 1, nil))
			assert.Len(t, window, 5, "but the first one of the window")
			assert.Len(t, before, pastReadings-6, "the first one is among them")
		}
	}
	n := u.of(p, 1, nil)
	assert.Len(t, n.Readings, keepReadings)
	assert.InDelta(t, 999, n.Readings[keepReadings-1].Memory, 0)
	assert.False(t, slices.ContainsFunc(n.Readings, func(r judge.Reading) bool { return r.Memory < 0 }))
	text, err := json.Marshal(n)
	require.NoError(t, err)
	assert.Less(t, len(text), 60*keepReadings)
}

// TestOneAnswerWithoutAPodForgetsNoReadings: metrics-server leaves out the pods of a node that it could not ask in its last round.
func TestOneAnswerWithoutAPodForgetsNoReadings(t *testing.T) {
	side := newSide(plan.Gray)
	side.pods["1"] = &pod{name: "cart-gray-1", served: true, containers: []string{"app"}}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	answer := func(names ...string) (list podMetrics) {
		at = at.Add(15 * time.Second)
		list.Items = slices.Grow(list.Items, len(names))[:len(names)]
		for i, name := range names {
			list.Items[i].Metadata.Name, list.Items[i].Timestamp = name, at
		}
		return list
	}
	for range 10 {
		side.take(answer("cart-gray-1"), nil, at, 1)
	}
	kept := len(side.usage["cart-gray-1"].kept)
	side.take(answer(), nil, at, 1)
	side.take(answer("cart-gray-1"), nil, at, 1)
	assert.Greater(t, len(side.usage["cart-gray-1"].kept), kept)
}
