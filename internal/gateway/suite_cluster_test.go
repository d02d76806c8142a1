package gateway

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/gateway/gatewaytest"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// No Gateway of that name exists, so nobody but the test writes the routes' status.
const suiteHead = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: none}]
  rules:
`

func TestContract(t *testing.T) {
	gatewaytest.Run(t, gatewaytest.Provider{
		Resource: httpRoutes,
		Routes: map[string]string{
			"one backend": suiteHead + `
    - backendRefs: [{name: web, port: 80}]
`,
			"two backends": suiteHead + `
    - backendRefs: [{name: web, port: 80, weight: 3}, {name: other, port: 80, weight: 1}]
`,
			"three backends, several rules": `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, annotations: {team: shop}, labels: {team: shop}}
spec:
  parentRefs: [{name: none}]
  hostnames: [a.example.com, "*.example.com"]
  rules:
    - matches: [{path: {type: PathPrefix, value: /api}, method: GET}, {path: {type: Exact, value: /x}}]
      filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: A, value: b}]}}]
      timeouts: {request: 5s}
      backendRefs:
        - {name: other, port: 80, weight: 90}
        - name: web
          port: 80
          weight: 30
          filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: C, value: d}], set: [{name: E, value: f}]}}]
        - {name: third, port: 81, weight: 0}
    - matches: [{path: {type: PathPrefix, value: /static}}]
      backendRefs: [{name: other, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /old}}]
      filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301, path: {type: ReplaceFullPath, replaceFullPath: /new}}}]
    - backendRefs: [{name: web, port: 80}]
`,
		},
		New: func(t *testing.T, ns, route string, fence gatewaytest.Fence) gatewaytest.Gateway {
			t.Helper()
			cfg := clustertest.Config(t)
			dyn, err := dynamic.NewForConfig(cfg)
			require.NoError(t, err)
			kube, err := kubernetes.NewForConfig(cfg)
			require.NoError(t, err)
			return New(Options{
				Dynamic: dyn, Kube: kube, Fence: fence,
				Target:  plan.Target{Namespace: ns, Deployment: "web", Service: "web", Route: route},
				Confirm: config.Confirm{Wait: 50 * time.Millisecond},
			})
		},
		Shares: func(t *testing.T, u *unstructured.Unstructured) []map[string]int64 {
			t.Helper()
			rules, err := rulesOf(u)
			require.NoError(t, err)
			var all []map[string]int64
			for _, r := range rules {
				weights := map[string]int64{}
				for _, b := range r.backends {
					weights[b.name()] += b.weight()
				}
				if len(weights) > 0 {
					all = append(all, weights)
				}
			}
			return all
		},
		Strip: func(u *unstructured.Unstructured) {
			rules, _, _ := unstructured.NestedSlice(u.Object, "spec", "rules")
			for _, r := range rules {
				delete(r.(map[string]any), "backendRefs")
			}
			_ = unstructured.SetNestedSlice(u.Object, rules, "spec", "rules")
		},
		Refuse: func(u *unstructured.Unstructured) string {
			condition := func(kind, status, reason, message string) any {
				return map[string]any{
					"type": kind, "status": status, "reason": reason, "message": message,
					"observedGeneration": u.GetGeneration(), "lastTransitionTime": "2026-01-01T00:00:00Z",
				}
			}
			_ = unstructured.SetNestedSlice(u.Object, []any{map[string]any{
				"parentRef":      map[string]any{"name": "none"},
				"controllerName": "example.com/none",
				"conditions":     []any{condition("Accepted", "True", "Accepted", ""), condition("ResolvedRefs", "False", "BackendNotFound", "no web-gray")},
			}}, "status", "parents")
			return "Gateway " + u.GetNamespace() + "/none: condition ResolvedRefs is False: BackendNotFound: no web-gray"
		},
	})
}
