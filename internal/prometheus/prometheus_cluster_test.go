package prometheus

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// realServer asks a real Prometheus that scrapes the targets.
func realServer(t *testing.T, targets ...string) *Server {
	t.Helper()
	url, _ := clustertest.Prometheus(t, targets...)
	s, err := New(Options{URL: url, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return s
}

// TestARealPrometheus holds the answers of the tests' own server against those of a real one, and every preset against its
// parser: a query that it cannot parse has no answer.
func TestARealPrometheus(t *testing.T) {
	clustertest.Config(t)
	s := realServer(t)
	for text, want := range map[string]judge.Answer{
		"1 + 1":             {Measured: judge.Measured{Value: 2}},
		"vector(-3)":        {Measured: judge.Measured{Value: -3}},
		"no_such_series":    {None: "found no series"},
		"vector(0) / 0":     {None: "was NaN: nothing to count in its window"},
		"vector(1) / 0":     {None: "was +Inf: nothing to count in its window"},
		"sum(no) / sum(no)": {None: "found no series"},
	} {
		a, err := s.one(t.Context(), text)
		require.NoError(t, err, text)
		assert.Equal(t, want, a, text)
	}
	for text, want := range map[string]string{
		`label_replace(vector(1), "a", "b", "", "") or vector(2)`: "it finds 2 series",
		"vector(1)[1m:1s]": "it is a range of values",
		`"a"`:              "it is a text",
		"sum(":             "Prometheus says: ",
		`label_replace(vector(1), "a", "b", "", "") + on(x) group_left label_replace(vector(1), "c", "d", "", "") or no{a=~"*"}`: "Prometheus says: ",
	} {
		_, err := s.one(t.Context(), text)
		var wrong *QueryError
		require.ErrorAs(t, err, &wrong, text)
		assert.Contains(t, wrong.Why, want, text)
	}
	for _, name := range config.Presets {
		for _, q := range Queries(config.Config{PrometheusPreset: name}, target) {
			gray, production, err := s.Ask(t.Context(), q)
			require.NoError(t, err, q.Name)
			assert.Equal(t, "found no series", gray.None, q.Name)
			assert.Equal(t, "found no series", production.None, q.Name)
		}
	}
}

// TestThePresetOfTraefik asks a real Prometheus about the real metrics of a real Traefik.
func TestThePresetOfTraefik(t *testing.T) {
	cfg := clustertest.Config(t)
	ns := clustertest.Sides(t, cfg, "{name: web, port: 80, weight: 1}, {name: web-gray, port: 80, weight: 1}")
	kube, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	var metrics, doors []string
	for _, ip := range clustertest.Replicas(t, kube) {
		metrics = append(metrics, net.JoinHostPort(ip, "9100"))
		doors = append(doors, net.JoinHostPort(ip, "8000"))
	}
	ask := func(ctx context.Context, i int) bool {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+doors[i%len(doors)]+"/", nil)
		if err != nil {
			return false
		}
		r.Host = ns + ".shop.test"
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	for i := range 4 * len(doors) { // each replica takes the route up by itself, and each side of it
		require.Eventually(t, func() bool { return ask(t.Context(), i) }, time.Minute, 100*time.Millisecond)
	}
	s := realServer(t, metrics...)
	c := config.Config{PrometheusPreset: config.PresetTraefik, Limits: judge.Defaults()}
	queries := Queries(c, plan.Target{Namespace: ns, Service: "web", Deployment: "web", Route: "web"})
	require.NoError(t, kube.CoreV1().RESTClient().Post().Namespace(ns).Resource("pods").Name("web-gray:8081").
		SubResource("proxy").Suffix("faults").Body([]byte(`{"errorShare":0.5,"slowMs":400}`)).Do(t.Context()).Error())

	// Requests go on until both sides have numbers, as in an upgrade.
	ctx, stop := context.WithCancel(t.Context())
	var users sync.WaitGroup
	for i := range 8 {
		users.Go(func() {
			for ctx.Err() == nil {
				ask(ctx, i)
			}
		})
	}
	defer users.Wait()
	defer stop()
	for _, q := range queries {
		var gray, production judge.Answer
		require.Eventually(t, func() bool {
			var err error
			gray, production, err = s.Ask(t.Context(), q)
			return err == nil && gray.None == "" && production.None == "" && gray.Of > 100 && production.Of > 100
		}, time.Minute, 500*time.Millisecond, q.Name)
		t.Logf("%s: gray %+v, production %+v", q.Name, gray, production)
		switch q.Part {
		case judge.PartShare:
			assert.InDelta(t, 50, gray.Value, 20)
			assert.Zero(t, production.Value, "no error is a share of 0, and not nothing")
		case judge.PartTail:
			assert.Greater(t, gray.Value, 300.0)
			assert.Less(t, production.Value, gray.Value)
		}
	}
	warnings, err := s.Preflight(t.Context(), queries)
	assert.NoError(t, err)
	assert.Empty(t, warnings)
}
