package config

import "strings"

// StandardLokiQuery finds the lines of a side where an agent labels them as Promtail's and Alloy's Kubernetes examples do.
const StandardLokiQuery = `{namespace="` + PlaceNamespace + `", pod=~"` + PlacePods + `"}`

// What Loki wants to know of who asks: a secret never stands in an input or in a file, and the tenant belongs to it.
// A Loki has tenants unless auth_enabled is false (https://grafana.com/docs/loki/latest/operations/multi-tenancy/).
const (
	lokiToken  = "GRAY_LOKI_TOKEN"
	lokiTenant = "GRAY_LOKI_TENANT"
)

var logForm = form{queryForm.pattern, queryForm.longest, "a LogQL selector of at most 4000 bytes, like " + StandardLokiQuery}

func (p *parser) lokiURL(v value) {
	p.config.LokiURL = p.baseURL(v, "http://loki.example.com:3100", "a token belongs in the environment variable "+lokiToken)
}

// lokiQuery takes what finds lines. A query that counts them begins otherwise.
func (p *parser) lokiQuery(v value) {
	s := p.ofSides(v, logForm)
	if s != "" && (!strings.HasPrefix(s, "{") || strings.HasPrefix(s, "{{")) {
		p.fault(v, "does not begin with a stream selector", logForm.allowed)
	}
	p.config.LokiQuery = s
}

// logs notes a query that nobody is asked.
func (p *parser) logs() {
	query, hasQuery := p.from["loki-query"]
	if _, hasServer := p.from["loki-url"]; hasQuery && !hasServer && !p.unreadable && p.config.LokiQuery != StandardLokiQuery {
		p.fault(query, "is given without loki-url", "loki-query together with loki-url")
	}
}
