package prometheus

import (
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

var target = plan.Target{Namespace: "shop", Service: "cart", Deployment: "cart-app", Route: "web"}

func TestNamesOfEachSideArePutIn(t *testing.T) {
	c := config.Config{Queries: []config.Query{{
		Query: judge.Query{Name: "depth", Ratio: 2}, Step: time.Minute,
		Text: `x{a="{{.Namespace}} {{.Service}} {{.Deployment}} {{.Route}}", pod=~"{{.Pods}}"}`,
	}}}
	all := Queries(c, target)
	require.Len(t, all, 1)
	assert.Equal(t, Query{
		Query: judge.Query{Name: "depth", Ratio: 2}, Every: time.Minute,
		Gray:       Text{Value: `x{a="shop cart-gray cart-app-gray web", pod=~"cart-app-gray-[0-9a-z]+-[0-9a-z]{5}"}`},
		Production: Text{Value: `x{a="shop cart cart-app web", pod=~"cart-app-[0-9a-z]+-[0-9a-z]{5}"}`},
	}, all[0])
}

// TestPresets holds what every preset must be; that each is PromQL, and that Traefik's finds real metrics, is tested with a
// real Prometheus.
func TestPresets(t *testing.T) {
	for _, name := range config.Presets {
		limits := judge.Defaults()
		limits.ErrorPercent = 1
		all := Queries(config.Config{PrometheusPreset: name, Limits: limits}, target)
		require.Len(t, all, 2, name)
		assert.Equal(t, judge.Query{Name: string(name) + " errors", Unit: "%", Ratio: 1, Slack: 1, Part: judge.PartShare}, all[0].Query)
		assert.Equal(t, judge.Query{Name: string(name) + " p99", Unit: "ms", Ratio: 2, Slack: 100, Part: judge.PartTail}, all[1].Query)
		for _, q := range all {
			assert.NotEqual(t, q.Gray, q.Production, name)
			assert.Equal(t, 10*time.Second, q.Every)
			for _, text := range []string{q.Gray.Value, q.Gray.Of, q.Production.Value, q.Production.Of} {
				assert.NotRegexp(t, `\{\{|SIDE|METRIC|SCALE|FAILED|HISTOGRAM`, text)
			}
		}
		limits.P99 = 500 * time.Millisecond
		tail := Queries(config.Config{PrometheusPreset: name, Limits: limits}, target)[1]
		require.NotNil(t, tail.Limit)
		assert.InDelta(t, 500, *tail.Limit, 0)
		assert.Zero(t, tail.Ratio)
	}
	assert.Len(t, presets, len(config.Presets))
	assert.Empty(t, Queries(config.Config{}, target))
}

// The labels that a gateway writes for requests to a backend, as the sources that presets.go names have them.
func TestPresetsTellTheSidesApart(t *testing.T) {
	for _, tc := range []struct {
		preset           config.Preset
		label            string
		gray, production []string
		neither          []string
	}{
		{config.PresetTraefik, "service",
			[]string{"httproute-shop-web-gw-gateway-shop-ep-web-0-0123456789abcdef-svc-shop-cart-gray-1@kubernetesgateway", "shop-cart-gray-80@kubernetescrd"},
			[]string{"httproute-shop-web-gw-gateway-shop-ep-web-0-0123456789abcdef-svc-shop-cart-0@kubernetesgateway", "shop-cart-http@kubernetescrd"},
			[]string{"httproute-shop-web-account-gw-gateway-shop-ep-web-0-0123-svc-shop-cart-gray-0@kubernetesgateway", "shop-cart-80@kubernetes", "other-cart-80@kubernetescrd"}},
		{config.PresetIngressNginx, "canary", []string{"shop-cart-gray-80", "shop-cart-gray-http"}, []string{""}, []string{"shop-cart-v2-80", "shop-cart-gray-v2-80"}},
		{config.PresetIstio, "destination_workload", []string{"cart-app-gray"}, []string{"cart-app"}, []string{"cart", "unknown"}},
		{config.PresetEnvoyGateway, "envoy_cluster_name", []string{"httproute/shop/web/rule/0/backend/1"},
			[]string{"httproute/shop/web/rule/12/backend/0", "httproute/shop/web/rule/0"}, []string{"httproute/shop/web/rule/0/backend/2", "httproute/shop/other/rule/0"}},
		{config.PresetLinkerd, "deployment", []string{"cart-app-gray"}, []string{"cart-app"}, []string{"cart-app-gray-2"}},
	} {
		q := Queries(config.Config{PrometheusPreset: tc.preset}, target)[0]
		gray, production := matcher(t, q.Gray.Of, tc.label), matcher(t, q.Production.Of, tc.label)
		for _, value := range slices.Concat(tc.gray, tc.production, tc.neither) {
			assert.Equal(t, slices.Contains(tc.gray, value), gray(value), "%s gray %s", tc.preset, value)
			assert.Equal(t, slices.Contains(tc.production, value), production(value), "%s production %s", tc.preset, value)
		}
	}
}

// matcher is what a query wants of a label.
func matcher(t *testing.T, text, label string) func(string) bool {
	t.Helper()
	m := regexp.MustCompile(`[{ ]` + label + `(=~?)"([^"]*)"`).FindStringSubmatch(text)
	require.NotNil(t, m, "%s in %s", label, text)
	if m[1] == "=" {
		return func(value string) bool { return value == m[2] }
	}
	return regexp.MustCompile("^(?:" + m[2] + ")$").MatchString
}
