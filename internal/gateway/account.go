package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// TokenHeader is the request header that leads to gray through the account route.
const TokenHeader = "X-Gray-Upgrade-Token" //nolint:gosec // the header's name, no token

// accountName is the name of the account route: at most 63 characters. The Service is in it, because two services may
// share a route.
func (h *HTTPRoute) accountName() string {
	return plan.GrayName(h.o.Target.Route + "-" + h.o.Target.Service + "-account")
}

// Account makes the account route stand: an HTTPRoute of our own with the parents, hostnames and matches of the
// user's route, that sends requests with the token it returns to gray and no others. The token is unguessable and
// stays the same while owner (gray's Deployment) stands; the route goes with it at the latest.
func (h *HTTPRoute) Account(ctx context.Context, owner metav1.OwnerReference) (token string, err error) {
	for range writeTries {
		token, err = h.accountOnce(ctx, owner)
		if !errors.Is(err, errStale) {
			break
		}
	}
	if err != nil {
		return "", fmt.Errorf("make account route %s/%s: %w", h.o.Target.Namespace, h.accountName(), err)
	}
	return token, nil
}

func (h *HTTPRoute) accountOnce(ctx context.Context, owner metav1.OwnerReference) (string, error) {
	route, err := h.get(ctx)
	if err != nil {
		return "", err
	}
	old, err := h.routes().Get(ctx, h.accountName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return h.createAccount(ctx, route, owner)
	}
	if err != nil {
		return "", err
	}
	return h.renewAccount(ctx, route, old, owner)
}

func (h *HTTPRoute) createAccount(ctx context.Context, route *unstructured.Unstructured, owner metav1.OwnerReference) (string, error) {
	token := rand.Text()
	spec, err := h.splitter.account(route, token)
	if err != nil {
		return "", err
	}
	fence, err := h.o.Fence(ctx)
	if err != nil {
		return "", err
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetAPIVersion(route.GetAPIVersion())
	u.SetKind(route.GetKind())
	u.SetNamespace(h.o.Target.Namespace)
	u.SetName(h.accountName())
	u.SetOwnerReferences([]metav1.OwnerReference{owner})
	u.SetLabels(map[string]string{plan.LabelSide: string(plan.Gray), plan.LabelService: h.o.Target.Service})
	u.SetAnnotations(map[string]string{plan.FenceKey(h.o.Target.Service): strconv.FormatInt(fence, 10)})
	_, err = h.routes().Create(ctx, u, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return "", errStale
	}
	return token, err
}

// renewAccount brings an account route that stands up to date. One that belongs to an earlier gray gets a new token;
// one of somebody else is not touched.
func (h *HTTPRoute) renewAccount(ctx context.Context, route, old *unstructured.Unstructured, owner metav1.OwnerReference) (string, error) {
	if old.GetLabels()[plan.LabelService] != h.o.Target.Service {
		return "", plan.Failf(plan.FaultRefused, where(old), "%s exists and is not ours", where(old))
	}
	owners := old.GetOwnerReferences()
	token := tokenOf(old)
	same := len(owners) == 1 && owners[0].UID == owner.UID
	if !same || token == "" {
		token = rand.Text()
	}
	spec, err := h.splitter.account(route, token)
	if err != nil {
		return "", err
	}
	fence, err := h.fence(ctx, old)
	if err != nil {
		return "", err
	}
	if same && reflect.DeepEqual(old.Object["spec"], any(spec)) {
		return token, nil
	}
	ownerFields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&owner)
	if err != nil {
		return "", err
	}
	p := versionTest(old)
	if old.GetAnnotations() == nil {
		p = append(p, op{Op: "add", Path: "/metadata/annotations", Value: map[string]any{}})
	}
	return token, h.send(ctx, old, append(p,
		op{Op: "add", Path: annotationPath(plan.FenceKey(h.o.Target.Service)), Value: strconv.FormatInt(fence, 10)},
		op{Op: "add", Path: "/metadata/ownerReferences", Value: []any{ownerFields}},
		op{Op: "replace", Path: "/spec", Value: spec},
	))
}

// removeAccount deletes the account route, if it is ours.
func (h *HTTPRoute) removeAccount(ctx context.Context) error {
	name := h.accountName()
	u, err := h.routes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read account route %s/%s: %w", h.o.Target.Namespace, name, err)
	}
	if u.GetLabels()[plan.LabelService] != h.o.Target.Service {
		return nil
	}
	if _, err := h.fence(ctx, u); err != nil {
		return err
	}
	uid := u.GetUID()
	err = h.routes().Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete account route %s/%s: %w", h.o.Target.Namespace, name, err)
	}
	return nil
}

// account is the spec of the account route: the rules of the user's route that lead to the Service, each match with
// the token's header, gray in place of the backends.
func (s splitter) account(route *unstructured.Unstructured, token string) (map[string]any, error) {
	rules, err := rulesOf(route)
	if err != nil {
		return nil, err
	}
	spec := runtime.DeepCopyJSON(route.Object)["spec"].(map[string]any) //nolint:forcetypeassert // rulesOf has read it
	all := spec["rules"].([]any)                                        //nolint:forcetypeassert // as above
	var kept []any
	for _, r := range rules {
		pairs := s.pairs(r.backends)
		if sum(pairs) == 0 {
			continue
		}
		fields := all[r.index].(map[string]any) //nolint:forcetypeassert // as above
		var backends []any
		for _, p := range pairs {
			weight := p.total()
			if len(pairs) == 1 {
				weight = 1 // so that a changed split leaves this route as it is
			}
			backends = append(backends, map[string]any(s.grayOf(p.production, weight)))
		}
		fields["backendRefs"] = backends
		fields["matches"] = withToken(fields["matches"], token)
		kept = append(kept, fields)
	}
	if len(kept) == 0 {
		return nil, plan.Failf(plan.FaultInput, where(route), "no rule of %s leads to Service %s/%s", where(route), s.target.Namespace, s.target.Service)
	}
	spec["rules"] = kept
	return spec, nil
}

// withToken adds the header to each match; a rule without matches matches everything (Gateway API).
func withToken(matches any, token string) []any {
	header := map[string]any{"type": "Exact", "name": TokenHeader, "value": token}
	list, _ := matches.([]any)
	if len(list) == 0 {
		list = []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": "/"}}}
	}
	for _, item := range list {
		match, ok := item.(map[string]any)
		if !ok {
			continue
		}
		headers, _ := match["headers"].([]any)
		match["headers"] = append(headers, header)
	}
	return list
}

// tokenOf reads the token out of an account route, "" where there is none.
func tokenOf(u *unstructured.Unstructured) string {
	rules, _, _ := unstructured.NestedSlice(u.Object, "spec", "rules")
	for _, r := range rules {
		fields, _ := r.(map[string]any)
		matches, _ := fields["matches"].([]any)
		for _, m := range matches {
			match, _ := m.(map[string]any)
			headers, _ := match["headers"].([]any)
			for _, item := range headers {
				header, _ := item.(map[string]any)
				if header["name"] == TokenHeader {
					value, _ := header["value"].(string)
					return value
				}
			}
		}
	}
	return ""
}
