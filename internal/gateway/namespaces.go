package gateway

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Object returns the user's route as it stands, for a look at who owns it.
func (h *HTTPRoute) Object(ctx context.Context) (metav1.Object, error) { return h.get(ctx) }

// Namespaces returns where the gateway's pods are looked for.
func (h *HTTPRoute) Namespaces(ctx context.Context) ([]string, error) {
	route, err := h.get(ctx)
	if err != nil {
		return nil, err
	}
	return h.pods.namespaces(parentsOf(route)), nil
}
