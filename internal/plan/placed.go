package plan

import (
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
)

// Named puts the names of a side in place of the placeholders of a query. They are names of Kubernetes objects: nothing in
// them ends a string of PromQL or LogQL, and of a regular expression only the dot means more than itself: any character, so
// also the dot.
func (t Target) Named(text string, side Side) string {
	service, deployment := t.Service, t.Deployment
	if side == Gray {
		service, deployment = t.GrayService(), t.GrayDeployment()
	}
	return strings.NewReplacer(
		config.PlaceNamespace, t.Namespace, config.PlaceRoute, t.Route,
		config.PlaceService, service, config.PlaceDeployment, deployment, config.PlacePods, podsOf(deployment),
	).Replace(text)
}

// podsOf is a regular expression of the pods of a Deployment, now and after a roll: DEPLOYMENT-HASH-RANDOM. Those of gray's,
// whose name begins like production's, have one part more. Kubernetes cuts a pod's name before RANDOM at 58 characters
// (k8s.io/apiserver/pkg/storage/names): it holds for Deployments of up to 46.
func podsOf(deployment string) string { return deployment + "-[0-9a-z]+-[0-9a-z]{5}" }
