package gateway

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// AddObjects adds the user's route, and the account route where it stands, to what is compared before and after.
func (h *HTTPRoute) AddObjects(ctx context.Context, all plan.Objects) error {
	for _, name := range []string{h.o.Target.Route, h.accountName()} {
		u, err := h.routes().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read HTTPRoute %s/%s: %w", h.o.Target.Namespace, name, err)
		}
		spec := u.Object["spec"]
		if name == h.accountName() {
			spec = nil // it holds the token
		}
		if err := all.Add("HTTPRoute", name, u.GetLabels(), u.GetAnnotations(), spec); err != nil {
			return err
		}
	}
	return nil
}
