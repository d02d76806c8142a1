package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Door is how a request gets to the route.
type Door struct {
	URL    string                 // base
	Host   string                 // Host header; "": the URL's
	Any    config.Check           // a request that the route leads to the Service; zero: none is known
	Leads  func(path string) bool // whether a plain GET of a path is led to the Service
	Client *http.Client
}

// Door returns the way through the user's URL where there is one, else through one gateway replica's own port for users.
func (h *HTTPRoute) Door(ctx context.Context) (Door, error) {
	d, err := h.way(ctx)
	if err != nil {
		return Door{}, err
	}
	route, err := h.get(ctx)
	if err != nil {
		return Door{}, err
	}
	p, err := h.splitter.probe(route)
	if err != nil {
		return d, nil //nolint:nilerr // no match can be met by a plain GET: whether a path is led there is not known
	}
	base := basePath(d.URL)
	if path, under := strings.CutPrefix(p.url, base); under {
		d.Any = config.Check{Name: "route", Method: p.method, Path: path, Headers: map[string]string{}}
		for name := range p.header {
			d.Any.Headers[name] = p.header.Get(name)
		}
	}
	d.Leads = func(path string) bool { return h.splitter.leadsTo(route, base+path) }
	return d, nil
}

// basePath is what the user's URL puts before every path.
func basePath(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.Path, "/")
}

// way is the door without what may be asked there.
func (h *HTTPRoute) way(ctx context.Context) (Door, error) {
	if h.o.URL != "" {
		return Door{URL: strings.TrimSuffix(h.o.URL, "/"), Client: http.DefaultClient}, nil
	}
	g, err := h.pods.look(ctx)
	if err != nil {
		return Door{}, err
	}
	all := []error{errNoReplica}
	for _, pod := range g.pods {
		p, err := h.newProber(ctx, pod)
		if err != nil {
			all = append(all, err)
			continue
		}
		u, err := url.Parse(p.url)
		if err != nil {
			return Door{}, err
		}
		return Door{URL: u.Scheme + "://" + u.Host, Host: p.host, Client: p.client}, nil
	}
	return Door{}, plan.Failf(plan.FaultInput, "HTTPRoute "+h.o.Target.Namespace+"/"+h.o.Target.Route,
		"the route cannot be asked without its URL: give the input url: %w", errors.Join(all...))
}

// leadsTo says whether the first rule of the route that takes a plain GET of the path sends it to the Service. It knows
// paths alone: a match that asks for more, or by a regular expression, is passed over.
func (s splitter) leadsTo(route *unstructured.Unstructured, path string) bool {
	path, _, _ = strings.Cut(path, "?")
	rules, err := rulesOf(route)
	if err != nil {
		return false
	}
	list, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
	longest, ours := -1, false
	for _, r := range rules {
		fields, _ := list[r.index].(map[string]any)
		matches, _ := fields["matches"].([]any)
		if len(matches) == 0 {
			matches = []any{map[string]any{}}
		}
		for _, m := range matches {
			match, _ := m.(map[string]any)
			if n := taken(match, path); n > longest {
				longest, ours = n, sum(s.pairs(r.backends)) > 0
			}
		}
	}
	return ours
}

// taken is how much of the path a match takes, in the order in which Gateway API has matches win: a whole path before the
// longest prefix; -1 where it does not take it.
func taken(match backend, path string) int {
	for _, more := range []string{"headers", "queryParams", "method"} {
		if _, asks := match[more]; asks {
			return -1
		}
	}
	fields, _ := match["path"].(map[string]any)
	value := backend(fields).text("value", "/")
	prefix := strings.TrimSuffix(value, "/")
	switch kind := backend(fields).text("type", "PathPrefix"); {
	case kind == "Exact" && path == value:
		return len(path) + 1
	case kind == "PathPrefix" && (path == prefix || strings.HasPrefix(path, prefix+"/")):
		return len(prefix)
	}
	return -1
}
