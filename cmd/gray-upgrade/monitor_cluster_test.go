package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
	"github.com/gray-upgrade/gray-upgrade/internal/e2e"
)

// bySide is a query whose answer is 100 for gray and 1 for production, of a Prometheus that knows nothing.
const bySide = `sum(label_replace(vector(100), "side", "{{.Service}}", "", "") * on(side) label_replace(vector(1), "side", "web-gray", "", "")) or vector(1)`

// queries writes a config file that asks a Prometheus every second.
func (s *story) queries(url, query, bound string) string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "gray-upgrade.yaml")
	require.NoError(s.t, os.WriteFile(file, []byte("prometheus-url: "+url+"\nqueries:\n  - {name: depth, step: 1s, better: lower, "+bound+", query: '"+query+"'}\n"), 0o600))
	return "--config=" + file
}

// watched is an upgrade whose weight is watched for a while.
var watched = append(quick[:len(quick):len(quick)], "--steps=50,100", "--step-duration=30s")

func TestWhatPrometheusCannotAnswerIsToldBeforeAnythingIsChanged(t *testing.T) {
	t.Parallel()
	s := newStory(t, e2e.Options{Replicas: 1})
	url, kill := clustertest.Prometheus(t)
	refused := func(want, query string) {
		t.Helper()
		code, output := s.run("run", append(quick, s.queries(url, query, "limit: 50"))...)
		assert.Equal(t, 2, code, output)
		for _, w := range []string{want, "query \"depth\"", "nothing was changed"} {
			assert.Contains(t, output, w)
		}
	}
	refused("it finds 2 series", `label_replace(vector(1), "side", "{{.Service}}", "", "") or vector(2)`)
	refused("parse error", `sum({{.Service}}`)
	code, output := s.run("plan", append(quick, s.queries(url, `no_such_series{service="{{.Service}}"}`, "limit: 50"))...)
	assert.Equal(t, 0, code, output)
	assert.Contains(t, output, "found no series; if it stays so, no step can pass")
	kill()
	refused("cannot be asked", bySide)
	after, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	assert.Empty(t, e2e.Diff(s.before, after))
}

func TestAQueryThatGrayFailsBlamesTheImage(t *testing.T) {
	t.Parallel()
	s := newStory(t, e2e.Options{Replicas: 1})
	url, _ := clustertest.Prometheus(t)
	code, output := s.run("run", append(watched, s.queries(url, bySide, "ratio: 1.5"))...)
	assert.Equal(t, 1, code, output)
	assert.Contains(t, output, "query depth: the median of 3 readings of gray is 100 (at most 1.5); production 1")
	code, output = s.run("status")
	assert.Equal(t, 0, code, output)
	assert.Contains(t, output, "on hold")

	s = newStory(t, e2e.Options{Replicas: 1})
	code, output = s.run("run", append(quick, "--step-duration=5s", s.queries(url, bySide, "limit: 100"))...)
	assert.Equal(t, 0, code, output)
}

func TestAPrometheusThatDiesClosesAndBlamesNobody(t *testing.T) {
	t.Parallel()
	s := newStory(t, e2e.Options{Replicas: 1})
	url, kill := clustertest.Prometheus(t)
	watch, err := s.WatchRoute(t.Context())
	require.NoError(t, err)
	go func() {
		for deadline := time.Now().Add(5 * time.Minute); watch.Highest() == 0 && time.Now().Before(deadline); {
			time.Sleep(100 * time.Millisecond)
		}
		kill()
	}()
	code, output := s.run("run", append(watched, s.queries(url, bySide, "limit: 100"))...)
	watch.Stop()
	assert.Equal(t, 5, code, output)
	assert.Contains(t, output, "query depth could not be read for")
	code, output = s.run("status")
	assert.Equal(t, 0, code, output)
	assert.NotContains(t, output, "on hold")
	assert.Contains(t, output, "gray        none, weight 0")
}
