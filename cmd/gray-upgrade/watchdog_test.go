package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"github.com/gray-upgrade/gray-upgrade/internal/cluster"
	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/state"
)

// TestTheWatchdogIsToldWhatACloseGoesBy: what the Job's command line says is read as the run's own config.
func TestTheWatchdogIsToldWhatACloseGoesBy(t *testing.T) {
	want, err := config.Parse(nil, "", flagsOf("service", "web", "image", "shop/web:2", "namespace", "shop", "deployment", "web-app",
		"container", "web", "gateway", "httproute/front", "gateway-pods", "gateway/app=traefik,tier=edge:9100", "url", "http://shop.example.com",
		"side-header", "X-Side", "confirm", "wait=45s", "close-floor", "70", "drain", "12s", "close-timeout", "7m", "pod-timeout", "90s",
		"watchdog-after", "20s", "watchdog-image", "gray-upgrade:v1"), nil)
	require.NoError(t, err)
	kube := fake.NewClientset()
	sides := cluster.New(cluster.Options{
		Kube: kube, Config: want, Fence: func(context.Context) (int64, error) { return 1, nil },
		Target: plan.Target{Namespace: "shop", Deployment: "web-app", Service: "web", Route: "front"},
	})
	require.NoError(t, sides.Watchdog().Start(t.Context()))
	job, err := kube.BatchV1().Jobs("shop").Get(t.Context(), "web-app-watchdog", metav1.GetOptions{})
	require.NoError(t, err)
	args := job.Spec.Template.Spec.Containers[0].Args
	require.Equal(t, "watchdog", args[0])
	read := readFlags(args[1:], pageOf("watchdog"), nil)
	require.Empty(t, read.faults)
	got, err := config.ParseTarget(nil, "", read.inputs)
	require.NoError(t, err)
	got.Image, got.WatchdogImage = want.Image, want.WatchdogImage // a close needs neither
	assert.Equal(t, want, got)
}

func flagsOf(kv ...string) []config.Input {
	var out []config.Input
	for i := 0; i+1 < len(kv); i += 2 {
		out = append(out, config.Input{Key: kv[i], Value: kv[i+1], Origin: config.FromFlag})
	}
	return out
}

// lair is a watchdog over a Lease in memory, which the test renews or leaves alone.
type lair struct {
	*watchdog

	kube   *fake.Clientset
	broken atomic.Bool // the API server does not answer
	closed []time.Duration
	begin  time.Time
	code   atomic.Int32 // of a close
}

const renewed = 2 * time.Second

func newLair(record string) *lair {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "gray-upgrade-web", Namespace: "shop", Annotations: map[string]string{}}}
	lease.Annotations["gray-upgrade.dev/record"] = record
	lease.Spec.HolderIdentity = ptr.To("runner")
	l := &lair{kube: fake.NewClientset(lease), begin: time.Now()}
	l.kube.PrependReactor("get", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		if l.broken.Load() {
			return true, nil, errors.New("connection refused")
		}
		return false, nil, nil
	})
	vigil := state.New(state.Options{Kube: l.kube, Namespace: "shop", Service: "web"}).Vigil()
	l.watchdog = &watchdog{after: 30 * time.Second, vigil: vigil, log: slog.New(slog.DiscardHandler)}
	l.close = func(_ context.Context, must func() bool) int {
		if must() {
			l.closed = append(l.closed, time.Since(l.begin))
		}
		return int(l.code.Load())
	}
	return l
}

// change is a write of the Lease's holder.
func (l *lair) change(t *testing.T, edit func(*coordinationv1.Lease)) {
	t.Helper()
	lease, err := l.kube.Tracker().Get(coordinationv1.SchemeGroupVersion.WithResource("leases"), "shop", "gray-upgrade-web")
	assert.NoError(t, err)
	now := lease.(*coordinationv1.Lease).DeepCopy()
	now.Spec.RenewTime = ptr.To(metav1.NewMicroTime(time.Now()))
	edit(now)
	assert.NoError(t, l.kube.Tracker().Update(coordinationv1.SchemeGroupVersion.WithResource("leases"), now, "shop"))
}

func (l *lair) renew(t *testing.T, until time.Duration) {
	t.Helper()
	for time.Since(l.begin) < until {
		l.change(t, func(*coordinationv1.Lease) {})
		time.Sleep(renewed)
	}
}

const (
	openRecord   = `{"version":1,"open":true}`
	closedRecord = `{"version":1,"open":false}`
)

func TestTheWatchdogClosesWhenTheLeaseIsNoLongerRenewed(t *testing.T) {
	for _, record := range []string{openRecord, "not a record"} {
		synctest.Test(t, func(t *testing.T) {
			l := newLair(record)
			go l.renew(t, 5*time.Minute)
			assert.Equal(t, exitDone, l.watch(t.Context()))
			require.Len(t, l.closed, 1)
			last := 5*time.Minute - renewed
			assert.GreaterOrEqual(t, l.closed[0], last+30*time.Second)
			assert.LessOrEqual(t, l.closed[0], last+30*time.Second+2*vigilance)
		})
	}
}

func TestTheWatchdogEndsWithTheUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLair(openRecord)
		go func() {
			l.renew(t, time.Minute)
			l.change(t, func(have *coordinationv1.Lease) { have.Annotations["gray-upgrade.dev/record"] = closedRecord })
		}()
		assert.Equal(t, exitDone, l.watch(t.Context()))
		assert.Empty(t, l.closed)
	})
}

func TestTheWatchdogTriesUntilItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLair(openRecord)
		l.code.Store(exitStuck)
		time.AfterFunc(2*time.Minute, func() { l.code.Store(exitDone) })
		assert.Equal(t, exitDone, l.watch(t.Context()))
		assert.Greater(t, len(l.closed), 2)
	})
}

// TestTheWatchdogOutlivesTheAPIServer: an outage ends nothing and proves nothing; after it the Lease speaks.
func TestTheWatchdogOutlivesTheAPIServer(t *testing.T) {
	for _, tt := range []struct {
		name  string
		alive bool
	}{{"the runner is lost meanwhile", false}, {"the runner lives on", true}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLair(openRecord)
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
				defer cancel()
				time.AfterFunc(10*time.Second, func() { l.broken.Store(true) })
				time.AfterFunc(2*time.Minute, func() {
					if tt.alive {
						l.change(t, func(*coordinationv1.Lease) {})
						go l.renew(t, 5*time.Minute)
					}
					l.broken.Store(false)
				})
				time.AfterFunc(time.Minute, func() { assert.False(t, l.ready()) })
				time.AfterFunc(125*time.Second, func() {
					if tt.alive {
						assert.True(t, l.ready())
					}
				})
				code := l.watch(ctx)
				if tt.alive {
					assert.Equal(t, exitInterrupted, code, "it ended by itself")
					assert.Empty(t, l.closed)
					time.Sleep(2 * time.Minute) // the renewals end
					return
				}
				assert.Equal(t, exitDone, code)
				require.Len(t, l.closed, 1)
				assert.InDelta(t, 120, l.closed[0].Seconds(), 1.5)
			})
		})
	}
}

// TestAnEvictedWatchdogIsReplaced: told to end while it only looks, it ends at once and not well, so that the Job makes another.
func TestAnEvictedWatchdogIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLair(openRecord)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		assert.NotEqual(t, exitDone, l.watch(ctx))
		assert.LessOrEqual(t, time.Since(l.begin), 11*time.Second)
		assert.Empty(t, l.closed)
	})
}

func TestReadyMeansThatTheLeaseCanBeRead(t *testing.T) {
	l := newLair(openRecord)
	ask := func() int {
		w := httptest.NewRecorder()
		l.answer(w, httptest.NewRequest(http.MethodGet, cluster.WatchdogReady, nil))
		return w.Code
	}
	assert.Equal(t, http.StatusServiceUnavailable, ask(), "before the first look")
	_, _ = l.look(t.Context())
	assert.Equal(t, http.StatusOK, ask())
	l.seen.Store(time.Now().Add(-fresh).UnixNano())
	assert.Equal(t, http.StatusServiceUnavailable, ask(), "the last look is too old")
}
