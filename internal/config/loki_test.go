package config

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLoki(t *testing.T) {
	env := lookup(map[string]string{"GRAY_LOKI_TOKEN": " hunter2\n", "GRAY_LOKI_TENANT": "shop"})
	c, err := Parse(example(t, "loki.yaml"), "loki.yaml", flags("image", "cart:1"), env)
	require.NoError(t, err)
	assert.Equal(t, "http://loki.example.com:3100", c.LokiURL)
	assert.Equal(t, `{cluster="blue", namespace="{{.Namespace}}", pod=~"{{.Pods}}"}`, c.LokiQuery)
	assert.Equal(t, "hunter2", c.LokiToken)
	assert.Equal(t, "shop", c.LokiTenant)
	assert.Equal(t, []string{"hunter2"}, c.Secrets(), "a tenant is none")

	hash := c.Hash()
	c.LokiURL, c.LokiToken, c.LokiTenant = "http://other", "other", "other"
	assert.Equal(t, hash, c.Hash(), "how Loki is reached is not what is asked for")
	c.LokiQuery = "other"
	assert.NotEqual(t, hash, c.Hash())
}

func TestLokiQueryHasADefault(t *testing.T) {
	c, err := Parse(nil, "", least("loki-url", "http://loki:3100/"), nil)
	require.NoError(t, err)
	assert.Equal(t, "http://loki:3100", c.LokiURL)
	assert.Equal(t, `{namespace="{{.Namespace}}", pod=~"{{.Pods}}"}`, c.LokiQuery)
}

func TestAWrongLokiQueryIsToldWhy(t *testing.T) {
	for query, want := range map[string]string{
		`{app="cart"}`:                     "asks the same of both sides; allowed: at least one of {{.Service}}, {{.Deployment}}, {{.Pods}}, which differ",
		`{pod=~"{{.Pod}}"}`:                "is no placeholder",
		`rate({pod=~"{{.Pods}}"}[1m])`:     "does not begin with a stream selector; allowed: a LogQL selector of at most 4000 bytes",
		`{{.Pods}}`:                        "does not begin with a stream selector",
		"{pod=~\"{{.Pods}}\", a=\"\x00\"}": "is not allowed; allowed: a LogQL selector",
	} {
		_, err := Parse(nil, "", append(least("loki-url", "http://loki"), flags("loki-query", query)...), nil)
		assert.ErrorContains(t, err, want, query)
	}
}

func TestATokenForLokiIsNeverShown(t *testing.T) {
	_, err := Parse(nil, "", least(), lookup(map[string]string{"GRAY_LOKI_TOKEN": "hunter2\nhunter2", "GRAY_LOKI_TENANT": "a\nb"}))
	require.ErrorContains(t, err, "environment variable GRAY_LOKI_TOKEN: loki-token: is not allowed")
	require.ErrorContains(t, err, "environment variable GRAY_LOKI_TENANT: loki-tenant: is not allowed")
	assert.NotContains(t, err.Error(), "hunter2")
}
