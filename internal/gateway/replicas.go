package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	listEvery   = 2 * time.Second // how old the list of replicas may be
	readTimeout = 3 * time.Second // of one replica's metrics
)

var errNoReplica = errors.New("no replica of the gateway runs")

// replica is one pod of the gateway.
type replica struct {
	uid             types.UID
	namespace, name string
	port            int // of its metrics
}

func (r replica) String() string { return fmt.Sprintf("pod %s/%s", r.namespace, r.name) }

// replicas finds the gateway's pods and reads their metrics.
type replicas struct {
	o   Options
	get func(ctx context.Context) (*unstructured.Unstructured, error)

	mu      sync.Mutex
	at      time.Time
	seen    seen
	clients map[types.UID]*http.Client
}

// seen is the gateway as last looked at.
type seen struct {
	plane dataPlane
	names func(string) (plan.Side, string, bool)
	past  func(string) bool
	pods  []replica
}

func (g seen) has(uid types.UID) bool {
	return slices.ContainsFunc(g.pods, func(p replica) bool { return p.uid == uid })
}

func newReplicas(o Options, get func(context.Context) (*unstructured.Unstructured, error)) *replicas {
	return &replicas{o: o, get: get, clients: map[types.UID]*http.Client{}}
}

// look returns the gateway's replicas, at most two seconds old: every pod with a running container, ready or not,
// since a replica that is stopped for a moment serves again what it knew.
func (r *replicas) look(ctx context.Context) (seen, error) {
	r.mu.Lock()
	now, at := r.seen, r.at
	r.mu.Unlock()
	if time.Since(at) < listEvery {
		return now, nil
	}
	now, err := r.find(ctx)
	if err != nil {
		return seen{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.at = now, time.Now()
	for uid, c := range r.clients {
		if !now.has(uid) {
			c.CloseIdleConnections()
			delete(r.clients, uid)
		}
	}
	return now, nil
}

func (r *replicas) find(ctx context.Context) (seen, error) {
	route, err := r.get(ctx)
	if err != nil {
		return seen{}, err
	}
	plane, err := planeOf(route)
	if err != nil {
		return seen{}, err
	}
	parents := parentsOf(route)
	found := seen{plane: plane, names: plane.names(r.o.Target, parents), past: plane.past(r.o.Target)}
	selector := plane.selector
	if r.o.Pods.Selector != "" {
		selector = r.o.Pods.Selector
	}
	spaces := r.namespaces(parents)
	for _, ns := range spaces {
		pods, err := r.o.Kube.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if apierrors.IsForbidden(err) {
			return seen{}, plan.Failf(plan.FaultInput, "namespace "+ns, "missing permission: list pods in the gateway's namespace %s: %w", ns, err)
		}
		if err != nil {
			return seen{}, fmt.Errorf("list the gateway's pods in namespace %s: %w", ns, err)
		}
		for i := range pods.Items {
			if running(&pods.Items[i]) {
				found.pods = append(found.pods, r.replicaOf(&pods.Items[i], plane))
			}
		}
	}
	if len(found.pods) == 0 {
		return seen{}, plan.Failf(plan.FaultInput, where(route),
			"%w: no %s pod with labels %s in namespace %s: say where the gateway's pods are (gateway-pods), or how long to wait instead (confirm: wait=30s)",
			errNoReplica, plane.name, selector, strings.Join(spaces, ", "))
	}
	return found, nil
}

// planeOf knows the data plane by the controllers that wrote the route's status.
func planeOf(route *unstructured.Unstructured) (dataPlane, error) {
	all := controllers(route)
	if len(all) == 0 {
		return dataPlane{}, plan.Failf(plan.FaultInput, where(route), "no gateway has taken %s: its status names no controller", where(route))
	}
	for _, name := range all {
		if _, known := dataPlanes[name]; !known {
			return dataPlane{}, plan.Failf(plan.FaultInput, where(route),
				"gateway controller %s cannot be asked what it serves (only Traefik can): say how long to wait instead (confirm: wait=30s)", cut(name))
		}
	}
	return dataPlanes[all[0]], nil
}

func (r *replicas) namespaces(parents []parent) []string {
	if r.o.Pods.Namespace != "" {
		return []string{r.o.Pods.Namespace}
	}
	var all []string
	for _, p := range parents {
		if !slices.Contains(all, p.namespace) {
			all = append(all, p.namespace)
		}
	}
	return all
}

func running(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.State.Running != nil })
}

func (r *replicas) replicaOf(p *corev1.Pod, plane dataPlane) replica {
	port := r.o.Pods.Port
	for _, c := range p.Spec.Containers {
		for _, named := range c.Ports {
			if port == 0 && named.Name == plane.portName {
				port = int(named.ContainerPort)
			}
		}
	}
	if port == 0 {
		port = plane.port
	}
	return replica{uid: p.UID, namespace: p.Namespace, name: p.Name, port: port}
}

// read asks one replica for its counters over a connection that is kept.
func (r *replicas) read(ctx context.Context, g seen, p replica) (reading, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/metrics", net.JoinHostPort(p.name, fmt.Sprint(p.port))), nil)
	if err != nil {
		return reading{}, err
	}
	resp, err := r.client(p).Do(req)
	if err != nil {
		return reading{}, cause(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return reading{}, fmt.Errorf("status %d at port %d", resp.StatusCode, p.port)
	}
	text, err := g.plane.relevant(resp.Body, r.o.Target.Namespace)
	if err != nil {
		return reading{}, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return reading{}, err
	}
	return g.plane.reading(all, g.names, g.past), nil
}

// cause takes the URL out of a client's error: it is made up, the pod is what matters.
func cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (r *replicas) client(p replica) *http.Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.clients[p.uid]
	if c == nil {
		c = &http.Client{Transport: dialTo(r.o, p, p.port)}
		r.clients[p.uid] = c
	}
	return c
}

// dialTo reaches one port of one replica, whatever host a request names.
func dialTo(o Options, p replica, port int) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return o.Dial(ctx, p.namespace, p.name, port)
		},
		IdleConnTimeout: time.Minute,
	}
}

// readAll asks all replicas at once. Of those that do not answer the errors are joined; the others' readings hold.
func (r *replicas) readAll(ctx context.Context) (map[replica]reading, error) {
	g, err := r.look(ctx)
	if err != nil {
		return nil, err
	}
	readings := make([]reading, len(g.pods))
	faults := make([]error, len(g.pods))
	var wait sync.WaitGroup
	for i, p := range g.pods {
		wait.Go(func() { readings[i], faults[i] = r.read(ctx, g, p) })
	}
	wait.Wait()
	all := map[replica]reading{}
	for i, p := range g.pods {
		if faults[i] == nil {
			all[p] = readings[i]
			continue
		}
		faults[i] = fmt.Errorf("read the metrics of %s: %w", p, faults[i])
	}
	return all, errors.Join(faults...)
}

// Replicas returns how many replicas of the gateway can be asked what they serve; an error where one cannot. It is 0
// without an error only where the user said how long to wait instead.
func (h *HTTPRoute) Replicas(ctx context.Context) (int, error) {
	readings, err := h.pods.readAll(ctx)
	if len(readings) == 0 && h.o.Confirm.Wait > 0 {
		return 0, nil
	}
	return len(readings), err
}
