package gateway

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/gray-upgrade/gray-upgrade/internal/golden"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

var web = splitter{
	target: plan.Target{Namespace: "shop", Deployment: "web", Service: "web", Route: "web"},
	header: plan.SideHeader,
}

func load(t *testing.T, text []byte) *unstructured.Unstructured {
	t.Helper()
	body, err := yaml.YAMLToJSON(text)
	require.NoError(t, err)
	u := &unstructured.Unstructured{}
	require.NoError(t, u.UnmarshalJSON(body))
	return u
}

func loadFile(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "httproute", name))
	require.NoError(t, err)
	return load(t, text)
}

// apply does what the API server does with a patch.
func apply(t *testing.T, u *unstructured.Unstructured, p patch) *unstructured.Unstructured {
	t.Helper()
	if len(p) == 0 {
		return u
	}
	before, err := u.MarshalJSON()
	require.NoError(t, err)
	body, err := json.Marshal(p)
	require.NoError(t, err)
	decoded, err := jsonpatch.DecodePatch(body)
	require.NoError(t, err)
	after, err := decoded.Apply(before)
	require.NoError(t, err, string(body))
	now := &unstructured.Unstructured{}
	require.NoError(t, now.UnmarshalJSON(after))
	return now
}

func set(t *testing.T, u *unstructured.Unstructured, percent int) (*unstructured.Unstructured, patch) {
	t.Helper()
	p, err := web.set(u, percent, 3)
	require.NoError(t, err)
	return apply(t, u, p), p
}

func unset(t *testing.T, u *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	p, err := web.unset(u)
	require.NoError(t, err)
	return apply(t, u, p)
}

func weightOf(t *testing.T, u *unstructured.Unstructured) int {
	t.Helper()
	w, err := web.weight(u)
	require.NoError(t, err)
	return w
}

func TestSplitGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/httproute/*.in.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".in.yaml")
		t.Run(name, func(t *testing.T) {
			base := loadFile(t, name+".in.yaml")
			at5, first := set(t, base, 5)
			_, next := set(t, at5, 50)
			var out strings.Builder
			for _, part := range []struct {
				title string
				value any
			}{
				{"the first weight, 5", first}, {"the next weight, 50", next}, {"the route at 5", at5.Object},
			} {
				text, err := yaml.Marshal(part.value)
				require.NoError(t, err)
				out.WriteString("---\n# " + part.title + "\n" + string(text))
			}
			golden.Equal(t, "httproute/"+name+".out.yaml", []byte(out.String()))
		})
	}
}

func TestSplitLaws(t *testing.T) {
	for _, name := range []string{"one-backend", "absent-weight", "two-backends", "many-rules"} {
		base := loadFile(t, name+".in.yaml")
		assert.Equal(t, 0, weightOf(t, base), name)
		now, p := set(t, base, 0)
		assert.Empty(t, p, "%s: gray is not put in to get nothing", name)
		for _, percent := range []int{5, 5, 1, 99, 100, 50, 0, 33} {
			var p patch
			before := weightOf(t, now)
			now, p = set(t, now, percent)
			assert.Equal(t, percent, weightOf(t, now), name)
			assert.Equal(t, before == percent, len(p) == 0, "%s: a patch exactly where the weight changes", name)
			assert.Equal(t, base.Object, unset(t, now).Object, "%s: removed at %d", name, percent)
			shares(t, base, now)
		}
		p, err := web.unset(base)
		require.NoError(t, err)
		assert.Empty(t, p, "%s: nothing to remove", name)
	}
}

// TestARuleThatIsGivenBackIsNotWithoutUsers: who sees 100 rolls production.
func TestARuleThatIsGivenBackIsNotWithoutUsers(t *testing.T) {
	at100, _ := set(t, loadFile(t, "many-rules.in.yaml"), 100)
	require.Equal(t, 100, weightOf(t, at100))
	rules, _, err := unstructured.NestedSlice(at100.Object, "spec", "rules")
	require.NoError(t, err)
	for _, rule := range rules {
		backends, _, _ := unstructured.NestedSlice(rule.(map[string]any), "backendRefs")
		for i, b := range backends {
			if backend := b.(map[string]any); backend["name"] == "web-gray" && i > 0 && backend["weight"] != int64(0) {
				backends[i-1].(map[string]any)["weight"], backend["weight"] = backend["weight"], int64(0)
				require.NoError(t, unstructured.SetNestedSlice(rule.(map[string]any), backends, "backendRefs"))
				require.NoError(t, unstructured.SetNestedSlice(at100.Object, rules, "spec", "rules"))
				assert.Equal(t, 99, weightOf(t, at100))
				return
			}
		}
	}
	t.Fatal("no rule leads to gray")
}

// shares checks that in each rule every backend, gray added to production, has the share it had, and no rule is 0/0.
func shares(t *testing.T, base, now *unstructured.Unstructured) {
	t.Helper()
	was, err := rulesOf(base)
	require.NoError(t, err)
	is, err := rulesOf(now)
	require.NoError(t, err)
	for i := range was {
		var before, after []int64
		for _, b := range was[i].backends {
			before = append(before, b.weight())
		}
		for _, b := range is[i].backends {
			if web.isGray(b) {
				after[len(after)-1] += b.weight()
				continue
			}
			after = append(after, b.weight())
		}
		require.Len(t, after, len(before))
		var sumBefore, sumAfter int64
		for j := range before {
			sumBefore += before[j]
			sumAfter += after[j]
		}
		assert.Positive(t, sumAfter)
		for j := range before {
			assert.Equal(t, before[j]*sumAfter, after[j]*sumBefore, "rule %d backend %d", i, j)
		}
	}
}

func TestForeignEditsStay(t *testing.T) {
	base := loadFile(t, "two-backends.in.yaml")
	at, _ := set(t, base, 20)

	t.Run("a filter, a hostname and a rule in front", func(t *testing.T) {
		u := at.DeepCopy()
		rules, _, err := unstructured.NestedSlice(u.Object, "spec", "rules")
		require.NoError(t, err)
		theirs := map[string]any{
			"matches":     []any{map[string]any{"path": map[string]any{"type": "Exact", "value": "/new"}}},
			"backendRefs": []any{map[string]any{"name": "other", "port": int64(80)}},
		}
		require.NoError(t, unstructured.SetNestedSlice(u.Object, append([]any{theirs}, rules...), "spec", "rules"))
		require.NoError(t, unstructured.SetNestedStringSlice(u.Object, []string{"new.example.com"}, "spec", "hostnames"))

		want := base.DeepCopy()
		rules, _, _ = unstructured.NestedSlice(want.Object, "spec", "rules")
		require.NoError(t, unstructured.SetNestedSlice(want.Object, append([]any{theirs}, rules...), "spec", "rules"))
		require.NoError(t, unstructured.SetNestedStringSlice(want.Object, []string{"new.example.com"}, "spec", "hostnames"))
		assert.Equal(t, want.Object, unset(t, u).Object)
	})
	t.Run("another backend's weight on our scale", func(t *testing.T) {
		u := apply(t, at, patch{{Op: "replace", Path: "/spec/rules/0/backendRefs/0/weight", Value: 400}})
		rules, err := rulesOf(unset(t, u))
		require.NoError(t, err)
		assert.EqualValues(t, 4, rules[0].backends[0].weight())
		assert.EqualValues(t, 3, rules[0].backends[1].weight())
	})
	t.Run("another backend's weight that does not divide: the shares stay", func(t *testing.T) {
		u := apply(t, at, patch{{Op: "replace", Path: "/spec/rules/0/backendRefs/0/weight", Value: 50}})
		rules, err := rulesOf(unset(t, u))
		require.NoError(t, err)
		assert.EqualValues(t, 50, rules[0].backends[0].weight())
		assert.EqualValues(t, 300, rules[0].backends[1].weight())
	})
	t.Run("the whole route applied again from Git", func(t *testing.T) {
		u := at.DeepCopy()
		u.Object["spec"] = base.DeepCopy().Object["spec"]
		assert.Equal(t, 0, weightOf(t, u))
		again, _ := set(t, u, 20)
		assert.Equal(t, 20, weightOf(t, again))
		assert.Equal(t, base.Object, unset(t, u).Object)
		assert.Equal(t, base.Object, unset(t, again).Object)
	})
	t.Run("gray moved to the end by somebody who sorts", func(t *testing.T) {
		u := apply(t, at, patch{
			{Op: "remove", Path: "/spec/rules/0/backendRefs/2"},
			{Op: "add", Path: "/spec/rules/0/backendRefs/0", Value: at.Object["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)["backendRefs"].([]any)[2]},
		})
		assert.Equal(t, 20, weightOf(t, u))
		moved, _ := set(t, u, 50)
		assert.Equal(t, 50, weightOf(t, moved))
		assert.Equal(t, base.Object, unset(t, u).Object)
	})
}

func TestTwoUpgradesOfOneRoute(t *testing.T) {
	cart := splitter{target: plan.Target{Namespace: "shop", Service: "cart"}, header: plan.SideHeader}
	base := load(t, []byte(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: shop, resourceVersion: "1"}
spec:
  rules:
    - matches: [{path: {type: PathPrefix, value: /cart}}]
      backendRefs: [{name: cart, port: 80, weight: 1}]
    - matches: [{path: {type: PathPrefix, value: /}}]
      backendRefs: [{name: web, port: 80, weight: 1}]
`))
	u, _ := set(t, base, 20)
	p, err := cart.set(u, 50, 9)
	require.NoError(t, err)
	u = apply(t, u, p)
	u = unset(t, u)
	assert.Equal(t, "9", u.GetAnnotations()[plan.FenceKey("cart")])
	p, err = cart.unset(u)
	require.NoError(t, err)
	assert.Equal(t, base.Object, apply(t, u, p).Object)
}

// TestTwoRulesOfEqualMatches get back each its own weights.
func TestTwoRulesOfEqualMatches(t *testing.T) {
	base := load(t, []byte(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: shop, resourceVersion: "1"}
spec:
  rules:
    - matches: [{path: {type: PathPrefix, value: /}}]
      backendRefs: [{name: web, port: 80, weight: 7}]
    - matches: [{path: {type: PathPrefix, value: /}}]
      backendRefs: [{name: web, port: 80}]
`))
	u, _ := set(t, base, 20)
	assert.Equal(t, base.Object, unset(t, u).Object)
}

func TestOneRuleSplitTwiceIsRefused(t *testing.T) {
	other := splitter{target: plan.Target{Namespace: "shop", Service: "other"}}
	u := loadFile(t, "two-backends.in.yaml")
	p, err := other.set(u, 20, 9)
	require.NoError(t, err)
	_, err = web.set(apply(t, u, p), 5, 3)
	var f *plan.Failure
	require.ErrorAs(t, err, &f)
	assert.Equal(t, plan.FaultRefused, f.Fault)
	assert.Equal(t, "rule 0 is being split by another upgrade (backend other-gray): run one after the other", f.What)
}

func TestTooFineWeights(t *testing.T) {
	u := loadFile(t, "two-backends.in.yaml")
	u = apply(t, u, patch{{Op: "replace", Path: "/spec/rules/0/backendRefs/0/weight", Value: 10_001}})
	_, err := web.set(u, 5, 3)
	var f *plan.Failure
	require.ErrorAs(t, err, &f)
	assert.Equal(t, plan.FaultInput, f.Fault)
	assert.Contains(t, f.What, "weight 10001 of backend other is too fine")
}

func TestUsersOwnHeader(t *testing.T) {
	s := web
	s.header = ""
	u := loadFile(t, "one-backend.in.yaml")
	p, err := s.set(u, 5, 3)
	require.NoError(t, err)
	rules, err := rulesOf(apply(t, u, p))
	require.NoError(t, err)
	assert.NotContains(t, rules[0].backends[1], "filters")
}

func TestAccountSpec(t *testing.T) {
	base := loadFile(t, "many-rules.in.yaml")
	spec, err := web.account(base, "TOKEN")
	require.NoError(t, err)
	text, err := yaml.Marshal(spec)
	require.NoError(t, err)
	golden.Equal(t, "httproute/account.yaml", text)

	at5, _ := set(t, loadFile(t, "one-backend.in.yaml"), 5)
	first, err := web.account(loadFile(t, "one-backend.in.yaml"), "TOKEN")
	require.NoError(t, err)
	again, err := web.account(at5, "TOKEN")
	require.NoError(t, err)
	assert.Equal(t, first, again, "a weight leaves the account route alone")
	assert.Equal(t, "TOKEN", tokenOf(&unstructured.Unstructured{Object: map[string]any{"spec": spec}}))
}
