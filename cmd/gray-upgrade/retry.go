package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
)

// askAgain is how long client-go waits before it asks again, in seconds; it does so at most ten times.
const askAgain = "1"

// patient makes client-go repeat reads that the API server, or what stands before it, failed to answer. Of itself it does so
// only where the answer says when to come back, and one 500 would end an upgrade. Metrics are left alone: where their API is
// broken for good, each look would wait. Calls that failed are counted, however they were made good.
func patient(failed *atomic.Int64, log *slog.Logger) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper { return again{next, failed, log} }
}

type again struct {
	http.RoundTripper
	failed *atomic.Int64
	log    *slog.Logger
}

func (a again) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.RoundTripper.RoundTrip(r)
	if err != nil && r.Context().Err() == nil || err == nil && (resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500) {
		a.failed.Add(1)
	}
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

// told says in a warning how many calls failed; nil where none did.
func told(failed int64) []string {
	if failed == 0 {
		return nil
	}
	return []string{fmt.Sprintf("the API server failed %d calls of this run (no answer, 429 or 5xx): those that may be repeated were", failed)}
}
