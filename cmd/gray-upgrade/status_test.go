package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/state"
)

// TestStatusOffersCommandsForItsOwnCluster, and none to close a run that lives.
func TestStatusOffersCommandsForItsOwnCluster(t *testing.T) {
	here := plan.Target{Namespace: "shop", Service: "web", Flags: " --context prod"}
	r := plan.Record{Open: true, Identity: plan.Identity{Run: "job 7"}, Step: "weight 5", Holds: []plan.Hold{{Digest: "sha256:5", Image: "web:v2"}}}
	status := func(h *state.Holder) string {
		var b strings.Builder
		writeStatus(&b, here, r, h, plan.Observed{})
		return b.String()
	}
	left := status(nil)
	assert.Contains(t, left, "unfinished  run job 7, step: weight 5\n            next: gray-upgrade close --namespace shop --service web --context prod\n")
	assert.Contains(t, left, "gray-upgrade offline-test pass --namespace shop --service web --context prod --digest sha256:5 --by WHO --why TEXT\n")
	assert.NotContains(t, status(&state.Holder{Identity: r.Identity}), "gray-upgrade close")
}
