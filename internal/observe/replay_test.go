package observe

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/replay"
)

// badRun is of a bad image: a good window, one whose errors end it at once, one whose new lines do, and a weight of 100.
func badRun(t *testing.T, s *scene) {
	t.Helper()
	s.flow(0, 200, 0, 0.001)
	time.Sleep(5 * time.Second)
	s.Begin(plan.Gray, 5)
	s.flow(10, 190, 0.001, 0.001)
	time.Sleep(time.Minute)
	require.Equal(t, judge.Pass, verdictOf(t, s.Verdict(), "errors").Verdict)
	s.Begin(plan.Gray, 20)
	s.flow(40, 160, 0.03, 0.001)
	_, found := s.next(time.Minute)
	require.True(t, found)
	s.Verdict()
	s.Begin(plan.Gray, 50)
	s.flow(100, 100, 0.001, 0.001)
	for range 2 {
		s.api.again("cart-gray-1/app", `{"level":"ERROR","msg":"disk on fire"}`)
	}
	_, found = s.next(time.Minute)
	require.True(t, found)
	s.Begin(plan.Gray, 100)
	s.flow(200, 0, 0.001, 0.001)
	time.Sleep(10 * time.Second)
	s.Verdict()
}

func unchanged(l judge.Limits) (judge.Limits, error) { return l, nil }

// TestReplayReachesTheSameVerdicts from the evidence alone.
func TestReplayReachesTheSameVerdicts(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		badRun(t, s)
		got, err := replay.Replay(strings.NewReader(s.written()), unchanged)
		require.NoError(t, err)
		assert.Empty(t, got.Differences)
		require.Len(t, got.Windows, 4)
		var ends []string
		for _, w := range got.Windows {
			assert.Equal(t, w.Then.Verdict, w.Now.Verdict)
			assert.Equal(t, w.Then.AtOnce, w.Now.AtOnce)
			ends = append(ends, string(w.Now.Verdict))
			for _, c := range w.Now.Deciding {
				ends = append(ends, c.Name)
			}
		}
		assert.Equal(t, []string{"pass", "fail", "errors", "fail", "new-error-logs", "pass"}, ends)
		assert.Contains(t, got.String(), "The same limits lead to the same verdicts.")
	})
}

// TestReplayShowsWhatOtherLimitsWouldHaveDone.
func TestReplayShowsWhatOtherLimitsWouldHaveDone(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		badRun(t, s)
		got, err := replay.Replay(strings.NewReader(s.written()), func(l judge.Limits) (judge.Limits, error) {
			l.ErrorPercent, l.NewErrorLogs, l.MinRequests = 10, 1, 1
			return l, nil
		})
		require.NoError(t, err)
		require.Len(t, got.Windows, 4)
		assert.Equal(t, judge.Fail, got.Windows[1].Then.Verdict)
		assert.Equal(t, judge.Pass, got.Windows[1].Now.Verdict)
		assert.True(t, got.Windows[2].Now.Open, "it was ended before its verdict")
		assert.Contains(t, got.String(), "With other limits")
	})
}

// TestReplayOfAStepThatWaited ends it by what was found while it waited for evidence.
func TestReplayOfAStepThatWaited(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		s.Begin(plan.Gray, 20)
		s.flow(1, 4, 0, 0)
		time.Sleep(10 * time.Second)
		require.NotEmpty(t, judge.Missing(s.Verdict(), s.Limits))
		s.flow(40, 160, 0.3, 0)
		_, found := s.next(time.Minute)
		require.True(t, found)
		got, err := replay.Replay(strings.NewReader(s.written()), unchanged)
		require.NoError(t, err)
		assert.Empty(t, got.Differences)
		require.Len(t, got.Windows, 1)
		for _, end := range []replay.End{got.Windows[0].Then, got.Windows[0].Now} {
			assert.True(t, end.AtOnce)
			assert.Equal(t, judge.Fail, end.Verdict)
		}
	})
}

// TestReplaySeesThatEvidenceWasChanged, in the numbers and in the verdicts.
func TestReplaySeesThatEvidenceWasChanged(t *testing.T) {
	story(t, nil, func(t *testing.T, s *scene) {
		badRun(t, s)
		text := s.written()
		for name, changed := range map[string]string{
			"a block is missing":   cutLine(text, `"window":2,"share":20,`),
			"other new lines":      strings.Replace(text, `"newLogs":1}`, `"newLogs":2}`, 1),
			"a failure was a pass": strings.Replace(text, `"name":"requests","verdict":"pass"`, `"name":"requests","verdict":"fail"`, 1),
		} {
			got, err := replay.Replay(strings.NewReader(changed), unchanged)
			require.NoError(t, err, name)
			assert.NotEmpty(t, got.Differences, name)
			assert.Contains(t, got.String(), "Not the same as recorded", name)
		}
	})
}

// cutLine takes the last line with a text out.
func cutLine(text, with string) string {
	at := strings.LastIndex(text, with)
	begin := strings.LastIndex(text[:at], "\n") + 1
	return text[:begin] + text[at+strings.Index(text[at:], "\n")+1:]
}
