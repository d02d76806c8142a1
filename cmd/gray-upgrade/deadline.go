package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// callTime is how long one call to the API server may take. Of itself client-go waits as long as the connection lives, and
// users would stay where they are meanwhile. Admission webhooks have 10 s by default.
const callTime = 15 * time.Second

// timely ends calls that the API server does not answer in that time: a read is asked once more, a write is an error that
// says that nobody knows. Watches, logs and port-forwards last as long as they are wanted.
func timely(limit time.Duration, log *slog.Logger) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper { return deadline{next, limit, log} }
}

type deadline struct {
	http.RoundTripper
	limit time.Duration
	log   *slog.Logger
}

// errUnanswered says that a call's time was over.
var errUnanswered = errors.New("the API server does not answer")

// RoundTrip is one call, or a lasting one.
func (d deadline) RoundTrip(r *http.Request) (*http.Response, error) {
	if lasting(r) {
		return d.RoundTripper.RoundTrip(r)
	}
	resp, err := d.once(r)
	if !errors.Is(err, errUnanswered) {
		return resp, err
	}
	if r.Method == http.MethodGet {
		d.log.Warn("the API server did not answer a read: asking again", "after", d.limit, "object", r.URL.Path)
		return d.once(r)
	}
	return nil, fmt.Errorf("%w; nobody knows whether it did what it was asked", err)
}

func (d deadline) once(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), d.limit)
	resp, err := d.RoundTripper.RoundTrip(r.WithContext(ctx))
	switch {
	case err == nil:
		resp.Body = &body{resp.Body, cancel}
		return resp, nil
	case ctx.Err() != nil && r.Context().Err() == nil:
		err = fmt.Errorf("%w: nothing for %s", errUnanswered, d.limit)
	}
	cancel()
	return nil, err
}

// lasting says that a call is meant to stay open.
func lasting(r *http.Request) bool {
	return r.URL.Query().Has("watch") || strings.HasSuffix(r.URL.Path, "/log") || strings.HasSuffix(r.URL.Path, "/portforward")
}

// body ends the call's time when it was read.
type body struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close also gives the timer back.
func (b *body) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
