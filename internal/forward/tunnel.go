package forward

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/transport/websocket"
	"k8s.io/streaming/pkg/httpstream"
	streamspdy "k8s.io/streaming/pkg/httpstream/spdy"
)

const (
	// openTimeout bounds the making of a stream connection for all who wait for it. Each waits no longer than its own ctx.
	openTimeout = 15 * time.Second
	protocol    = portforward.PortForwardProtocolV1Name
	// overWebsocket is that protocol inside a websocket, as the API server names it.
	overWebsocket = "SPDY/3.1+" + protocol
)

// tunnel is one stream connection to a pod.
type tunnel struct {
	pod    podName
	opened chan struct{} // closed when streams or err is set
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // ends the opening, which outlives the Dial that began it

	streams httpstream.Connection
	err     error

	mu      sync.Mutex
	next    int // request IDs pair the two streams of a connection
	using   int // connections and dials under way
	retired bool
}

func newTunnel(pod podName) *tunnel {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	return &tunnel{pod: pod, opened: make(chan struct{}), ctx: ctx, cancel: cancel}
}

func (t *tunnel) open(config *rest.Config) {
	defer t.cancel()
	t.streams, t.err = negotiate(t.ctx, config, t.pod)
	close(t.opened)
}

// negotiate asks for a websocket first, then for plain SPDY, which older API servers and some proxies need.
func negotiate(ctx context.Context, config *rest.Config, pod podName) (httpstream.Connection, error) {
	url, err := portForwardURL(config, pod)
	if err != nil {
		return nil, err
	}
	conn, err := overWebSocket(ctx, config, url)
	if err == nil || !(httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)) {
		return conn, err
	}
	return plainSPDY(ctx, config, url)
}

func overWebSocket(ctx context.Context, config *rest.Config, url string) (httpstream.Connection, error) {
	transport, holder, err := websocket.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	ws, err := websocket.Negotiate(transport, holder, req, overWebsocket)
	if err != nil {
		return nil, err
	}
	return streamspdy.NewClientConnectionWithPings(portforward.NewTunnelingConnection("forward", ws), portforward.PingPeriod)
}

func plainSPDY(ctx context.Context, config *rest.Config, url string) (httpstream.Connection, error) {
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return nil, err
	}
	conn, _, err := spdy.NegotiateStreaming(upgrader, &http.Client{Transport: transport}, req, protocol)
	return conn, err
}

// portForwardURL is .../api/v1/namespaces/NS/pods/POD/portforward.
func portForwardURL(config *rest.Config, pod podName) (string, error) {
	c := rest.CopyConfig(config)
	c.APIPath, c.GroupVersion = "/api", &corev1.SchemeGroupVersion
	c.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return "", err
	}
	return client.Get().Namespace(pod.namespace).Resource("pods").Name(pod.pod).SubResource("portforward").URL().String(), nil
}

// alive says whether a new Dial may use it: it opens still, or is open.
func (t *tunnel) alive() bool {
	select {
	case <-t.opened:
	default:
		return true
	}
	if t.err != nil {
		return false
	}
	select {
	case <-t.streams.CloseChan():
		return false
	default:
		return true
	}
}

// dial makes the two streams of one forwarded connection. The library waits up to 30 s for a stream and takes no
// context: so it runs aside, and what comes too late is thrown away.
func (t *tunnel) dial(ctx context.Context, port int) (net.Conn, error) {
	t.use()
	select {
	case <-t.opened:
	case <-ctx.Done():
		t.release()
		return nil, context.Cause(ctx)
	}
	if t.err != nil {
		t.release()
		return nil, t.err
	}
	type pair struct {
		data, problem httpstream.Stream
		err           error
	}
	made := make(chan pair, 1)
	go func() {
		var p pair
		p.data, p.problem, p.err = t.pairOfStreams(port)
		made <- p
	}()
	select {
	case p := <-made:
		if p.err != nil {
			t.release()
			return nil, p.err
		}
		return newConn(t, port, p.data, p.problem), nil
	case <-t.streams.CloseChan():
		t.release()
		return nil, errors.New("the stream connection broke")
	case <-ctx.Done():
		go func() {
			if p := <-made; p.err == nil {
				t.discard(p.data, p.problem)
			}
			t.release()
		}()
		return nil, context.Cause(ctx)
	}
}

// pairOfStreams makes the stream that brings the node's error message and the stream of the data.
func (t *tunnel) pairOfStreams(port int) (data, problem httpstream.Stream, err error) {
	t.mu.Lock()
	id := t.next
	t.next++
	t.mu.Unlock()
	headers := http.Header{}
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(id))
	problem, err = t.streams.CreateStream(headers)
	if err != nil {
		return nil, nil, err
	}
	if err := problem.Close(); err != nil { // nothing is written to it
		t.discard(problem)
		return nil, nil, err
	}
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err = t.streams.CreateStream(headers)
	if err != nil {
		t.discard(problem)
		return nil, nil, err
	}
	return data, problem, nil
}

// discard ends streams at once; the errors are those of a connection that is going anyway.
func (t *tunnel) discard(streams ...httpstream.Stream) {
	for _, s := range streams {
		_ = s.Reset()
	}
	t.streams.RemoveStreams(streams...)
}

func (t *tunnel) use() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.using++
}

// release ends one use; the last one of a retired tunnel closes it.
func (t *tunnel) release() {
	t.mu.Lock()
	t.using--
	last := t.retired && t.using == 0
	t.mu.Unlock()
	if last {
		t.close()
	}
}

// retire closes the tunnel as soon as nobody uses it.
func (t *tunnel) retire() {
	t.mu.Lock()
	t.retired = true
	idle := t.using == 0
	t.mu.Unlock()
	if idle {
		t.close()
	}
}

func (t *tunnel) close() {
	t.cancel()
	go func() {
		<-t.opened // soon: cancel ended the opening
		if t.err == nil {
			_ = t.streams.Close()
		}
	}()
}
