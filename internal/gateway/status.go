package gateway

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// traefikController is the controllerName that Traefik writes into the status of its routes.
const traefikController = "traefik.io/gateway-controller"

// accepted says why a gateway does not take the route as it stands, nil where every parent does. Status is no proof
// that a weight is served; it explains why one never will be.
func accepted(u *unstructured.Unstructured) error {
	var faults []error
	statuses := parentStatuses(u)
	for _, p := range parentsOf(u) {
		conditions, found := statuses[p]
		if !found {
			faults = append(faults, fmt.Errorf("%s has not looked at it: no status for this parent", p))
			continue
		}
		for _, kind := range []string{"Accepted", "ResolvedRefs"} {
			if err := holds(conditions, kind, u.GetGeneration()); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", p, err))
			}
		}
	}
	return errors.Join(faults...)
}

// parentStatuses are the conditions by parent, as the controllers wrote them.
func parentStatuses(u *unstructured.Unstructured) map[parent][]any {
	all, _, _ := unstructured.NestedSlice(u.Object, "status", "parents")
	found := map[parent][]any{}
	for _, item := range all {
		fields, _ := item.(map[string]any)
		ref, _ := fields["parentRef"].(map[string]any)
		conditions, _ := fields["conditions"].([]any)
		found[parentOf(backend(ref), u.GetNamespace())] = conditions
	}
	return found
}

// controllers are the names of the controllers that wrote a status, by appearance.
func controllers(u *unstructured.Unstructured) []string {
	all, _, _ := unstructured.NestedSlice(u.Object, "status", "parents")
	var found []string
	for _, item := range all {
		fields, _ := item.(map[string]any)
		if name := backend(fields).text("controllerName", ""); name != "" {
			found = append(found, name)
		}
	}
	return found
}

// holds says why a condition is not true for the generation, nil where it is.
func holds(conditions []any, kind string, generation int64) error {
	for _, item := range conditions {
		fields, _ := item.(map[string]any)
		c := backend(fields)
		if c.text("type", "") != kind {
			continue
		}
		if seen := c.number("observedGeneration", 0); seen < generation {
			return fmt.Errorf("condition %s is of generation %d, the object is at %d", kind, seen, generation)
		}
		if status := c.text("status", ""); status != string(metav1.ConditionTrue) {
			return fmt.Errorf("condition %s is %s: %s: %s", kind, status, c.text("reason", ""), cut(c.text("message", "")))
		}
		return nil
	}
	return fmt.Errorf("condition %s is missing", kind)
}

// programmed says why the Gateway serves nothing; nil where it does, or where it may not be read.
func programmed(ctx context.Context, dyn dynamic.Interface, p parent) error {
	u, err := dyn.Resource(gateways).Namespace(p.namespace).Get(ctx, p.name, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return nil
	case err != nil:
		return fmt.Errorf("read %s: %w", p, err)
	}
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	if err := holds(conditions, "Programmed", u.GetGeneration()); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	return nil
}

// cut shortens foreign text to what a message can carry.
func cut(text string) string {
	const most = 300
	if len(text) <= most {
		return text
	}
	return text[:most] + "..."
}
