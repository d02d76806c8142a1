package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	probeTimeout = 3 * time.Second
	maxBody      = 64 << 10 // of an answer that is read so that the connection can be kept
	webPortName  = "web"    // container port of Traefik's Helm chart
)

// prober sends requests to one replica's own port for users, past any load balancer in front of it. Its answers are
// not looked at: the replica counts them.
type prober struct {
	client *http.Client
	method string
	url    string
	host   string
	header http.Header
}

func (h *HTTPRoute) newProber(ctx context.Context, pod replica) (*prober, error) {
	route, err := h.get(ctx)
	if err != nil {
		return nil, err
	}
	p, err := h.splitter.probe(route)
	if err != nil {
		return nil, err
	}
	l, err := h.listener(ctx, route)
	if err != nil {
		return nil, err
	}
	if l.port == 0 {
		if l.port, err = h.webPort(ctx, pod); err != nil {
			return nil, err
		}
	}
	if p.host == "" {
		p.host = h.hostOf(l, pod)
	}
	transport := dialTo(h.o, pod, l.port)
	scheme := "http://"
	if l.tls {
		scheme = "https://"
		transport.TLSClientConfig = &tls.Config{
			ServerName:         p.host,
			InsecureSkipVerify: true, //nolint:gosec // the API server names the pod, and its certificate may be for other names than the probe's
		}
	}
	p.url = scheme + pod.name + p.url
	p.client = &http.Client{
		Transport:     transport,
		Timeout:       probeTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p, nil
}

func (h *HTTPRoute) hostOf(l listener, pod replica) string {
	if l.host != "" {
		return concrete(l.host)
	}
	if u, err := url.Parse(h.o.URL); err == nil && u.Host != "" {
		return u.Host
	}
	return pod.name
}

// concrete makes a host name of one that begins with a wildcard.
func concrete(host string) string {
	if rest, wild := strings.CutPrefix(host, "*."); wild {
		return "gray-upgrade." + rest
	}
	return host
}

func (p *prober) send(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, p.method, p.url, nil)
	if err != nil {
		return err
	}
	req.Host = p.host
	req.Header = p.header.Clone()
	req.Header.Set("User-Agent", "gray-upgrade")
	resp, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("probe: %w", cause(err))
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody))
	return err
}

func (p *prober) close() { p.client.CloseIdleConnections() }

// probe makes a request that the first match which can be met by a plain GET or HEAD leads to the Service.
func (s splitter) probe(route *unstructured.Unstructured) (*prober, error) {
	rules, err := rulesOf(route)
	if err != nil {
		return nil, err
	}
	list, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
	hosts, _, _ := unstructured.NestedStringSlice(route.Object, "spec", "hostnames")
	for _, r := range rules {
		if sum(s.pairs(r.backends)) == 0 {
			continue
		}
		fields, _ := list[r.index].(map[string]any)
		matches, _ := fields["matches"].([]any)
		if len(matches) == 0 {
			matches = []any{map[string]any{}}
		}
		for _, m := range matches {
			match, _ := m.(map[string]any)
			if p := meet(match); p != nil {
				if len(hosts) > 0 {
					p.host = concrete(hosts[0])
				}
				return p, nil
			}
		}
	}
	return nil, errors.New("too few requests, and no match of the route can be probed with a plain GET")
}

// meet makes the request that meets a match; nil for regular expressions and other methods.
func meet(match backend) *prober {
	p := &prober{method: match.text("method", http.MethodGet), header: http.Header{}}
	if p.method != http.MethodGet && p.method != http.MethodHead {
		return nil
	}
	const pattern = "RegularExpression"
	path, _ := match["path"].(map[string]any)
	if backend(path).text("type", "PathPrefix") == pattern {
		return nil
	}
	query := url.Values{}
	for _, field := range []string{"headers", "queryParams"} {
		list, _ := match[field].([]any)
		for _, item := range list {
			fields, _ := item.(map[string]any)
			b := backend(fields)
			if b.text("type", "Exact") == pattern {
				return nil
			}
			if field == "headers" {
				p.header.Set(b.name(), b.text("value", ""))
			} else {
				query.Set(b.name(), b.text("value", ""))
			}
		}
	}
	u := url.URL{Path: backend(path).text("value", "/"), RawQuery: query.Encode()}
	p.url = u.String()
	return p
}

// listener is the Gateway's listener that the route is probed at.
type listener struct {
	host string
	port int
	tls  bool
}

// listener returns the first listener that the route's parents name, one of plain HTTP before one of HTTPS; a zero one
// where no Gateway may be read. Traefik listens at the listener's port in its own pod.
func (h *HTTPRoute) listener(ctx context.Context, route *unstructured.Unstructured) (listener, error) {
	var fallback listener
	for _, p := range parentsOf(route) {
		u, err := h.o.Dynamic.Resource(gateways).Namespace(p.namespace).Get(ctx, p.name, metav1.GetOptions{})
		if apierrors.IsForbidden(err) {
			continue
		}
		if err != nil {
			return listener{}, fmt.Errorf("read %s: %w", p, err)
		}
		list, _, _ := unstructured.NestedSlice(u.Object, "spec", "listeners")
		for _, item := range list {
			fields, _ := item.(map[string]any)
			b := backend(fields)
			if (p.section != "" && b.name() != p.section) || (p.port != 0 && b.number("port", 0) != p.port) {
				continue
			}
			l := listener{host: b.text("hostname", ""), port: int(b.number("port", 0)), tls: b.text("protocol", "") == "HTTPS"}
			if !l.tls {
				return l, nil
			}
			if fallback.port == 0 {
				fallback = l
			}
		}
	}
	return fallback, nil
}

// webPort is the container port named web.
func (h *HTTPRoute) webPort(ctx context.Context, pod replica) (int, error) {
	p, err := h.o.Kube.CoreV1().Pods(pod.namespace).Get(ctx, pod.name, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			if port.Name == webPortName {
				return int(port.ContainerPort), nil
			}
		}
	}
	return 0, fmt.Errorf("the Gateway may not be read and %s has no port named %s to probe", pod, webPortName)
}
