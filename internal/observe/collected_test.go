package observe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// shelf is a LogSource that holds what it is given.
type shelf struct {
	mu      sync.Mutex
	lines   []shelved
	trouble func(ctx context.Context) error
	behind  bool // there is always more
}

type shelved struct {
	at                   time.Time
	pod, container, text string
}

func (s *shelf) History(ctx context.Context, take func(at time.Time, pod, container, text string)) error {
	_, err := s.Next(ctx, take)
	return err
}

func (s *shelf) Next(ctx context.Context, take func(at time.Time, pod, container, text string)) (more bool, err error) {
	s.mu.Lock()
	trouble, behind, lines := s.trouble, s.behind, s.lines
	if trouble == nil {
		s.lines = nil
	}
	s.mu.Unlock()
	if trouble != nil {
		return false, trouble(ctx)
	}
	for _, l := range lines {
		take(l.at, l.pod, l.container, l.text)
	}
	if behind {
		time.Sleep(100 * time.Millisecond)
	}
	return behind, nil
}

// write adds a line that was written so long ago, of POD/CONTAINER, or of POD where no label says which.
func (s *shelf) write(ago time.Duration, container, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pod, name, _ := strings.Cut(container, "/")
	s.lines = append(s.lines, shelved{time.Now().Add(-ago), pod, name, text})
}

// again writes a line four times a second for five seconds: less of it may be chance.
func (s *shelf) again(container, text string) {
	for range 20 {
		s.write(0, container, text)
		time.Sleep(250 * time.Millisecond)
	}
}

func (s *shelf) set(change func(*shelf)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// collecting is a story whose lines come from shelves.
func collecting(t *testing.T, change func(*Options), tell func(t *testing.T, s *scene, gray, production *shelf)) {
	t.Helper()
	gray, production := &shelf{}, &shelf{}
	with := func(o *Options) {
		o.Logs = map[plan.Side]LogSource{plan.Gray: gray, plan.Production: production}
		if change != nil {
			change(o)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, with)
		s.flow(40, 160, 0, 0)
		for i := range 4 { // else nothing is known of production, and nothing is news
			production.write(time.Minute, fmt.Sprintf("cart-%d/app", i+1), "INFO started")
		}
		tell(t, s, gray, production)
		s.end()
	})
}

func TestANewErrorLineThatIsCollectedIsFound(t *testing.T) {
	hide := func(o *Options) { o.Hide = strings.NewReplacer("hunter2", "***").Replace }
	collecting(t, hide, func(t *testing.T, s *scene, gray, _ *shelf) {
		s.run(t)
		time.Sleep(time.Second)
		s.Begin(plan.Gray, 20)
		time.Sleep(10 * time.Second)
		begun := time.Now()
		gray.again("cart-gray-2/app", `{"level":"ERROR","msg":"payment refused","token":"hunter2"}`)
		f, found := s.next(2 * time.Second)
		require.True(t, found)
		assert.LessOrEqual(t, f.At.Sub(begun), 7*time.Second)
		require.Equal(t, []string{"new-error-logs"}, names(f.Checks))
		assert.Equal(t, "Pod cart-gray-2", f.Checks[0].Where)
		assert.Contains(t, f.Checks[0].Why, "payment refused")
		assert.NotContains(t, fmt.Sprint(f, s.Sample(), s.recorded("sample"), s.recorded("finding")), "hunter2")
		assert.Empty(t, s.api.logs, "the pods are not asked")
	})
}

func TestWhatProductionWroteBeforeIsKnown(t *testing.T) {
	collecting(t, nil, func(t *testing.T, s *scene, gray, production *shelf) {
		production.write(5*time.Minute, "cart-0/app", fmt.Sprintf(noStock, 7)) // of a pod that is gone
		s.run(t)
		time.Sleep(time.Second)
		s.Begin(plan.Gray, 20)
		gray.again("cart-gray-1/app", fmt.Sprintf(noStock, 8))
		_, found := s.next(2 * time.Second)
		assert.False(t, found)
		assert.Zero(t, s.Sample().Reference.Lines, "what was written before the watch is not counted")
		assert.Equal(t, 20, s.Sample().OnTrial.Lines)
		assert.Equal(t, judge.Pass, verdictOf(t, s.Verdict(), "new-error-logs").Verdict)
	})
}

// TestALineCountsByWhenItWasWritten: what gray wrote before it had users, or a pod before it served, may come later.
func TestALineCountsByWhenItWasWritten(t *testing.T) {
	collecting(t, nil, func(t *testing.T, s *scene, gray, _ *shelf) {
		s.run(t)
		time.Sleep(10 * time.Second)
		s.Begin(plan.Gray, 20)
		for i := range 40 {
			gray.write(time.Duration(i)*time.Millisecond+1, "cart-gray-1/app", "ERROR cache is cold")
		}
		_, found := s.next(5 * time.Second)
		assert.False(t, found)
		assert.Empty(t, s.Sample().OnTrial.Logs, "before the first user")

		joins := podOf(plan.Gray, "cart-gray-3")
		s.api.send("ADDED", unready(joins, corev1.ConditionFalse, corev1.ConditionTrue))
		time.Sleep(10 * time.Second)
		s.api.send("MODIFIED", joins)
		time.Sleep(time.Second)
		for range 40 {
			gray.write(1500*time.Millisecond, "cart-gray-3/app", "ERROR cache is cold")
		}
		_, found = s.next(5 * time.Second)
		assert.False(t, found)
		assert.Empty(t, s.Sample().OnTrial.Logs, "before it served")

		s.Begin(plan.Gray, 25)
		for range 40 {
			gray.write(2*time.Second, "cart-gray-3/app", "ERROR cache is lost")
		}
		gray.again("cart-gray-3/app", "ERROR cache is lost")
		gray.again("cart-gray-3/app", "ERROR cache is lost")
		f, found := s.next(time.Second)
		require.True(t, found)
		assert.Contains(t, f.Checks[0].Why, "cache is lost")
		time.Sleep(2 * time.Second)
		assert.Equal(t, 80, s.Sample().OnTrial.Logs[0].Count, "it had users at the weight before, too")
	})
}

func TestWhatACollectedSidecarWritesBlamesNobody(t *testing.T) {
	collecting(t, nil, func(t *testing.T, s *scene, gray, _ *shelf) {
		s.run(t)
		time.Sleep(time.Second)
		s.Begin(plan.Gray, 20)
		gray.again("cart-gray-2/proxy", fmt.Sprintf(refused, 1))
		_, found := s.next(2 * time.Second)
		assert.False(t, found)
		assert.Zero(t, s.Sample().OnTrial.Streams)
		assert.Empty(t, s.Sample().OnTrial.Logs)
		gray.again("cart-gray-2", fmt.Sprintf(refused, 1)) // nobody says which container
		_, found = s.next(2 * time.Second)
		assert.True(t, found)
	})
}

func TestAStackInOneCollectedLineIsOneError(t *testing.T) {
	collecting(t, nil, func(t *testing.T, s *scene, gray, _ *shelf) {
		s.run(t)
		time.Sleep(time.Second)
		s.Begin(plan.Gray, 20)
		time.Sleep(time.Second)
		gray.write(0, "cart-gray-1/app", "ERROR cannot pay\r\njava.lang.IllegalStateException: no\n\tat com.shop.Cart.pay(Cart.java:7)\n")
		time.Sleep(2 * time.Second)
		logs := s.Sample().OnTrial.Logs
		require.Len(t, logs, 1)
		assert.Equal(t, 1, logs[0].Count)
		assert.Contains(t, logs[0].Line, "java.lang.IllegalStateException")
		assert.Equal(t, 3, s.Sample().OnTrial.Lines)
	})
}

// TestSilenceIsNoPass: nothing that comes may be lost on its way.
func TestSilenceIsNoPass(t *testing.T) {
	collecting(t, nil, func(t *testing.T, s *scene, gray, _ *shelf) {
		gray.write(time.Minute, "cart-gray-1/app", "started")
		s.run(t)
		time.Sleep(time.Second)
		s.Begin(plan.Gray, 20)
		time.Sleep(10 * time.Second)
		c := verdictOf(t, s.Verdict(), "new-error-logs")
		assert.Equal(t, judge.Inconclusive, c.Verdict)
		assert.Contains(t, c.Why, "no log of gray could be read")

		gray.write(0, "cart-gray-1/app", "INFO request")
		time.Sleep(2 * time.Second)
		assert.Equal(t, judge.Pass, verdictOf(t, s.Verdict(), "new-error-logs").Verdict)
		assert.Equal(t, 1, s.Sample().OnTrial.Streams)
		assert.Equal(t, 1, s.Sample().OnTrial.Unread, "nothing is known of the other pod")

		s.Begin(plan.Gray, 50)
		time.Sleep(time.Second)
		assert.Zero(t, s.Sample().OnTrial.Streams, "it may have got lost since")
		assert.Equal(t, 1, s.Sample().Reference.Streams, "its lines are remembered")
	})
}

// A broken source is the infrastructure's fault, however it is broken, and a short break is none.
func TestABrokenSourceIsAnInfrastructureFault(t *testing.T) {
	broken := func(l *shelf) { l.trouble = func(context.Context) error { return errors.New("503 busy") } }
	silent := func(l *shelf) {
		l.trouble = func(ctx context.Context) error { pause(ctx, 5*time.Second); return errors.New("no answer within 5s") }
	}
	late := func(l *shelf) { l.behind = true }
	for name, trouble := range map[string]func(*shelf){"it fails": broken, "it is silent": silent, "it cannot keep up": late} {
		t.Run(name, func(t *testing.T) {
			collecting(t, nil, func(t *testing.T, s *scene, gray, _ *shelf) {
				s.run(t)
				time.Sleep(time.Second)
				s.Begin(plan.Gray, 20)
				time.Sleep(10 * time.Second)
				gray.set(trouble)
				time.Sleep(3 * time.Second)
				gray.set(func(l *shelf) { l.trouble, l.behind = nil, false })
				_, found := s.next(30 * time.Second)
				assert.False(t, found)

				gray.set(trouble)
				f, found := s.next(15 * time.Second)
				require.True(t, found)
				assert.True(t, f.Infrastructure)
				assert.Equal(t, []string{"monitor"}, names(f.Checks))
				assert.Equal(t, "the logs of gray", f.Checks[0].Where)
				assert.False(t, judge.Blamed(s.Verdict()), "the image is not")
			})
		})
	}
}

// TestGrayIsNotHeardAlone: an outage that both sides suffer from, and that keeps production's lines away, is no news.
func TestGrayIsNotHeardAlone(t *testing.T) {
	collecting(t, nil, func(t *testing.T, s *scene, gray, production *shelf) {
		s.run(t)
		time.Sleep(time.Second)
		s.Begin(plan.Gray, 20)
		time.Sleep(10 * time.Second)
		for _, d := range []time.Duration{8 * time.Second, time.Minute} {
			production.set(func(l *shelf) { l.trouble = func(context.Context) error { return errors.New("503 busy") } })
			for range d / time.Second {
				gray.write(0, "cart-gray-1/app", fmt.Sprintf(refused, 1))
				production.write(0, "cart-1/app", fmt.Sprintf(refused, 2))
				time.Sleep(time.Second)
			}
			production.set(func(l *shelf) { l.trouble = nil })
			time.Sleep(2 * time.Second)
		}
		f, found := s.next(time.Second)
		require.True(t, found)
		assert.Equal(t, []string{"monitor"}, names(f.Checks))
		assert.Equal(t, "the logs of production", f.Checks[0].Where)
		_, found = s.next(10 * time.Second)
		assert.False(t, found)
		assert.Equal(t, 68, s.Sample().OnTrial.Lines, "all of them were heard in the end")
	})
}

func TestALogOfAPodThatGoesIsNotHeard(t *testing.T) {
	collecting(t, nil, func(t *testing.T, s *scene, gray, _ *shelf) {
		s.run(t)
		time.Sleep(time.Second)
		s.Begin(plan.Gray, 20)
		gray.write(0, "cart-gray-1/app", "INFO request")
		time.Sleep(2 * time.Second)
		s.mu.Lock()
		heard := s.gray.heard()
		s.mu.Unlock()
		assert.InDelta(t, 1, heard, 0)
		s.api.send("DELETED", podOf(plan.Gray, "cart-gray-1"))
		time.Sleep(time.Second)
		gray.again("cart-gray-1/app", fmt.Sprintf(refused, 1))
		_, found := s.next(2 * time.Second)
		assert.False(t, found)
		assert.Empty(t, s.Sample().OnTrial.Logs)
		s.mu.Lock()
		heard = s.gray.heard()
		s.mu.Unlock()
		assert.Zero(t, heard)
	})
}

func TestCollectedLogsAreBounded(t *testing.T) {
	c := New(Options{}).newCollected(plan.Production, &shelf{})
	for i := range 3 * maxTails {
		c.take(time.Now(), fmt.Sprint("cart-", i), "app", "ERROR no stock")
	}
	assert.LessOrEqual(t, len(c.tails), maxTails)
}
