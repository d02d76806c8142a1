package prometheus

import (
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Query is one question, written out for each side.
type Query struct {
	judge.Query
	Every            time.Duration
	Gray, Production Text
}

// Text is PromQL without placeholders. Of asks how many requests the value is of; "": not known.
type Text struct{ Value, Of string }

// Queries are those of the preset and then the user's own, for the sides of an upgrade.
func Queries(c config.Config, t plan.Target) []Query {
	all := presetQueries(c, t)
	for _, q := range c.Queries {
		all = append(all, Query{
			Query: q.Query, Every: q.Step,
			Gray: Text{Value: t.Named(q.Text, plan.Gray)}, Production: Text{Value: t.Named(q.Text, plan.Production)},
		})
	}
	return all
}
