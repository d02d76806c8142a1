package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestPatient: a read that is answered with a 500 once is repeated, a write is not, nor is what is no fault of the server.
func TestPatient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		method string
		status int
		asked  int32
	}{
		{"a read", http.MethodGet, http.StatusInternalServerError, 2},
		{"a read of a gateway before it", http.MethodGet, http.StatusBadGateway, 2},
		{"a write", http.MethodDelete, http.StatusInternalServerError, 1},
		{"not allowed", http.MethodGet, http.StatusForbidden, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if asked.Add(1) == 1 {
					w.WriteHeader(tt.status)
					return
				}
				_, _ = w.Write([]byte(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web"}}`))
			}))
			t.Cleanup(s.Close)
			rc := &rest.Config{Host: s.URL}
			var failed atomic.Int64
			rc.Wrap(patient(&failed, slog.New(slog.DiscardHandler)))
			kube, err := kubernetes.NewForConfig(rc)
			require.NoError(t, err)
			pods := kube.CoreV1().Pods("shop")
			if tt.method == http.MethodGet {
				_, err = pods.Get(t.Context(), "web", metav1.GetOptions{})
			} else {
				err = pods.Delete(t.Context(), "web", metav1.DeleteOptions{})
			}
			assert.Equal(t, tt.asked > 1, err == nil, err)
			assert.Equal(t, tt.asked, asked.Load())
			assert.Equal(t, tt.status >= 500, len(told(failed.Load())) == 1)
		})
	}
}
