package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gray-upgrade/gray-upgrade/internal/cluster"
	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/gateway"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/verify"
)

// rules are the permissions beside those of package cluster, with the gateway's namespaces. tekton/rbac.yaml is tested
// against both.
func rules(gateways []string, c config.Config) []cluster.Rule {
	all := []cluster.Rule{
		{Group: "coordination.k8s.io", Resource: "leases", Verbs: []string{"get", "create", "update"}},
		{Group: "gateway.networking.k8s.io", Resource: "httproutes", Verbs: []string{"get", "list", "create", "patch", "delete"}},
		{Group: "gateway.networking.k8s.io", Resource: "grpcroutes", Verbs: []string{"list"}},
		{Group: "metrics.k8s.io", Resource: "pods", Verbs: []string{"list"}, Without: "CPU and memory of the sides are not compared"},
	}
	if c.LokiURL == "" && c.StepDuration > 0 {
		all = append(all, cluster.Rule{Resource: "pods/log", Verbs: []string{"get"}}) // no step has enough evidence without logs
	}
	waits := ""
	if c.Confirm.Wait > 0 {
		waits = fmt.Sprintf("the gateway cannot be asked what it serves, each weight waits %s instead", c.Confirm.Wait)
	}
	forwards := c.PodAccess != config.Direct
	if forwards {
		all = append(all, cluster.Rule{Resource: "pods/portforward", Verbs: []string{"get", "create"}})
	}
	for _, ns := range gateways {
		all = append(all,
			cluster.Rule{Namespace: ns, Resource: "pods", Verbs: []string{"get", "list"}, Without: waits},
			cluster.Rule{Namespace: ns, Group: "gateway.networking.k8s.io", Resource: "gateways", Verbs: []string{"get"}, Without: "the gateway's own status is not checked"},
		)
		if forwards {
			all = append(all, cluster.Rule{Namespace: ns, Resource: "pods/portforward", Verbs: []string{"get", "create"}, Without: waits})
		}
	}
	return all
}

// closingRules are the permissions of the watchdog, with the gateway's namespaces: those of a close.
func closingRules(gateways []string) []cluster.Rule {
	all := append(cluster.ClosingRules(),
		cluster.Rule{Group: "coordination.k8s.io", Resource: "leases", Verbs: []string{"get", "create", "update"}},
		cluster.Rule{Group: "gateway.networking.k8s.io", Resource: "httproutes", Verbs: []string{"get", "list", "patch", "delete"}},
		cluster.Rule{Group: "gateway.networking.k8s.io", Resource: "grpcroutes", Verbs: []string{"list"}},
	)
	for _, ns := range gateways {
		all = append(all,
			cluster.Rule{Namespace: ns, Resource: "pods", Verbs: []string{"get", "list"}},
			cluster.Rule{Namespace: ns, Resource: "pods/portforward", Verbs: []string{"get", "create"}},
			cluster.Rule{Namespace: ns, Group: "gateway.networking.k8s.io", Resource: "gateways", Verbs: []string{"get"}},
		)
	}
	return all
}

// preflight checks everything that can be checked without a change and without a request to the service, and returns all faults
// at once: permissions, objects and rehearsed writes. guarded says that there will be a watchdog.
func preflight(cl clients, c config.Config, sides *cluster.Cluster, route *gateway.HTTPRoute, asked monitor) func(context.Context) ([]string, bool, error) {
	return func(ctx context.Context) (warnings []string, guarded bool, err error) {
		gateways, err := route.Namespaces(ctx)
		if err != nil {
			return nil, false, err
		}
		warnings, err = sides.Preflight(ctx, rules(gateways, c)...)
		if !c.ProvesGray() {
			warnings = append(warnings, "no checks are set for gray: a gray pod counts as proven when it is ready")
		}
		owned, ownerErr := routeOwner(ctx, c, route)
		warnings = append(warnings, owned...)
		guarded, unguarded, guardErr := guard(ctx, c, sides.Watchdog())
		warnings = append(warnings, unguarded...)
		unanswered, askErr := asked.preflight(ctx)
		warnings = append(warnings, unanswered...)
		if err = errors.Join(err, guardErr, ownerErr, askErr, route.Preflight(ctx), reachable(ctx, route), countable(ctx, c, route), credentials(cl, c)); err != nil {
			return warnings, false, err
		}
		return warnings, guarded, nil
	}
}

// answers sends requests, which need what preflight checked: the route leads to production, the gateway can be asked, and
// production passes the checks.
func answers(route *gateway.HTTPRoute, verifier *verify.Verifier) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := route.Confirm(ctx, 0)
		return errors.Join(err, verifier.Baseline(ctx))
	}
}

// reachable refuses an upgrade whose account route could not be asked once gray stands.
func reachable(ctx context.Context, route *gateway.HTTPRoute) error {
	_, err := route.Door(ctx)
	if err == nil {
		return nil
	}
	f := plan.Failf(plan.FaultInput, "", "test accounts cannot be sent through the gateway: %w", err)
	f.Next = "give the input url, or the gateway's Role of tekton/rbac.yaml, then rerun"
	return f
}

// countable refuses an upgrade whose every step would end for want of evidence, because nobody counts requests.
func countable(ctx context.Context, c config.Config, route *gateway.HTTPRoute) error {
	if c.Confirm.Wait == 0 || c.Limits.MinRequests == 0 || c.StepDuration == 0 {
		return nil
	}
	if n, err := route.Replicas(ctx); n > 0 || err != nil {
		return err
	}
	f := plan.Failf(plan.FaultInput, "", "the gateway's requests cannot be counted, so that no step could reach min-requests %d", c.Limits.MinRequests)
	f.Next = "let the gateway's pods be read (gateway-pods, and its Role of tekton/rbac.yaml), or set thresholds: {min-requests: 0}; " +
		"the verdict then rests on logs, restarts, resources and test accounts"
	return f
}

// routeOwner refuses, or warns of, a GitOps tool that would revert the route's weights.
func routeOwner(ctx context.Context, c config.Config, route *gateway.HTTPRoute) (warnings []string, err error) {
	o, err := route.Object(ctx)
	if err != nil {
		return nil, err
	}
	err = cluster.Owner("HTTPRoute", o, ".spec.rules[].backendRefs")
	if err != nil && c.GitOps == config.Warn {
		return []string{err.Error()}, nil
	}
	return nil, err
}

// credentials refuses a credential that ends before the upgrade and its close could.
func credentials(cl clients, c config.Config) error {
	ends, err := cluster.Expiry(cl.rest)
	if err != nil {
		return err
	}
	need := c.Timeout + c.CloseTimeout
	if ends.IsZero() || time.Until(ends) >= need {
		return nil
	}
	f := plan.Failf(plan.FaultInput, "", "the credential ends at %s, in %s; an upgrade may take timeout + close-timeout = %s",
		ends.UTC().Format(time.RFC3339), time.Until(ends).Round(time.Second), need)
	f.Next = "get a token that lives longer, or set a shorter timeout"
	return f
}

// explained says what is wrong with the credential where that is why the first requests were refused: their own errors
// name neither a plugin that is not installed nor a token that has ended.
func explained(cl clients, err error) error {
	ends, unusable := cluster.Expiry(cl.rest)
	switch {
	case unusable != nil:
		return unusable
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), strconv.Quote(anonymous)):
		return nobody(cl, err)
	case !apierrors.IsUnauthorized(err):
		return err
	}
	f := plan.Failf(plan.FaultInput, "", "the API server does not accept the credential: %w", err)
	if !ends.IsZero() && time.Until(ends) < 0 {
		f = plan.Failf(plan.FaultInput, "", "the credential ended at %s: %w", ends.UTC().Format(time.RFC3339), err)
	}
	f.Next = newToken(cl)
	return f
}

func newToken(cl clients) string {
	return "get a new token, for example by kubectl -n " + cl.namespace + " create token gray-upgrade --duration=2h, then rerun"
}

// anonymous is whom the API server takes a request without a credential for.
const anonymous = "system:anonymous"

// nobody says that the API server got no credential. What it refused for that reason does not matter.
func nobody(cl clients, err error) error {
	f := plan.Failf(plan.FaultInput, "", "no credential was sent, or an empty one: the API server took this run for %s", anonymous)
	f.Err, f.Next = err, newToken(cl)
	return f
}

// denied says that the API server knows this run not, or not well enough.
func denied(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) }

// missing names every rule that the role lacks where the first requests were forbidden: their own errors name one.
func missing(ctx context.Context, cl clients, c config.Config, log *slog.Logger, err error) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	sides := cluster.New(cluster.Options{Kube: cl.kube, Target: plan.Target{Namespace: cl.namespace, Service: c.Service}, Config: c, Log: log})
	warnings, rulesErr := sides.Preflight(ctx, rules(nil, c)...)
	if rulesErr == nil {
		return err
	}
	for _, text := range warnings {
		rulesErr = errors.Join(rulesErr, errors.New(text))
	}
	return rulesErr
}
