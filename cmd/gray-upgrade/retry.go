package main

import (
	"log/slog"
	"net/http"
	"strings"
)

// askAgain is how long client-go waits before it asks again, in seconds; it does so at most ten times.
const askAgain = "1"

// patient makes client-go repeat reads that the API server, or what stands before it, failed to answer. Of itself it does so
// only where the answer says when to come back, and one 500 would end an upgrade. Metrics are left alone: where their API is
// broken for good, each look would wait.
func patient(log *slog.Logger) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper { return again{next, log} }
}

type again struct {
	http.RoundTripper
	log *slog.Logger
}

func (a again) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.RoundTripper.RoundTrip(r)
	if err != nil || r.Method != http.MethodGet || strings.HasPrefix(r.URL.Path, "/apis/metrics.k8s.io/") {
		return resp, err
	}
	switch resp.StatusCode {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if resp.Header.Get("Retry-After") == "" {
			resp.Header.Set("Retry-After", askAgain)
		}
		a.log.Warn("the API server did not answer a read: asking again", "status", resp.StatusCode, "object", r.URL.Path)
	}
	return resp, err
}
