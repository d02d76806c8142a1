package observe

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/drain"
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
		assert.Equal(t, map[string]int{"ERROR in the gap": 1, "ERROR one": 1, "ERROR two": 1, "ERROR three": 1}, counts(s))
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
		time.Sleep(time.Second + logBlock/2) // so that no block ends in the midst of them
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
		assert.Len(t, s.window.logs.entries, drain.MaxGroups)
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
		{"all of production", 2, 10, 1, 2, 10, 2},
		{"production alone", 0, 10, 1, 0, 10, 0},
		{"less of production than of gray", 5, 2, 1, 5, 2, 5},
		{"all containers", 2, 8, 2, 4, 16, 2},
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

// TestTheLastWordsOfACrashAreHeard once, whether the connection brought them or the log of the container before.
func TestTheLastWordsOfACrashAreHeard(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Limits.NewErrorLogs = 10
		s.Begin(plan.Gray, 5)
		time.Sleep(time.Second)
		const log = "cart-gray-1/app"
		s.api.write(log, "ERROR one")
		time.Sleep(time.Second)
		s.api.write(log, "ERROR two")
		time.Sleep(time.Millisecond)
		s.api.restart(log, "ERROR three", "panic: of", "goroutine 1 [running]:")
		time.Sleep(time.Millisecond)
		s.api.write(log, "ERROR in the new container")
		time.Sleep(10 * time.Second)
		s.api.breakLogs(log)
		time.Sleep(10 * time.Second)
		assert.Equal(t, map[string]int{"ERROR one": 1, "ERROR two": 1, "ERROR three": 1, "panic: of": 1, "ERROR in the new container": 1}, counts(s))
	})
}

// TestALogThatIsRotatedIsReadOn: the kubelet ends the connection, or sends the log again from an earlier line.
func TestALogThatIsRotatedIsReadOn(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Limits.NewErrorLogs = 10
		s.Begin(plan.Gray, 5)
		time.Sleep(time.Second)
		const log = "cart-gray-1/app"
		s.api.write(log, "ERROR one")
		time.Sleep(2 * time.Second)
		s.api.write(log, "ERROR two")
		time.Sleep(time.Millisecond)
		s.api.sendAgain(log)
		time.Sleep(time.Millisecond)
		s.api.write(log, "ERROR three")
		time.Sleep(time.Second)
		s.api.rotate(log)
		s.api.write(log, "ERROR four")
		time.Sleep(10 * time.Second)
		assert.Equal(t, map[string]int{"ERROR one": 1, "ERROR two": 1, "ERROR three": 1, "ERROR four": 1}, counts(s))
	})
}

func counts(s *scene) map[string]int {
	all := map[string]int{}
	for _, l := range s.Sample().OnTrial.Logs {
		all[l.Template] = l.Count
	}
	return all
}

// TestBothSidesAgreeOnATemplate also where words differ.
func TestBothSidesAgreeOnATemplate(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 5)
		time.Sleep(time.Second)
		s.api.write("cart-4/app", "ERROR cannot load the cart of alice from the store")
		time.Sleep(time.Second)
		s.api.again("cart-gray-1/app", "ERROR cannot load the cart of bob from the store")
		_, found := s.next(5 * time.Second)
		assert.False(t, found)
		sample := s.Sample()
		require.Len(t, sample.OnTrial.Logs, 1)
		require.Len(t, sample.Reference.Logs, 1)
		assert.Equal(t, sample.OnTrial.Logs[0].Template, sample.Reference.Logs[0].Template)
	})
}

// TestGroupsThatBecomeOneAreCountedAsOne, and known as soon as one of them is.
func TestGroupsThatBecomeOneAreCountedAsOne(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Limits.NewErrorLogs = 10
		s.Begin(plan.Gray, 5)
		time.Sleep(time.Second)
		s.api.write("cart-1/app", "one two [error] three four a b c d")
		time.Sleep(time.Millisecond)
		s.api.write("cart-gray-1/app", "one two [error] three four x y c z")
		time.Sleep(time.Second)
		assert.Equal(t, map[string]int{"one two [error] three four x y c z": 1}, counts(s))
		assert.Empty(t, s.Sample().Reference.Logs)
		s.api.write("cart-gray-2/app", "one two [error] three four x b c z")
		time.Sleep(time.Second)
		assert.Equal(t, map[string]int{"one two [error] three four a b c d": 2}, counts(s))
		assert.Len(t, s.Sample().Reference.Logs, 1)
	})
}

func TestAStackTraceIsCountedOnceAndByItsType(t *testing.T) {
	trace := func(s *scene, log, kind string) {
		for _, line := range []string{"Traceback (most recent call last):", `  File "/app/main.py", line 4, in <module>`, kind + ": no cart"} {
			s.api.write(log, line)
		}
		time.Sleep(logBlock)
	}
	story(t, nil, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 5)
		time.Sleep(time.Second)
		trace(s, "cart-1/app", "KeyError")
		trace(s, "cart-gray-1/app", "KeyError")
		_, found := s.next(time.Second)
		assert.False(t, found)
		for range 20 {
			trace(s, "cart-gray-1/app", "ValueError")
		}
		f, found := s.next(time.Second)
		require.True(t, found)
		assert.Contains(t, f.Checks[0].Why, "times: Traceback (most recent call last): ValueError: no cart")
		assert.Equal(t, map[string]int{"Traceback (most recent call last): (KeyError)": 1, "Traceback (most recent call last): (ValueError)": 20}, counts(s))
		for _, b := range s.recorded("log-block") {
			for _, l := range b.(judge.LogBlock).Lines {
				assert.Equal(t, "Traceback (most recent call last): (ValueError)", l.Template)
			}
		}
	})
}

// TestATraceThatIsTornApartIsKnown where whole ones are: another process of the container wrote in between.
func TestATraceThatIsTornApartIsKnown(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 5)
		time.Sleep(time.Second)
		s.api.write("cart-1/app", "Traceback (most recent call last):")
		s.api.write("cart-1/app", "KeyError: 'cart'")
		time.Sleep(time.Second)
		for range 20 {
			s.api.write("cart-gray-1/app", "Traceback (most recent call last):")
			s.api.write("cart-gray-1/app", "GET /cart 200")
			s.api.write("cart-gray-1/app", "KeyError: 'cart'")
			time.Sleep(logBlock)
		}
		_, found := s.next(time.Second)
		assert.False(t, found)
		assert.Equal(t, map[string]int{"Traceback (most recent call last):": 20}, counts(s))
	})
}

// TestLinesThatComeTooFastAreDroppedAndCounted: reading goes on, the watch goes on, and nothing passes for new.
func TestLinesThatComeTooFastAreDroppedAndCounted(t *testing.T) {
	slow := func(o *Options) {
		o.Hide = func(line string) string {
			if strings.Contains(line, "slow") {
				time.Sleep(time.Minute)
			}
			return line
		}
	}
	story(t, slow, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 5)
		time.Sleep(10 * time.Second)
		s.api.write("cart-1/app", "ERROR a slow one")
		time.Sleep(time.Second)
		const lines = 80_000
		text := "INFO " + strings.Repeat("x", 65) // a hundred bytes with its timestamp
		for range lines {
			s.api.write("cart-1/app", text)
		}
		s.api.again("cart-gray-1/app", fmt.Sprintf(refused, 1))
		_, found := s.next(30 * time.Second)
		assert.False(t, found)
		sample := s.Sample()
		assert.Greater(t, sample.Reference.LogsDropped, lines/4)
		assert.Zero(t, sample.OnTrial.LogsDropped)
		c := verdictOf(t, s.Verdict(), "new-error-logs")
		assert.Equal(t, judge.Inconclusive, c.Verdict)
		assert.Contains(t, c.Why, "lines of production came too fast to be looked at")

		time.Sleep(5 * time.Minute)
		sample = s.Sample()
		assert.Equal(t, lines+1, sample.Reference.Lines, "those that waited, and those that were dropped")
		s.Begin(plan.Gray, 20)
		assert.Zero(t, s.Sample().Reference.LogsDropped, "a new window")
	})
}

func TestHowMuchIsWritten(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		s.api.write("cart-1/app", "INFO before the watch")
		s.run(t)
		time.Sleep(time.Second)
		joins := podOf(plan.Gray, "cart-gray-3")
		s.api.send("ADDED", unready(joins, corev1.ConditionFalse, corev1.ConditionTrue))
		s.Begin(plan.Gray, 20)
		s.flow(40, 160, 0, 0)
		time.Sleep(time.Second)
		s.api.write("cart-gray-3/app", "INFO it does not serve yet")
		for range 3 {
			s.api.write("cart-gray-1/app", "DEBUG six")
			s.api.write("cart-4/app", "DEBUG six")
		}
		s.api.write("cart-gray-2/app", "WARN "+strings.Repeat("x", drain.MaxLine))
		time.Sleep(time.Minute)
		s.api.write("cart-gray-2/app", "a line")
		time.Sleep(time.Second)

		n := s.Sample().OnTrial
		assert.Equal(t, 5, n.Lines)
		assert.Equal(t, 3*len("DEBUG six\n")+len("WARN \n")+drain.MaxLine+len("a line\n"), n.Bytes)
		assert.Equal(t, map[string]int{"debug": 3, "warn": 1, "unstated": 1}, n.Levels)
		assert.Equal(t, 1, n.LinesCut)
		assert.Equal(t, 3, s.Sample().Reference.Lines)
		s.mu.Lock()
		late := s.sample(time.Now())
		s.measure(&late, time.Now(), rateWindow)
		s.mu.Unlock()
		assert.Equal(t, 1, late.OnTrial.Lines, "of the last ten seconds")
		assert.Equal(t, len("a line\n"), late.OnTrial.Bytes)
		s.Begin(plan.Gray, 50)
		assert.Zero(t, s.Sample().OnTrial.Lines)
	})
}
