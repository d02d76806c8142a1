package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
)

const routeText = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop, resourceVersion: "1", generation: 2}
spec:
  parentRefs: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: gateway, name: shop}]
  hostnames: ["*.example.com"]
  rules:
    - matches: [{path: {type: PathPrefix, value: /api}, headers: [{name: X-A, value: b}]}]
      backendRefs: [{group: "", kind: Service, name: web, port: 80, weight: 1}]
status:
  parents:
    - controllerName: traefik.io/gateway-controller
      parentRef: {group: gateway.networking.k8s.io, kind: Gateway, namespace: gateway, name: shop}
      conditions:
        - {type: Accepted, status: "True", observedGeneration: 2, reason: Accepted}
        - {type: ResolvedRefs, status: "True", observedGeneration: 2, reason: ResolvedRefs}
`

const gatewayText = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: shop, namespace: gateway, generation: 1}
spec:
  listeners: [{name: web, protocol: HTTP, port: 8000}]
status:
  conditions: [{type: Programmed, status: "True", observedGeneration: 1}]
`

// pod is a gateway replica that counts like Traefik and splits as exactly.
type pod struct {
	name    string
	mu      sync.Mutex
	percent int
	turn    int
	counts  map[string]int // by service label and code
	began   int
	stopped bool
	asked   []string // host and path of the probes
	server  *httptest.Server
	web     *httptest.Server
}

const labelFormat = "httproute-shop-web-gw-gateway-shop-ep-web-0-0123456789abcdef0123-svc-shop-%s-%d@kubernetesgateway"

func newPod(t *testing.T, name string, percent int) *pod {
	t.Helper()
	p := &pod{name: name, percent: percent, counts: map[string]int{}, began: 1000}
	p.server = httptest.NewServer(http.HandlerFunc(p.metrics))
	p.web = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked = append(p.asked, r.Host+" "+r.URL.Path+" "+r.Header.Get("X-A"))
		p.mu.Unlock()
		p.request()
	}))
	t.Cleanup(p.server.Close)
	t.Cleanup(p.web.Close)
	return p
}

// request is one request of a user.
func (p *pod) request() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn++
	label := fmt.Sprintf(labelFormat, "web", 0)
	if p.turn*p.percent/100 > (p.turn-1)*p.percent/100 {
		label = fmt.Sprintf(labelFormat, "web-gray", 1)
	}
	p.counts[label+`",code="200`]++
}

func (p *pod) serve(percent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.percent, p.turn = percent, 0
}

func (p *pod) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began++
	clear(p.counts)
}

func (p *pod) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
}

func (p *pod) metrics(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(w, "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %d\n# TYPE traefik_service_requests_total counter\n", p.began)
	_, _ = fmt.Fprintf(w, "traefik_service_requests_total{service=\"another@kubernetesgateway\",code=\"200\"} 7\n")
	for _, labels := range slices.Sorted(maps.Keys(p.counts)) {
		_, _ = fmt.Fprintf(w, "traefik_service_requests_total{service=\"%s\",method=\"GET\"} %d\n", labels, p.counts[labels])
	}
	_, _ = fmt.Fprint(w, "# TYPE traefik_service_request_duration_seconds histogram\n")
	for _, labels := range slices.Sorted(maps.Keys(p.counts)) {
		for _, le := range []string{"0.1", "+Inf"} {
			_, _ = fmt.Fprintf(w, "traefik_service_request_duration_seconds_bucket{service=\"%s\",le=\"%s\"} %d\n", labels, le, p.counts[labels])
		}
	}
}

// world is an API server with a route, a Gateway and the pods of a gateway.
type world struct {
	pods  []*pod
	route *HTTPRoute
	kube  *fake.Clientset
}

// dynamicClient holds the objects of some texts. They are created one by one, because the fake client guesses that
// the resource of a Gateway is "gatewaies".
func dynamicClient(t *testing.T, texts ...string) *dynamicfake.FakeDynamicClient {
	t.Helper()
	c := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		httpRoutes: "HTTPRouteList", grpcRoutes: "GRPCRouteList", gateways: "GatewayList",
	})
	kinds := map[string]schema.GroupVersionResource{"HTTPRoute": httpRoutes, "GRPCRoute": grpcRoutes, "Gateway": gateways}
	for _, text := range texts {
		u := load(t, []byte(text))
		_, err := c.Resource(kinds[u.GetKind()]).Namespace(u.GetNamespace()).Create(t.Context(), u, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	return c
}

func newWorld(t *testing.T, change func(*Options), pods ...*pod) *world {
	t.Helper()
	w := &world{pods: pods, kube: fake.NewClientset()}
	for _, p := range pods {
		w.join(t, p)
	}
	o := Options{
		Dynamic: dynamicClient(t, routeText, gatewayText),
		Kube:    w.kube,
		Dial:    w.dial,
		Target:  web.target,
		Fence:   func(context.Context) (int64, error) { return 3, nil },
	}
	if change != nil {
		change(&o)
	}
	w.route = New(o)
	return w
}

func (w *world) join(t *testing.T, p *pod) {
	t.Helper()
	_, err := w.kube.CoreV1().Pods("gateway").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "gateway", Name: p.name, UID: types.UID("uid-" + p.name), Labels: map[string]string{"app.kubernetes.io/name": "traefik"},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "traefik", Ports: []corev1.ContainerPort{
			{Name: "metrics", ContainerPort: 9999}, {Name: "web", ContainerPort: 8000},
		}}}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

func (w *world) dial(ctx context.Context, ns, name string, port int) (net.Conn, error) {
	for _, p := range w.pods {
		if p.name != name || ns != "gateway" {
			continue
		}
		p.mu.Lock()
		stopped := p.stopped
		p.mu.Unlock()
		if stopped {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		to := map[int]*httptest.Server{9999: p.server, 8000: p.web}[port]
		if to == nil {
			return nil, fmt.Errorf("port %d is closed", port)
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", to.Listener.Addr().String())
	}
	return nil, errors.New("no such pod")
}

// users send requests to every pod until the test ends.
func (w *world) users(t *testing.T, each time.Duration) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, p := range w.pods {
		running.Go(func() {
			tick := time.NewTicker(each)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					p.request()
				}
			}
		})
	}
	t.Cleanup(func() { stop(); running.Wait() })
}

func (w *world) status(t *testing.T, change func(*unstructured.Unstructured)) {
	t.Helper()
	routes := w.route.routes()
	u, err := routes.Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	change(u)
	_, err = routes.Update(t.Context(), u, metav1.UpdateOptions{})
	require.NoError(t, err)
}
