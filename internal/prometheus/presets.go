package prometheus

import (
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// preset is how a gateway counts the requests of one backend.
type preset struct {
	requests string // counter
	failed   string // matcher of its answers with 5xx
	seconds  string // histogram, its _bucket
	scale    string // what makes milliseconds of its bounds; "" where they are
	// gray and production are the matchers of a side's series.
	gray, production string
}

// presets is every gateway's metrics and the labels that name a backend.
//
// Where a gateway counts an Ingress or a Deployment by the labels namespace and deployment, Prometheus must not rename them: it
// does, to exported_namespace, unless it scrapes with honor_labels.
var presets = map[config.Preset]preset{
	// https://doc.traefik.io/traefik/observability/metrics/overview/ (v3): label service is the balancer's name. Of a
	// backend of an HTTPRoute it is as in package gateway (traefikNames); of a Service under a TraefikService, or under an
	// IngressRoute with several, NAMESPACE-SERVICE-PORT@kubernetescrd. They are the numbers that the tool reads from
	// Traefik itself, as old as the last scrape.
	config.PresetTraefik: {
		requests: "traefik_service_requests_total", failed: `code=~"5.."`,
		seconds: "traefik_service_request_duration_seconds_bucket", scale: " * 1000",
		gray: traefikService, production: traefikService,
	},
	// https://kubernetes.github.io/ingress-nginx/user-guide/monitoring/ and, for the labels, requestTags of
	// internal/ingress/metric/collectors/socket.go and rootfs/etc/nginx/lua/monitor.lua: namespace, ingress and service are
	// production's in both cases; canary is the upstream of the canary Ingress that served the request
	// (NAMESPACE-SERVICE-PORT), "" where none did. With --report-status-classes status is 5xx.
	config.PresetIngressNginx: {
		requests: "nginx_ingress_controller_requests", failed: `status=~"5.."`,
		seconds: "nginx_ingress_controller_request_duration_seconds_bucket", scale: " * 1000",
		gray:       `namespace="{{.Namespace}}", canary=~"{{.Namespace}}-{{.Service}}-[0-9a-z]+"`,
		production: `namespace="{{.Namespace}}", service="{{.Service}}", canary=""`,
	},
	// https://istio.io/latest/docs/reference/config/metrics/: destination_workload is the Deployment, whether a
	// VirtualService splits by subset or by host, or an HTTPRoute by backendRefs. The proxy of the caller reports
	// (reporter="source"), for users the ingress gateway: it also counts the answers that a dead pod cannot count itself.
	config.PresetIstio: {
		requests: "istio_requests_total", failed: `response_code=~"5.."`,
		seconds: "istio_request_duration_milliseconds_bucket",
		gray:    istioWorkload, production: istioWorkload,
	},
	// https://gateway.envoyproxy.io/docs/tasks/observability/proxy-metric/ and
	// https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats: the cluster of a rule
	// is httproute/NAMESPACE/ROUTE/rule/RULE; it has one of its own for each backendRef, .../backend/PLACE, only where one
	// of them has filters (irDestinationSettingName and NeedsClusterPerSetting, v1.3 to v1.8). Gray's backendRef has: the
	// side header is set by one. With an input side-header it has none, and gray's series stay empty. Production must be the
	// first backend of its rules: gray stands right behind it.
	config.PresetEnvoyGateway: {
		requests: "envoy_cluster_upstream_rq_xx", failed: `envoy_response_code_class="5"`,
		seconds:    "envoy_cluster_upstream_rq_time_bucket", // milliseconds
		gray:       `envoy_cluster_name=~"httproute/{{.Namespace}}/{{.Route}}/rule/[0-9]+/backend/1"`,
		production: `envoy_cluster_name=~"httproute/{{.Namespace}}/{{.Route}}/rule/[0-9]+(/backend/0)?"`,
	},
	// https://linkerd.io/2/reference/proxy-metrics/: counted by the proxy in the pod that serves; namespace and deployment
	// are of that pod, put there by the relabeling of linkerd-viz (https://linkerd.io/2/tasks/external-prometheus/).
	config.PresetLinkerd: {
		requests: "response_total", failed: `status_code=~"5.."`,
		seconds: "response_latency_ms_bucket",
		gray:    linkerdPods, production: linkerdPods,
	},
}

const (
	traefikService = `service=~"httproute-{{.Namespace}}-{{.Route}}-gw-.+-svc-{{.Namespace}}-{{.Service}}-[0-9]+@kubernetesgateway` +
		`|{{.Namespace}}-{{.Service}}-[0-9a-zA-Z]+@kubernetescrd"`
	istioWorkload = `reporter="source", destination_workload_namespace="{{.Namespace}}", destination_workload="{{.Deployment}}"`
	linkerdPods   = `direction="inbound", namespace="{{.Namespace}}", deployment="{{.Deployment}}"`
)

// The questions of every preset. A window of a minute holds two scrapes at the 30 s that are usual in a cluster. Without an
// error there is no series of errors: that is 0, as long as there are requests; without requests, or before the first
// scrape, there is no number.
const (
	sumOf   = `sum(increase(METRIC{SIDE}[1m]))`
	shareOf = `100 * (sum(increase(METRIC{SIDE, FAILED}[1m])) or vector(0)) / sum(increase(METRIC{SIDE}[1m]))`
	tailOf  = `histogram_quantile(0.99, sum by (le) (rate(HISTOGRAM{SIDE}[1m])))SCALE`
)

// The bounds of the p99 rule of internal/judge (latency), in milliseconds.
const (
	tailRatio = 2
	tailSlack = 100
)

// presetQueries are the error share, judged like the rule "errors", and the 99th percentile, judged like "p99".
func presetQueries(c config.Config, t plan.Target) []Query {
	p, ok := presets[c.PrometheusPreset]
	if !ok {
		return nil
	}
	share := judge.Query{Name: string(c.PrometheusPreset) + " errors", Unit: "%", Ratio: 1, Slack: c.Limits.ErrorPercent, Part: judge.PartShare}
	tail := judge.Query{Name: string(c.PrometheusPreset) + " p99", Unit: "ms", Ratio: tailRatio, Slack: tailSlack, Part: judge.PartTail}
	if ms := float64(c.Limits.P99.Milliseconds()); ms > 0 {
		tail.Limit, tail.Ratio, tail.Slack = &ms, 0, 0
	}
	return []Query{p.query(share, shareOf, t), p.query(tail, tailOf, t)}
}

func (p preset) query(q judge.Query, text string, t plan.Target) Query {
	side := func(s plan.Side, labels string) Text {
		full := strings.NewReplacer("METRIC", p.requests, "HISTOGRAM", p.seconds, "SCALE", p.scale, "FAILED", p.failed, "SIDE", labels)
		return Text{Value: t.Named(full.Replace(text), s), Of: t.Named(full.Replace(sumOf), s)}
	}
	return Query{Query: q, Every: config.StandardStep, Gray: side(plan.Gray, p.gray), Production: side(plan.Production, p.production)}
}
