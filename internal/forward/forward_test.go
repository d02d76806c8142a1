package forward

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// server is an API server that knows port-forward of four pods, over plain SPDY: the fallback is exercised with it.
type server struct {
	backend string // host:port that pod web leads to
	opened  atomic.Int32
	last    atomic.Pointer[httpstream.Connection]
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	pod := strings.Split(r.URL.Path, "/")[6]
	if pod == "gone" {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"pods \"gone\" not found","reason":"NotFound","code":404}`)
		return
	}
	if r.Method == http.MethodGet {
		http.Error(w, "no websockets here", http.StatusBadRequest)
		return
	}
	s.opened.Add(1)
	w.Header().Set(httpstream.HeaderProtocolVersion, protocol)
	streams := map[string]httpstream.Stream{}
	made := make(chan httpstream.Stream, 100)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, replied <-chan struct{}) error {
		go func() { <-replied; made <- stream }()
		return nil
	})
	s.last.Store(&conn)
	for {
		select {
		case <-conn.CloseChan():
			return
		case stream := <-made:
			id := stream.Headers().Get(corev1.PortForwardRequestIDHeader)
			other, found := streams[id]
			if !found {
				streams[id] = stream
				continue
			}
			data, problem := stream, other
			if stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
				data, problem = other, stream
			}
			go s.forward(pod, data, problem)
		}
	}
}

func (s *server) forward(pod string, data, problem httpstream.Stream) {
	defer func() { _ = data.Close() }()
	defer func() { _ = problem.Close() }()
	switch pod {
	case "stopped": // the kernel takes the connection, nobody reads it
		_, _ = io.Copy(io.Discard, data)
	case "deaf":
		_, _ = io.WriteString(problem, "dial tcp4 127.0.0.1:81: connect: connection refused")
	default:
		backend, err := net.Dial("tcp", s.backend)
		if err != nil {
			return
		}
		defer func() { _ = backend.Close() }()
		go func() { _, _ = io.Copy(backend, data); _ = backend.Close() }()
		_, _ = io.Copy(data, backend)
	}
}

func start(t *testing.T) (*Dialer, *server) {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s %s", r.Host, r.URL.Path)
	}))
	t.Cleanup(backend.Close)
	s := &server{backend: backend.Listener.Addr().String()}
	api := httptest.NewServer(s)
	t.Cleanup(api.CloseClientConnections)
	d := New(&rest.Config{Host: api.URL})
	t.Cleanup(d.Close)
	return d, s
}

func get(t *testing.T, c *http.Client, path string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://shop.example.com"+path, nil)
	require.NoError(t, err)
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestRequestsShareOneStreamConnection(t *testing.T) {
	d, s := start(t)
	for i := range 5 {
		c := d.HTTPClient("shop", "web", 8080)
		body, err := get(t, c, fmt.Sprintf("/%d", i))
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("shop.example.com /%d", i), body)
		c.CloseIdleConnections()
	}
	assert.EqualValues(t, 1, s.opened.Load())
}

func TestBrokenStreamConnectionIsMadeAnew(t *testing.T) {
	d, s := start(t)
	c := d.HTTPClient("shop", "web", 8080)
	_, err := get(t, c, "/")
	require.NoError(t, err)
	require.NoError(t, (*s.last.Load()).Close())
	require.Eventually(t, func() bool { _, err := get(t, c, "/"); return err == nil }, time.Second, 10*time.Millisecond)
	assert.EqualValues(t, 2, s.opened.Load())
}

func TestPodGone(t *testing.T) {
	d, _ := start(t)
	_, err := d.Dial(t.Context(), "shop", "gone", 8080)
	require.Error(t, err)
	assert.Contains(t, err.Error(), `forward to port 8080 of pod shop/gone: `)
	assert.Contains(t, err.Error(), `pods "gone" not found`)
}

func TestNobodyListens(t *testing.T) {
	d, _ := start(t)
	_, err := get(t, d.HTTPClient("shop", "deaf", 81), "/")
	assert.ErrorContains(t, err, "forward to port 81 of pod shop/deaf: dial tcp4 127.0.0.1:81: connect: connection refused")
}

func TestStoppedPodHoldsNobody(t *testing.T) {
	d, _ := start(t)
	begin := time.Now()
	_, err := get(t, d.HTTPClient("shop", "stopped", 8080), "/")
	require.ErrorIs(t, err, context.DeadlineExceeded)

	conn, err := d.Dial(t.Context(), "shop", "stopped", 8080)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, conn.Close())
	assert.Less(t, time.Since(begin), 2*time.Second)
}

func TestAPIServerThatNeverAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	d := New(&rest.Config{Host: "http://" + l.Addr().String()})
	defer d.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = d.Dial(ctx, "shop", "web", 8080)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestClosedDialer(t *testing.T) {
	d, _ := start(t)
	conn, err := d.Dial(t.Context(), "shop", "web", 8080)
	require.NoError(t, err)
	d.Close()
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = d.Dial(t.Context(), "shop", "web", 8080)
	assert.ErrorIs(t, err, net.ErrClosed)
}
