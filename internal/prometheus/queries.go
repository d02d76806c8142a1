package prometheus

import (
	"strings"
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
			Gray: Text{Value: named(q.Text, t, plan.Gray)}, Production: Text{Value: named(q.Text, t, plan.Production)},
		})
	}
	return all
}

// named puts the names of a side in place of the placeholders. They are names of Kubernetes objects: nothing in them ends a
// string of PromQL, and of a regular expression only the dot means more than itself: any character, so also the dot.
func named(text string, t plan.Target, side plan.Side) string {
	service, deployment := t.Service, t.Deployment
	if side == plan.Gray {
		service, deployment = t.GrayService(), t.GrayDeployment()
	}
	return strings.NewReplacer(
		config.PlaceNamespace, t.Namespace, config.PlaceRoute, t.Route,
		config.PlaceService, service, config.PlaceDeployment, deployment, config.PlacePods, pods(deployment),
	).Replace(text)
}

// pods is a regular expression of the pods of a Deployment, now and after a roll: DEPLOYMENT-HASH-RANDOM. Those of gray's,
// whose name begins like production's, have one part more. Kubernetes cuts a pod's name before RANDOM at 58 characters
// (k8s.io/apiserver/pkg/storage/names): it holds for Deployments of up to 46.
func pods(deployment string) string { return deployment + "-[0-9a-z]+-[0-9a-z]{5}" }
