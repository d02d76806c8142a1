package forward

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func podAt(name, ip string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Status: corev1.PodStatus{PodIP: ip}}
}

func TestDirect(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Host)) }))
	t.Cleanup(s.Close)
	host, text, err := net.SplitHostPort(s.Listener.Addr().String())
	require.NoError(t, err)
	port, err := strconv.Atoi(text)
	require.NoError(t, err)
	d := NewDirect(fake.NewClientset(podAt("web", host), podAt("new", "")))
	t.Cleanup(d.Close)

	body, err := get(t, d.HTTPClient("shop", "web", port), "/")
	require.NoError(t, err)
	assert.Equal(t, "shop.example.com", body)

	_, err = d.Dial(t.Context(), "shop", "new", port)
	require.EqualError(t, err, "connect to port "+text+" of pod shop/new: it has no IP address")
	_, err = d.Dial(t.Context(), "shop", "gone", port)
	require.ErrorContains(t, err, `of pod shop/gone: pods "gone" not found`)
	s.Close()
	_, err = d.Dial(t.Context(), "shop", "web", port)
	require.ErrorContains(t, err, "connection refused")
}
