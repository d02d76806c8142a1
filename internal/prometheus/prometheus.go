// Package prometheus asks a Prometheus, or what speaks its query API, how both sides of an upgrade fare. It says what an
// answer means; internal/judge says whether it is good.
package prometheus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/monitor"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	// maxAnswer is in bytes: one number takes a hundred, and a query that names no series may find all there are.
	maxAnswer = 1 << 20
	// maxWarnings is how many different warnings are told.
	maxWarnings = 10
)

// Options is what a Server needs.
type Options struct {
	URL   string       // base URL
	Token string       // sent as a bearer token; "": none
	Log   *slog.Logger // must be given
}

// Server is asked over HTTP. It is safe for concurrent use.
type Server struct {
	url string
	api v1.API
	log *slog.Logger

	mu     sync.Mutex
	warned map[string]bool
}

// New returns a Server that was not asked yet.
func New(o Options) (*Server, error) {
	client, err := api.NewClient(api.Config{Address: o.URL, Client: monitor.Client(http.DefaultTransport, o.Token, maxAnswer)})
	if err != nil {
		return nil, fmt.Errorf("prometheus-url: %w", err)
	}
	return &Server{url: o.URL, api: v1.NewAPI(client), log: o.Log, warned: map[string]bool{}}, nil
}

// Ask puts a query about both sides at once, each at the server's own now, so that the runner's clock does not matter.
// The error says that this monitor is broken: nobody answered within 5 s, or what was answered is no number and never will
// be. It wraps a *QueryError where the query is to blame.
func (s *Server) Ask(ctx context.Context, q Query) (gray, production judge.Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, monitor.Patience)
	defer cancel()
	var asked sync.WaitGroup
	var grayErr, productionErr error
	asked.Go(func() { gray, grayErr = s.side(ctx, q.Gray) })
	asked.Go(func() { production, productionErr = s.side(ctx, q.Production) })
	asked.Wait()
	if grayErr != nil {
		return gray, production, fmt.Errorf("about gray: %w", grayErr)
	}
	if productionErr != nil {
		return gray, production, fmt.Errorf("about production: %w", productionErr)
	}
	return gray, production, nil
}

// Preflight asks each query once about production, and returns a warning for each that finds nothing there now. The error is a *plan.Failure with FaultInput for each query that can never be answered, or for a server that does not
// answer at all.
func (s *Server) Preflight(ctx context.Context, queries []Query) (warnings []string, err error) {
	var faults []error
	for _, q := range queries {
		a, err := s.timely(ctx, q.Production)
		var wrong *QueryError
		switch {
		case errors.As(err, &wrong):
			f := plan.Failf(plan.FaultInput, "", "query %q: %w; asked for production: %s", q.Name, err, q.Production.Value)
			f.Next = "correct the query in the config file, then rerun"
			faults = append(faults, f)
		case err != nil: // the next query would wait as long
			f := plan.Failf(plan.FaultInput, "", "Prometheus at %s cannot be asked (query %q): %w", s.url, q.Name, err)
			f.Next = "let the job reach prometheus-url, and give the token that it wants in the environment variable GRAY_PROMETHEUS_TOKEN, then rerun"
			return nil, errors.Join(append(faults, f)...)
		case a.None != "":
			warnings = append(warnings, fmt.Sprintf("query %q: the answer for production %s; if it stays so, no step can pass", q.Name, a.None))
		}
	}
	return warnings, errors.Join(faults...)
}

func (s *Server) timely(ctx context.Context, t Text) (judge.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, monitor.Patience)
	defer cancel()
	return s.side(ctx, t)
}

// side asks about one side.
func (s *Server) side(ctx context.Context, t Text) (judge.Answer, error) {
	a, err := s.one(ctx, t.Value)
	if err != nil || a.None != "" || t.Of == "" {
		return a, err
	}
	requests, err := s.one(ctx, t.Of)
	a.Of = requests.Value // 0 where there is none: too few for any blame
	return a, err
}

func (s *Server) one(ctx context.Context, text string) (judge.Answer, error) {
	v, warnings, _, err := s.api.Query(ctx, text, time.Time{}, v1.WithTimeout(monitor.Patience))
	s.warn(warnings)
	if err != nil {
		return judge.Answer{}, explained(ctx, err)
	}
	return meaning(v)
}

// warn tells each warning once.
func (s *Server) warn(warnings []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range warnings {
		w = monitor.Cut(w)
		if s.warned[w] || len(s.warned) >= maxWarnings {
			continue
		}
		s.warned[w] = true
		s.log.Warn("Prometheus warns", "warning", w)
	}
}
