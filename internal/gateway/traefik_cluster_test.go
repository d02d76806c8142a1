package gateway

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
	"github.com/gray-upgrade/gray-upgrade/internal/forward"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// behind is a split route behind the real Traefik, two replicas of it.
type behind struct {
	ns     string
	kube   kubernetes.Interface
	dyn    dynamic.Interface
	dialer *forward.Dialer
	route  *HTTPRoute
}

func newBehind(t *testing.T) *behind {
	t.Helper()
	cfg := clustertest.Config(t)
	r := &behind{ns: clustertest.Sides(t, cfg, "{name: web, port: 80}"), dialer: forward.New(cfg)}
	t.Cleanup(r.dialer.Close)
	var err error
	r.kube, err = kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	r.dyn, err = dynamic.NewForConfig(cfg)
	require.NoError(t, err)
	name, err := Discover(t.Context(), r.dyn, r.ns, "web", "")
	require.NoError(t, err)
	r.route = New(Options{
		Dynamic: r.dyn, Kube: r.kube, Dial: r.dialer.Dial, ConfirmTimeout: 15 * time.Second,
		Target: plan.Target{Namespace: r.ns, Deployment: "web", Service: "web", Route: name},
		Fence:  func(context.Context) (int64, error) { return 1, nil },
	})
	require.NoError(t, r.route.Preflight(t.Context()))
	for pod, ip := range clustertest.Replicas(t, r.kube) { // Traefik takes new endpoints up to two seconds late
		client := through(ip)
		require.Eventually(t, func() bool { _, err := r.ask(t.Context(), client, ""); return err == nil }, 10*time.Second, 100*time.Millisecond, pod)
	}
	return r
}

// ask sends one request through a replica (any one: "") and says which side answered.
func (r *behind) ask(ctx context.Context, client *http.Client, token string) (plan.Side, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.ns+".shop.test/", nil)
	if err != nil {
		return "", err
	}
	if token != "" {
		req.Header.Set(TokenHeader, token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", resp.StatusCode)
	}
	if resp.Header.Get(plan.SideHeader) == string(plan.Gray) {
		return plan.Gray, nil
	}
	return plan.Production, nil
}

// through is a client of one replica: the tests run in the cluster's own network.
func through(ip string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(ip, "8000"))
	}}}
}

// users send 100 requests per second through each replica. What they were answered is counted.
type users struct{ gray, production, lost atomic.Int64 }

func (r *behind) users(t *testing.T) *users {
	t.Helper()
	u := &users{}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	for _, ip := range clustertest.Replicas(t, r.kube) {
		client := through(ip)
		running.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				running.Go(func() { u.count(ctx, r, client) })
			}
		})
	}
	t.Cleanup(func() { stop(); running.Wait() })
	return u
}

func (u *users) count(ctx context.Context, r *behind, client *http.Client) {
	switch side, err := r.ask(ctx, client, ""); {
	case ctx.Err() != nil:
	case err != nil:
		u.lost.Add(1)
	case side == plan.Gray:
		u.gray.Add(1)
	default:
		u.production.Add(1)
	}
}

func (r *behind) move(t *testing.T, percent int) (probed bool) {
	t.Helper()
	begin := time.Now()
	require.NoError(t, r.route.SetWeight(t.Context(), percent))
	written := time.Now()
	share, err := r.route.Confirm(t.Context(), percent)
	require.NoError(t, err)
	t.Logf("weight %3d: written in %s, confirmed after %s: gray %.0f, production %.0f, replicas %d, probed %t", percent,
		written.Sub(begin).Round(time.Millisecond), time.Since(written).Round(time.Millisecond), share.Gray, share.Production, share.Replicas, share.Probed)
	assert.Equal(t, 2, share.Replicas)
	assert.InDelta(t, float64(percent)/100, share.Gray/(share.Gray+share.Production), 0.15)
	return share.Probed
}

// What Confirm says holds on the wire: right after it, no request goes the other way.
func TestTraefikConfirmedIsServed(t *testing.T) {
	r := newBehind(t)
	u := r.users(t)
	_, _, err := r.route.Traffic(t.Context())
	require.NoError(t, err)
	for _, percent := range []int{5, 50, 0, 20, 100, 0} {
		r.move(t, percent)
		switch percent {
		case 0:
			before := u.gray.Load()
			time.Sleep(time.Second)
			assert.Equal(t, before, u.gray.Load(), "gray answered after weight 0 was confirmed")
		case full:
			before := u.production.Load()
			time.Sleep(time.Second)
			assert.Equal(t, before, u.production.Load(), "production answered after weight 100 was confirmed")
		}
	}
	gray, production, err := r.route.Traffic(t.Context())
	require.NoError(t, err)
	// Requests under way are counted by one side only; a replica that was slow for a moment has got probes as well.
	assert.InEpsilon(t, u.gray.Load(), gray.Requests, 0.3)
	assert.InEpsilon(t, u.production.Load(), production.Requests, 0.3)
	assert.NotEmpty(t, gray.Latency)
	assert.Zero(t, u.lost.Load())

	require.NoError(t, r.route.Silent(t.Context(), plan.Gray, 2*time.Second))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	assert.ErrorContains(t, r.route.Silent(ctx, plan.Production, time.Second), "production is not seen silent")
}

// Without users every replica is probed.
func TestTraefikProbed(t *testing.T) {
	r := newBehind(t)
	for _, percent := range []int{20, 100, 0} {
		assert.True(t, r.move(t, percent))
	}
}

func TestTraefikAccountRoute(t *testing.T) {
	r := newBehind(t)
	gray, err := r.kube.CoreV1().Pods(r.ns).Get(t.Context(), "web-gray", metav1.GetOptions{})
	require.NoError(t, err)
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: gray.Name, UID: gray.UID}
	token, err := r.route.Account(t.Context(), owner)
	require.NoError(t, err)
	again, err := r.route.Account(t.Context(), owner)
	require.NoError(t, err)
	assert.Equal(t, token, again)

	_, _, err = r.route.Traffic(t.Context())
	require.NoError(t, err)
	client := through(slices.Collect(maps.Values(clustertest.Replicas(t, r.kube)))[0])
	require.Eventually(t, func() bool {
		side, err := r.ask(t.Context(), client, token)
		return err == nil && side == plan.Gray
	}, 10*time.Second, 50*time.Millisecond)
	for range 20 {
		side, err := r.ask(t.Context(), client, token)
		require.NoError(t, err)
		assert.Equal(t, plan.Gray, side)
		side, err = r.ask(t.Context(), client, "another")
		require.NoError(t, err)
		assert.Equal(t, plan.Production, side)
	}
	counted, _, err := r.route.Traffic(t.Context())
	require.NoError(t, err)
	assert.Zero(t, counted.Requests, "the account's requests are not the users'")

	require.NoError(t, r.route.Remove(t.Context()))
	_, err = r.route.routes().Get(t.Context(), r.route.accountName(), metav1.GetOptions{})
	assert.ErrorContains(t, err, "not found")
}
