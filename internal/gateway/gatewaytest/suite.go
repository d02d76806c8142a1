// Package gatewaytest is the contract of every gateway provider, run against a real API server. What only the data
// plane can show is tested beside each provider.
package gatewaytest

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Gateway is what is tested.
type Gateway interface {
	Weight(ctx context.Context) (int, error)
	Edited(ctx context.Context) (bool, error)
	SetWeight(ctx context.Context, percent int) error
	Confirm(ctx context.Context, percent int) (plan.Share, error)
	Remove(ctx context.Context) error
}

// Fence reads the Lease.
type Fence func(ctx context.Context) (int64, error)

// Provider is one kind of gateway. Its routes lead to the Service web; nothing serves them.
type Provider struct {
	Resource schema.GroupVersionResource
	// Routes are texts of one object each, by what is special about them; the namespace is filled in.
	Routes map[string]string
	// New makes the Gateway for the route of the namespace, with a Confirm that waits 50 ms instead of looking.
	New func(t *testing.T, ns, route string, fence Fence) Gateway
	// Shares returns the weights of one object: for each rule the weights by backend.
	Shares func(t *testing.T, u *unstructured.Unstructured) []map[string]int64
	// Strip takes the backends out of an object: what is left is foreign.
	Strip func(u *unstructured.Unstructured)
	// Refuse writes a status that says the gateway does not take the object as it stands, and returns a part of the
	// message that must be shown.
	Refuse func(u *unstructured.Unstructured) string
}

// fence of the tests' own upgrade.
const ours = 7

type suite struct {
	Provider
	ns      string
	objects dynamic.ResourceInterface
}

// Run runs the contract.
func Run(t *testing.T, p Provider) {
	t.Helper()
	cfg := clustertest.Config(t)
	client, err := dynamic.NewForConfig(cfg)
	require.NoError(t, err)
	for _, name := range slices.Sorted(maps.Keys(p.Routes)) {
		t.Run(name, func(t *testing.T) {
			for title, test := range map[string]func(*testing.T, suite, *unstructured.Unstructured){
				"weights":        weights,
				"remove":         remove,
				"conflict":       conflict,
				"newer fence":    newerFence,
				"not accepted":   notAccepted,
				"cancelled":      cancelled,
				"changed by two": changedByTwo,
			} {
				t.Run(title, func(t *testing.T) {
					ns := clustertest.Namespace(t, cfg)
					s := suite{Provider: p, ns: ns, objects: client.Resource(p.Resource).Namespace(ns)}
					test(t, s, s.create(t, p.Routes[name]))
				})
			}
		})
	}
}

func (s suite) create(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	body, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(t, err)
	u := &unstructured.Unstructured{}
	require.NoError(t, u.UnmarshalJSON(body))
	u.SetNamespace(s.ns)
	made, err := s.objects.Create(t.Context(), u, metav1.CreateOptions{})
	require.NoError(t, err)
	return made
}

func (s suite) get(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	u, err := s.objects.Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return u
}

func (s suite) gateway(t *testing.T, base *unstructured.Unstructured) Gateway {
	t.Helper()
	return s.New(t, s.ns, base.GetName(), func(context.Context) (int64, error) { return ours, nil })
}

// lasting is an object without what every write changes.
func lasting(u *unstructured.Unstructured) map[string]any {
	c := u.DeepCopy()
	c.SetManagedFields(nil)
	c.SetResourceVersion("")
	c.SetGeneration(0)
	unstructured.RemoveNestedField(c.Object, "status")
	return c.Object
}

// foreign is what in an object is not ours to change.
func (s suite) foreign(u *unstructured.Unstructured) map[string]any {
	c := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(lasting(u))}
	unstructured.RemoveNestedField(c.Object, "metadata", "annotations")
	s.Strip(c)
	return c.Object
}

func weights(t *testing.T, s suite, base *unstructured.Unstructured) {
	g := s.gateway(t, base)
	for _, percent := range []int{0, 5, 50, 100, 20, 0} {
		require.NoError(t, g.SetWeight(t.Context(), percent))
		got, err := g.Weight(t.Context())
		require.NoError(t, err)
		assert.Equal(t, percent, got)

		once := s.get(t, base.GetName())
		require.NoError(t, g.SetWeight(t.Context(), percent))
		assert.Equal(t, once.GetResourceVersion(), s.get(t, base.GetName()).GetResourceVersion(), "set twice is one change")

		assert.Equal(t, s.foreign(base), s.foreign(once), "at %d", percent)
		for key, value := range base.GetAnnotations() {
			assert.Equal(t, value, once.GetAnnotations()[key])
		}
		s.shares(t, base, once, percent)
	}
	assert.Equal(t, strconv.Itoa(ours), s.get(t, base.GetName()).GetAnnotations()[plan.FenceKey("web")])
}

// shares checks each rule: gray has its percent of what production had, every other backend what it had.
func (s suite) shares(t *testing.T, base, now *unstructured.Unstructured, percent int) {
	t.Helper()
	was, is := s.Shares(t, base), s.Shares(t, now)
	require.Len(t, is, len(was))
	for i := range was {
		before, after := total(was[i]), total(is[i])
		assert.Positive(t, after, "rule %d", i)
		for name, weight := range was[i] {
			want := float64(weight) / before
			got := float64(is[i][name]) / after
			if name == "web" {
				gray := float64(is[i]["web-gray"]) / after
				assert.InDelta(t, want*float64(percent)/100, gray, 1e-9, "rule %d, gray", i)
				got += gray
			}
			assert.InDelta(t, want, got, 1e-9, "rule %d, backend %s", i, name)
		}
	}
}

func total(weights map[string]int64) float64 {
	var sum int64
	for _, w := range weights {
		sum += w
	}
	return float64(sum)
}

func remove(t *testing.T, s suite, base *unstructured.Unstructured) {
	g := s.gateway(t, base)
	require.NoError(t, g.Remove(t.Context()))
	assert.Equal(t, base.GetResourceVersion(), s.get(t, base.GetName()).GetResourceVersion(), "nothing to remove is no change")
	for _, percent := range []int{0, 5, 100} {
		require.NoError(t, g.SetWeight(t.Context(), 20))
		require.NoError(t, g.SetWeight(t.Context(), percent))
		edited(t, g, true)
		require.NoError(t, g.Remove(t.Context()))
		edited(t, g, false)
		assert.Equal(t, lasting(base), lasting(s.get(t, base.GetName())), "removed at %d", percent)
		require.NoError(t, g.Remove(t.Context()))
	}
}

func edited(t *testing.T, g Gateway, want bool) {
	t.Helper()
	got, err := g.Edited(t.Context())
	require.NoError(t, err)
	assert.Equal(t, want, got, "our edit stands in the object")
}

// patch is somebody else's write.
func (s suite) patch(t *testing.T, name string, fields map[string]any) {
	t.Helper()
	body, err := json.Marshal(fields)
	require.NoError(t, err)
	_, err = s.objects.Patch(t.Context(), name, types.MergePatchType, body, metav1.PatchOptions{})
	require.NoError(t, err)
}

func labelled(key, value string) map[string]any {
	return map[string]any{"metadata": map[string]any{"labels": map[string]any{key: value}}}
}

// conflict: somebody writes between our read and our patch, twice.
func conflict(t *testing.T, s suite, base *unstructured.Unstructured) {
	tries := 0
	g := s.New(t, s.ns, base.GetName(), func(context.Context) (int64, error) {
		if tries++; tries <= 2 {
			s.patch(t, base.GetName(), labelled("try", strconv.Itoa(tries))) //nolint:contextcheck // somebody else's write
		}
		return ours, nil
	})
	require.NoError(t, g.SetWeight(t.Context(), 20))
	assert.Equal(t, 3, tries, "the Lease is looked at before each try")
	now := s.get(t, base.GetName())
	assert.Equal(t, "2", now.GetLabels()["try"])
	got, err := g.Weight(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 20, got)
}

func newerFence(t *testing.T, s suite, base *unstructured.Unstructured) {
	g := s.gateway(t, base)
	require.NoError(t, g.SetWeight(t.Context(), 20))
	s.patch(t, base.GetName(), map[string]any{"metadata": map[string]any{"annotations": map[string]any{
		plan.FenceKey("web"): strconv.Itoa(ours + 1), plan.FenceKey("another"): "99",
	}}})
	before := s.get(t, base.GetName())
	require.ErrorIs(t, g.SetWeight(t.Context(), 50), plan.ErrLost)
	require.ErrorIs(t, g.Remove(t.Context()), plan.ErrLost)
	assert.Equal(t, before.GetResourceVersion(), s.get(t, base.GetName()).GetResourceVersion())

	lost := s.New(t, s.ns, base.GetName(), func(context.Context) (int64, error) { return 0, plan.ErrLost })
	require.ErrorIs(t, lost.SetWeight(t.Context(), 50), plan.ErrLost)
	assert.Equal(t, before.GetResourceVersion(), s.get(t, base.GetName()).GetResourceVersion())
}

func notAccepted(t *testing.T, s suite, base *unstructured.Unstructured) {
	g := s.gateway(t, base)
	require.NoError(t, g.SetWeight(t.Context(), 20))
	u := s.get(t, base.GetName())
	said := s.Refuse(u)
	_, err := s.objects.UpdateStatus(t.Context(), u, metav1.UpdateOptions{})
	require.NoError(t, err)
	_, err = g.Confirm(t.Context(), 20)
	require.ErrorIs(t, err, plan.ErrUnconfirmed)
	assert.ErrorContains(t, err, said)
}

func cancelled(t *testing.T, s suite, base *unstructured.Unstructured) {
	require.NoError(t, s.gateway(t, base).SetWeight(t.Context(), 20))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	g := s.New(t, s.ns, base.GetName(), func(context.Context) (int64, error) {
		cancel()
		return ours, nil
	})
	require.ErrorIs(t, g.SetWeight(ctx, 50), context.Canceled)
	got, err := s.gateway(t, base).Weight(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 20, got, "the last good weight stays")
}

// changedByTwo: what somebody else changes meanwhile stays when our edit is taken back.
func changedByTwo(t *testing.T, s suite, base *unstructured.Unstructured) {
	g := s.gateway(t, base)
	require.NoError(t, g.SetWeight(t.Context(), 20))
	s.patch(t, base.GetName(), labelled("theirs", "1"))
	s.patch(t, base.GetName(), map[string]any{"metadata": map[string]any{"annotations": map[string]any{"theirs": "1"}}})
	require.NoError(t, g.Remove(t.Context()))
	want := base.DeepCopy()
	labels, annotations := want.GetLabels(), want.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	labels["theirs"], annotations["theirs"] = "1", "1"
	want.SetLabels(labels)
	want.SetAnnotations(annotations)
	assert.Equal(t, lasting(want), lasting(s.get(t, base.GetName())))
}
