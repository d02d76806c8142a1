package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/observe"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/prometheus"
)

// monitor is the Prometheus that the user names, with what it is asked, and the Loki. Zero: there is none.
type monitor struct {
	server  *prometheus.Server
	queries []prometheus.Query
	logs    collector
}

func newMonitor(c config.Config, t plan.Target, log *slog.Logger) (monitor, error) {
	if c.PrometheusURL == "" {
		return monitor{logs: newCollector(c, t)}, nil
	}
	server, err := prometheus.New(prometheus.Options{URL: c.PrometheusURL, Token: c.PrometheusToken, Log: log})
	return monitor{server: server, queries: prometheus.Queries(c, t), logs: newCollector(c, t)}, err
}

// preflight asks everything once, about production.
func (m monitor) preflight(ctx context.Context) (warnings []string, err error) {
	warnings, err = m.logs.preflight(ctx)
	if m.server == nil {
		return warnings, err
	}
	more, queryErr := m.server.Preflight(ctx, m.queries)
	return append(warnings, more...), errors.Join(err, queryErr)
}

// watched is what the watch asks.
func (m monitor) watched() []observe.Query {
	var all []observe.Query
	for _, q := range m.queries {
		all = append(all, observe.Query{Query: q.Query, Every: q.Every, Ask: func(ctx context.Context) (gray, production judge.Answer, err error) {
			return m.server.Ask(ctx, q)
		}})
	}
	return all
}
