package clustertest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const sideText = `
apiVersion: v1
kind: Service
metadata: {name: SIDE, namespace: NAMESPACE}
spec:
  selector: {app: SIDE}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: SIDE, namespace: NAMESPACE, labels: {app: SIDE}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: web
      image: 127.0.0.1:5000/shop/app:v1
      args: [--access-log=false]
      readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
---
`

const routeText = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: NAMESPACE}
spec:
  parentRefs: [{name: shop, namespace: gateway}]
  hostnames: [NAMESPACE.shop.test]
  rules:
    - backendRefs: [BACKENDS]
`

// Sides puts both sides of a service behind the real Traefik, in a fresh namespace: web and web-gray, each a Service with one
// ready pod of the demo app, and the HTTPRoute web of the host NAMESPACE.shop.test with these backends.
func Sides(t *testing.T, cfg *rest.Config, backends string) (ns string) {
	t.Helper()
	ns = Namespace(t, cfg)
	kube, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	sides := []string{"web", "web-gray"}
	var text strings.Builder
	for _, side := range sides {
		text.WriteString(strings.ReplaceAll(sideText, "SIDE", side))
	}
	text.WriteString(strings.ReplaceAll(routeText, "BACKENDS", backends))
	Apply(t, cfg, strings.ReplaceAll(text.String(), "NAMESPACE", ns))
	for _, side := range sides {
		require.Eventually(t, func() bool {
			p, err := kube.CoreV1().Pods(ns).Get(t.Context(), side, metav1.GetOptions{})
			return err == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			})
		}, 30*time.Second, 100*time.Millisecond, side)
	}
	return ns
}

// Replicas returns the addresses of Traefik's two pods, by name.
func Replicas(t *testing.T, kube kubernetes.Interface) map[string]string {
	t.Helper()
	pods, err := kube.CoreV1().Pods("gateway").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=traefik"})
	require.NoError(t, err)
	found := map[string]string{}
	for _, p := range pods.Items {
		found[p.Name] = p.Status.PodIP
	}
	require.Len(t, found, 2)
	return found
}
