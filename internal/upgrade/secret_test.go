package upgrade

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// leaky is a gray side whose last log line repeats a secret.
type leaky struct{ grayPort }

func (leaky) Start(context.Context, int32) error {
	return plan.Failf(plan.FaultImage, "pod shop-gray-1", "gray pod shop-gray-1 is not ready: last log lines: refused token s3cr3t-value")
}

// TestNoSecretIsToldOrStored, whoever wrote it down.
func TestNoSecretIsToldOrStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		u := w.upgrade("1")
		u.Gray = leaky{grayPort{w}}
		u.Config.Gray.Env = []config.EnvVar{{Name: "API_TOKEN", Value: "s3cr3t-value"}}
		story := u.Run(t.Context())
		require.Equal(t, plan.RolledBack, story.Outcome)
		assert.Contains(t, story.Failure.What, "refused token ***")
		for what, v := range map[string]any{"story": story, "record": w.record} {
			text, err := json.Marshal(v)
			require.NoError(t, err)
			assert.NotContains(t, string(text), "s3cr3t-value", what)
		}
	})
}

// TestNothingWasChangedIsOnlySaidWhereItIsTrue: a fault of the input that shows up after users were moved is exit code 5.
func TestNothingWasChangedIsOnlySaidWhereItIsTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		u := w.upgrade("1")
		u.Gateway = narrow{w}
		story := u.Run(t.Context())
		assert.Equal(t, plan.Closed, story.Outcome)
		home(t, w, "sha256:old")
	})
}

// narrow is a route that takes no weight above 20.
type narrow struct{ *world }

func (n narrow) SetWeight(ctx context.Context, percent int) error {
	if percent > 20 {
		return plan.Failf(plan.FaultInput, "HTTPRoute shop/shop", "weights of this route cannot be split as fine as %d", percent)
	}
	return n.world.SetWeight(ctx, percent)
}
