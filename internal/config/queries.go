package config

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// Query is a question of the user's to Prometheus, asked for each side with that side's names put in.
type Query struct {
	judge.Query
	Text string        // PromQL with Placeholders
	Step time.Duration // how often it is asked
}

// Preset names the gateway whose own metrics are asked; "": none.
type Preset string

// The presets.
const (
	PresetTraefik      Preset = "traefik"
	PresetIngressNginx Preset = "ingress-nginx"
	PresetIstio        Preset = "istio"
	PresetEnvoyGateway Preset = "envoy-gateway"
	PresetLinkerd      Preset = "linkerd"
)

// Presets are all of them.
var Presets = []Preset{PresetTraefik, PresetIngressNginx, PresetIstio, PresetEnvoyGateway, PresetLinkerd}

// Placeholders stand in a query for the names of one side. Service, Deployment and Pods (a regular expression) tell the
// sides apart; Namespace and Route are the same for both.
const (
	PlaceNamespace  = "{{.Namespace}}"
	PlaceService    = "{{.Service}}"
	PlaceDeployment = "{{.Deployment}}"
	PlacePods       = "{{.Pods}}"
	PlaceRoute      = "{{.Route}}"
)

// Placeholders are all of them; the first three tell the sides apart.
var Placeholders = []string{PlaceService, PlaceDeployment, PlacePods, PlaceNamespace, PlaceRoute}

// placeholder is what looks like one. Nothing in PromQL does but the text of a string.
var placeholder = regexp.MustCompile(`(?s)\{\{.*?(\}\}|$)`)

// prometheusToken is the variable that holds the token: a secret never stands in an input or in a file.
const prometheusToken = "GRAY_PROMETHEUS_TOKEN"

// StandardStep is how often a query is asked where nothing else is said: about as often as Prometheus reads its targets.
const StandardStep = 10 * time.Second

const (
	standardRatio = 1.5 // "like production" where neither limit nor ratio is given
	maxQueries    = 20  // each is two questions every step
)

var queryKeys = []string{"name", "query", "better", "limit", "ratio", "slack", "unit", "step"}

var unitForm = form{regexp.MustCompile(`^[\p{L}\p{N}%/ .-]+$`), 20, "a word like ms or %, at most 20 bytes"}

var queryForm = form{regexp.MustCompile(`^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+$`), 4000, "PromQL of at most 4000 bytes"}

// tokens takes from the environment what says who asks; what is empty is not given.
func (p *parser) tokens() {
	p.config.PrometheusToken = p.token("prometheus-token", prometheusToken)
	p.config.LokiToken = p.token("loki-token", lokiToken)
	p.config.LokiTenant = p.header("loki-tenant", lokiTenant)
}

// token is a variable that is a secret.
func (p *parser) token(path, name string) string {
	text := p.header(path, name)
	if text != "" {
		p.config.hide(text)
	}
	return text
}

// header is a variable that becomes a header of a request.
func (p *parser) header(path, name string) string {
	if p.getenv == nil {
		return ""
	}
	text := strings.TrimSpace(p.getenv(name))
	return p.form(value{path: path, origin: "environment variable " + name, node: node{kind: scalar, text: text}, secret: true}, headerValue)
}

func (p *parser) prometheusURL(v value) {
	p.config.PrometheusURL = p.baseURL(v, "http://prometheus.example.com:9090", "a token belongs in the environment variable "+prometheusToken)
}

func (p *parser) preset(v value) {
	var words []string
	for _, known := range Presets {
		words = append(words, string(known))
	}
	p.config.PrometheusPreset = Preset(p.word(v, words...))
}

// queries reads the user's own queries.
func (p *parser) queries(v value) {
	p.each(v, "queries", "a list of queries, each with name, query and better", p.query)
	if len(p.config.Queries) > maxQueries {
		p.fault(v, "has "+itoa(len(p.config.Queries))+" queries", "at most "+itoa(maxQueries))
	}
}

func (p *parser) query(v value) {
	q := Query{Step: StandardStep}
	if !p.fields(v, queryKeys, func(key string, item value) { p.queryField(&q, key, item) }) {
		return
	}
	if q.Limit == nil && q.Ratio == 0 {
		q.Ratio = standardRatio
	}
	p.wholeQuery(v, q)
	p.config.Queries = append(p.config.Queries, q)
}

func (p *parser) queryField(q *Query, key string, v value) {
	switch key {
	case "name":
		q.Name = p.form(v, accountName)
	case "query":
		q.Text = p.ofSides(v, queryForm)
	case "better":
		q.Higher = p.word(v, "lower", "higher") == "higher"
	case "limit":
		if x, ok := p.real(v, -math.MaxFloat64, math.MaxFloat64, "a number"); ok {
			q.Limit = &x
		}
	case "ratio":
		q.Ratio, _ = p.real(v, 1, 1000, "a number from 1 to 1000")
	case "slack":
		q.Slack, _ = p.real(v, 0, math.MaxFloat64, "a number from 0")
	case "unit":
		q.Unit = p.form(v, unitForm)
	case "step":
		q.Step = p.duration(v, time.Second, 10*time.Minute)
	}
}

// wholeQuery is what no field shows by itself.
func (p *parser) wholeQuery(v value, q Query) {
	for _, need := range []struct{ key, allowed string }{
		{"name", accountName.allowed}, {"query", queryForm.allowed}, {"better", "lower or higher"},
	} {
		if !v.node.has(need.key) {
			p.fault(v, "has no "+need.key, need.allowed)
		}
	}
	if q.Name != "" && slices.ContainsFunc(p.config.Queries, func(o Query) bool { return o.Name == q.Name }) {
		p.fault(v, "is the second query named "+q.Name, "each name once")
	}
	if v.node.has("limit") && (v.node.has("ratio") || v.node.has("slack")) {
		p.fault(v, "has a limit and a ratio or slack", "limit, which is absolute, or ratio and slack, which compare with the other side")
	}
}

// ofSides checks what stands for names only: whether the rest is PromQL, or LogQL, the server itself says in preflight.
func (p *parser) ofSides(v value, f form) string {
	s := strings.TrimSpace(p.form(v, f))
	if s == "" {
		return ""
	}
	for _, found := range placeholder.FindAllString(s, -1) {
		if !slices.Contains(Placeholders, found) {
			p.fault(v, shown(found)+" is no placeholder", strings.Join(Placeholders, ", "))
			return ""
		}
	}
	if !slices.ContainsFunc(Placeholders[:3], func(place string) bool { return strings.Contains(s, place) }) {
		p.fault(v, "asks the same of both sides", "at least one of "+strings.Join(Placeholders[:3], ", ")+", which differ")
		return ""
	}
	return s
}

// real returns a finite number within bounds.
func (p *parser) real(v value, low, high float64, allowed string) (float64, bool) {
	s, ok := p.plain(v, allowed)
	if !ok {
		return 0, false
	}
	x, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || math.IsNaN(x) || math.IsInf(x, 0):
		p.fault(v, "is not a number", allowed)
	case x < low || x > high:
		p.fault(v, "is out of bounds", allowed)
	default:
		return x, true
	}
	return 0, false
}

// asks notes a server without a question, and the other way round.
func (p *parser) asks() {
	server, hasServer := p.from["prometheus-url"]
	preset, hasPreset := p.from["prometheus-preset"]
	asks := hasPreset || len(p.config.Queries) > 0
	const allowed = "prometheus-url together with prometheus-preset or queries"
	switch {
	case hasServer && !asks && !p.unreadable:
		p.fault(server, "is given, and nothing is asked there", allowed)
	case hasPreset && !hasServer && !p.unreadable:
		p.fault(preset, "is given without prometheus-url", allowed)
	case asks && !hasServer && !p.unreadable:
		p.faults = append(p.faults, &Fault{Key: "queries", Problem: "are given without prometheus-url", Allowed: allowed})
	}
	for _, q := range p.config.Queries {
		if hasPreset && strings.HasPrefix(q.Name, string(p.config.PrometheusPreset)+" ") {
			p.faults = append(p.faults, &Fault{Key: "queries", Value: q.Name, Problem: "begins like the preset's own queries", Allowed: "another name"})
		}
	}
}
