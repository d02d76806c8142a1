package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestChanges(t *testing.T) {
	look := func(image, password string, extra bool) Objects {
		o := Objects{}
		container := map[string]any{"name": "web", "image": image, "args": []string{"--a"}, "env": []any{map[string]any{"name": "PASSWORD", "value": password}}}
		require.NoError(t, o.Add("Deployment", "web", map[string]string{"app": "web"}, map[string]string{"deployment.kubernetes.io/revision": image},
			map[string]any{"replicas": 3, "template": map[string]any{"containers": []any{container}}}))
		if extra {
			require.NoError(t, o.Add("Service", "web-gray", nil, nil, nil))
		}
		return o
	}
	assert.Empty(t, Changes(look("v1", "x", false), look("v1", "x", false)))
	assert.Equal(t, []Change{
		{Object: "Deployment web", Field: "spec.template.containers[web].env[PASSWORD].value", Before: "(not shown)", After: "(not shown)"},
		{Object: "Deployment web", Field: "spec.template.containers[web].image", Before: `"v1"`, After: `"v2"`},
		{Object: "Service web-gray", After: "there"},
	}, Changes(look("v1", "hunter2", false), look("v2", "hunter3", true)))
	assert.Equal(t, []Change{{Object: "Service web-gray", Before: "there"}}, Changes(look("v1", "x", true), look("v1", "x", false)))
}
