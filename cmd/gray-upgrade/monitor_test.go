package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func TestMonitor(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		value := map[string]string{"of cart-gray": "1", "of cart": "2"}[r.FormValue("query")]
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"scalar","result":[1,%q]}}`, value)
	}))
	t.Cleanup(server.Close)
	c := config.Config{PrometheusURL: server.URL, Queries: []config.Query{{Query: judge.Query{Name: "depth"}, Text: "of {{.Service}}"}}}
	m, err := newMonitor(c, plan.Target{Service: "cart"}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	warnings, err := m.preflight(t.Context())
	require.NoError(t, err)
	assert.Empty(t, warnings)
	watched := m.watched()
	require.Len(t, watched, 1)
	assert.Equal(t, "depth", watched[0].Name)
	gray, production, err := watched[0].Ask(t.Context())
	require.NoError(t, err)
	assert.InDelta(t, 1, gray.Value, 0)
	assert.InDelta(t, 2, production.Value, 0)
}

func TestNoMonitor(t *testing.T) {
	m, err := newMonitor(config.Config{}, plan.Target{Service: "cart"}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	warnings, err := m.preflight(t.Context())
	assert.NoError(t, err)
	assert.Empty(t, warnings)
	assert.Empty(t, m.watched())
	assert.Nil(t, m.logs.watched(), "the pods are read")
}
