// Package forward opens connections to ports of pods through the API server's port-forward: the one way to a pod
// that works from a CI runner outside the cluster. The rights it needs are get and create on pods/portforward. For a
// runner that reaches the pods' own addresses there is a direct way; it needs get on pods.
package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Dialer opens connections to pods. One stream connection per pod is shared by all connections to it; a broken one
// is made anew by the next Dial. It is safe for concurrent use.
type Dialer struct {
	config  *rest.Config
	direct  kubernetes.Interface // nil: forwarded
	mu      sync.Mutex
	tunnels map[podName]*tunnel
	closed  bool
}

type podName struct{ namespace, pod string }

func (p podName) String() string { return p.namespace + "/" + p.pod }

// New makes a Dialer. It connects nowhere before the first Dial.
func New(config *rest.Config) *Dialer {
	return &Dialer{config: rest.CopyConfig(config), tunnels: map[podName]*tunnel{}}
}

// NewDirect makes a Dialer that connects to the pods' IP addresses.
func NewDirect(kube kubernetes.Interface) *Dialer { return &Dialer{direct: kube} }

// Dial returns a connection to a port of a pod. ctx bounds the dialling only. A pod that is gone is an error of Dial;
// a port that nobody listens on becomes an error of the first Read, because the node connects later. Deadlines hold.
func (d *Dialer) Dial(ctx context.Context, namespace, pod string, port int) (net.Conn, error) {
	name := podName{namespace, pod}
	if d.direct != nil {
		return d.dialDirect(ctx, name, port)
	}
	for {
		t, fresh, err := d.tunnel(name)
		if err != nil {
			return nil, err
		}
		conn, err := t.dial(ctx, port)
		if err == nil {
			return conn, nil
		}
		d.forget(t)
		if fresh || ctx.Err() != nil {
			return nil, fmt.Errorf("forward to port %d of pod %s: %w", port, name, err)
		}
	}
}

// dialDirect asks for the pod's address each time: one that was kept could be another pod's by now.
func (d *Dialer) dialDirect(ctx context.Context, name podName, port int) (net.Conn, error) {
	pod, err := d.direct.CoreV1().Pods(name.namespace).Get(ctx, name.pod, metav1.GetOptions{})
	if err == nil && pod.Status.PodIP == "" {
		err = errors.New("it has no IP address")
	}
	if err != nil {
		return nil, fmt.Errorf("connect to port %d of pod %s: %w", port, name, err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("connect to port %d of pod %s: %w", port, name, err)
	}
	return conn, nil
}

// Transport returns a RoundTripper that reaches a port of a pod whatever host a request names. It keeps connections
// alive; the caller ends them with CloseIdleConnections.
func (d *Dialer) Transport(namespace, pod string, port int) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.Dial(ctx, namespace, pod, port)
		},
		IdleConnTimeout:    time.Minute,
		DisableCompression: true, // an answer is compared as the pod wrote it
	}
}

// HTTPClient is a client over Transport that follows no redirect: the answer is the pod's own.
func (d *Dialer) HTTPClient(namespace, pod string, port int) *http.Client {
	return &http.Client{
		Transport:     d.Transport(namespace, pod, port),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close ends every connection. Dial fails from then on.
func (d *Dialer) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for name, t := range d.tunnels {
		delete(d.tunnels, name)
		t.close()
	}
}

// tunnel returns the pod's shared stream connection, or begins to make one; fresh says which.
func (d *Dialer) tunnel(name podName) (t *tunnel, fresh bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, false, fmt.Errorf("forward to pod %s: %w", name, net.ErrClosed)
	}
	if t := d.tunnels[name]; t != nil && t.alive() {
		return t, false, nil
	}
	t = newTunnel(name)
	d.tunnels[name] = t
	go t.open(d.config)
	return t, true, nil
}

// forget makes the next Dial open a new stream connection. Connections that use the old one keep it until they end.
func (d *Dialer) forget(t *tunnel) {
	d.mu.Lock()
	if d.tunnels[t.pod] == t {
		delete(d.tunnels, t.pod)
	}
	d.mu.Unlock()
	t.retire()
}
