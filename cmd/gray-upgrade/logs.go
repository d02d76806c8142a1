package main

import (
	"context"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/loki"
	"github.com/gray-upgrade/gray-upgrade/internal/observe"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// collector is the Loki that the user names, with what it is asked of each side. Zero: the pods are asked.
type collector struct {
	server           *loki.Server
	gray, production string
}

func newCollector(c config.Config, t plan.Target) collector {
	if c.LokiURL == "" {
		return collector{}
	}
	return collector{
		server: loki.New(loki.Options{URL: c.LokiURL, Token: c.LokiToken, Tenant: c.LokiTenant}),
		gray:   t.Named(c.LokiQuery, plan.Gray), production: t.Named(c.LokiQuery, plan.Production),
	}
}

// preflight asks once, about production.
func (c collector) preflight(ctx context.Context) (warnings []string, err error) {
	if c.server == nil {
		return nil, nil
	}
	return c.server.Preflight(ctx, c.production)
}

// watched is what the watch reads.
func (c collector) watched() map[plan.Side]observe.LogSource {
	if c.server == nil {
		return nil
	}
	return map[plan.Side]observe.LogSource{plan.Gray: c.server.Side(c.gray), plan.Production: c.server.Side(c.production)}
}
