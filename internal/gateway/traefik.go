package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	dto "github.com/prometheus/client_model/go"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// dataPlane says how the replicas of one kind of gateway are found and how they count requests.
type dataPlane struct {
	name     string
	selector string // labels of its pods where the user names none
	portName string // container port of the metrics
	port     int    // where no port has that name
	// names returns the side and the router of a metric's service label; router groups what one balancer splits.
	names func(t plan.Target, parents []parent) func(label string) (side plan.Side, router string, ours bool)
	// past says whether a metric's service label leads to production's Service, through whatever route.
	past func(t plan.Target) func(label string) bool
	// requests and seconds are the metrics by that label: a counter by code, a histogram.
	requests, seconds string
}

// dataPlanes by the controllerName in the route's status. Another gateway is refused unless the user says how long to
// wait instead (confirm).
var dataPlanes = map[string]dataPlane{
	traefikController: {
		name:     "Traefik",
		selector: "app.kubernetes.io/name=traefik", // of its Helm chart
		portName: "metrics",
		port:     9100,
		names:    traefikNames,
		past:     traefikPast,
		requests: "traefik_service_requests_total",
		seconds:  "traefik_service_request_duration_seconds",
	},
}

// traefikNames knows Traefik's service names (v3.7, makeRouterName and loadService of its kubernetesgateway provider):
//
//	httproute-NS-ROUTE-gw-GATEWAYNS-GATEWAY-ep-ENTRYPOINT-RULE-HASH-svc-NS-SERVICE-PLACE@kubernetesgateway
//
// Each rule and match has a router with a balancer of its own. PLACE is that among the rule's backendRefs. The account
// route has another name, so its requests are counted for neither side.
func traefikNames(t plan.Target, parents []parent) func(string) (plan.Side, string, bool) {
	var gates []string
	for _, p := range parents {
		gates = append(gates, regexp.QuoteMeta(normalized(p.namespace+"-"+p.name)))
	}
	label := regexp.MustCompile(fmt.Sprintf(`^(httproute-%s-gw-(?:%s)-ep-.+-[0-9]+-[0-9a-f]+)-svc-%s-(%s|%s)-[0-9]+@kubernetesgateway$`,
		regexp.QuoteMeta(normalized(t.Namespace+"-"+t.Route)), strings.Join(gates, "|"), regexp.QuoteMeta(t.Namespace),
		regexp.QuoteMeta(t.Service), regexp.QuoteMeta(t.GrayService())))
	return func(service string) (plan.Side, string, bool) {
		m := label.FindStringSubmatch(service)
		switch {
		case m == nil:
			return "", "", false
		case m[2] == t.Service:
			return plan.Production, m[1], true
		}
		return plan.Gray, m[1], true
	}
}

// traefikPast knows production's Service behind any HTTPRoute, of any namespace, and behind an Ingress
// (NS-SERVICE-PORT@kubernetes, where PORT is a number or a name; one with a dash cannot be told from a longer Service's). An
// IngressRoute's name does not tell its Service.
func traefikPast(t plan.Target) func(string) bool {
	label := regexp.MustCompile(fmt.Sprintf(`^(?:.+-svc-%[1]s-%[2]s-[0-9]+@kubernetesgateway|%[1]s-%[2]s-(?:[0-9]+|[a-z][a-z0-9]*)@kubernetes)$`,
		regexp.QuoteMeta(t.Namespace), regexp.QuoteMeta(t.Service)))
	return label.MatchString
}

// normalized is what Traefik makes of a name: everything but letters and digits becomes one dash.
func normalized(name string) string {
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }), "-")
}

// count is one counter of a replica for one side.
type count struct {
	side   plan.Side
	router string
	failed bool    // answers with 5xx
	bucket bool    // of the latency histogram, up to le seconds
	le     float64 // only of a bucket
	value  float64
}

// reading is what one replica counted, by series.
type reading struct {
	began  float64 // when the process started, Unix seconds; 0: not said
	counts map[string]count
	past   float64 // requests to production's Service that came by another route
}

// relevant keeps the lines of a replica's metrics that a reading takes something from. A gateway of many services writes
// megabytes, and parsing costs more than reading. Every name of a service that counts holds its namespace.
func (d dataPlane) relevant(metrics io.Reader, namespace string) (io.Reader, error) {
	var kept bytes.Buffer
	lines := bufio.NewReader(metrics)
	for {
		line, err := lines.ReadBytes('\n')
		if d.counts(line, []byte(namespace)) {
			kept.Write(line)
		}
		if err == io.EOF {
			return &kept, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (d dataPlane) counts(line, namespace []byte) bool {
	name := bytes.TrimPrefix(bytes.TrimPrefix(line, []byte("# HELP ")), []byte("# TYPE "))
	if bytes.HasPrefix(name, []byte(processStart)) {
		return true
	}
	ours := bytes.HasPrefix(name, []byte(d.requests)) || bytes.HasPrefix(name, []byte(d.seconds))
	return ours && (len(name) < len(line) || bytes.Contains(line, namespace))
}

// processStart is the metric by which a replica that began anew is known.
const processStart = "process_start_time_seconds"

// reading picks the two sides out of a replica's metrics.
func (d dataPlane) reading(all map[string]*dto.MetricFamily, names func(string) (plan.Side, string, bool), past func(string) bool) reading {
	r := reading{counts: map[string]count{}}
	for _, m := range all[processStart].GetMetric() {
		r.began = m.GetGauge().GetValue()
	}
	for _, m := range all[d.requests].GetMetric() {
		labels := labelsOf(m)
		if side, router, ours := names(labels["service"]); ours {
			r.counts[seriesOf(d.requests, m)] = count{
				side: side, router: router, failed: strings.HasPrefix(labels["code"], "5"), value: m.GetCounter().GetValue(),
			}
		} else if past(labels["service"]) {
			r.past += m.GetCounter().GetValue()
		}
	}
	for _, m := range all[d.seconds].GetMetric() {
		side, router, ours := names(labelsOf(m)["service"])
		if !ours {
			continue
		}
		for _, b := range m.GetHistogram().GetBucket() {
			r.counts[seriesOf(d.seconds, m)+strconv.FormatFloat(b.GetUpperBound(), 'g', -1, 64)] = count{
				side: side, router: router, bucket: true, le: b.GetUpperBound(), value: float64(b.GetCumulativeCount()),
			}
		}
	}
	return r
}

func labelsOf(m *dto.Metric) map[string]string {
	labels := map[string]string{}
	for _, l := range m.GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	return labels
}

// seriesOf names a series; a replica writes its labels always in the same order.
func seriesOf(metric string, m *dto.Metric) string {
	var b strings.Builder
	b.WriteString(metric)
	for _, l := range m.GetLabel() {
		b.WriteString("\x00" + l.GetName() + "\x00" + l.GetValue())
	}
	return b.String() + "\x00"
}
