package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

var pods = corev1.SchemeGroupVersion.WithResource("pods")

func within(d time.Duration) func(*Options) { return func(o *Options) { o.ConfirmTimeout = d } }

func TestConfirmByUsers(t *testing.T) {
	w := newWorld(t, within(10*time.Second), newPod(t, "a", 20), newPod(t, "b", 20))
	w.users(t, 5*time.Millisecond)
	share, err := w.route.Confirm(t.Context(), 20)
	require.NoError(t, err)
	assert.Equal(t, 2, share.Replicas)
	assert.False(t, share.Probed)
	assert.InDelta(t, 0.2, share.Gray/(share.Gray+share.Production), 0.05)
}

func TestConfirmWaitsForTheLastReplica(t *testing.T) {
	w := newWorld(t, within(10*time.Second), newPod(t, "a", 0), newPod(t, "b", 20))
	w.users(t, 5*time.Millisecond)
	w.route.last.note(20)
	begin := time.Now()
	late := time.AfterFunc(1500*time.Millisecond, func() { w.pods[1].serve(0) })
	defer late.Stop()
	share, err := w.route.Confirm(t.Context(), 0)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(begin), 1500*time.Millisecond)
	assert.Zero(t, share.Gray)
	assert.GreaterOrEqual(t, share.Production, 80.0)
}

func TestConfirmProbesWhereNobodyComes(t *testing.T) {
	w := newWorld(t, within(20*time.Second), newPod(t, "a", 100))
	share, err := w.route.Confirm(t.Context(), 100)
	require.NoError(t, err)
	assert.True(t, share.Probed)
	assert.GreaterOrEqual(t, share.Gray, 40.0)
	assert.Equal(t, "gray-upgrade.example.com /api b", w.pods[0].asked[0])
}

func TestConfirmNamesTheReplica(t *testing.T) {
	w := newWorld(t, within(2*time.Second), newPod(t, "a", 0), newPod(t, "b", 0))
	w.users(t, 5*time.Millisecond)
	w.pods[1].stop()
	begin := time.Now()
	_, err := w.route.Confirm(t.Context(), 0)
	require.ErrorIs(t, err, plan.ErrUnconfirmed)
	var f *plan.Failure
	require.ErrorAs(t, err, &f)
	assert.Equal(t, "Pod gateway/b", f.Where)
	assert.Contains(t, f.What, "is not seen on 1 of 2 gateway replicas; pod gateway/b: ")
	assert.Less(t, time.Since(begin), 4*time.Second)
}

func TestConfirmSaysWhatTheGatewaySays(t *testing.T) {
	w := newWorld(t, within(2*time.Second), newPod(t, "a", 0))
	w.users(t, 5*time.Millisecond)
	w.status(t, func(u *unstructured.Unstructured) {
		u.SetGeneration(2)
		parents, _, _ := unstructured.NestedSlice(u.Object, "status", "parents")
		conditions := parents[0].(map[string]any)["conditions"].([]any)
		conditions[1] = map[string]any{"type": "ResolvedRefs", "status": "False", "observedGeneration": int64(2), "reason": "BackendNotFound", "message": "no web-gray"}
		_ = unstructured.SetNestedSlice(u.Object, parents, "status", "parents")
	})
	_, err := w.route.Confirm(t.Context(), 5)
	require.ErrorIs(t, err, plan.ErrUnconfirmed)
	assert.ErrorContains(t, err, "condition ResolvedRefs is False: BackendNotFound: no web-gray")
}

func TestConfirmEndsWithItsContext(t *testing.T) {
	w := newWorld(t, within(20*time.Second), newPod(t, "a", 0))
	cause := errors.New("an anomaly")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(200*time.Millisecond, func() { cancel(cause) })
	_, err := w.route.Confirm(ctx, 50)
	require.ErrorIs(t, err, cause)
	assert.NotErrorIs(t, err, plan.ErrUnconfirmed)
}

func TestConfirmByWaiting(t *testing.T) {
	wait := func(o *Options) { o.Confirm = config.Confirm{Wait: 50 * time.Millisecond} }
	w := newWorld(t, wait)
	share, err := w.route.Confirm(t.Context(), 5)
	require.NoError(t, err)
	assert.Equal(t, plan.Share{}, share)
	require.NoError(t, w.route.Silent(t.Context(), plan.Gray, 50*time.Millisecond))

	readable := newWorld(t, func(o *Options) { wait(o); within(time.Second)(o) }, newPod(t, "a", 0))
	readable.users(t, 5*time.Millisecond)
	_, err = readable.route.Confirm(t.Context(), 100)
	assert.ErrorIs(t, err, plan.ErrUnconfirmed, "waiting is no way around a replica that answers")
}

func TestConfirmWithoutReplicas(t *testing.T) {
	w := newWorld(t, within(300*time.Millisecond))
	_, err := w.route.Confirm(t.Context(), 0)
	require.ErrorIs(t, err, plan.ErrUnconfirmed)
	assert.ErrorContains(t, err, "no replica of the gateway runs: no Traefik pod with labels app.kubernetes.io/name=traefik in namespace gateway")
}

func TestConfirmWatchesANewReplica(t *testing.T) {
	w := newWorld(t, within(10*time.Second), newPod(t, "a", 0), newPod(t, "b", 0))
	require.NoError(t, w.kube.Tracker().Delete(pods, "gateway", "b"))
	w.users(t, 25*time.Millisecond)
	begin := time.Now()
	w.route.last.note(1)
	time.AfterFunc(500*time.Millisecond, func() { w.join(t, w.pods[1]) })
	share, err := w.route.Confirm(t.Context(), 0)
	require.NoError(t, err)
	assert.Equal(t, 2, share.Replicas)
	assert.Greater(t, time.Since(begin), time.Second)
}

func TestSilent(t *testing.T) {
	w := newWorld(t, nil, newPod(t, "a", 0), newPod(t, "b", 50))
	w.users(t, 5*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := w.route.Silent(ctx, plan.Gray, 500*time.Millisecond)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "gray is not seen silent behind HTTPRoute shop/web: pod gateway/b counted ")
	assert.NotContains(t, err.Error(), "gateway/a")

	w.pods[1].serve(0)
	begin := time.Now()
	require.NoError(t, w.route.Silent(t.Context(), plan.Gray, 500*time.Millisecond))
	assert.GreaterOrEqual(t, time.Since(begin), 500*time.Millisecond)

	w.pods[0].stop()
	w.route.pods.client(replica{uid: "uid-a"}).CloseIdleConnections()
	ctx, cancel = context.WithTimeout(t.Context(), readTimeout+2*time.Second)
	defer cancel()
	err = w.route.Silent(ctx, plan.Gray, 100*time.Millisecond)
	assert.ErrorContains(t, err, "read the metrics of pod gateway/a")
}

// TestSilentCountsWhatPassesTheRouteBy: production that serves another route's users must not be rolled.
func TestSilentCountsWhatPassesTheRouteBy(t *testing.T) {
	p := newPod(t, "a", 100)
	w := newWorld(t, nil, p)
	others := func(label string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.counts[label+`",code="200`] += 2
	}
	for _, label := range []string{
		"httproute-partner-api-gw-gateway-shop-ep-web-0-a2a8c3ea0d68bb8bb6ea-svc-shop-web-0@kubernetesgateway", "shop-web-80@kubernetes",
	} {
		others(label) // before the call: no matter
		time.AfterFunc(300*time.Millisecond, func() { others(label) })
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		err := w.route.Silent(ctx, plan.Production, 1400*time.Millisecond)
		cancel()
		assert.ErrorContains(t, err, "pod gateway/a, by another route, counted 2 requests", label)
		others(label)
		require.NoError(t, w.route.Silent(t.Context(), plan.Gray, 100*time.Millisecond), "gray is silent all the same")
	}
	others("httproute-shop-web-gw-gateway-shop-ep-web-0-0123456789abcdef0123-svc-shop-web-gray-1@kubernetesgateway")
	require.NoError(t, w.route.Silent(t.Context(), plan.Production, 600*time.Millisecond))
}

// TestARouteThatIsDeleted sends gray nothing, so a close can go on.
func TestARouteThatIsDeleted(t *testing.T) {
	w := newWorld(t, nil, newPod(t, "a", 50))
	require.NoError(t, w.route.routes().Delete(t.Context(), "web", metav1.DeleteOptions{}))
	weight, err := w.route.Weight(t.Context())
	require.NoError(t, err)
	assert.Zero(t, weight)
	edited, err := w.route.Edited(t.Context())
	require.NoError(t, err)
	assert.False(t, edited)
	require.NoError(t, w.route.SetWeight(t.Context(), 0))
	require.Error(t, w.route.SetWeight(t.Context(), 20))
	begin := time.Now()
	_, err = w.route.Confirm(t.Context(), 0)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(begin), goneWait)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.ErrorIs(t, w.route.Silent(ctx, plan.Gray, time.Second), context.DeadlineExceeded)
	require.NoError(t, w.route.Remove(t.Context()))
}

func TestTrafficNeverFalls(t *testing.T) {
	w := newWorld(t, nil, newPod(t, "a", 50), newPod(t, "b", 50))
	ask := func() (gray, production float64) {
		g, p, err := w.route.Traffic(t.Context())
		require.NoError(t, err)
		return g.Requests, p.Requests
	}
	send := func(p *pod, n int) {
		for range n {
			p.request()
		}
	}
	send(w.pods[0], 10)
	gray, production := ask()
	assert.Zero(t, gray+production, "what was counted before is not ours")
	send(w.pods[0], 10)
	send(w.pods[1], 4)
	gray, production = ask()
	assert.Equal(t, []float64{7, 7}, []float64{gray, production})
	w.pods[0].restart()
	send(w.pods[0], 2)
	gray, production = ask()
	assert.Equal(t, []float64{8, 8}, []float64{gray, production})

	g, _, err := w.route.Traffic(t.Context())
	require.NoError(t, err)
	require.Len(t, g.Latency, 2)
	assert.InDelta(t, 8, g.Latency[0].Count, 0)
}

func TestErrorsAre5xx(t *testing.T) {
	p := newPod(t, "a", 0)
	w := newWorld(t, nil, p)
	_, _, err := w.route.Traffic(t.Context())
	require.NoError(t, err)
	label := "httproute-shop-web-gw-gateway-shop-ep-web-0-0123456789abcdef0123-svc-shop-web-gray-1@kubernetesgateway"
	p.mu.Lock()
	p.counts[label+`",code="503`] = 3
	p.counts[label+`",code="404`] = 2
	p.mu.Unlock()
	gray, _, err := w.route.Traffic(t.Context())
	require.NoError(t, err)
	assert.InDelta(t, 5, gray.Requests, 0)
	assert.InDelta(t, 3, gray.Errors, 0)
}

func TestTraefikNames(t *testing.T) {
	names := traefikNames(plan.Target{Namespace: "shop", Service: "web", Route: "web.v1"}, []parent{{namespace: "gateway", name: "shop"}})
	const router = "httproute-shop-web-v1-gw-gateway-shop-ep-web-0-a2a8c3ea0d68bb8bb6ea"
	for label, want := range map[string]plan.Side{
		router + "-svc-shop-web-0@kubernetesgateway":       plan.Production,
		router + "-svc-shop-web-gray-12@kubernetesgateway": plan.Gray,
		router + "-svc-shop-webx-0@kubernetesgateway":      "",
		router + "-svc-other-web-0@kubernetesgateway":      "",
		router + "-svc-shop-web-0@kubernetescrd":           "",
		"httproute-shop-web-v1-account-gray-gw-gateway-shop-ep-web-0-a2a8c3ea0d68bb8bb6ea-svc-shop-web-gray-0@kubernetesgateway": "",
		"httproute-shop-web-v1-gw-gateway-other-ep-web-0-a2a8c3ea0d68bb8bb6ea-svc-shop-web-0@kubernetesgateway":                  "",
	} {
		side, got, ours := names(label)
		assert.Equal(t, want, side, label)
		assert.Equal(t, want != "", ours, label)
		if ours {
			assert.Equal(t, router, got)
		}
	}
}
