// Package loki reads what the pods of both sides log from a Loki, instead of the pods. It knows its HTTP API
// (https://grafana.com/docs/loki/latest/reference/loki-http-api/#query-logs-within-a-range-of-time) and nothing of what
// lines say.
package loki

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/monitor"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// maxAnswer is in bytes. Loki's own bound of a message is 4 MiB where nobody raised it (grpc_server_max_send_msg_size).
const maxAnswer = 32 << 20

// Options is what a Server needs.
type Options struct {
	URL    string // base URL
	Token  string // sent as a bearer token; "": none
	Tenant string // sent as X-Scope-OrgID; "": none
}

// Server is asked over HTTP. It is safe for concurrent use.
type Server struct {
	Options
	client *http.Client
}

// New returns a Server that was not asked yet.
func New(o Options) *Server { return newServer(o, http.DefaultTransport) }

func newServer(o Options, transport http.RoundTripper) *Server {
	return &Server{Options: o, client: monitor.Client(transport, o.Token, maxAnswer)}
}

// question is one page that is asked for. Times are in nanoseconds since 1970, as Loki has them.
type question struct {
	query      string
	start, end int64         // from start on, before end; 0: see since, and the server's now
	since      time.Duration // before the server's now, where there is no start
	limit      int           // lines
	backward   bool          // the newest lines, not the oldest
}

func (q question) values() url.Values {
	v := url.Values{"query": {q.query}, "limit": {strconv.Itoa(q.limit)}, "direction": {"forward"}}
	if q.backward {
		v.Set("direction", "backward")
	}
	switch {
	case q.start > 0:
		v.Set("start", strconv.FormatInt(q.start, 10))
	default:
		v.Set("since", q.since.String())
	}
	if q.end > 0 {
		v.Set("end", strconv.FormatInt(q.end, 10))
	}
	return v
}

// page is an answer: its lines, oldest first, and how far the server's clock is ahead of ours, rounded up to a second.
type page struct {
	lines []line
	ahead time.Duration
}

// ask puts one question. The error says that this monitor is broken: nobody answered within 5 s, or what was answered is no
// page of lines. It is a *QueryError where the query is to blame.
func (s *Server) ask(ctx context.Context, q question) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, monitor.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/loki/api/v1/query_range?"+q.values().Encode(), nil)
	if err != nil {
		return page{}, err
	}
	if s.Tenant != "" {
		req.Header.Set("X-Scope-OrgID", s.Tenant)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return page{}, monitor.Explained(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	p := page{ahead: ahead(resp.Header)}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return page{}, monitor.Explained(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		return page{}, refusal(resp.StatusCode, text)
	}
	p.lines, err = meaning(text)
	return p, err
}

// ahead is told by the Date of an answer, which is in whole seconds (RFC 9110, 6.6.1): up to a second is added, so that
// a line is never taken to be younger than it is. Without one the clocks are taken to agree.
func ahead(h http.Header) time.Duration {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return time.Until(date.Add(time.Second))
}

// Preflight asks once for what production wrote in the last ten minutes, and returns a warning where that is nothing. The
// error is a *plan.Failure with FaultInput: the query can never be answered, or the server does not answer at all.
func (s *Server) Preflight(ctx context.Context, query string) (warnings []string, err error) {
	p, err := s.ask(ctx, question{query: query, since: history, limit: pageLines, backward: true})
	var wrong *QueryError
	switch {
	case errors.As(err, &wrong):
		f := plan.Failf(plan.FaultInput, "", "loki-query: %w; asked of %s for production: %s", err, s.URL, query)
		f.Next = "correct loki-query, then rerun"
		return nil, f
	case err != nil:
		f := plan.Failf(plan.FaultInput, "", "Loki at %s cannot be asked: %w", s.URL, err)
		f.Next = "let the job reach loki-url, and give the token and the tenant that it wants in the environment variables GRAY_LOKI_TOKEN and GRAY_LOKI_TENANT, then rerun"
		return nil, f
	case len(p.lines) == 0:
		return []string{fmt.Sprintf("Loki at %s has no line of production in the last %s; if it stays so for gray, no step can pass; asked: %s", s.URL, history, query)}, nil
	}
	return nil, nil
}
