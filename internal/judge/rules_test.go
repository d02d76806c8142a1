package judge

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// healthy is one minute at weight 20 in which nothing is wrong and every rule has what it needs.
func healthy() Sample {
	return Sample{
		From: start, To: start.Add(time.Minute), Weight: 20,
		OnTrial: Numbers{
			Name: "gray", Pods: 2, Streams: 2, Lines: 1000, Traffic: Traffic{Requests: 1000, Latency: fast(1000)},
			Usage: used(2, 100, 0.1),
		},
		Reference: Numbers{
			Name: "production", Pods: 8, Streams: 2, Lines: 4000, Traffic: Traffic{Requests: 4000, Latency: fast(4000)},
			Usage: used(8, 100, 0.1),
		},
	}
}

// fast is a histogram with bounds at 100, 300 and 1200 ms, all requests in the first bucket.
func fast(n float64) []Bucket { return histogram(n, n, n, n) }

func histogram(a, b, c, all float64) []Bucket {
	return []Bucket{{0.1, a}, {0.3, b}, {1.2, c}, {math.Inf(1), all}}
}

func check(t *testing.T, checks []Check, name string) Check {
	t.Helper()
	i := slices.IndexFunc(checks, func(c Check) bool { return c.Name == name })
	require.GreaterOrEqual(t, i, 0, "no check %s in %v", name, checks)
	return checks[i]
}

// A side that loses a pod to somebody's hand fails for it: users must go, the image is not to blame.
func TestAPodThatWasTakenAwayIsNotTheImagesFault(t *testing.T) {
	for name, change := range map[string]func(*Sample){
		"errors": func(s *Sample) { s.OnTrial.Traffic.Errors = s.OnTrial.Traffic.Requests / 2 },
		"p99":    func(s *Sample) { s.OnTrial.Traffic.Latency = []Bucket{{0.3, 0}, {10, 1000}, {math.Inf(1), 1000}} },
		"ready": func(s *Sample) {
			s.OnTrial.Pods, s.OnTrial.NotReady, s.Reference.NotReady = 0, []string{"g"}, []string{"p"}
		},
	} {
		for _, taken := range []bool{false, true} {
			s := healthy()
			change(&s)
			if taken {
				s.OnTrial.Taken = []string{"web-gray-1"}
			} else if name == "ready" {
				s.Reference.NotReady = nil
			}
			c := check(t, Judge(s, Defaults()), name)
			assert.Equal(t, Fail, c.Verdict, "%s %v: %s", name, taken, c.Why)
			assert.Equal(t, taken, c.Infrastructure, "%s: %s", name, c.Why)
		}
	}
}

func TestJudgePassesAHealthyWindow(t *testing.T) {
	checks := Judge(healthy(), Defaults())
	names := make([]string, 0, len(checks))
	for _, c := range checks {
		names = append(names, c.Name)
		assert.Equal(t, Pass, c.Verdict, "%s: %s", c.Name, c.Why)
		assert.NotEmpty(t, c.Why, c.Name)
	}
	assert.Equal(t, []string{"requests", "routing", "errors", "p99", "restarts", "ready", "new-error-logs", "log-volume", "memory", "cpu", "memory-growth"}, names)
	assert.Equal(t, Pass, Worst(checks))
	assert.False(t, Blamed(checks))
	assert.Empty(t, AtOnce(healthy(), Defaults()))
}

func TestJudgeNeverPassesWhatItDidNotSee(t *testing.T) {
	s := Sample{From: start, To: start.Add(time.Minute), Weight: 20, OnTrial: Numbers{Name: "gray"}, Reference: Numbers{Name: "production"}}
	for _, c := range Judge(s, Defaults()) {
		assert.Equal(t, Inconclusive, c.Verdict, "%s: %s", c.Name, c.Why)
	}
	s.NoTraffic, s.NoResources = true, true
	for _, c := range Judge(s, Defaults()) {
		assert.Equal(t, Inconclusive, c.Verdict, "%s: %s", c.Name, c.Why)
		assert.Equal(t, slices.Contains([]string{"memory", "cpu", "memory-growth"}, c.Name), c.Absent, c.Name)
	}
}

// TestRules holds every rule from both sides of its limit.
func TestRules(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	tests := []struct {
		name   string
		rule   string
		change func(*Sample, *Limits)
		want   Verdict
	}{
		{"50 requests", "requests", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Requests = 50 }, Pass},
		{"49 requests", "requests", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Requests = 49 }, Inconclusive},
		{"the user's least", "requests", func(s *Sample, l *Limits) { s.OnTrial.Traffic.Requests, l.MinRequests = 999, 1000 }, Inconclusive},
		{"NaN requests", "requests", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Requests = nan }, Inconclusive},
		{"Inf requests", "requests", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Requests = inf }, Inconclusive},
		{"no traffic seen", "requests", func(s *Sample, _ *Limits) { s.NoTraffic = true }, Inconclusive},

		{"one request came", "routing", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Requests, s.Reference.Traffic.Requests = 1, 100 }, Pass},
		{"less than half came, many predicted", "routing", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Requests = 440 }, Fail},
		{"half came, many predicted", "routing", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Requests = 450 }, Pass},
		{"none, 20 predicted", "routing", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Requests, s.Reference.Traffic.Requests = 0, 100 }, Fail},
		{"none, 19.8 predicted", "routing", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Requests, s.Reference.Traffic.Requests = 0, 99 }, Inconclusive},
		{"production on trial: 25 predicted", "routing", func(s *Sample, _ *Limits) { turn(s, 75); s.Reference.Traffic.Requests = 100 }, Fail},
		{"production on trial: 19 predicted", "routing", func(s *Sample, _ *Limits) { turn(s, 81); s.Reference.Traffic.Requests = 100 }, Inconclusive},
		{"past requests predict nothing", "routing", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Requests, s.ReferenceIsPast = 0, true }, Inconclusive},
		{"NaN of the other side", "routing", func(s *Sample, _ *Limits) { s.Reference.Traffic.Requests = nan }, Inconclusive},
		{"no traffic seen", "routing", func(s *Sample, _ *Limits) { s.NoTraffic = true }, Inconclusive},

		{"1.0 points", "errors", errors(10, 0), Pass},
		{"1.1 points, two causes may do that", "errors", errors(11, 0), Inconclusive},
		{"2.2 points", "errors", errors(22, 0), Fail},
		{"production as bad", "errors", errors(30, 80), Pass},
		{"1.0 points above a bad production", "errors", errors(30, 80), Pass},
		{"1.1 points above a bad production", "errors", errors(31, 80), Inconclusive},
		{"3.5 points above a bad production", "errors", errors(55, 80), Inconclusive},
		{"3.6 points above a bad production", "errors", errors(56, 80), Fail},
		{"better than production", "errors", errors(0, 400), Pass},
		{"one stray error in 50", "errors", func(s *Sample, _ *Limits) { s.OnTrial.Traffic = Traffic{Requests: 50, Errors: 1} }, Inconclusive},
		{"20 in 50", "errors", func(s *Sample, _ *Limits) { s.OnTrial.Traffic = Traffic{Requests: 50, Errors: 20} }, Inconclusive},
		{"21 in 50", "errors", func(s *Sample, _ *Limits) { s.OnTrial.Traffic = Traffic{Requests: 50, Errors: 21} }, Fail},
		{"three in 49", "errors", func(s *Sample, _ *Limits) { s.OnTrial.Traffic = Traffic{Requests: 49, Errors: 3} }, Inconclusive},
		{"more than production and chance predict", "errors", func(s *Sample, _ *Limits) {
			s.OnTrial.Traffic, s.Reference.Traffic = Traffic{Requests: 100, Errors: 28}, Traffic{Requests: 100, Errors: 1}
		}, Fail},
		{"as many as production and chance predict", "errors", func(s *Sample, _ *Limits) {
			s.OnTrial.Traffic, s.Reference.Traffic = Traffic{Requests: 100, Errors: 27}, Traffic{Requests: 100, Errors: 1}
		}, Inconclusive},
		{"more than a production that varies predicts", "errors", func(s *Sample, _ *Limits) {
			s.OnTrial.Traffic, s.Reference.Traffic, s.Reference.Swing = Traffic{Requests: 100, Errors: 34}, Traffic{Requests: 100, Errors: 1}, 4
		}, Fail},
		{"as many as a production that varies predicts", "errors", func(s *Sample, _ *Limits) {
			s.OnTrial.Traffic, s.Reference.Traffic, s.Reference.Swing = Traffic{Requests: 100, Errors: 33}, Traffic{Requests: 100, Errors: 1}, 4
		}, Inconclusive},
		{"no reference, within", "errors", func(s *Sample, _ *Limits) { errors(10, 0)(s, nil); s.Reference.Traffic = Traffic{} }, Pass},
		{"no reference, above", "errors", func(s *Sample, _ *Limits) { errors(21, 0)(s, nil); s.Reference.Traffic = Traffic{} }, Fail},
		{"against the past, within", "errors", func(s *Sample, _ *Limits) { errors(30, 80)(s, nil); s.ReferenceIsPast = true }, Pass},
		{"against the past, above", "errors", func(s *Sample, _ *Limits) { errors(56, 80)(s, nil); s.ReferenceIsPast = true }, Fail},
		{"the user's limit, within", "errors", func(s *Sample, l *Limits) { errors(50, 0)(s, nil); l.ErrorPercent = 1 }, Pass},
		{"the user's limit, above", "errors", func(s *Sample, l *Limits) { errors(51, 0)(s, nil); l.ErrorPercent = 1 }, Fail},
		{"NaN errors", "errors", errors(nan, 0), Inconclusive},
		{"NaN errors of production", "errors", errors(0, nan), Inconclusive},
		{"more errors than requests", "errors", errors(1001, 0), Inconclusive},
		{"NaN limit", "errors", func(_ *Sample, l *Limits) { l.ErrorPercent = nan }, Inconclusive},
		{"no traffic seen", "errors", func(s *Sample, _ *Limits) { s.NoTraffic = true }, Inconclusive},

		{"weighed: no evidence", "errors", weighed(errors(50, 0), Evidence{Errors: 12}), Pass},
		{"weighed: some evidence", "errors", weighed(errors(50, 0), Evidence{Errors: 13}), Inconclusive},
		{"weighed: too many errors to go on", "errors", weighed(errors(51, 0), Evidence{}), Inconclusive},
		{"weighed: evidence", "errors", weighed(errors(7, 0), Evidence{Errors: 125}), Fail},
		{"weighed: evidence, but perhaps within the limit", "errors", weighed(errors(6, 0), Evidence{Errors: 1e9}), Inconclusive},
		{"weighed: evidence of too small a difference", "errors", weighed(errors(2, 0), Evidence{Errors: 1e9}), Pass},
		{"weighed: a gross fault needs no 50 requests", "errors", weighed(func(s *Sample, _ *Limits) {
			s.OnTrial.Traffic = Traffic{Requests: 9, Errors: 9}
		}, Evidence{Errors: 125}), Fail},
		{"weighed: 49 requests pass nothing", "errors", weighed(func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Requests = 49 }, Evidence{}), Inconclusive},
		{"weighed: false alarms for all", "errors", weighed(func(s *Sample, l *Limits) { errors(7, 0)(s, l); l.FalseAlarmPercent = 0.1 }, Evidence{Errors: 1249}), Inconclusive},
		{"weighed: NaN", "errors", weighed(errors(100, 0), Evidence{Errors: nan}), Inconclusive},
		{"weighed: slow, no evidence", "p99", weighed(func(s *Sample, _ *Limits) { trialLatency(s, 950, 950, 1000, 1000) }, Evidence{Slow: 99}), Pass},
		{"weighed: slow, some evidence", "p99", weighed(func(s *Sample, _ *Limits) { trialLatency(s, 950, 950, 1000, 1000) }, Evidence{Slow: 100}), Inconclusive},
		{"weighed: too many slow answers to go on", "p99", weighed(func(s *Sample, _ *Limits) { trialLatency(s, 949, 949, 1000, 1000) }, Evidence{}), Inconclusive},
		{"weighed: slow", "p99", weighed(func(s *Sample, _ *Limits) { trialLatency(s, 500, 500, 1000, 1000) }, Evidence{Slow: 1000}), Fail},
		{"weighed: not slow, whatever the evidence", "p99", weighed(func(*Sample, *Limits) {}, Evidence{Slow: 1e9}), Pass},
		{"weighed: a new line, no evidence", "new-error-logs", weighed(proven(199), Evidence{}), Pass},
		{"weighed: a new line, some evidence", "new-error-logs", weighed(proven(200), Evidence{}), Inconclusive},
		{"weighed: a new line", "new-error-logs", weighed(proven(2000), Evidence{}), Fail},
		{"weighed: new lines of many kinds, none of them proven", "new-error-logs", weighed(proven(1, 1, 1), Evidence{NewLogs: 2000}), Fail},
		{"weighed: two new lines, one allowed, one proven", "new-error-logs", weighed(func(s *Sample, l *Limits) { proven(5, 2000)(s, l); l.NewErrorLogs = 1 }, Evidence{}), Pass},
		{"weighed: two new lines, one allowed", "new-error-logs", weighed(func(s *Sample, l *Limits) { proven(2000, 2000)(s, l); l.NewErrorLogs = 1 }, Evidence{}), Fail},

		// In a minute two containers of each side wrote a line a request: gray 1000, production 4000.
		{"as much", "log-volume", func(*Sample, *Limits) {}, Pass},
		{"a storm", "log-volume", wrote(20001), Fail},
		{"less than a storm by container", "log-volume", wrote(20000), Pass},
		{"below five lines a request more", "log-volume", func(s *Sample, _ *Limits) {
			wrote(6000)(s, nil)
			s.Reference.Lines, s.OnTrial.Traffic.Requests = 10, 1200
		}, Pass},
		{"above five lines a request more", "log-volume", func(s *Sample, _ *Limits) { wrote(6010)(s, nil); s.Reference.Lines = 10 }, Fail},
		{"twice as many containers unread", "log-volume", func(s *Sample, _ *Limits) { wrote(3000)(s, nil); s.OnTrial.Unread = 4 }, Pass},
		{"few lines a second", "log-volume", func(s *Sample, _ *Limits) { wrote(5900)(s, nil); s.OnTrial.Traffic.Requests = 100 }, Pass},
		{"production writes as much by container", "log-volume", func(s *Sample, _ *Limits) { wrote(60000)(s, nil); s.Reference.Lines = 16000 }, Pass},
		{"against the past", "log-volume", func(s *Sample, _ *Limits) { wrote(60000)(s, nil); s.ReferenceIsPast = true }, Inconclusive},
		{"no log read", "log-volume", func(s *Sample, _ *Limits) { s.OnTrial.Streams = 0 }, Inconclusive},
		{"no requests", "log-volume", func(s *Sample, _ *Limits) { s.Reference.Traffic.Requests = 0 }, Inconclusive},
		{"NaN", "log-volume", func(s *Sample, _ *Limits) { s.Reference.Traffic.Requests = nan }, Inconclusive},

		// Production's p99 is 99 ms, so the limit is 199 ms: 50 of the 101 in the second bucket are slower.
		{"at the absolute limit", "p99", func(s *Sample, l *Limits) { l.P99 = 300 * time.Millisecond; trialLatency(s, 900, 990, 1000, 1000) }, Pass},
		{"above the absolute limit", "p99", func(s *Sample, l *Limits) { l.P99 = 300 * time.Millisecond; trialLatency(s, 900, 980, 1000, 1000) }, Fail},
		{"absolute, too few slow ones", "p99", func(s *Sample, l *Limits) { l.P99 = 300 * time.Millisecond; trialLatency(s, 900, 981, 1000, 1000) }, Pass},
		{"twice and 100 ms above", "p99", func(s *Sample, _ *Limits) { trialLatency(s, 950, 1000, 1000, 1000) }, Fail},
		{"against the past, four times the bound: within", "p99", func(s *Sample, _ *Limits) { trialLatency(s, 900, 990, 1000, 1000); s.ReferenceIsPast = true }, Pass},
		{"against the past, above", "p99", func(s *Sample, _ *Limits) { trialLatency(s, 900, 900, 1000, 1000); s.ReferenceIsPast = true }, Fail},
		{"not 100 ms above", "p99", func(s *Sample, _ *Limits) { trialLatency(s, 982, 1000, 1000, 1000) }, Pass},
		{"100 ms above but not twice", "p99", func(s *Sample, _ *Limits) {
			trialLatency(s, 0, 0, 1000, 1000)
			s.Reference.Traffic.Latency = histogram(0, 2000, 4000, 4000)
		}, Pass},
		{"twice a slow reference", "p99", func(s *Sample, _ *Limits) {
			trialLatency(s, 0, 0, 1000, 1000)
			s.Reference.Traffic.Latency = histogram(0, 4000, 4000, 4000)
		}, Fail},
		{"beyond the last bucket, limit inside", "p99", func(s *Sample, l *Limits) { l.P99 = time.Second; trialLatency(s, 0, 0, 0, 1000) }, Fail},
		{"beyond the last bucket, limit at its bound", "p99", func(s *Sample, l *Limits) { l.P99 = 1200 * time.Millisecond; trialLatency(s, 0, 0, 0, 1000) }, Fail},
		{"beyond the last bucket, limit beyond", "p99", func(s *Sample, l *Limits) { l.P99 = 2 * time.Second; trialLatency(s, 0, 0, 0, 1000) }, Inconclusive},
		{"both beyond the last bucket", "p99", func(s *Sample, _ *Limits) {
			trialLatency(s, 0, 0, 0, 1000)
			s.Reference.Traffic.Latency = histogram(0, 0, 0, 4000)
		}, Inconclusive},
		{"both beyond the last bucket, limit inside", "p99", func(s *Sample, l *Limits) {
			l.P99 = time.Second
			trialLatency(s, 0, 0, 0, 1000)
			s.Reference.Traffic.Latency = histogram(0, 0, 0, 4000)
		}, Inconclusive},
		{"50 requests", "p99", func(s *Sample, _ *Limits) { trialLatency(s, 50, 50, 50, 50) }, Pass},
		{"49 requests", "p99", func(s *Sample, _ *Limits) { trialLatency(s, 49, 49, 49, 49) }, Inconclusive},
		{"49 requests of production", "p99", func(s *Sample, _ *Limits) { s.Reference.Traffic.Latency = fast(49) }, Inconclusive},
		{"49 requests of production, absolute limit", "p99", func(s *Sample, l *Limits) { l.P99 = time.Second; s.Reference.Traffic.Latency = fast(49) }, Pass},
		{"falling counts", "p99", func(s *Sample, _ *Limits) { trialLatency(s, 900, 800, 1000, 1000) }, Inconclusive},
		{"NaN counts", "p99", func(s *Sample, _ *Limits) { trialLatency(s, nan, nan, nan, nan) }, Inconclusive},
		{"no last bucket", "p99", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Latency = []Bucket{{0.1, 1000}} }, Inconclusive},
		{"bounds out of order", "p99", func(s *Sample, _ *Limits) {
			s.OnTrial.Traffic.Latency = []Bucket{{0.3, 900}, {0.1, 1000}, {inf, 1000}}
		}, Inconclusive},
		{"none of gray", "p99", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Latency = nil }, Inconclusive},
		{"no traffic seen", "p99", func(s *Sample, _ *Limits) { s.NoTraffic = true }, Inconclusive},

		{"one restart", "restarts", restarted(1), Fail},
		{"one restart, one allowed", "restarts", func(s *Sample, l *Limits) { restarted(1)(s, nil); l.Restarts = 1 }, Pass},
		{"two restarts, one allowed", "restarts", func(s *Sample, l *Limits) { restarted(2)(s, nil); l.Restarts = 1 }, Fail},
		{"production ends as often", "restarts", func(s *Sample, _ *Limits) {
			restarted(1)(s, nil)
			s.Reference.Restarts = endsOf(4)
		}, Fail},
		{"production ends less often", "restarts", func(s *Sample, _ *Limits) {
			restarted(1)(s, nil)
			s.Reference.Restarts = endsOf(3)
		}, Fail},
		{"production restarted", "restarts", func(s *Sample, _ *Limits) { s.Reference.Restarts = []Restart{{Pod: "p"}} }, Pass},

		{"one pod lost", "ready", func(s *Sample, _ *Limits) { s.OnTrial.NotReady = []string{"g1"} }, Fail},
		{"all lost", "ready", func(s *Sample, _ *Limits) { s.OnTrial.NotReady, s.OnTrial.Pods = []string{"g1"}, 0 }, Fail},
		{"production lost a larger share", "ready", func(s *Sample, _ *Limits) {
			s.OnTrial.NotReady, s.Reference.NotReady = []string{"g1"}, slices.Repeat([]string{"p"}, 8)
		}, Inconclusive},
		{"production lost a smaller share", "ready", func(s *Sample, _ *Limits) {
			s.OnTrial.NotReady, s.Reference.NotReady = []string{"g1"}, []string{"p"}
		}, Fail},
		{"production lost one", "ready", func(s *Sample, _ *Limits) { s.Reference.NotReady = []string{"p1"} }, Pass},

		{"a new template", "new-error-logs", logs(1, 0), Fail},
		{"a known template", "new-error-logs", logs(1, 1), Pass},
		{"two, one known", "new-error-logs", logs(2, 1), Fail},
		{"a new template, two lines", "new-error-logs", lines(2), Pass},
		{"a new template, nine lines", "new-error-logs", lines(9), Pass},
		{"a new template, ten lines", "new-error-logs", lines(10), Fail},
		{"two lines, production's logs unseen", "new-error-logs", func(s *Sample, _ *Limits) { lines(2)(s, nil); s.Reference.Streams = 0 }, Pass},
		{"one new, one allowed, production's logs unseen", "new-error-logs", func(s *Sample, l *Limits) {
			logs(1, 0)(s, nil)
			s.Reference.Streams, l.NewErrorLogs = 0, 1
		}, Pass},
		{"one new, one allowed", "new-error-logs", func(s *Sample, l *Limits) { logs(1, 0)(s, nil); l.NewErrorLogs = 1 }, Pass},
		{"two new, one allowed", "new-error-logs", func(s *Sample, l *Limits) { logs(2, 0)(s, nil); l.NewErrorLogs = 1 }, Fail},
		{"gray's logs unseen", "new-error-logs", func(s *Sample, _ *Limits) { s.OnTrial.Streams = 0 }, Inconclusive},
		{"new, production's logs unseen", "new-error-logs", func(s *Sample, _ *Limits) { logs(1, 0)(s, nil); s.Reference.Streams = 0 }, Inconclusive},
		{"none, production's logs unseen", "new-error-logs", func(s *Sample, _ *Limits) { s.Reference.Streams = 0 }, Pass},
		{"new, production's table overflowed", "new-error-logs", func(s *Sample, _ *Limits) { logs(1, 0)(s, nil); s.Reference.LogsCut = 1 }, Inconclusive},

		{"new, lines of production dropped", "new-error-logs", func(s *Sample, _ *Limits) { logs(1, 0)(s, nil); s.Reference.LogsDropped = 1 }, Inconclusive},
		{"new, lines of gray dropped", "new-error-logs", func(s *Sample, _ *Limits) { logs(1, 0)(s, nil); s.OnTrial.LogsDropped = 1 }, Fail},
		{"none, lines of both dropped", "new-error-logs", func(s *Sample, _ *Limits) { s.OnTrial.LogsDropped, s.Reference.LogsDropped = 1, 1 }, Pass},

		{"twice", "memory", bytes(200), Pass},
		{"2.01 times", "memory", bytes(201), Fail},
		{"32 MiB more", "memory", func(s *Sample, _ *Limits) { bytes(52)(s, nil); s.Reference.Usage = used(8, 20, 0.1) }, Fail},
		{"31 MiB more", "memory", func(s *Sample, _ *Limits) { bytes(51)(s, nil); s.Reference.Usage = used(8, 20, 0.1) }, Pass},
		{"the user's ratio, within", "memory", func(s *Sample, l *Limits) { bytes(300)(s, nil); l.MemoryRatio = 3 }, Pass},
		{"the user's ratio, above", "memory", func(s *Sample, l *Limits) { bytes(301)(s, nil); l.MemoryRatio = 3 }, Fail},
		{"NaN", "memory", bytes(nan), Inconclusive},
		{"Inf", "memory", bytes(inf), Inconclusive},
		{"no reading of gray", "memory", func(s *Sample, _ *Limits) { s.OnTrial.Usage = nil }, Inconclusive},
		{"no reading of production", "memory", func(s *Sample, _ *Limits) { s.Reference.Usage = nil }, Inconclusive},
		{"production uses none", "memory", func(s *Sample, _ *Limits) { s.Reference.Usage = used(8, 0, 0.1) }, Inconclusive},
		{"no metrics.k8s.io", "memory", func(s *Sample, _ *Limits) { s.NoResources = true }, Inconclusive},

		// Gray serves 500 requests by pod as production does: 12 ms of CPU by request both.
		{"twice by request", "cpu", cores(0.2), Pass},
		{"2.1 times by request", "cpu", cores(0.21), Fail},
		{"half the requests by pod, twice by request", "cpu", func(s *Sample, _ *Limits) { cores(0.1)(s, nil); s.OnTrial.Traffic.Requests = 500 }, Pass},
		{"idle load by few requests", "cpu", func(s *Sample, _ *Limits) { cores(0.09)(s, nil); s.OnTrial.Traffic.Requests = 60 }, Pass},
		{"6 millicores more", "cpu", func(s *Sample, _ *Limits) { cores(0.008)(s, nil); s.Reference.Usage = used(8, 100, 0.002) }, Fail},
		{"4 millicores more", "cpu", func(s *Sample, _ *Limits) { cores(0.006)(s, nil); s.Reference.Usage = used(8, 100, 0.002) }, Pass},
		{"NaN", "cpu", cores(nan), Inconclusive},
		{"Inf", "cpu", cores(inf), Inconclusive},
		{"production uses none", "cpu", func(s *Sample, _ *Limits) { s.Reference.Usage = used(8, 100, 0) }, Inconclusive},
		{"no requests of production", "cpu", func(s *Sample, _ *Limits) { s.Reference.Traffic.Requests = 0 }, Inconclusive},
		{"the reference's own window", "cpu", func(s *Sample, _ *Limits) { cores(0.21)(s, nil); s.Reference.Window = 2 * time.Minute }, Pass},
		{"no metrics.k8s.io", "cpu", func(s *Sample, _ *Limits) { s.NoResources = true }, Inconclusive},
	}
	for _, tt := range tests {
		t.Run(tt.rule+"/"+tt.name, func(t *testing.T) {
			s, l := healthy(), Defaults()
			tt.change(&s, &l)
			got := check(t, Judge(s, l), tt.rule)
			assert.Equal(t, tt.want, got.Verdict, got.Why)
			assert.Equal(t, tt.rule == "routing" || tt.name == "no reference, above" || tt.name == "production ends as often", got.Infrastructure)
			_, err := json.Marshal(got)
			require.NoError(t, err, "what is judged must be recordable")
			AtOnce(s, l)
		})
	}
}

// turn puts production on trial with no requests.
func turn(s *Sample, weight int) {
	s.OnTrial.Name, s.Reference.Name, s.Weight = "production", "gray", weight
	s.OnTrial.Traffic = Traffic{}
}

func errors(gray, production float64) func(*Sample, *Limits) {
	return func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Errors, s.Reference.Traffic.Errors = gray, production }
}

func trialLatency(s *Sample, a, b, c, all float64) {
	s.OnTrial.Traffic.Latency = histogram(a, b, c, all)
}

func restarted(n int) func(*Sample, *Limits) {
	return func(s *Sample, _ *Limits) {
		s.OnTrial.Restarts = slices.Repeat([]Restart{{Pod: "g1", Container: "app", Reason: "Completed"}}, n)
	}
}

func logs(trial, known int) func(*Sample, *Limits) {
	all := []LogTemplate{{Template: "a", Line: "a 1", Count: 10, Pod: "g1"}, {Template: "b", Line: "b 1", Count: 10, Pod: "g2"}}
	return func(s *Sample, _ *Limits) { s.OnTrial.Logs, s.Reference.Logs = all[:trial], all[:known] }
}

// lines is one template that production does not write, so many times.
func lines(n int) func(*Sample, *Limits) {
	return func(s *Sample, _ *Limits) {
		s.OnTrial.Logs = []LogTemplate{{Template: "a", Line: "a 1", Count: n, Pod: "g1"}}
	}
}

// proven are templates that production does not write, with so much evidence each.
func proven(evidence ...float64) func(*Sample, *Limits) {
	return func(s *Sample, _ *Limits) {
		for i, e := range evidence {
			s.OnTrial.Logs = append(s.OnTrial.Logs, LogTemplate{Template: string(rune('a' + i)), Count: 3, Pod: "g1", Evidence: e})
		}
	}
}

func wrote(lines int) func(*Sample, *Limits) {
	return func(s *Sample, _ *Limits) { s.OnTrial.Lines = lines }
}

// weighed is a change of a window in which both sides have users.
func weighed(change func(*Sample, *Limits), e Evidence) func(*Sample, *Limits) {
	return func(s *Sample, l *Limits) {
		change(s, l)
		s.Evidence = &e
	}
}

func bytes(mib float64) func(*Sample, *Limits) {
	return func(s *Sample, _ *Limits) { s.OnTrial.Usage = used(2, mib, 0.1) }
}

func cores(v float64) func(*Sample, *Limits) {
	return func(s *Sample, _ *Limits) { s.OnTrial.Usage = used(2, 100, v) }
}

func TestAtOnce(t *testing.T) {
	short := func(s *Sample) { s.To = s.From.Add(2 * time.Second) }
	tests := []struct {
		name   string
		change func(*Sample)
		want   []string
	}{
		{"a crash", func(s *Sample) { short(s); restarted(1)(s, nil) }, []string{"restarts"}},
		{"a crash without traffic numbers", func(s *Sample) { s.NoTraffic = true; restarted(1)(s, nil) }, []string{"restarts"}},
		{"a new error line", func(s *Sample) { short(s); logs(1, 0)(s, nil) }, []string{"new-error-logs"}},
		{"two new error lines", func(s *Sample) { short(s); lines(2)(s, nil) }, nil},
		{"a pod lost", func(s *Sample) { short(s); s.OnTrial.NotReady = []string{"g1"} }, []string{"ready"}},
		{"no user on gray", func(s *Sample) { s.Weight = 0; restarted(1)(s, nil) }, nil},
		{"no user on production", func(s *Sample) { turn(s, 100); restarted(1)(s, nil) }, nil},
		{"a user on production", func(s *Sample) { turn(s, 99); s.ReferenceIsPast = true; restarted(1)(s, nil) }, []string{"restarts"}},

		{"few requests, 21 errors", func(s *Sample) { short(s); seen(s, 50, 21, 4000, 0) }, []string{"errors"}},
		{"few requests, 20 errors", func(s *Sample) { short(s); seen(s, 50, 20, 4000, 0) }, nil},
		{"production saw as few", func(s *Sample) { short(s); seen(s, 50, 25, 50, 0) }, nil},
		{"production saw as few, many errors", func(s *Sample) { short(s); seen(s, 50, 26, 50, 0) }, []string{"errors"}},
		{"no reference", func(s *Sample) { short(s); seen(s, 50, 20, 0, 0) }, []string{"errors"}},
		{"too few requests", func(s *Sample) { short(s); seen(s, 49, 49, 4000, 0) }, nil},
		{"30 % of a minute", func(s *Sample) { seen(s, 1000, 300, 4000, 1) }, []string{"errors"}},

		{"slow in a long window", func(s *Sample) { trialLatency(s, 500, 500, 1000, 1000) }, []string{"p99"}},
		{"slow in a short window", func(s *Sample) { short(s); trialLatency(s, 500, 500, 1000, 1000) }, nil},
		{"5 % slow", func(s *Sample) { trialLatency(s, 950, 950, 1000, 1000) }, nil},
		{"5.1 % slow", func(s *Sample) { trialLatency(s, 949, 949, 1000, 1000) }, []string{"p99"}},

		{"20 % slow against the past", func(s *Sample) { trialLatency(s, 800, 800, 800, 1000); s.ReferenceIsPast = true }, nil},
		{"20.1 % slow against the past", func(s *Sample) { trialLatency(s, 799, 799, 799, 1000); s.ReferenceIsPast = true }, []string{"p99"}},

		{"no request where many are predicted", func(s *Sample) { seen(s, 0, 0, 4000, 0) }, nil},
		{"memory waits for the end", func(s *Sample) { bytes(1000)(s, nil); cores(9)(s, nil) }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := healthy()
			tt.change(&s)
			var names []string
			for _, c := range AtOnce(s, Defaults()) {
				names = append(names, c.Name)
				assert.Equal(t, Fail, c.Verdict)
			}
			assert.Equal(t, tt.want, names)
		})
	}
}

func seen(s *Sample, requests, errs, refRequests, refErrs float64) {
	s.OnTrial.Traffic = Traffic{Requests: requests, Errors: errs}
	s.Reference.Traffic = Traffic{Requests: refRequests, Errors: refErrs}
}

func TestWorst(t *testing.T) {
	pass, fail, unknown := Check{Verdict: Pass}, Check{Verdict: Fail}, Check{Verdict: Inconclusive}
	absent, routing := Check{Verdict: Inconclusive, Absent: true}, Check{Verdict: Fail, Infrastructure: true}
	tests := []struct {
		name    string
		checks  []Check
		want    Verdict
		blamed  bool
		comment string
	}{
		{"nothing", nil, Inconclusive, false, "what was not seen is no pass"},
		{"pass", []Check{pass, pass}, Pass, false, ""},
		{"fail beats all", []Check{pass, unknown, fail}, Fail, true, ""},
		{"inconclusive beats pass", []Check{pass, unknown, pass}, Inconclusive, false, ""},
		{"absent is left out", []Check{pass, absent}, Pass, false, ""},
		{"absent alone", []Check{absent}, Inconclusive, false, ""},
		{"absent and inconclusive", []Check{absent, unknown}, Inconclusive, false, ""},
		{"no verdict at all", []Check{{}}, Inconclusive, false, ""},
		{"infrastructure", []Check{pass, routing}, Fail, false, ""},
		{"both", []Check{routing, fail}, Fail, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, Worst(tt.checks), tt.comment)
			assert.Equal(t, tt.blamed, Blamed(tt.checks))
		})
	}
}

// TestMissing holds what a step waits for apart from what it goes on without.
func TestMissing(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Sample, *Limits)
		want   []string
	}{
		{"nothing", func(*Sample, *Limits) {}, nil},
		{"too few requests", func(s *Sample, _ *Limits) { seen(s, 49, 0, 4000, 0); trialLatency(s, 49, 49, 49, 49) }, []string{"requests", "errors", "p99"}},
		{"no traffic seen", func(s *Sample, _ *Limits) { s.NoTraffic = true }, []string{"requests", "errors", "p99"}},
		{"no traffic seen, no request asked for", func(s *Sample, l *Limits) { s.NoTraffic, l.MinRequests = true, 0 }, nil},
		{"errors that may be chance", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Requests, s.OnTrial.Traffic.Errors = 100, 4 }, []string{"errors"}},
		{"few new error lines", lines(2), nil},
		{"gray's logs unseen", func(s *Sample, _ *Limits) { s.OnTrial.Streams = 0 }, []string{"new-error-logs"}},
		{"gray's logs unseen, no request asked for", func(s *Sample, l *Limits) { s.OnTrial.Streams, l.MinRequests = 0, 0 }, []string{"new-error-logs"}},
		{"new lines, production's logs unseen", func(s *Sample, _ *Limits) { lines(3)(s, nil); s.Reference.Streams = 0 }, []string{"new-error-logs"}},
		{"no pod seen", func(s *Sample, _ *Limits) { s.OnTrial.Pods = 0 }, []string{"restarts", "ready"}},
		{"both sides lose pods", func(s *Sample, _ *Limits) {
			s.OnTrial.NotReady, s.Reference.NotReady = []string{"g1"}, slices.Repeat([]string{"p"}, 8)
		}, []string{"ready"}},
		{"no metrics.k8s.io", func(s *Sample, _ *Limits) { s.NoResources = true }, nil},
		{"no reading of memory and CPU", func(s *Sample, _ *Limits) { s.OnTrial.Usage = nil }, nil},
		{"routing has too little to say", func(s *Sample, _ *Limits) { s.Reference.Traffic.Requests = math.NaN() }, []string{"errors"}},

		{"the gateway counts no latencies", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Latency, s.Reference.Traffic.Latency = nil, nil }, nil},
		{"gray's latencies alone are missing", func(s *Sample, _ *Limits) { s.OnTrial.Traffic.Latency = nil }, []string{"p99"}},
		{"few slow answers", func(s *Sample, l *Limits) { l.P99 = 300 * time.Millisecond; trialLatency(s, 900, 981, 1000, 1000) }, nil},
		{"both beyond the histogram", func(s *Sample, _ *Limits) {
			trialLatency(s, 0, 0, 0, 1000)
			s.Reference.Traffic.Latency = histogram(0, 0, 0, 4000)
		}, nil},
		{"both beyond the histogram, and the limit, too", func(s *Sample, l *Limits) {
			l.P99 = 2 * time.Second
			trialLatency(s, 0, 0, 0, 1000)
			s.Reference.Traffic.Latency = histogram(0, 0, 0, 4000)
		}, nil},
		{"gray alone beyond the histogram, the limit, too", func(s *Sample, l *Limits) { l.P99 = 2 * time.Second; trialLatency(s, 0, 0, 0, 1000) }, []string{"p99"}},
		{"one answer beyond the histogram, the limit, too", func(s *Sample, l *Limits) { l.P99 = 2 * time.Second; trialLatency(s, 50, 50, 50, 51) }, nil},
		{"production has few requests yet", func(s *Sample, _ *Limits) { s.Reference.Traffic.Latency = fast(49) }, []string{"p99"}},
		{"production has users and no request yet", func(s *Sample, _ *Limits) { s.Weight, s.Reference.Traffic.Latency = 99, nil }, []string{"p99"}},
		{"all on gray at once, nothing to compare with", func(s *Sample, _ *Limits) { s.Weight, s.Reference.Traffic = 100, Traffic{} }, nil},
		{"all on gray, production had few requests", func(s *Sample, _ *Limits) {
			s.Weight, s.Reference.Traffic.Latency, s.ReferenceIsPast = 100, fast(49), true
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, l := healthy(), Defaults()
			tt.change(&s, &l)
			var names []string
			for _, c := range Missing(Judge(s, l), l) {
				names = append(names, c.Name)
				assert.NotEmpty(t, c.Why)
			}
			assert.Equal(t, tt.want, names)
		})
	}
}

func TestWhyTellsWithNumbers(t *testing.T) {
	s := healthy()
	s.OnTrial.Traffic = Traffic{Requests: 1203, Errors: 41}
	s.Reference.Traffic = Traffic{Requests: 3611, Errors: 2}
	s.OnTrial.Restarts = []Restart{{Pod: "g1", Container: "app", Reason: "Error", ExitCode: 2}, {Pod: "g2", Container: "app", Reason: "OOMKilled", ExitCode: 137}}
	checks := Judge(s, Defaults())
	assert.Equal(t, "gray answered 5xx to 41 of 1203 requests (3.4 %, limit 1 points more than production); production 2 of 3611 (0.06 %)",
		check(t, checks, "errors").Why)
	assert.Equal(t, "2 containers of gray ended (limit 0): app of pod g2: killed because it was out of memory (OOMKilled), exit code 137",
		check(t, checks, "restarts").Why)
	assert.Equal(t, "Pod g2", check(t, checks, "restarts").Where)
	s.ReferenceIsPast = true
	assert.Contains(t, check(t, Judge(s, Defaults()), "errors").Why, "production 2 of 3611 (0.06 %) when it last had traffic")
	s.OnTrial.Restarts = []Restart{{Pod: "g1", Container: "app", Reason: "Completed"}}
	assert.Contains(t, check(t, Judge(s, Defaults()), "restarts").Why, "app of pod g1: Completed, exit code 0")
	lines(2)(&s, nil)
	assert.Equal(t, "gray wrote error lines that production does not, 1 different (limit 0); the most telling, 2 times: a 1; 2 of the 3 lines it takes to blame the image",
		check(t, Judge(s, Defaults()), "new-error-logs").Why)
	trialLatency(&s, 900, 981, 1000, 1000)
	l := Defaults()
	l.P99 = 300 * time.Millisecond
	assert.Contains(t, check(t, Judge(s, l), "p99").Why, "; 19 of the 20 slow answers it takes to blame the image")
}

// TestLogsThatAreNotReadAreSaid: nothing is known of what stands in them.
func TestLogsThatAreNotReadAreSaid(t *testing.T) {
	s := healthy()
	s.OnTrial.Streams, s.OnTrial.Unread = 10, 4
	assert.Contains(t, check(t, Judge(s, Defaults()), "new-error-logs").Why, "(logs of 10 of 14 containers)")
	s.OnTrial.LogsDropped, s.Reference.LogsDropped = 7, 8
	assert.Contains(t, check(t, Judge(s, Defaults()), "new-error-logs").Why, "; 7 lines of gray came too fast to be looked at; 8 lines of production came too fast to be looked at")
}

// TestASidecarThatEndsIsNotTheImagesFault: users go home all the same, and nothing is held.
func TestASidecarThatEndsIsNotTheImagesFault(t *testing.T) {
	own := Restart{Pod: "g1", Container: "app", Reason: "Error", ExitCode: 2}
	proxy := Restart{Pod: "g2", Container: "proxy", Reason: "OOMKilled", ExitCode: 137, Foreign: true}
	for name, tc := range map[string]struct {
		restarts []Restart
		limit    int
		verdict  Verdict
		infra    bool
		why      string
	}{
		"its own":                  {[]Restart{own}, 0, Fail, false, "1 container of gray ended (limit 0): app of pod g1"},
		"a sidecar's":              {[]Restart{proxy}, 0, Fail, true, "proxy of pod g2: killed because it was out of memory (OOMKilled), exit code 137; without those"},
		"both":                     {[]Restart{proxy, own}, 0, Fail, false, "1 container of gray ended (limit 0): app of pod g1"},
		"both, and one is allowed": {[]Restart{own, proxy}, 1, Fail, true, "2 containers of gray ended (limit 1)"},
		"as many as allowed":       {[]Restart{own, proxy}, 2, Pass, false, "2 containers of gray ended (limit 2)"},
	} {
		s, l := healthy(), Defaults()
		s.OnTrial.Restarts, l.Restarts = tc.restarts, tc.limit
		c := check(t, Judge(s, l), "restarts")
		assert.Equal(t, tc.verdict, c.Verdict, name)
		assert.Equal(t, tc.infra, c.Infrastructure, name)
		assert.Contains(t, c.Why, tc.why, name)
		assert.Equal(t, tc.verdict == Fail && !tc.infra, Blamed([]Check{c}), name)
	}
}

// endsOf is one end in each of so many pods.
func endsOf(pods int) []Restart {
	var all []Restart
	for i := range pods {
		all = append(all, Restart{Pod: fmt.Sprintf("p%d", i)})
	}
	return all
}

// TestTheOnlyPodThatEndsIsTheImagesFault: when it is seen to end, it is neither ready nor lost.
func TestTheOnlyPodThatEndsIsTheImagesFault(t *testing.T) {
	killed := []Restart{{Pod: "g1", Container: "app", Reason: "OOMKilled", ExitCode: 137}}
	for name, tc := range map[string]struct {
		production []Restart
		blamed     bool
	}{
		"production is well":            {nil, true},
		"one of ten of production ends": {[]Restart{{Pod: "p1"}}, true},
		"one ends again and again":      {slices.Repeat([]Restart{{Pod: "p1"}}, 10), true},
		"all of production end":         {endsOf(10), false},
	} {
		s := healthy()
		s.OnTrial.Pods, s.OnTrial.Restarts = 0, killed
		s.Reference.Pods, s.Reference.Restarts = 10, tc.production
		c := check(t, AtOnce(s, Defaults()), "restarts")
		assert.Equal(t, tc.blamed, Blamed([]Check{c}), "%s: %s", name, c.Why)
	}
}

func TestQuantileIsThatOfPrometheus(t *testing.T) {
	tests := []struct {
		name string
		q    float64
		h    []Bucket
		want reading
		ok   bool
		told string
	}{
		{"middle of the first bucket", 0.5, histogram(100, 100, 100, 100), reading{seconds: 0.05, over: false, total: 100}, true, "at most 100 ms"},
		{"inside the second", 0.75, histogram(50, 100, 100, 100), reading{seconds: 0.2, over: false, total: 100}, true, "100 to 300 ms"},
		{"inside a fine one", 0.5, []Bucket{{0.1, 0}, {0.12, 100}, {math.Inf(1), 100}}, reading{seconds: 0.11, total: 100}, true, "110 ms"},
		{"at a bound", 0.5, histogram(50, 100, 100, 100), reading{seconds: 0.1, over: false, total: 100}, true, "at most 100 ms"},
		{"in the last bucket", 0.99, histogram(0, 0, 50, 100), reading{seconds: 1.2, over: true, total: 100}, true, "more than 1200 ms"},
		{"empty", 0.99, histogram(0, 0, 0, 0), reading{}, false, "0 ms"},
		{"none", 0.99, nil, reading{}, false, "0 ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := quantile(tt.q, tt.h)
			assert.Equal(t, tt.ok, ok)
			assert.InDelta(t, tt.want.seconds, got.seconds, 1e-9)
			assert.Equal(t, tt.want.over, got.over)
			assert.InDelta(t, tt.want.total, got.total, 1e-9)
			assert.Equal(t, tt.told, got.String())
		})
	}
}
