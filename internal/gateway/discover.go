package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const inputPrefix = "httproute/"

// fitWait is how long a gateway is given to look at a route, or at a Service of it, that was changed just now.
const fitWait = 5 * time.Second

// Discover returns the name of the one HTTPRoute of the namespace that leads to the Service, proven fit to be split:
// its parents are Gateways that have accepted it, and nothing in it keeps a client on one backend. gatewayInput is ""
// or "httproute/NAME". Everything that is wrong comes back at once, as *plan.Failure with FaultInput.
//
// A second route to the Service is refused even where the input names one: requests through the other would bypass
// the split. Routes of other namespaces are not looked for, since a role in the service's namespace cannot read them;
// where one leads here, production does not fall silent at weight 100 and the upgrade stops there.
//
// A route that an upgrade of the Service has split already is returned as it is: what somebody did to the routes since
// must not keep a close from finding it. Preflight looks at everything again.
func Discover(ctx context.Context, dyn dynamic.Interface, ns, service, gatewayInput string) (string, error) {
	wanted, err := parseInput(gatewayInput)
	if err != nil {
		return "", err
	}
	s := splitter{target: plan.Target{Namespace: ns, Service: service}}
	all, err := list(ctx, dyn, httpRoutes, ns)
	if err != nil {
		return "", err
	}
	for i := range all {
		if _, split := all[i].GetAnnotations()[s.notesKey()]; split {
			return all[i].GetName(), nil
		}
	}
	u, err := choose(ctx, dyn, s, all, wanted)
	if err != nil {
		return "", err
	}
	return u.GetName(), fit(ctx, dyn, s, u)
}

// Preflight says what keeps the route from being split and its data plane from being asked, all at once; nil: nothing.
func (h *HTTPRoute) Preflight(ctx context.Context) error {
	all, err := list(ctx, h.o.Dynamic, httpRoutes, h.o.Target.Namespace)
	if err != nil {
		return err
	}
	u, err := choose(ctx, h.o.Dynamic, h.splitter, all, h.o.Target.Route)
	if err != nil {
		return err
	}
	err = fit(ctx, h.o.Dynamic, h.splitter, u)
	if err != nil {
		return err
	}
	_, err = h.Replicas(ctx)
	return err
}

// choose returns the one route that leads to the Service.
func choose(ctx context.Context, dyn dynamic.Interface, s splitter, all []unstructured.Unstructured, wanted string) (*unstructured.Unstructured, error) {
	ns, service := s.target.Namespace, s.target.Service
	grpc, err := list(ctx, dyn, grpcRoutes, ns)
	if err != nil {
		return nil, err
	}
	if u := leading(s, grpc); len(u) > 0 {
		return nil, plan.Failf(plan.FaultInput, where(u[0]), "GRPCRoute is not supported: %s leads to Service %s/%s", names(u), ns, service)
	}
	routes := leading(s, all)
	switch {
	case len(routes) == 0:
		return nil, plan.Failf(plan.FaultInput, "Service "+ns+"/"+service,
			"no route leads to Service %s/%s: looked at the rules of %s and of %s in namespace %s; backends of weight 0 do not count",
			ns, service, plural(all, "HTTPRoute"), plural(grpc, "GRPCRoute"), ns)
	case len(routes) > 1:
		return nil, plan.Failf(plan.FaultInput, "Service "+ns+"/"+service,
			"%d routes lead to Service %s/%s: %s; requests through the others would bypass the split: bring their rules into one HTTPRoute%s",
			len(routes), ns, service, names(routes), choice(wanted))
	case wanted != "" && wanted != routes[0].GetName():
		return nil, plan.Failf(plan.FaultInput, "HTTPRoute "+ns+"/"+wanted,
			"gateway %q does not lead to Service %s/%s; the route that does is %s%s",
			inputPrefix+wanted, ns, service, inputPrefix, routes[0].GetName())
	}
	return routes[0], nil
}

func choice(wanted string) string {
	if wanted != "" {
		return ""
	}
	return ", or give the others a Service of their own (naming one with gateway: httproute/NAME is not enough)"
}

// parseInput reads "httproute/NAME"; "" is no choice.
func parseInput(input string) (string, error) {
	if input == "" {
		return "", nil
	}
	name, found := strings.CutPrefix(strings.ToLower(input), inputPrefix)
	if !found || name == "" || strings.Contains(name, "/") {
		return "", plan.Failf(plan.FaultInput, "", "gateway %q: only %sNAME is supported", input, inputPrefix)
	}
	return name, nil
}

// list reads every object of a kind; none where the kind is not installed.
func list(ctx context.Context, dyn dynamic.Interface, kind schema.GroupVersionResource, ns string) ([]unstructured.Unstructured, error) {
	l, err := dyn.Resource(kind).Namespace(ns).List(ctx, metav1.ListOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case apierrors.IsForbidden(err):
		return nil, plan.Failf(plan.FaultInput, "namespace "+ns, "missing permission: list %s.%s in namespace %s: %w", kind.Resource, kind.Group, ns, err)
	case err != nil:
		return nil, fmt.Errorf("list %s in namespace %s: %w", kind.Resource, ns, err)
	}
	return l.Items, nil
}

// leading keeps the routes that send requests to the Service; what cannot be read leads nowhere.
func leading(s splitter, all []unstructured.Unstructured) []*unstructured.Unstructured {
	var kept []*unstructured.Unstructured
	for i := range all {
		if leads, err := s.leads(&all[i]); err == nil && leads {
			kept = append(kept, &all[i])
		}
	}
	return kept
}

// names lists at most ten routes.
func names(all []*unstructured.Unstructured) string {
	const most = 10
	var list []string
	for _, u := range all[:min(len(all), most)] {
		list = append(list, strings.ToLower(u.GetKind())+"/"+u.GetName())
	}
	if len(all) > most {
		list = append(list, fmt.Sprintf("and %d more", len(all)-most))
	}
	return strings.Join(list, ", ")
}

func plural(all []unstructured.Unstructured, kind string) string {
	if len(all) == 1 {
		return "1 " + kind
	}
	return fmt.Sprintf("%d %ss", len(all), kind)
}

// fit returns everything that keeps the route from being split, nil where nothing does.
func fit(ctx context.Context, dyn dynamic.Interface, s splitter, u *unstructured.Unstructured) error {
	refuse := func(format string, args ...any) error {
		return plan.Failf(plan.FaultInput, where(u), where(u)+": "+format, args...)
	}
	var faults []error
	for _, p := range parentsOf(u) {
		switch {
		case p.kind == "Service":
			faults = append(faults, refuse("parent Service %s is not supported: a mesh route (GAMMA)", p.name))
		case p.kind != "Gateway" || p.group != group:
			faults = append(faults, refuse("parent %s %s is not supported: only Gateway is", p.kind, p.name))
		default:
			if err := programmed(ctx, dyn, p); err != nil {
				faults = append(faults, refuse("%w", err))
			}
		}
	}
	if len(parentsOf(u)) == 0 {
		faults = append(faults, refuse("no parentRefs: no gateway serves it"))
	}
	if len(faults) == 0 {
		if err := acceptedSoon(ctx, dyn, u); err != nil {
			faults = append(faults, refuse("%w", err))
		}
	}
	faults = append(faults, unfitRules(s, u, refuse)...)
	return errors.Join(faults...)
}

// acceptedSoon gives the gateway time to look at the route as it stands.
func acceptedSoon(ctx context.Context, dyn dynamic.Interface, u *unstructured.Unstructured) error {
	const poll = 500 * time.Millisecond
	for end := time.Now().Add(fitWait); ; {
		err := accepted(u)
		if err == nil || ctx.Err() != nil || time.Now().After(end) {
			return err
		}
		pause(ctx, poll)
		now, getErr := dyn.Resource(httpRoutes).Namespace(u.GetNamespace()).Get(ctx, u.GetName(), metav1.GetOptions{})
		if getErr != nil {
			return errors.Join(err, getErr)
		}
		u = now
	}
}

func unfitRules(s splitter, u *unstructured.Unstructured, refuse func(string, ...any) error) []error {
	rules, err := rulesOf(u)
	if err != nil {
		return []error{err}
	}
	list, _, _ := unstructured.NestedSlice(u.Object, "spec", "rules")
	var faults []error
	for _, r := range rules {
		pairs := s.pairs(r.backends)
		if len(pairs) == 0 {
			continue
		}
		fields, _ := list[r.index].(map[string]any)
		if fields["sessionPersistence"] != nil {
			faults = append(faults, refuse("sessionPersistence is not supported: rule %d keeps clients on one backend", r.index))
		}
		if isSplit(pairs) {
			continue // by an earlier run of ours, which is closed first
		}
		if other := s.foreignSplit(r); other != "" {
			faults = append(faults, refuse("rule %d is being split by another upgrade (backend %s): run one after the other", r.index, other))
			continue
		}
		if sum(pairs) > 0 {
			if _, _, err := scale(r); err != nil {
				faults = append(faults, err)
			}
		}
	}
	return faults
}

// parent is one of a route's parentRefs.
type parent struct {
	group, kind, namespace, name, section string
	port                                  int64
}

func (p parent) String() string { return fmt.Sprintf("%s %s/%s", p.kind, p.namespace, p.name) }

// parentsOf fills in the defaults of Gateway API.
func parentsOf(u *unstructured.Unstructured) []parent {
	refs, _, _ := unstructured.NestedSlice(u.Object, "spec", "parentRefs")
	var all []parent
	for _, ref := range refs {
		fields, _ := ref.(map[string]any)
		all = append(all, parentOf(backend(fields), u.GetNamespace()))
	}
	return all
}

func parentOf(fields backend, ns string) parent {
	return parent{
		group: fields.text("group", group), kind: fields.text("kind", "Gateway"), namespace: fields.text("namespace", ns),
		name: fields.name(), section: fields.text("sectionName", ""), port: fields.number("port", 0),
	}
}
