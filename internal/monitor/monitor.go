// Package monitor is how a monitoring server is asked that somebody else runs: with patience, for so many bytes, and nobody in
// its place. What an answer means is known to packages prometheus and loki.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Patience is the longest that a question may take. A server that needs more is no monitor of seconds.
const Patience = 5 * time.Second

// maxText is the most bytes of a server's words that are kept.
const maxText = 500

// Client returns a client that sends a bearer token ("": none), follows no redirect, and fails to read more than so many bytes
// of an answer.
func Client(next http.RoundTripper, token string, most int64) *http.Client {
	return &http.Client{
		Transport: careful{next, token, most},
		// A redirect would take the token to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// careful adds the token to a request and bounds its answer.
type careful struct {
	next  http.RoundTripper
	token string
	most  int64
}

// RoundTrip does one request.
func (c careful) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.next.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, c.most)
	}
	return resp, err
}

// Explained says in a line why there is no answer to a question that had until ctx ended, which is Patience.
func Explained(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", Patience)
	}
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return fmt.Errorf("the answer is longer than %d bytes", long.Limit)
	}
	var asked *url.Error
	if errors.As(err, &asked) { // its own text repeats the whole question
		err = asked.Err
	}
	return errors.New(Cut(err.Error()))
}

// Cut bounds a server's words to 500 bytes.
func Cut(text string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
