package config

import (
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

const gatewayAllowed = "httproute/NAME, a Gateway API HTTPRoute in the namespace of the Service"

// gateway takes the one provider there is; the others are refused by their name, so that nobody looks for a typo.
func (p *parser) gateway(v value) {
	s, ok := p.plain(v, gatewayAllowed)
	if !ok {
		return
	}
	kind, name, found := strings.Cut(s, "/")
	switch {
	case !found:
		p.fault(v, "names no kind", gatewayAllowed)
	case strings.ToLower(kind) != "httproute":
		p.fault(v, shown(kind)+" is not supported in this version", gatewayAllowed)
	case len(name) > dnsName.longest || !dnsName.pattern.MatchString(name):
		p.fault(v, "is not the name of a route", gatewayAllowed)
	default:
		p.config.Gateway = "httproute/" + name
	}
}

// selector is an equality-based label selector: key=value, joined by commas.
var selector = regexp.MustCompile(`^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?={1,2}[A-Za-z0-9._-]*` +
	`(,([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?={1,2}[A-Za-z0-9._-]*)*$`)

func (p *parser) gatewayPods(v value) {
	const allowed = "NAMESPACE/KEY=VALUE[,KEY=VALUE...][:PORT], like gateway/app.kubernetes.io/name=traefik:9100"
	s, ok := p.plain(v, allowed)
	if !ok {
		return
	}
	namespace, rest, found := strings.Cut(s, "/")
	labels, port, withPort := strings.Cut(rest, ":")
	var pods GatewayPods
	problem := ""
	switch {
	case !found:
		problem = "names no namespace"
	case len(namespace) > dnsLabel.longest || !dnsLabel.pattern.MatchString(namespace):
		problem = strconv.Quote(shown(namespace)) + " is not a namespace"
	case !selector.MatchString(labels):
		problem = strconv.Quote(shown(labels)) + " is not a label selector"
	case withPort:
		pods.Port, problem = whole(port, 1, 65535)
		if problem != "" {
			problem = "port " + problem
		}
	}
	if problem != "" {
		p.fault(v, problem, allowed)
		return
	}
	pods.Namespace, pods.Selector = namespace, labels
	p.config.GatewayPods = pods
}

func (p *parser) url(v value) {
	p.config.URL = p.baseURL(v, "http://shop.example.com", "test accounts belong in the config file")
}

// baseURL reads a URL that paths are added to; secrets says where a password belongs instead. "" with a fault.
func (p *parser) baseURL(v value, like, secrets string) string {
	allowed := "http:// or https://, a host, and at most a path, like " + like
	s, ok := p.plain(v, allowed)
	if !ok {
		return ""
	}
	u, err := url.Parse(s)
	if strings.ContainsRune(s, '@') { // a password may stand in it: it is not printed
		v.secret = true
	}
	problem := ""
	switch {
	case err != nil || !printable.pattern.MatchString(s):
		problem = "is not a URL"
	case u.Scheme != "http" && u.Scheme != "https":
		problem = "is not an http or https URL"
	case u.Host == "" || u.Hostname() == "":
		problem = "has no host"
	case u.User != nil:
		problem = "holds a user or password; " + secrets
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		problem = "has a query or fragment"
	}
	if problem != "" {
		p.fault(v, problem, allowed)
		return ""
	}
	return strings.TrimRight(s, "/")
}

func (p *parser) confirm(v value) {
	const allowed = "required or wait=DURATION from 1s to 1h, like wait=30s"
	s, ok := p.plain(v, allowed)
	if !ok {
		return
	}
	p.config.Confirm = Confirm{}
	if s == "required" {
		return
	}
	wait, found := strings.CutPrefix(s, "wait=")
	d, err := time.ParseDuration(wait)
	if !found || err != nil || d < time.Second || d > time.Hour {
		p.fault(v, "is not allowed", allowed)
		return
	}
	p.config.Confirm.Wait = d
}

func (p *parser) steps(v value) {
	const allowed = "whole numbers from 1 to 100, each above the one before, like 5,20,50"
	steps := p.weights(v, 1, 100, allowed)
	for i := 1; i < len(steps); i++ {
		if steps[i] <= steps[i-1] {
			p.fault(v, itoa(steps[i])+" is not above "+itoa(steps[i-1]), allowed)
			return
		}
	}
	p.config.Steps = steps
}

func (p *parser) returnSteps(v value) {
	const allowed = "whole numbers from 99 to 0, each below the one before, 0 at the end, like 50,0"
	steps := p.weights(v, 0, 99, allowed)
	for i := 1; i < len(steps); i++ {
		if steps[i] >= steps[i-1] {
			p.fault(v, itoa(steps[i])+" is not below "+itoa(steps[i-1]), allowed)
			return
		}
	}
	if len(steps) > 0 && steps[len(steps)-1] != 0 {
		p.fault(v, "does not end in 0", allowed)
		return
	}
	p.config.ReturnSteps = steps
}

// weights reads a list, or words with commas between them. It returns nil after a fault.
func (p *parser) weights(v value, low, high int, allowed string) []int {
	var words []string
	if v.node.kind == list {
		for i, item := range v.node.items {
			word, ok := p.plain(v.child(v.path+"["+itoa(i)+"]", item), allowed)
			if !ok {
				return nil
			}
			words = append(words, word)
		}
	} else {
		s, ok := p.plain(v, allowed)
		if !ok {
			return nil
		}
		words = strings.Split(s, ",")
	}
	var out []int
	for _, w := range words {
		w = strings.TrimSpace(w)
		n, problem := whole(w, low, high)
		if problem != "" {
			p.fault(v, strconv.Quote(shown(w))+" "+problem, allowed)
			return nil
		}
		out = append(out, n)
	}
	if len(out) == 0 {
		p.fault(v, "is an empty list", allowed)
	}
	return out
}

// threshold is one limit of the verdict.
type threshold struct {
	name      string
	low, high float64
	fraction  bool // may have decimals
	set       func(*judge.Limits, float64)
}

var thresholds = []threshold{
	{"error-percent", 0, 100, true, func(l *judge.Limits, x float64) { l.ErrorPercent = x }},
	{"p99-ms", 0, 600000, false, func(l *judge.Limits, x float64) { l.P99 = time.Duration(x) * time.Millisecond }},
	{"memory-ratio", 1, 100, true, func(l *judge.Limits, x float64) { l.MemoryRatio = x }},
	{"cpu-ratio", 1, 100, true, func(l *judge.Limits, x float64) { l.CPURatio = x }},
	{"new-error-logs", 0, 1000, false, func(l *judge.Limits, x float64) { l.NewErrorLogs = int(x) }},
	{"restarts", 0, 1000, false, func(l *judge.Limits, x float64) { l.Restarts = int(x) }},
	{"min-requests", 0, 1000000, false, func(l *judge.Limits, x float64) { l.MinRequests = int(x) }},
	{"false-alarm-percent", 0.001, 50, true, func(l *judge.Limits, x float64) { l.FalseAlarmPercent = x }},
}

// Thresholds returns limits with those changed that a value of the key thresholds names.
func Thresholds(text string, limits judge.Limits) (judge.Limits, error) {
	p := &parser{config: Config{Limits: limits}}
	p.thresholds(value{path: "thresholds", origin: "flag --thresholds", node: node{kind: scalar, text: text}})
	c, err := p.result()
	return c.Limits, err
}

// thresholds takes a map; an input is text that holds one.
func (p *parser) thresholds(v value) {
	var known []string
	for _, t := range thresholds {
		known = append(known, t.name)
	}
	allowed := "a YAML map, like {error-percent: 2, p99-ms: 500}, with " + strings.Join(known, ", ")
	if v.node.kind == scalar {
		root, troubles := read([]byte(v.node.text))
		for _, t := range troubles {
			p.fault(v, t.problem, allowed)
		}
		if len(troubles) > 0 {
			return
		}
		if root.kind != mapping {
			p.fault(v, "is not a map", allowed)
			return
		}
		root.line, root.column, v.node, v.lines = v.node.line, v.node.column, root, nil
	}
	if v.node.kind != mapping {
		p.fault(v, "is "+v.node.kind.String(), allowed)
		return
	}
	for _, kv := range v.node.pairs {
		path := v.path + "." + kv.key.text
		i := slices.Index(known, kv.key.text)
		if i < 0 {
			p.unknownKey(v, kv.key, path, known)
			continue
		}
		p.threshold(v.child(path, kv.value), thresholds[i])
	}
}

func (p *parser) threshold(v value, t threshold) {
	kind := "a whole number"
	if t.fraction {
		kind = "a number"
	}
	allowed := kind + " from " + decimal(t.low) + " to " + decimal(t.high)
	s, ok := p.plain(v, allowed)
	if !ok {
		return
	}
	x, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || math.IsNaN(x) || !t.fraction && x != math.Trunc(x):
		p.fault(v, "is not "+kind, allowed)
	case x < t.low:
		p.fault(v, "is below "+decimal(t.low), allowed)
	case x > t.high:
		p.fault(v, "is above "+decimal(t.high), allowed)
	default:
		t.set(&p.config.Limits, x)
	}
}

func decimal(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
