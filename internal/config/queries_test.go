package config

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

func TestQueries(t *testing.T) {
	env := lookup(map[string]string{"GRAY_PROMETHEUS_TOKEN": " hunter2\n"})
	c, err := Parse(example(t, "prometheus.yaml"), "prometheus.yaml", flags("image", "cart:1"), env)
	require.NoError(t, err)
	assert.Equal(t, "http://prometheus.example.com:9090", c.PrometheusURL)
	assert.Equal(t, PresetIstio, c.PrometheusPreset)
	assert.Equal(t, "hunter2", c.PrometheusToken)
	assert.Equal(t, []string{"hunter2"}, c.Secrets())
	limit := 500.0
	assert.Equal(t, []Query{
		{Query: judge.Query{Name: "queue time", Unit: "ms", Limit: &limit}, Step: 10 * time.Second,
			Text: `max(app_queue_seconds{namespace="{{.Namespace}}", pod=~"{{.Pods}}"}) * 1000`},
		{Query: judge.Query{Name: "cache hits", Unit: "%", Higher: true, Ratio: 1.2, Slack: 5}, Step: 10 * time.Second,
			Text: "sum(rate(cache_hits_total{service=\"{{.Service}}\"}[1m]))\n  / sum(rate(cache_requests_total{service=\"{{.Service}}\"}[1m])) * 100"},
	}, c.Queries)

	hash := c.Hash()
	c.PrometheusURL, c.PrometheusToken = "http://other", "other"
	assert.Equal(t, hash, c.Hash(), "how Prometheus is reached is not what is asked for")
	c.Queries[0].Text = "other"
	assert.NotEqual(t, hash, c.Hash())

	c, err = ParseTarget(example(t, "prometheus.yaml"), "prometheus.yaml", nil)
	require.NoError(t, err)
	assert.Empty(t, c.Queries, "a close asks nothing")
	assert.Empty(t, c.PrometheusToken)
}

const leastQuery = "prometheus-url: http://p\nqueries:\n  - {name: a, better: lower, query: 'x{a=\"{{.Service}}\"}'}\n"

func TestAQueryIsLikeProductionByDefault(t *testing.T) {
	c, err := Parse([]byte(leastQuery), "f.yaml", least(), nil)
	require.NoError(t, err)
	assert.Nil(t, c.Queries[0].Limit)
	assert.InDelta(t, 1.5, c.Queries[0].Ratio, 0)
	c, err = Parse([]byte("prometheus-url: http://p\nqueries:\n  - {name: a, better: lower, limit: 0, step: 1s, query: 'x{a=\"{{.Pods}}\"}'}\n"), "f.yaml", least(), nil)
	require.NoError(t, err)
	assert.Zero(t, *c.Queries[0].Limit, "a limit of 0 is one")
	assert.Zero(t, c.Queries[0].Ratio)
	assert.Equal(t, time.Second, c.Queries[0].Step)
}

func TestBadQueries(t *testing.T) {
	query := func(fields string) string {
		return strings.Replace(leastQuery, "name: a, better: lower, query: 'x{a=\"{{.Service}}\"}'", fields, 1)
	}
	for text, want := range map[string]string{
		"queries: {a: b}":                                               "queries: is a map; allowed: a list of queries, each with name, query and better",
		query("better: lower"):                                          "queries[0]: has no name",
		query("name: a"):                                                "queries[0]: has no better; allowed: lower or higher",
		query("name: a, better: lower"):                                 "queries[0]: has no query",
		query("name: a, better: less"):                                  `queries[0].better "less": is not allowed; allowed: lower or higher`,
		query("name: a, query: up"):                                     "asks the same of both sides; allowed: at least one of {{.Service}}, {{.Deployment}}, {{.Pods}}",
		query("name: a, query: 'x{a=\"{{.Namespace}}\"}'"):              "asks the same of both sides",
		query("name: a, query: 'x{a=\"{{.Pod}}\"}'"):                    "{{.Pod}} is no placeholder; allowed: {{.Service}}",
		query("name: a, query: 'x{a=\"{{.Service\"'"):                   "is no placeholder",
		query("name: a, query: 'x{a=\"{{printf .Service}}\"}'"):         "{{printf .Service}} is no placeholder",
		query("name: a, limit: 1, ratio: 2"):                            "has a limit and a ratio or slack",
		query("name: a, limit: 1, slack: 2"):                            "has a limit and a ratio or slack",
		query("name: a, limit: much"):                                   `queries[0].limit "much": is not a number`,
		query("name: a, limit: .inf"):                                   "is not a number",
		query("name: a, ratio: 0.9"):                                    "is out of bounds; allowed: a number from 1 to 1000",
		query("name: a, slack: -1"):                                     "is out of bounds; allowed: a number from 0",
		query("name: a, step: 0s"):                                      "is below 1s",
		query("name: a, step: 11m"):                                     "is above 10m",
		query("name: a, unit: '`'"):                                     "is not allowed; allowed: a word like ms or %",
		query("name: a, expr: up"):                                      "key queries[0].expr: is not known",
		leastQuery + "  - {name: a, better: lower, query: '{{.Pods}}'}": "is the second query named a",
		strings.Replace(leastQuery, "name: a", "name: istio p99", 1) + "prometheus-preset: istio\n": `queries "istio p99": begins like the preset's own queries`,
		strings.Replace(leastQuery, "prometheus-url: http://p\n", "", 1):                            "queries: are given without prometheus-url",
		"prometheus-url: http://p\nqueries:\n" + strings.Repeat("  - {name: a}\n", 21):              "has 21 queries; allowed: at most 20",
	} {
		_, err := Parse([]byte(text), "f.yaml", least(), nil)
		assert.ErrorContains(t, err, want, text)
	}
}

func TestATokenIsNotShown(t *testing.T) {
	_, err := Parse(nil, "", least(), lookup(map[string]string{"GRAY_PROMETHEUS_TOKEN": "hunter2\nhunter2"}))
	require.ErrorContains(t, err, "environment variable GRAY_PROMETHEUS_TOKEN: prometheus-token: is not allowed")
	assert.NotContains(t, err.Error(), "hunter2")
}
