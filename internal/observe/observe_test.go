package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// story runs a test in a bubble of its own time. That all goroutines end with the watch is checked by the bubble: it
// panics if one is left.
func story(t *testing.T, change func(*Options), tell func(t *testing.T, s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, change)
		s.run(t)
		tell(t, s)
		s.end()
	})
}

// bubble is a story whose watch begins when the test says so.
func bubble(t *testing.T, tell func(t *testing.T, s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nil)
		tell(t, s)
		s.end()
	})
}

func names(checks []judge.Check) []string {
	all := make([]string, 0, len(checks))
	for _, c := range checks {
		all = append(all, c.Name)
	}
	return all
}

func verdictOf(t *testing.T, checks []judge.Check, name string) judge.Check {
	t.Helper()
	for _, c := range checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %s in %v", name, names(checks))
	return judge.Check{}
}

func TestAHealthyStepPasses(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.flow(0, 200, 0, 0.001)
		time.Sleep(5 * time.Second)
		s.Begin(plan.Gray, 20)
		s.flow(40, 160, 0.001, 0.001)
		_, found := s.next(time.Minute)
		assert.False(t, found)
		checks := s.Verdict()
		for _, name := range []string{"requests", "routing", "errors", "restarts", "ready", "new-error-logs"} {
			c := verdictOf(t, checks, name)
			assert.Equal(t, judge.Pass, c.Verdict, "%s: %s", name, c.Why)
		}
		for _, name := range []string{"p99", "memory", "cpu", "memory-growth"} {
			c := verdictOf(t, checks, name)
			assert.True(t, c.Absent, "%s: %s", name, c.Why)
		}
		assert.Equal(t, judge.Pass, judge.Worst(checks))
		sample := s.Sample()
		assert.InDelta(t, 2400, sample.OnTrial.Traffic.Requests, 20)
		assert.InDelta(t, 9600, sample.Reference.Traffic.Requests, 80)
		assert.Equal(t, []int{2, 4, 2, 4}, []int{sample.OnTrial.Pods, sample.Reference.Pods, sample.OnTrial.Streams, sample.Reference.Streams})
		assert.InDelta(t, 200, s.Rate(), 1)
		samples := s.recorded("sample")
		assert.InDelta(t, 60, len(samples), 2, "one a second")
		_, err := json.Marshal(samples)
		require.NoError(t, err)
		assert.Len(t, s.recorded("verdict"), 1)
	})
}

func TestErrorsAreFoundWithinSecondsLateInALongStep(t *testing.T) {
	for _, weight := range []int{5, 20, 100} {
		t.Run(fmt.Sprint(weight), func(t *testing.T) {
			story(t, nil, func(t *testing.T, s *scene) {
				s.flow(0, 200, 0, 0.001)
				time.Sleep(5 * time.Second)
				s.Begin(plan.Gray, weight)
				gray := 2 * float64(weight)
				s.flow(gray, 200-gray, 0.001, 0.001)
				time.Sleep(5 * time.Minute)
				s.flow(gray, 200-gray, 0.3, 0.001)
				begun := time.Now()
				f, found := s.next(time.Minute)
				require.True(t, found)
				assert.False(t, f.Infrastructure)
				assert.Equal(t, []string{"errors"}, names(f.Checks))
				bounds := map[int]time.Duration{5: 2500 * time.Millisecond, 20: 1500 * time.Millisecond, 100: time.Second}
				assert.LessOrEqual(t, f.At.Sub(begun), bounds[weight])
				assert.Equal(t, judge.Fail, verdictOf(t, s.Verdict(), "errors").Verdict, "what was found stays failed")
				_, found = s.next(10 * time.Second)
				assert.False(t, found, "once in a window")
				s.Begin(plan.Gray, weight)
				_, found = s.next(10 * time.Second)
				assert.True(t, found, "and again in the next")
			})
		})
	}
}

// A finding stands with the sample it was judged on: late in a long step the whole window looks well.
func TestTheEvidenceLeadsToTheFinding(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 20)
		s.flow(40, 160, 0.001, 0.001)
		time.Sleep(5 * time.Minute)
		s.flow(40, 160, 0.3, 0.001)
		s.api.again("cart-gray-1/app", `{"level":"ERROR","msg":"disk on fire"}`)
		for deadline := time.Now().Add(10 * time.Second); len(s.recorded("finding")) < 2 && time.Now().Before(deadline); {
			_, found := s.next(5 * time.Second)
			require.True(t, found)
		}
		seen := map[string]bool{}
		for _, r := range s.recorded("finding") {
			found, ok := r.(judge.Found)
			require.True(t, ok)
			assert.Subset(t, judge.AtOnce(found.Sample, s.Limits), found.Checks, "replayed")
			for _, c := range found.Checks {
				seen[c.Name] = true
			}
		}
		assert.Equal(t, map[string]bool{"errors": true, "new-error-logs": true}, seen)

		s.flow(40, 160, 0.001, 0.001)
		time.Sleep(5 * time.Minute)
		checks := s.Verdict()
		judged, ok := s.recorded("verdict")[0].(judge.Judged)
		require.True(t, ok)
		assert.Equal(t, judge.Fail, verdictOf(t, checks, "errors").Verdict)
		assert.NotEqual(t, judge.Fail, verdictOf(t, judge.Judge(judged.Sample, s.Limits), "errors").Verdict, "the whole window is well")
		stays := false
		for _, f := range judged.Found {
			stays = stays || f.Check.Name == "errors" && verdictOf(t, judge.AtOnce(f.Sample, s.Limits), "errors").Why == verdictOf(t, checks, "errors").Why
		}
		assert.True(t, stays, "why it stays failed is in the verdict's own evidence")
	})
}

func TestErrorsOfBothSidesBlameNobody(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 20)
		s.flow(40, 160, 0, 0)
		time.Sleep(20 * time.Second)
		s.flow(40, 160, 0.5, 0.5)
		_, found := s.next(30 * time.Second)
		assert.False(t, found)
	})
}

// TestThePastIsTheWholeRun: one window may be too quiet to say how many errors are usual, and what has just begun to fail for
// both sides must not be thinned out by the time before.
func TestThePastIsTheWholeRun(t *testing.T) {
	for name, tt := range map[string]struct {
		before, last    float64 // share of errors at weights 20 and 50
		requests, share float64 // of production, as it is remembered
	}{
		"the last window was quiet": {0.04, 0, 160*20 + 100*20, 160 * 0.04 / 260},
		"the last window was bad":   {0, 0.04, 100 * 20, 0.04},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, nil, func(t *testing.T, s *scene) {
				s.Begin(plan.Gray, 20)
				s.flow(40, 160, tt.before, tt.before)
				time.Sleep(20 * time.Second)
				s.Begin(plan.Gray, 50)
				s.flow(100, 100, tt.last, tt.last)
				time.Sleep(20 * time.Second)
				s.Begin(plan.Gray, 100)
				s.flow(200, 0, tt.last, 0)
				time.Sleep(time.Second)
				ref := s.Sample().Reference.Traffic
				assert.InEpsilon(t, tt.requests, ref.Requests, 0.1)
				assert.InEpsilon(t, tt.share, ref.Errors/ref.Requests, 0.1)
			})
		})
	}
}

func TestWindowsWithFewRequests(t *testing.T) {
	of := func(side, trial plan.Side, requests float64) past {
		return past{onTrial: trial, Numbers: judge.Numbers{Name: string(side), Window: time.Minute, Traffic: judge.Traffic{Requests: requests}}}
	}
	first := past{}.then(of(plan.Production, plan.Gray, 500), false)
	next := first.then(of(plan.Production, plan.Gray, 9), true)
	t1, long := next.reference()
	assert.InDelta(t, 509, t1.Requests, 0, "they count with the others")
	assert.Equal(t, 2*time.Minute, long)
	assert.InDelta(t, 500, next.Traffic.Requests, 0, "but are no window to compare with")
	trial := past{}.then(of(plan.Gray, plan.Gray, 500), false)
	t1, _ = trial.then(of(plan.Gray, plan.Gray, 700), false).reference()
	assert.InDelta(t, 700, t1.Requests, 0, "what a side did on trial is told by one window")
	t1, _ = trial.then(of(plan.Gray, plan.Production, 9), true).reference()
	assert.InDelta(t, 500, t1.Requests, 0, "and by one that says something")
}

func TestTheReferenceIsThePastWhereItHasNoTraffic(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 50)
		s.flow(100, 100, 0.02, 0.02)
		time.Sleep(20 * time.Second)
		s.Begin(plan.Gray, 100)
		time.Sleep(time.Second) // until the gateway serves it
		s.flow(200, 0, 0.02, 0)
		_, found := s.next(30 * time.Second)
		assert.False(t, found, "2 % of errors are what production had too")
		sample := s.Sample()
		assert.True(t, sample.ReferenceIsPast)
		assert.InDelta(t, 2000, sample.Reference.Traffic.Requests, 100)
		assert.Equal(t, judge.Pass, verdictOf(t, s.Verdict(), "errors").Verdict)

		s.Begin(plan.Production, 50)
		s.flow(100, 100, 0.02, 0.02)
		time.Sleep(20 * time.Second)
		sample = s.Sample()
		assert.False(t, sample.ReferenceIsPast)
		assert.Equal(t, "production", sample.OnTrial.Name)
		s.Begin(plan.Production, 0)
		s.flow(0, 200, 0, 0.5)
		f, found := s.next(10 * time.Second)
		require.True(t, found)
		assert.Equal(t, []string{"errors"}, names(f.Checks))
		assert.Contains(t, f.Checks[0].Why, "gray 40 of ", "gray when it last had traffic")
	})
}

// A service with few users has seconds in which production serves nobody, and is no service without a reference for that.
func TestSecondsWithoutARequestOfTheReferenceAreWeighedAsWell(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.flow(0, 20, 0, 0)
		time.Sleep(10 * time.Second)
		s.Begin(plan.Gray, 5)
		s.flow(2, 20, 0, 0)
		time.Sleep(10 * time.Second)
		s.flow(2, 0, 0, 0)
		time.Sleep(3 * time.Second)
		for range 20 {
			s.api.write("cart-gray-1/app", `{"level":"ERROR","msg":"stock did not answer"}`)
		}
		_, found := s.next(3 * time.Second)
		assert.False(t, found, "twenty lines at once are one event")
		sample := s.Sample()
		assert.NotNil(t, sample.Evidence)
		assert.Equal(t, 20, sample.OnTrial.Logs[0].Count)
	})
}

func TestABlindMonitorIsNeitherAPassNorTheImagesFault(t *testing.T) {
	troubles := map[string]func(ctx context.Context) error{
		"fails": func(context.Context) error { return errors.New("port-forward: connection lost") },
		"hangs": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	}
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			story(t, nil, func(t *testing.T, s *scene) {
				s.Begin(plan.Gray, 20)
				s.flow(40, 160, 0, 0)
				time.Sleep(10 * time.Second)
				s.told.Lock()
				s.trouble = trouble
				s.told.Unlock()
				begun := time.Now()

				s.api.again("cart-gray-1/app", `{"level":"ERROR","msg":"disk on fire"}`)
				f, found := s.next(time.Second)
				require.True(t, found, "the logs do not wait for the gateway")
				assert.Equal(t, []string{"new-error-logs"}, names(f.Checks))
				assert.LessOrEqual(t, f.At.Sub(begun), 4*time.Second)

				f, found = s.next(time.Minute)
				require.True(t, found)
				assert.True(t, f.Infrastructure)
				assert.Equal(t, []string{"monitor"}, names(f.Checks))
				assert.InDelta(t, 10, f.At.Sub(begun).Seconds(), 1)
				assert.False(t, judge.Blamed(f.Checks))
				checks := s.Verdict()
				assert.Equal(t, judge.Fail, verdictOf(t, checks, "monitor").Verdict)
				assert.Equal(t, judge.Inconclusive, verdictOf(t, checks, "requests").Verdict)
				assert.Zero(t, s.Rate())
			})
		})
	}
}

func TestASlowGatewayIsNoTrouble(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.told.Lock()
		s.trouble = func(ctx context.Context) error { pause(ctx, 3*time.Second); return ctx.Err() }
		s.told.Unlock()
		s.Begin(plan.Gray, 20)
		s.flow(40, 160, 0, 0)
		_, found := s.next(time.Minute)
		assert.False(t, found)
		assert.Equal(t, judge.Pass, verdictOf(t, s.Verdict(), "requests").Verdict)
	})
}

func TestAnUnreachableAPIServerIsAFindingOfTheInfrastructure(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 20)
		s.flow(40, 160, 0, 0)
		time.Sleep(time.Second)
		s.api.mu.Lock()
		s.api.refuse = true
		s.api.mu.Unlock()
		s.api.breakWatches()
		f, found := s.next(20 * time.Second)
		require.True(t, found)
		assert.True(t, f.Infrastructure)
		assert.Contains(t, f.Checks[0].Where, "the pods of ")
	})
}

func TestRestarts(t *testing.T) {
	gray := podOf(plan.Gray, "cart-gray-1")
	deleted, evicted, drained := gray.DeepCopy(), gray.DeepCopy(), gray.DeepCopy()
	deleted.DeletionTimestamp, deleted.DeletionGracePeriodSeconds = &metav1.Time{Time: time.Now()}, new(int64)
	evicted.Status.Phase, evicted.Status.Reason = corev1.PodFailed, "Evicted"
	drained.Status.Conditions = append(drained.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI"})
	tests := []struct {
		name string
		pod  *corev1.Pod
		want string // in the finding; "": none
	}{
		{"crash", ended(gray, "a", "Error", 2), "app of pod cart-gray-1: Error, exit code 2"},
		{"seen only after it runs again", restarted(ended(gray, "a", "Error", 2)), "Error, exit code 2"},
		{"out of memory", ended(gray, "a", "OOMKilled", 137), "out of memory (OOMKilled)"},
		{"ended well", ended(gray, "a", "Completed", 0), "Completed, exit code 0"},
		{"deleted", ended(deleted, "a", "Error", 2), ""},
		{"evicted", ended(evicted, "a", "Error", 137), ""},
		{"drained", ended(drained, "a", "Error", 143), ""},
		{"node lost", ended(gray, "a", "ContainerStatusUnknown", 137), ""},
		{"production", ended(podOf(plan.Production, "cart-1"), "a", "Error", 2), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			story(t, nil, func(t *testing.T, s *scene) {
				s.Begin(plan.Gray, 5)
				s.flow(10, 190, 0, 0)
				time.Sleep(10*time.Second + time.Millisecond)
				begun := time.Now()
				s.api.send("MODIFIED", tt.pod)
				f, found := s.next(2 * time.Second)
				require.Equal(t, tt.want != "", found)
				if found {
					assert.Equal(t, []string{"restarts"}, names(f.Checks))
					assert.Contains(t, f.Checks[0].Why, tt.want)
					assert.Equal(t, begun, f.At, "at once")
					assert.Len(t, s.recorded("finding"), 1)
				}
				s.api.send("MODIFIED", restarted(tt.pod))
				s.api.breakWatches()
				time.Sleep(2 * time.Second)
				assert.LessOrEqual(t, len(s.Sample().OnTrial.Restarts), 1, "one end is counted once")
			})
		})
	}
}

// TestTheEndOfASidecarIsNotTheImagesFault: users go home at once, and nobody is blamed.
func TestTheEndOfASidecarIsNotTheImagesFault(t *testing.T) {
	renews := func(o *Options) {
		o.Renews = func(_ *corev1.PodSpec, container string) bool { return container != "app" }
	}
	story(t, renews, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 5)
		s.flow(10, 190, 0, 0)
		time.Sleep(10 * time.Second)
		s.api.send("MODIFIED", ended(podOf(plan.Gray, "cart-gray-1"), "a", "OOMKilled", 137))
		f, found := s.next(2 * time.Second)
		require.True(t, found)
		require.Equal(t, []string{"restarts"}, names(f.Checks))
		assert.True(t, f.Checks[0].Infrastructure, f.Checks[0].Why)
	})
}

// TestASidecarThatIsNotReadyIsNotTheImagesFault: its pod is not, and what is upgraded is.
func TestASidecarThatIsNotReadyIsNotTheImagesFault(t *testing.T) {
	renews := func(o *Options) {
		o.Renews = func(_ *corev1.PodSpec, container string) bool { return container == "app" }
	}
	for blame, container := range []string{"proxy", "app"} {
		story(t, renews, func(t *testing.T, s *scene) {
			s.Begin(plan.Gray, 5)
			time.Sleep(time.Second)
			p := unready(podOf(plan.Gray, "cart-gray-1"), corev1.ConditionFalse, corev1.ConditionFalse)
			other := p.Status.ContainerStatuses[0]
			other.Name, other.Ready = "proxy", container == "app"
			p.Status.ContainerStatuses[0].Ready = container == "proxy"
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, other)
			s.api.send("MODIFIED", p)
			f, found := s.next(20 * time.Second)
			assert.Equal(t, blame == 1, found, "%s: %v", container, f.Checks)
		})
	}
}

// TestAnEvictionByThePodsOwnLimitIsTheImagesFault: the kubelet gives the pod up for what it wrote, not for what its node lacks.
// The reason comes with the end of the containers.
func TestAnEvictionByThePodsOwnLimitIsTheImagesFault(t *testing.T) {
	for message, blame := range map[string]bool{
		`Usage of EmptyDir volume "tmp" exceeds the limit "1Gi". `:                          true,
		`Container app exceeded its local ephemeral storage limit "1Gi". `:                  true,
		`Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. `:     true,
		`The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi. `:        false,
		`The node was low on resource: memory. Container app was using 1Gi, request is 0. `: false,
		`The node had condition: [DiskPressure]. `:                                          false,
	} {
		story(t, nil, func(t *testing.T, s *scene) {
			s.Begin(plan.Gray, 5)
			s.flow(10, 190, 0, 0)
			time.Sleep(time.Second)
			p := ended(podOf(plan.Gray, "cart-gray-1"), "a", "Error", 137)
			p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", message
			s.api.send("MODIFIED", p)
			f, found := s.next(10 * time.Second)
			require.Equal(t, blame, found, message)
			assert.False(t, f.Infrastructure, message)
			assert.Len(t, s.Sample().OnTrial.Taken, map[bool]int{true: 0, false: 1}[blame], message)
		})
	}
}

// The requests of a pod that somebody takes away fail whatever runs in it.
func TestErrorsOfAPodThatWasTakenAwayBlameNobody(t *testing.T) {
	deleted := podOf(plan.Gray, "cart-gray-1").DeepCopy()
	deleted.DeletionTimestamp, deleted.DeletionGracePeriodSeconds = &metav1.Time{Time: time.Now()}, new(int64)
	for _, event := range []string{"MODIFIED", "DELETED"} {
		story(t, nil, func(t *testing.T, s *scene) {
			s.Begin(plan.Gray, 5)
			s.flow(10, 190, 0, 0)
			time.Sleep(10*time.Second + time.Millisecond)
			s.api.send(event, deleted)
			s.flow(10, 190, 0.9, 0)
			f, found := s.next(5 * time.Second)
			require.True(t, found, "users must go")
			assert.True(t, f.Infrastructure)
			assert.Equal(t, []string{"errors"}, names(f.Checks))
			assert.Contains(t, f.Checks[0].Why, "cart-gray-1 was deleted or evicted")
			s.Begin(plan.Gray, 20)
			assert.Empty(t, s.Sample().OnTrial.Taken, "a new window")
		})
	}
}

func TestEndsBeforeTheWatchOrWithoutUsersAreNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nil)
		s.api.send("MODIFIED", restarted(ended(podOf(plan.Gray, "cart-gray-1"), "a", "Error", 2)))
		s.api.refuse = true
		s.run(t)
		s.Begin(plan.Gray, 5)
		time.Sleep(time.Second)
		s.api.mu.Lock()
		s.api.refuse = false
		s.api.mu.Unlock()
		_, found := s.next(5 * time.Second)
		assert.False(t, found, "before the watch, though the API server was away at first")
		s.Begin(plan.Gray, 0)
		s.flow(0, 200, 0, 0)
		time.Sleep(time.Second)
		s.api.send("MODIFIED", ended(podOf(plan.Gray, "cart-gray-2"), "b", "Error", 2))
		_, found = s.next(time.Second)
		assert.False(t, found, "no users on gray")
		s.api.send("MODIFIED", restarted(ended(podOf(plan.Gray, "cart-gray-2"), "b", "Error", 2)))
		s.Begin(plan.Gray, 5)
		_, found = s.next(10 * time.Second)
		assert.False(t, found, "before the window")
		s.api.send("MODIFIED", restarted(ended(podOf(plan.Gray, "cart-gray-2"), "c", "Error", 2)))
		_, found = s.next(time.Second)
		assert.True(t, found)
		s.end()
	})
}

func TestAPodThatLosesReadiness(t *testing.T) {
	gray := podOf(plan.Gray, "cart-gray-1")
	tests := []struct {
		name  string
		pod   *corev1.Pod
		after time.Duration // of being ready again
		want  bool
	}{
		{"its containers fail their probe", unready(gray, corev1.ConditionFalse, corev1.ConditionFalse), time.Minute, true},
		{"only for a moment", unready(gray, corev1.ConditionFalse, corev1.ConditionFalse), 2 * time.Second, false},
		{"its node is lost", unready(gray, corev1.ConditionFalse, corev1.ConditionTrue), time.Minute, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			story(t, nil, func(t *testing.T, s *scene) {
				s.Begin(plan.Gray, 5)
				time.Sleep(time.Second)
				joins := unready(podOf(plan.Gray, "cart-gray-3"), corev1.ConditionFalse, corev1.ConditionFalse)
				s.api.send("ADDED", joins) // one that never served
				s.api.send("MODIFIED", tt.pod)
				time.AfterFunc(tt.after, func() { s.api.send("MODIFIED", gray) })
				f, found := s.next(20 * time.Second)
				require.Equal(t, tt.want, found)
				if found {
					assert.Equal(t, []string{"ready"}, names(f.Checks))
					assert.Equal(t, "Pod cart-gray-1", f.Checks[0].Where)
				}
				time.Sleep(tt.after)
			})
		})
	}
}

func TestProbes(t *testing.T) {
	var answer atomic.Pointer[[]judge.Check]
	change := func(o *Options) { o.Probe = func(context.Context) []judge.Check { return *answer.Load() } }
	set := func(checks ...judge.Check) { answer.Store(&checks) }
	story(t, change, func(t *testing.T, s *scene) {
		set(judge.Check{Name: "account alice", Verdict: judge.Pass, Where: "Pod cart-gray-1"})
		s.Begin(plan.Gray, 5)
		_, found := s.next(7 * time.Second)
		assert.False(t, found)
		assert.Equal(t, judge.Pass, verdictOf(t, s.Verdict(), "accounts").Verdict)
		bad := judge.Check{Name: "account alice", Verdict: judge.Fail, Where: "Pod cart-gray-1", Why: "got 403, want 200"}
		set(bad, judge.Check{Name: "account alice", Verdict: judge.Pass, Where: "Pod cart-gray-2"})
		f, found := s.next(6 * time.Second)
		require.True(t, found)
		assert.Equal(t, []judge.Check{bad}, f.Checks)
		assert.Equal(t, judge.Fail, judge.Worst(s.Verdict()))
		_, found = s.next(20 * time.Second)
		assert.False(t, found, "once in a window")
		set()
		s.Begin(plan.Gray, 20)
		time.Sleep(time.Second)
		assert.NotContains(t, names(s.Verdict()), "account alice")
	})
}

func TestVerdictBeforeAnythingWasSeenPassesNothing(t *testing.T) {
	s := newScene(t, nil)
	s.Begin(plan.Gray, 5)
	for _, c := range s.Verdict() {
		assert.Equal(t, judge.Inconclusive, c.Verdict, c.Name)
	}
	assert.Zero(t, s.Rate())
}

// TestWhatTakesThePodsOfBothSidesBlamesNobody: readiness probes that ask a shared dependency do so at times of their own. Gray's pod is the first to be seen in one of so many cases.
func TestWhatTakesThePodsOfBothSidesBlamesNobody(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		falls := func(side plan.Side, name string) {
			s.api.send("MODIFIED", unready(podOf(side, name), corev1.ConditionFalse, corev1.ConditionFalse))
		}
		s.Begin(plan.Gray, 20)
		s.flow(40, 160, 0, 0)
		time.Sleep(10 * time.Second)
		falls(plan.Gray, "cart-gray-1")
		time.Sleep(time.Second)
		falls(plan.Gray, "cart-gray-2")
		for _, p := range []string{"cart-1", "cart-2", "cart-3", "cart-4"} {
			falls(plan.Production, p)
		}
		f, found := s.next(10 * time.Second)
		if found {
			assert.True(t, f.Infrastructure, "%v", f.Checks)
		}
	})
}

// TestASidecarsEndDoesNotHideTheImagesOwn: the rule is the same, and what it says is not.
func TestASidecarsEndDoesNotHideTheImagesOwn(t *testing.T) {
	renews := func(o *Options) {
		o.Renews = func(_ *corev1.PodSpec, container string) bool { return container == "app" }
	}
	story(t, renews, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 20)
		s.flow(40, 160, 0, 0)
		time.Sleep(10 * time.Second)
		sidecar := ended(podOf(plan.Gray, "cart-gray-1"), "a", "Error", 1)
		sidecar.Status.ContainerStatuses[0].Name = "proxy"
		s.api.send("MODIFIED", sidecar)
		f, found := s.next(time.Second)
		assert.True(t, found && f.Infrastructure, "%v", f.Checks)
		s.api.send("MODIFIED", ended(podOf(plan.Gray, "cart-gray-2"), "b", "OOMKilled", 137))
		f, found = s.next(time.Second)
		assert.True(t, found && !f.Infrastructure, "%v", f.Checks)
	})
}

// TestAPodThatDoesNotComeBackIsNotReady, where its restart is allowed.
func TestAPodThatDoesNotComeBackIsNotReady(t *testing.T) {
	story(t, func(o *Options) { o.Limits.Restarts = 1 }, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 20)
		s.flow(40, 160, 0, 0)
		time.Sleep(10 * time.Second)
		p := ended(podOf(plan.Gray, "cart-gray-1"), "a", "Error", 1)
		s.api.send("MODIFIED", p)
		time.Sleep(time.Second)
		s.api.send("MODIFIED", unready(restarted(p), corev1.ConditionFalse, corev1.ConditionFalse))
		_, found := s.next(20 * time.Second)
		assert.False(t, found, "it may come back")
		f, found := s.next(20 * time.Second)
		assert.True(t, found)
		assert.Equal(t, []string{judge.NameReady}, names(f.Checks))
	})
}
