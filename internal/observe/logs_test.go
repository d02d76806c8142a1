package observe

import (
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	refused = `{"level":"ERROR","msg":"payment backend refused","order":"%08x"}`
	noStock = `{"level":"ERROR","msg":"no stock","sku":%d}`
)

func TestANewErrorLineIsFoundWithinSeconds(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 5)
		time.Sleep(10*time.Second + time.Millisecond)
		begun := time.Now()
		s.api.write("cart-gray-2/app", `{"level":"INFO","msg":"request"}`)
		s.api.again("cart-gray-2/app", fmt.Sprintf(refused, 1))
		f, found := s.next(time.Second)
		require.True(t, found)
		assert.LessOrEqual(t, f.At.Sub(begun), 3*time.Second, "eleven blocks: half of the pods that are heard are gray's")
		require.Equal(t, []string{"new-error-logs"}, names(f.Checks))
		assert.Equal(t, "Pod cart-gray-2", f.Checks[0].Where)
		assert.Contains(t, f.Checks[0].Why, "payment backend refused")
		assert.Equal(t, 20, s.Sample().OnTrial.Logs[0].Count)
	})
}

// TestASecretIsHiddenBeforeALineIsCut: half of one could not be found afterwards.
func TestASecretIsHiddenBeforeALineIsCut(t *testing.T) {
	secret := strings.Repeat("s3cr3t-", 40)
	hide := func(o *Options) { o.Hide = strings.NewReplacer(secret, "***").Replace }
	story(t, hide, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 5)
		time.Sleep(10*time.Second + time.Millisecond)
		s.api.again("cart-gray-2/app", `{"level":"ERROR","msg":"the payment backend does not take our token","token":"`+secret+`"}`)
		f, found := s.next(time.Second)
		require.True(t, found)
		assert.Contains(t, f.Checks[0].Why, "***")
		told := fmt.Sprint(f, s.Sample(), s.recorded("sample"), s.recorded("finding"))
		assert.NotContains(t, told, "s3cr3t")
	})
}

// TestLogsBeyondTheMostThatAreReadAreCounted as such.
func TestLogsBeyondTheMostThatAreReadAreCounted(t *testing.T) {
	s := newSide(plan.Gray)
	for i := range 3 {
		uid := fmt.Sprint("uid-", i)
		s.pods[uid] = &pod{name: fmt.Sprint("cart-gray-", i), containers: []string{"app", "job"}}
		s.read[stream{side: plan.Gray, uid: uid, pod: s.pods[uid].name, name: "app"}] = true
	}
	assert.Equal(t, 3, s.unread())
}

// TestWhatASidecarWritesBlamesNobody, as its end does.
func TestWhatASidecarWritesBlamesNobody(t *testing.T) {
	sidecars := func(o *Options) {
		o.Renews = func(_ *corev1.PodSpec, container string) bool { return container != "app" }
	}
	story(t, sidecars, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 5)
		time.Sleep(10*time.Second + time.Millisecond)
		s.api.again("cart-gray-2/app", fmt.Sprintf(refused, 1))
		_, found := s.next(2 * time.Second)
		assert.False(t, found)
		assert.Empty(t, s.Sample().OnTrial.Logs)
	})
}

func TestErrorsThatProductionWritesAreNoNews(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 5)
		time.Sleep(time.Second)
		for range 20 {
			s.api.write("cart-gray-1/app", fmt.Sprintf(refused, 1))
			time.Sleep(time.Second)
			s.api.write("cart-2/app", fmt.Sprintf(refused, 2)) // the same failure a moment later
		}
		_, found := s.next(10 * time.Second)
		assert.False(t, found)
		s.Begin(plan.Gray, 20)
		s.api.again("cart-gray-1/app", fmt.Sprintf(refused, 3))
		_, found = s.next(10 * time.Second)
		assert.False(t, found, "remembered for the whole watch")
		assert.Equal(t, judge.Pass, verdictOf(t, s.Verdict(), "new-error-logs").Verdict)
	})
}

func TestProductionsHistoryIsKnownFromTheStart(t *testing.T) {
	tests := []struct {
		name string
		ago  time.Duration
		want bool
	}{
		{"five minutes ago", 5 * time.Minute, false},
		{"eleven minutes ago", 11 * time.Minute, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *scene) {
				s.api.again("cart-1/app", fmt.Sprintf(noStock, 7))
				time.Sleep(tt.ago)
				s.run(t)
				s.Begin(plan.Gray, 5)
				time.Sleep(time.Second)
				s.api.again("cart-gray-1/app", fmt.Sprintf(noStock, 8))
				_, found := s.next(time.Second)
				assert.Equal(t, tt.want, found)
			})
		})
	}
}

func TestWhatGrayWritesBeforeItServesIsNotHeard(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		s.api.again("cart-gray-1/app", "ERROR cache is cold")
		time.Sleep(time.Second)
		s.run(t)
		s.flow(0, 200, 0, 0)
		time.Sleep(time.Second)
		s.api.again("cart-gray-1/app", "ERROR cache is still cold")
		time.Sleep(time.Second)
		s.Begin(plan.Gray, 5)
		_, found := s.next(5 * time.Second)
		assert.False(t, found)

		joins := podOf(plan.Gray, "cart-gray-3")
		s.api.send("ADDED", unready(joins, corev1.ConditionFalse, corev1.ConditionTrue))
		time.Sleep(time.Second)
		s.api.again("cart-gray-3/app", "ERROR cache is cold here too")
		_, found = s.next(2 * time.Second)
		assert.False(t, found, "it is not verified yet")
		s.api.send("MODIFIED", joins)
		time.Sleep(time.Second)
		s.api.again("cart-gray-3/app", "ERROR now with users")
		f, found := s.next(time.Second)
		require.True(t, found)
		assert.Equal(t, "Pod cart-gray-3", f.Checks[0].Where)
	})
}

func TestOnTheWayBackBothSidesLogsAreKnown(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 100)
		s.api.again("cart-1/app", "ERROR old noise of production")
		time.Sleep(time.Second)
		s.Begin(plan.Production, 50)
		time.Sleep(time.Second)
		assert.Equal(t, 4, s.Sample().OnTrial.Streams, "all of production is on trial")
		s.api.again("cart-2/app", "ERROR old noise of production")
		_, found := s.next(5 * time.Second)
		assert.False(t, found)
		for range 2 { // four of the six pods that are heard are on trial: it takes longer
			s.api.again("cart-4/app", "ERROR new in production mode")
		}
		f, found := s.next(time.Second)
		require.True(t, found)
		assert.Equal(t, "Pod cart-4", f.Checks[0].Where)
	})
}

func TestALogIsReadOnAfterItsConnectionBroke(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Limits.NewErrorLogs = 10
		s.Begin(plan.Gray, 5)
		time.Sleep(time.Second)
		const log = "cart-gray-1/app"
		s.api.breakLogs(log) // before any line
		time.Sleep(time.Millisecond)
		s.api.write(log, "ERROR in the gap")
		time.Sleep(2 * time.Second)
		s.api.write(log, "ERROR one")
		s.api.write(log, "ERROR two") // at the very same time
		time.Sleep(10 * time.Millisecond)
		s.api.breakLogs(log)
		s.api.write(log, "ERROR three")
		time.Sleep(10 * time.Second)
		counts := map[string]int{}
		for _, l := range s.Sample().OnTrial.Logs {
			counts[l.Template] = l.Count
		}
		assert.Equal(t, map[string]int{"ERROR in the gap": 1, "ERROR one": 1, "ERROR two": 1, "ERROR three": 1}, counts)
		asked := s.api.logs[log].asked
		require.Len(t, asked, 3)
		assert.Contains(t, asked[0], "tailLines=0")
		assert.Contains(t, asked[1], "sinceSeconds=")
		assert.Contains(t, asked[2], "sinceTime=")
	})
}

func TestLogsThatCannotBeReadPassNothing(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		s.api.noLogs = true
		s.run(t)
		s.Begin(plan.Gray, 5)
		time.Sleep(10 * time.Second)
		c := verdictOf(t, s.Verdict(), "new-error-logs")
		assert.Equal(t, judge.Inconclusive, c.Verdict, c.Why)
	})
}

func TestHostileLogs(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 5)
		time.Sleep(time.Second)
		letters := func(i int) string { return string([]byte{'a' + byte(i/676), 'a' + byte(i/26%26), 'a' + byte(i%26)}) }
		for i := range 30 * 1200 {
			s.api.write("cart-gray-1/app", "ERROR kind "+letters(i%1200)+" "+strings.Repeat("\x00\xff\x1b[31m", 100))
			if i%1200 == 1199 {
				time.Sleep(logBlock)
			}
		}
		f, found := s.next(5 * time.Second)
		require.True(t, found)
		assert.Less(t, len(f.Checks[0].Why), 700)
		time.Sleep(5 * time.Second)
		assert.Len(t, s.window.logs.entries, maxTemplates)
		sample := s.Sample()
		assert.Equal(t, 30*200, sample.OnTrial.LogsCut)
		assert.Len(t, sample.OnTrial.Logs, 50)
		assert.LessOrEqual(t, len(sample.OnTrial.Logs[0].Line), maxKept+len("…"))
	})
}

func TestChoose(t *testing.T) {
	pods := func(side plan.Side, n, containers int) [][]stream {
		var all [][]stream
		for i := range n {
			var one []stream
			for c := range containers {
				one = append(one, stream{side: side, pod: fmt.Sprintf("%s-%02d", side, i), name: fmt.Sprint(c)})
			}
			all = append(all, one)
		}
		return all
	}
	tests := []struct {
		name                         string
		trial, ref, containers       int
		wantTrial, wantRef, wantPods int
	}{
		{"as many of production as of gray", 2, 10, 1, 2, 2, 2},
		{"at least one of production", 0, 10, 1, 0, 1, 0},
		{"less of production than of gray", 5, 2, 1, 5, 2, 5},
		{"all containers", 2, 10, 2, 4, 4, 2},
		{"no more than the limit", 15, 15, 1, 10, 10, 10},
		{"production leaves room", 18, 2, 1, 18, 2, 18},
		{"gray leaves room", 3, 30, 5, 10, 10, 2},
		{"nobody", 0, 0, 1, 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			count, podsOf := map[plan.Side]int{}, map[string]bool{}
			for _, s := range choose(pods(plan.Gray, tt.trial, tt.containers), pods(plan.Production, tt.ref, tt.containers), 20) {
				count[s.side]++
				if s.side == plan.Gray {
					podsOf[s.pod] = true
				}
			}
			assert.Equal(t, []int{tt.wantTrial, tt.wantRef, tt.wantPods}, []int{count[plan.Gray], count[plan.Production], len(podsOf)})
		})
	}
}

func TestReadLines(t *testing.T) {
	var got []string
	err := readLines(strings.NewReader("a\r\n\n"+strings.Repeat("b", 3*maxLine)+"\nc"), func(line string) { got = append(got, line) })
	require.NoError(t, err)
	require.Len(t, got, 3)
	assert.Equal(t, []string{"a", strings.Repeat("b", maxLine), "c"}, got)
}

func TestUsage(t *testing.T) {
	var reading atomic.Int64
	metrics := func(selector string) (int, string) {
		v, _ := url.QueryUnescape(selector)
		pod, memory := "cart-1", "100Mi"
		if strings.Contains(v, "gray") {
			pod, memory = "cart-gray-1", fmt.Sprintf("%dMi", 100+reading.Load())
		}
		return 200, fmt.Sprintf(`{"kind":"PodMetricsList","items":[{"metadata":{"name":"%s"},"timestamp":"t%d","window":"15s","containers":[
			{"name":"app","usage":{"cpu":"100m","memory":"%s"}},{"name":"side","usage":{"cpu":"50000000n","memory":"0"}}]}]}`, pod, reading.Load(), memory)
	}
	bubble(t, func(t *testing.T, s *scene) {
		s.api.metrics = metrics
		s.Metrics, s.noResources = s.api.client(t).CoreV1().RESTClient(), false
		s.run(t)
		s.Begin(plan.Gray, 20)
		s.flow(40, 160, 0, 0)
		time.Sleep(6 * time.Second)
		sample := s.Sample()
		assert.Equal(t, []float64{100 << 20}, sample.OnTrial.Memory)
		assert.Empty(t, sample.OnTrial.CPU, "the first reading tells of the time before")
		reading.Store(160)
		time.Sleep(6 * time.Second)
		sample = s.Sample()
		assert.Equal(t, []float64{260 << 20}, sample.OnTrial.Memory)
		assert.InDeltaSlice(t, []float64{0.15}, sample.OnTrial.CPU, 1e-9)
		assert.InDeltaSlice(t, []float64{0.15}, sample.Reference.CPU, 1e-9)
		c := verdictOf(t, s.Verdict(), "memory")
		assert.Equal(t, judge.Fail, c.Verdict, c.Why)
		s.api.mu.Lock()
		s.api.metrics = nil
		s.api.mu.Unlock()
		time.Sleep(6 * time.Second)
		c = verdictOf(t, s.Verdict(), "memory")
		assert.True(t, c.Absent, "the API is gone: %s", c.Why)
	})
}
