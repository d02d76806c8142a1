package gateway

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const someMetrics = `# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 61
# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.79e+09
# HELP traefik_router_requests_total How many HTTP requests are processed on a router.
# TYPE traefik_router_requests_total counter
traefik_router_requests_total{code="200",method="GET",protocol="http",router="httproute-shop-web",service="x"} 7
# HELP traefik_service_request_duration_seconds How long it took to process the request on a service.
# TYPE traefik_service_request_duration_seconds histogram
traefik_service_request_duration_seconds_bucket{code="200",method="GET",protocol="http",service="httproute-shop-web-gw-gateway-shop-ep-web-0-3f-svc-shop-web-0@kubernetesgateway",le="0.1"} 3
traefik_service_request_duration_seconds_bucket{code="200",method="GET",protocol="http",service="httproute-shop-web-gw-gateway-shop-ep-web-0-3f-svc-shop-web-0@kubernetesgateway",le="+Inf"} 4
traefik_service_request_duration_seconds_sum{code="200",method="GET",protocol="http",service="httproute-shop-web-gw-gateway-shop-ep-web-0-3f-svc-shop-web-0@kubernetesgateway"} 0.5
traefik_service_request_duration_seconds_count{code="200",method="GET",protocol="http",service="httproute-shop-web-gw-gateway-shop-ep-web-0-3f-svc-shop-web-0@kubernetesgateway"} 4
# HELP traefik_service_requests_total How many HTTP requests processed on a service.
# TYPE traefik_service_requests_total counter
traefik_service_requests_total{code="200",method="GET",protocol="http",service="httproute-other-web-gw-gateway-other-ep-web-0-3f-svc-other-web-0@kubernetesgateway"} 99
traefik_service_requests_total{code="200",method="GET",protocol="http",service="httproute-shop-web-gw-gateway-shop-ep-web-0-3f-svc-shop-web-0@kubernetesgateway"} 4
traefik_service_requests_total{code="502",method="GET",protocol="http",service="httproute-shop-web-gw-gateway-shop-ep-web-0-3f-svc-shop-web-gray-1@kubernetesgateway"} 1
traefik_service_requests_total{code="200",method="GET",protocol="http",service="shop-web-80@kubernetes"} 2`

// TestRelevantLinesAreEnough: what is left out changes no reading.
func TestRelevantLinesAreEnough(t *testing.T) {
	plane := dataPlanes[traefikController]
	target := plan.Target{Namespace: "shop", Service: "web", Route: "web"}
	read := func(r io.Reader) reading {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		all, err := parser.TextToMetricFamilies(r)
		require.NoError(t, err)
		return plane.reading(all, plane.names(target, []parent{{namespace: "gateway", name: "shop"}}), plane.past(target))
	}
	kept, err := plane.relevant(strings.NewReader(someMetrics+"\n"), "shop")
	require.NoError(t, err)
	text, err := io.ReadAll(kept)
	require.NoError(t, err)
	assert.NotContains(t, string(text), "go_goroutines")
	assert.NotContains(t, string(text), "traefik_router")
	assert.NotContains(t, string(text), "other-web")
	all := read(strings.NewReader(someMetrics + "\n"))
	assert.Len(t, all.counts, 4)
	assert.InDelta(t, 2, all.past, 0)
	assert.InDelta(t, 1.79e9, all.began, 0)
	assert.Equal(t, all, read(strings.NewReader(string(text))))
}

// FuzzRelevant: whatever a gateway answers is read, or is an error; and leaving lines out makes no reading of none.
func FuzzRelevant(f *testing.F) {
	f.Add([]byte(someMetrics))
	f.Add([]byte("traefik_service_requests_total{service=\"httproute-shop-web\"} NaN\n"))
	f.Add([]byte("# TYPE traefik_service_requests_total counter\ntraefik_service_requests_total{shop} 1e999"))
	plane := dataPlanes[traefikController]
	target := plan.Target{Namespace: "shop", Service: "web", Route: "web"}
	f.Fuzz(func(t *testing.T, metrics []byte) {
		kept, err := plane.relevant(bytes.NewReader(metrics), target.Namespace)
		require.NoError(t, err)
		text, err := io.ReadAll(kept)
		require.NoError(t, err)
		assert.LessOrEqual(t, len(text), len(metrics))
		parser := expfmt.NewTextParser(model.UTF8Validation)
		if all, err := parser.TextToMetricFamilies(bytes.NewReader(text)); err == nil {
			_ = plane.reading(all, plane.names(target, []parent{{namespace: "gateway", name: "shop"}}), plane.past(target))
		}
	})
}

// TestPastKnowsAnIngress by the number of its port or its name, and takes no other Service for production's.
func TestPastKnowsAnIngress(t *testing.T) {
	leads := traefikPast(plan.Target{Namespace: "shop", Service: "cart"})
	for label, want := range map[string]bool{
		"shop-cart-80@kubernetes": true, "shop-cart-http@kubernetes": true,
		"shop-cart-admin-80@kubernetes": false, "shop-cart-admin-http@kubernetes": false, "shed-cart-80@kubernetes": false,
		"httproute-other-x-gw-a-b-ep-web-0-3f-svc-shop-cart-0@kubernetesgateway": true,
	} {
		assert.Equal(t, want, leads(label), label)
	}
}
