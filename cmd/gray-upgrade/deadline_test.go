package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestTimely: an API server that hangs once costs a read its time and a write an error; a watch may be silent for longer.
func TestTimely(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	var asked atomic.Int32
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Query().Has("watch"):
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			time.Sleep(3 * limit)
			_, _ = w.Write([]byte(`{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web"}}}`))
			return
		case asked.Add(1) == 1:
			select {
			case <-r.Context().Done():
			case <-over:
			}
			return
		}
		_, _ = w.Write([]byte(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web"}}`))
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(over) })
	rc := &rest.Config{Host: s.URL}
	rc.Wrap(timely(limit, slog.New(slog.DiscardHandler)))
	kube, err := kubernetes.NewForConfig(rc)
	require.NoError(t, err)
	pods := kube.CoreV1().Pods("shop")

	_, err = pods.Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, int32(2), asked.Load())

	asked.Store(0)
	err = pods.Delete(t.Context(), "web", metav1.DeleteOptions{})
	require.ErrorContains(t, err, "the API server does not answer: nothing for 300ms; nobody knows whether it did what it was asked")

	w, err := pods.Watch(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	defer w.Stop()
	select {
	case event := <-w.ResultChan():
		assert.Equal(t, "ADDED", string(event.Type))
	case <-time.After(10 * time.Second):
		t.Fatal("the watch was cut")
	}
}
