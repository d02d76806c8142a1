package main

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/gray-upgrade/gray-upgrade/internal/cluster"
	"github.com/gray-upgrade/gray-upgrade/internal/config"
)

// shipped are the Roles of tekton/rbac.yaml by name.
func shipped(t *testing.T) map[string]rbacv1.Role {
	t.Helper()
	text, err := os.ReadFile("../../tekton/rbac.yaml")
	require.NoError(t, err)
	roles := map[string]rbacv1.Role{}
	for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		var role rbacv1.Role
		if d.Decode(&role) != nil {
			break
		}
		if role.Kind == "Role" {
			roles[role.Name] = role
		}
	}
	return roles
}

func grants(p rbacv1.PolicyRule, r cluster.Rule, verb string) bool {
	return slices.Contains(p.APIGroups, r.Group) && slices.Contains(p.Resources, r.Resource) && slices.Contains(p.Verbs, verb)
}

// held asserts that the Role in the service's namespace, or the one in the gateway's, holds every rule.
func held(t *testing.T, role, gateway rbacv1.Role, all []cluster.Rule) {
	t.Helper()
	for _, r := range all {
		in := role
		if r.Namespace != "" {
			in = gateway
		}
		for _, verb := range r.Verbs {
			allowed := slices.ContainsFunc(in.Rules, func(p rbacv1.PolicyRule) bool { return grants(p, r, verb) })
			assert.True(t, allowed, "Role %s: %s of %s in group %q is not in tekton/rbac.yaml", in.Name, verb, r.Resource, r.Group)
		}
	}
}

// TestTheShippedRolesHoldEveryRule compares tekton/rbac.yaml with what the preflight asks for.
func TestTheShippedRolesHoldEveryRule(t *testing.T) {
	roles := shipped(t)
	require.Len(t, roles, 3)
	gateway := roles["gray-upgrade-gateway"]
	held(t, roles["gray-upgrade"], gateway, slices.Concat(cluster.Rules(), cluster.WatchdogRules(), rules([]string{"gateway"}, config.Config{})))
	held(t, roles[cluster.WatchdogAccount], gateway, closingRules([]string{"gateway"}))
}

func TestDirectAccessNeedsNoPortForward(t *testing.T) {
	forwards := func(c config.Config) bool {
		return slices.ContainsFunc(rules([]string{"gateway"}, c), func(r cluster.Rule) bool { return r.Resource == "pods/portforward" })
	}
	assert.True(t, forwards(config.Config{PodAccess: config.PortForward}))
	assert.False(t, forwards(config.Config{PodAccess: config.Direct}))
}

// TestTheShippedRolesGrantNoMore than what the preflight asks for.
func TestTheShippedRolesGrantNoMore(t *testing.T) {
	run := slices.Concat(cluster.Rules(), cluster.WatchdogRules(), rules([]string{"gateway"}, config.Config{}))
	needs := map[string][]cluster.Rule{"gray-upgrade": run, "gray-upgrade-gateway": run, cluster.WatchdogAccount: closingRules(nil)}
	for name, role := range shipped(t) {
		for _, p := range role.Rules {
			for _, verb := range p.Verbs {
				needed := slices.ContainsFunc(needs[name], func(r cluster.Rule) bool {
					return grants(p, r, verb) && slices.Contains(r.Verbs, verb) && (r.Namespace != "") == (role.Namespace == "gateway")
				})
				assert.True(t, needed, "Role %s: %s of %v", name, verb, p.Resources)
			}
		}
	}
}
