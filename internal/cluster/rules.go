package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	authv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Rule is one permission that the tool needs, as a Role writes it.
type Rule struct {
	Namespace string // "": the service's
	Group     string // "" is the core group
	Resource  string // with its subresource: pods/status
	Verbs     []string
	Without   string // what is lost without it; "": nothing works without it
}

// Rules are the permissions of this package in the service's namespace. Whoever ships a Role reads them from here.
func Rules() []Rule {
	return []Rule{
		{Resource: "services", Verbs: []string{"get", "list", "create", "delete"}},
		{Resource: "pods", Verbs: []string{"get", "list", "watch"}},
		{Resource: "pods/status", Verbs: []string{"patch"}},
		{Resource: "pods/log", Verbs: []string{"get"}, Without: "no log line explains a pod that crashes"},
		{Resource: "events", Verbs: []string{"list"}, Without: "no event explains a pod that does not start"},
		{Resource: "persistentvolumeclaims", Verbs: []string{"get"}, Without: "a template with a claim cannot be checked, and stops the upgrade"},
		{Resource: "resourcequotas", Verbs: []string{"list"}, Without: "quotas are not compared with the pods at the peak"},
		{Group: "apps", Resource: "deployments", Verbs: []string{"get", "list", "watch", "create", "patch", "delete"}},
		{Group: "apps", Resource: "replicasets", Verbs: []string{"list"}},
		{Group: "discovery.k8s.io", Resource: "endpointslices", Verbs: []string{"list", "watch"}},
		{Group: "policy", Resource: "poddisruptionbudgets", Verbs: []string{"get", "list", "create", "delete"}},
		{Group: "autoscaling", Resource: "horizontalpodautoscalers", Verbs: []string{"get", "list", "patch"}},
		{Group: "networking.k8s.io", Resource: "networkpolicies", Verbs: []string{"list"}, Without: "network policies that miss gray pods are not named"},
	}
}

// jobRule is the permission for Jobs of ours: the watchdog, and an offline test.
var jobRule = Rule{Group: "batch", Resource: "jobs", Verbs: []string{"get", "list", "create", "delete"}}

// WatchdogRules are the permissions for starting and ending the watchdog.
func WatchdogRules() []Rule {
	return []Rule{
		jobRule,
		{Resource: "serviceaccounts", Verbs: []string{"get"}},
	}
}

// ClosingRules are the permissions of this package for a close: what the watchdog itself may do.
func ClosingRules() []Rule {
	return []Rule{
		{Resource: "services", Verbs: []string{"get", "list", "delete"}},
		{Resource: "pods", Verbs: []string{"list", "watch"}},
		{Group: "apps", Resource: "deployments", Verbs: []string{"get", "list", "watch", "patch", "delete"}},
		{Group: "apps", Resource: "replicasets", Verbs: []string{"list"}},
		{Group: "discovery.k8s.io", Resource: "endpointslices", Verbs: []string{"list", "watch"}},
		{Group: "policy", Resource: "poddisruptionbudgets", Verbs: []string{"list", "delete"}},
		{Group: "autoscaling", Resource: "horizontalpodautoscalers", Verbs: []string{"get", "list", "patch"}},
		{Group: "batch", Resource: "jobs", Verbs: []string{"get", "list", "delete"}},
	}
}

// String is the rule as it stands in a Role.
func (r Rule) String() string {
	return fmt.Sprintf(`{apiGroups: [%q], resources: [%q], verbs: ["%s"]}`, r.Group, r.Resource, strings.Join(r.Verbs, `", "`))
}

// permissions asks the API server for every verb of every rule. Missing ones come back as warnings where the tool
// works without them, else all together as *plan.Failure with FaultInput that name the rule to add.
func (c *Cluster) permissions(ctx context.Context, rules []Rule) (warnings []string, err error) {
	missing := make([]Rule, len(rules))
	errs := make([]error, len(rules))
	var asks []func() error
	for i, r := range rules {
		asks = append(asks, func() error {
			missing[i], errs[i] = c.missing(ctx, r)
			return nil
		})
	}
	if err := together(asks...); err != nil {
		return nil, err
	}
	for _, err := range errs {
		if err != nil {
			return nil, err // who may not even ask: once is enough
		}
	}
	for i, r := range missing {
		switch {
		case len(r.Verbs) == 0:
		case r.Without != "":
			warnings = append(warnings, fmt.Sprintf("%s: the role in namespace %s lacks %s", r.Without, r.Namespace, r))
		default:
			errs[i] = plan.Failf(plan.FaultInput, "namespace "+r.Namespace, "missing permission: add to the role in namespace %s the rule %s", r.Namespace, r)
		}
	}
	return warnings, errors.Join(errs...)
}

// missing is the rule with only the verbs that are not granted.
func (c *Cluster) missing(ctx context.Context, r Rule) (Rule, error) {
	if r.Namespace == "" {
		r.Namespace = c.target.Namespace
	}
	verbs := r.Verbs
	r.Verbs = nil
	resource, subresource, _ := strings.Cut(r.Resource, "/")
	for _, verb := range verbs {
		review := &authv1.SelfSubjectAccessReview{Spec: authv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authv1.ResourceAttributes{
			Namespace: r.Namespace, Verb: verb, Group: r.Group, Resource: resource, Subresource: subresource,
		}}}
		answer, err := c.kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return r, fmt.Errorf("ask for the permission to %s %s: %w", verb, r.Resource, err)
		}
		if !answer.Status.Allowed {
			r.Verbs = append(r.Verbs, verb)
		}
	}
	return r, nil
}
