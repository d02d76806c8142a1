package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// TestLogsFromLoki is asked for by the names of each side, with what the environment says who asks.
func TestLogsFromLoki(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "Bearer hunter2", r.Header.Get("Authorization"))
		assert.Equal(t, "shops", r.Header.Get("X-Scope-OrgID"))
		pod := map[string]string{
			`{namespace="shop", pod=~"cart-app-gray-[0-9a-z]+-[0-9a-z]{5}"}`: "gray", `{namespace="shop", pod=~"cart-app-[0-9a-z]+-[0-9a-z]{5}"}`: "production",
		}[r.FormValue("query")]
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"streams","result":[{"stream":{"pod":%q},"values":[["%d","ready"]]}]}}`, pod, time.Now().UnixNano())
	}))
	t.Cleanup(server.Close)
	c := config.Defaults()
	c.LokiURL, c.LokiToken, c.LokiTenant = server.URL, "hunter2", "shops"
	m, err := newMonitor(c, plan.Target{Namespace: "shop", Service: "cart", Deployment: "cart-app"}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	warnings, err := m.preflight(t.Context())
	require.NoError(t, err)
	assert.Empty(t, warnings)
	watched := m.logs.watched()
	require.Len(t, watched, 2)
	for side, source := range watched {
		_, err := source.Next(t.Context(), func(_ time.Time, pod, _, _ string) { assert.Equal(t, string(side), pod) })
		require.NoError(t, err)
	}
}

func TestAWrongLokiEndsThePreflight(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c := config.Defaults()
	c.LokiURL = server.URL
	m, err := newMonitor(c, plan.Target{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	_, err = m.preflight(t.Context())
	var f *plan.Failure
	require.ErrorAs(t, err, &f)
	assert.Equal(t, plan.FaultInput, f.Fault)
}
