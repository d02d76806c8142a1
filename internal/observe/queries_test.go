package observe

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/replay"
)

// monitor is a monitoring server that says what it is told to.
type monitor struct {
	mu               sync.Mutex
	gray, production judge.Answer
	trouble          func(ctx context.Context) error
	asked            []time.Time
}

func (m *monitor) ask(ctx context.Context) (gray, production judge.Answer, err error) {
	m.mu.Lock()
	m.asked = append(m.asked, time.Now())
	gray, production, trouble := m.gray, m.production, m.trouble
	m.mu.Unlock()
	if trouble != nil {
		return gray, production, trouble(ctx)
	}
	return gray, production, nil
}

// say sets what is answered from now on.
func (m *monitor) say(gray, production float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gray, m.production = judge.Answer{Measured: judge.Measured{Value: gray}}, judge.Answer{Measured: judge.Measured{Value: production}}
}

func (m *monitor) fail(trouble func(ctx context.Context) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trouble = trouble
}

func (m *monitor) questions() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]time.Time(nil), m.asked...)
}

// monitored is a story with one query, asked every 10 s.
func monitored(t *testing.T, q judge.Query, tell func(t *testing.T, s *scene, m *monitor)) {
	t.Helper()
	q.Name = "depth"
	m := &monitor{}
	story(t, func(o *Options) { o.Queries = []Query{{Query: q, Every: 10 * time.Second, Ask: m.ask}} }, func(t *testing.T, s *scene) {
		s.flow(40, 160, 0, 0)
		tell(t, s, m)
	})
}

func depth(t *testing.T, s *scene) judge.Check {
	t.Helper()
	return verdictOf(t, s.Verdict(), "query depth")
}

func TestAQueryIsAskedAtItsOwnPace(t *testing.T) {
	monitored(t, judge.Query{Ratio: 1.5}, func(t *testing.T, s *scene, m *monitor) {
		m.say(10, 10)
		time.Sleep(5 * time.Second)
		s.Begin(plan.Gray, 20)
		time.Sleep(20 * time.Second)
		c := depth(t, s)
		assert.Equal(t, judge.Inconclusive, c.Verdict, "two readings")
		assert.Len(t, judge.Missing([]judge.Check{c}, s.Limits), 1, "the step waits for it")
		time.Sleep(40 * time.Second)
		c = depth(t, s)
		assert.Equal(t, judge.Pass, c.Verdict, c.Why)
		assert.Contains(t, c.Why, "6 readings of gray is 10 (at most 15); production 10")
		assert.Len(t, m.questions(), 7, "the first before the window began")
		assert.Len(t, s.Sample().Queries[0].OnTrial, 6)
		_, found := s.next(time.Second)
		assert.False(t, found)
	})
}

func TestFarWorseAnswersEndAStepAtOnce(t *testing.T) {
	monitored(t, judge.Query{Ratio: 1.5}, func(t *testing.T, s *scene, m *monitor) {
		m.say(10, 10)
		s.Begin(plan.Gray, 20)
		time.Sleep(5 * time.Minute)
		m.say(40, 10)
		begun := time.Now()
		f, found := s.next(time.Minute)
		require.True(t, found)
		assert.Equal(t, []string{"query depth"}, names(f.Checks))
		assert.False(t, f.Infrastructure)
		assert.InDelta(t, 25, f.At.Sub(begun).Seconds(), 6, "three readings")
		assert.Equal(t, judge.Fail, depth(t, s).Verdict, "what was found stays failed")
		_, found = s.next(time.Minute)
		assert.False(t, found, "once in a window")

		again, err := replay.Replay(strings.NewReader(s.written()), unchanged)
		require.NoError(t, err)
		assert.Empty(t, again.Differences, "the evidence holds the answers")
		assert.Equal(t, []string{"query depth"}, names(again.Windows[len(again.Windows)-1].Now.Deciding))
	})
}

func TestWhatBothSidesSufferFromIsNoFinding(t *testing.T) {
	monitored(t, judge.Query{Ratio: 1.5}, func(t *testing.T, s *scene, m *monitor) {
		m.say(10, 10)
		s.Begin(plan.Gray, 20)
		time.Sleep(time.Minute)
		m.say(90, 90)
		_, found := s.next(time.Minute)
		assert.False(t, found)
	})
}

func TestAQueryThatFindsNothingIsNoPass(t *testing.T) {
	monitored(t, judge.Query{Ratio: 1.5}, func(t *testing.T, s *scene, m *monitor) {
		m.say(10, 10)
		m.mu.Lock()
		m.gray = judge.Answer{None: "found no series"}
		m.mu.Unlock()
		time.Sleep(5 * time.Second)
		s.Begin(plan.Gray, 20)
		_, found := s.next(time.Minute)
		assert.False(t, found, "nor is it a fault")
		c := depth(t, s)
		assert.Equal(t, judge.Inconclusive, c.Verdict)
		assert.Contains(t, c.Why, "no number for gray in 6 answers, the last one found no series")
		assert.Len(t, judge.Missing([]judge.Check{c}, s.Limits), 1)
	})
}

// A broken monitor is the infrastructure's fault, however it is broken, and a short break is none.
func TestABrokenMonitorIsAnInfrastructureFault(t *testing.T) {
	for name, trouble := range map[string]func(ctx context.Context) error{
		"it fails":     func(context.Context) error { return errors.New("server error: 503") },
		"it is silent": func(context.Context) error { time.Sleep(5 * time.Second); return errors.New("no answer within 5s") },
	} {
		t.Run(name, func(t *testing.T) {
			monitored(t, judge.Query{Limit: new(100.0)}, func(t *testing.T, s *scene, m *monitor) {
				m.say(10, 10)
				s.Begin(plan.Gray, 20)
				time.Sleep(61 * time.Second)
				m.fail(trouble)
				time.Sleep(13500 * time.Millisecond) // the next question, and less than five seconds
				m.fail(nil)
				_, found := s.next(time.Minute)
				assert.False(t, found)
				before := len(m.questions())

				m.fail(trouble)
				f, found := s.next(30 * time.Second)
				require.True(t, found)
				assert.True(t, f.Infrastructure)
				assert.Equal(t, []string{"monitor"}, names(f.Checks))
				assert.Equal(t, "query depth", f.Checks[0].Where)
				assert.Greater(t, len(m.questions()), before)
				assert.Equal(t, judge.Fail, judge.Worst(s.Verdict()))
				assert.False(t, judge.Blamed(s.Verdict()), "the image is not")
			})
		})
	}
}

func TestAFailedQuestionIsAskedAgainSoon(t *testing.T) {
	monitored(t, judge.Query{Ratio: 1.5}, func(t *testing.T, s *scene, m *monitor) {
		m.fail(func(context.Context) error { return errors.New("refused") }) // the first question may have been answered before
		time.Sleep(15500 * time.Millisecond)
		assert.GreaterOrEqual(t, len(m.questions()), 1+6)
		_, found := s.next(time.Minute)
		assert.False(t, found, "nobody is on gray")
	})
}

func TestASideWithoutUsersIsComparedByWhatItWas(t *testing.T) {
	monitored(t, judge.Query{Ratio: 1.5}, func(t *testing.T, s *scene, m *monitor) {
		m.say(10, 10)
		s.Begin(plan.Gray, 50)
		time.Sleep(35 * time.Second)
		m.say(10, 1) // production idles
		s.Begin(plan.Gray, 100)
		time.Sleep(35 * time.Second)
		c := depth(t, s)
		assert.Equal(t, judge.Pass, c.Verdict, c.Why)
		assert.Contains(t, c.Why, "production 10 when it last had users")
		s.Begin(plan.Production, 50)
		m.say(10, 16)
		time.Sleep(35 * time.Second)
		c = depth(t, s)
		assert.Equal(t, judge.Fail, c.Verdict, c.Why)
		assert.Contains(t, c.Why, "readings of production is 16 (at most 15); gray 10")
	})
}

func TestAnAnswerOfAnotherWeightIsLeftOut(t *testing.T) {
	monitored(t, judge.Query{Ratio: 1.5}, func(t *testing.T, s *scene, m *monitor) {
		m.say(10, 10)
		time.Sleep(time.Second)
		m.fail(func(context.Context) error { time.Sleep(3 * time.Second); return nil })
		time.Sleep(10 * time.Second) // the second question is under way
		s.Begin(plan.Gray, 20)
		time.Sleep(4 * time.Second)
		assert.Zero(t, s.Sample().Queries[0].Asked)
	})
}

func TestAnswersAreBounded(t *testing.T) {
	a := newAnswers(make([]Query, 1))
	for i := range 3 * keepAnswers {
		a[0].add(plan.Gray, judge.Answer{Measured: judge.Measured{Value: float64(i)}})
	}
	kept := a[0].readings[plan.Gray]
	assert.Len(t, kept, keepAnswers)
	assert.InDelta(t, 3*keepAnswers-1, kept[keepAnswers-1].Value, 0, "the newest")
}
