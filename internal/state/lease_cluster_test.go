package state

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/transport"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// short times make the tests of expiry quick; the tests of promises in seconds use the defaults.
const (
	shortDuration = 3 * time.Second
	shortRenew    = 300 * time.Millisecond
)

func lease(t *testing.T, cfg *rest.Config, namespace, run string) *Lease {
	t.Helper()
	kube, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	return New(Options{Kube: kube, Namespace: namespace, Service: "cart", Identity: plan.Identity{Run: run, URL: "https://ci/" + run, Actor: "ann"}})
}

func quick(l *Lease) *Lease {
	l.Duration, l.Renew = shortDuration, shortRenew
	return l
}

func acquire(t *testing.T, l *Lease, takeover bool) (context.Context, plan.Record) {
	t.Helper()
	held, record, err := l.Acquire(t.Context(), takeover)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Release(context.WithoutCancel(t.Context())) })
	return held, record
}

func fence(t *testing.T, l *Lease) int64 {
	t.Helper()
	n, err := l.Fence(t.Context())
	require.NoError(t, err)
	return n
}

func TestRecordStaysAfterRelease(t *testing.T) {
	cfg := clustertest.Config(t)
	ns := clustertest.Namespace(t, cfg)
	a, b := lease(t, cfg, ns, "1/1"), lease(t, cfg, ns, "2/1")

	record, holder, err := a.Load(t.Context())
	require.NoError(t, err)
	assert.Zero(t, record)
	assert.Nil(t, holder)

	held, record := acquire(t, a, false)
	assert.Zero(t, record)
	first := fence(t, a)
	require.NoError(t, a.Save(t.Context(), plan.Record{Identity: a.Identity, Step: "weight 5", Open: true}))
	_, holder, err = b.Load(t.Context())
	require.NoError(t, err)
	require.NotNil(t, holder)
	assert.Equal(t, a.Identity, holder.Identity)
	assert.Equal(t, "weight 5", holder.Step)
	assert.Equal(t, first, holder.Fence)

	require.NoError(t, a.Release(t.Context()))
	require.ErrorIs(t, context.Cause(held), context.Canceled)
	require.NoError(t, a.Release(t.Context()), "twice")
	_, err = a.Fence(t.Context())
	require.ErrorIs(t, err, plan.ErrLost)
	require.ErrorIs(t, a.Save(t.Context(), plan.Record{}), plan.ErrLost)

	begin := time.Now()
	_, record = acquire(t, b, false)
	assert.Less(t, time.Since(begin), 2*time.Second, "a lease that was given back is free")
	assert.Equal(t, "weight 5", record.Step)
	assert.Greater(t, fence(t, b), first)
}

func TestLeaseObject(t *testing.T) {
	cfg := clustertest.Config(t)
	ns := clustertest.Namespace(t, cfg)
	a := lease(t, cfg, ns, "1/1")
	acquire(t, a, false)
	got, err := a.client.Get(t.Context(), "gray-upgrade-cart", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, "1/1", *got.Spec.HolderIdentity)
	assert.Equal(t, int32(15), *got.Spec.LeaseDurationSeconds)
	assert.Equal(t, "cart", got.Labels[plan.LabelService])
	assert.EqualValues(t, fence(t, a), *got.Spec.LeaseTransitions)
	before := got.Spec.RenewTime.Time
	assert.Eventually(t, func() bool {
		got, err := a.client.Get(t.Context(), "gray-upgrade-cart", metav1.GetOptions{})
		return err == nil && got.Spec.RenewTime.After(before)
	}, 4*time.Second, 100*time.Millisecond, "renewed every 2 s")
}

func TestOneOfManyWins(t *testing.T) {
	cfg := clustertest.Config(t)
	for _, tt := range []struct {
		name   string
		exists bool
	}{{"lease missing", false}, {"lease free", true}} {
		t.Run(tt.name, func(t *testing.T) {
			ns := clustertest.Namespace(t, cfg)
			if tt.exists {
				l := lease(t, cfg, ns, "0/1")
				acquire(t, l, false)
				require.NoError(t, l.Release(t.Context()))
			}
			var won, refused atomic.Int32
			var wg sync.WaitGroup
			begin := time.Now()
			for i := range 6 {
				l := lease(t, cfg, ns, fmt.Sprintf("%d/1", i+1))
				wg.Go(func() {
					_, _, err := l.Acquire(t.Context(), false)
					var f *plan.Failure
					switch {
					case err == nil:
						won.Add(1)
					case errors.As(err, &f) && f.Fault == plan.FaultRefused:
						refused.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			assert.EqualValues(t, 1, won.Load())
			assert.EqualValues(t, 5, refused.Load())
			assert.Less(t, time.Since(begin), 5*time.Second)
		})
	}
}

func TestRefusedWithinFiveSeconds(t *testing.T) {
	cfg := clustertest.Config(t)
	ns := clustertest.Namespace(t, cfg)
	a := lease(t, cfg, ns, "1/1")
	acquire(t, a, false)
	require.NoError(t, a.Save(t.Context(), plan.Record{Identity: a.Identity, Step: "weight 5", Open: true}))
	for _, run := range []string{"2/1", "1/1"} { // another run, and our own name: perhaps this job before its restart
		begin := time.Now()
		_, _, err := lease(t, cfg, ns, run).Acquire(t.Context(), false)
		assert.Less(t, time.Since(begin), 5*time.Second)
		var f *plan.Failure
		require.ErrorAs(t, err, &f)
		assert.Equal(t, plan.FaultRefused, f.Fault)
		assert.Contains(t, f.What, `run 1/1 (by ann, https://ci/1/1) upgrades service `+ns+`/cart since `)
		assert.Contains(t, f.What, `is at step "weight 5"`)
		assert.Contains(t, f.Next, "gray-upgrade close --namespace "+ns+" --service cart")
	}
	fence(t, a)
}

func TestTakeoverIsAtOnceAndFences(t *testing.T) {
	cfg := clustertest.Config(t)
	ns := clustertest.Namespace(t, cfg)
	a, b := lease(t, cfg, ns, "1/1"), lease(t, cfg, ns, "1/1") // the post entrypoint has the identity of its job
	heldByA, _ := acquire(t, a, false)
	require.NoError(t, a.Save(t.Context(), plan.Record{Step: "weight 5"}))
	first := fence(t, a)

	begin := time.Now()
	heldByB, record := acquire(t, b, true)
	assert.Less(t, time.Since(begin), time.Second)
	assert.Equal(t, "weight 5", record.Step)
	assert.Equal(t, first+1, fence(t, b))

	_, err := a.Fence(t.Context())
	require.ErrorIs(t, err, plan.ErrLost)
	require.ErrorIs(t, a.Save(t.Context(), plan.Record{Step: "stale"}), plan.ErrLost)
	select {
	case <-heldByA.Done():
		require.ErrorIs(t, context.Cause(heldByA), plan.ErrLost)
	case <-time.After(5 * time.Second):
		t.Fatal("the loser was not told")
	}
	require.NoError(t, a.Release(t.Context()), "the loser leaves the winner's lease alone")
	assert.Equal(t, first+1, fence(t, b))
	require.NoError(t, heldByB.Err())
	record, _, err = b.Load(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "weight 5", record.Step)
}

func TestFenceRisesWhenTheLeaseIsDeleted(t *testing.T) {
	cfg := clustertest.Config(t)
	ns := clustertest.Namespace(t, cfg)
	a, b := lease(t, cfg, ns, "1/1"), lease(t, cfg, ns, "2/1")
	held, _ := acquire(t, a, false)
	first := fence(t, a)
	time.Sleep(1100 * time.Millisecond)                                                // creation times are whole seconds
	require.NoError(t, b.client.Delete(t.Context(), b.name(), metav1.DeleteOptions{})) // a person does
	acquire(t, b, false)
	assert.Greater(t, fence(t, b), first)
	_, err := a.Fence(t.Context())
	require.ErrorIs(t, err, plan.ErrLost)
	<-held.Done()
	require.ErrorIs(t, context.Cause(held), plan.ErrLost)
}

// TestForget: what is recorded goes only with the holder's word, and never under another run's feet.
func TestForget(t *testing.T) {
	cfg := clustertest.Config(t)
	ns := clustertest.Namespace(t, cfg)
	a, b := lease(t, cfg, ns, "1/1"), lease(t, cfg, ns, "2/1")
	require.ErrorIs(t, a.Forget(t.Context()), plan.ErrLost, "not ours")
	heldByA, _ := acquire(t, a, false)
	require.NoError(t, a.Save(t.Context(), plan.Record{Step: "weight 5"}))
	heldByB, _ := acquire(t, b, true)
	require.ErrorIs(t, a.Forget(t.Context()), plan.ErrLost, "taken over")
	require.NoError(t, heldByB.Err())
	record, _, err := b.Load(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "weight 5", record.Step)
	require.NoError(t, b.Forget(t.Context()))
	require.Error(t, heldByB.Err())
	<-heldByA.Done()
	record, holder, err := b.Load(t.Context())
	require.NoError(t, err)
	assert.Nil(t, holder)
	assert.Zero(t, record)
}

// TestARecordThatCannotBeReadIsLeftAlone: a close goes on without it, and its holds are not lost.
func TestARecordThatCannotBeReadIsLeftAlone(t *testing.T) {
	cfg := clustertest.Config(t)
	ns := clustertest.Namespace(t, cfg)
	a := lease(t, cfg, ns, "1/1")
	held, _ := acquire(t, a, false)
	require.NoError(t, a.Release(held))
	have, err := a.client.Get(t.Context(), a.name(), metav1.GetOptions{})
	require.NoError(t, err)
	const newer = `{"version":7,"holds":{"sha256:1":"errors"}}`
	metav1.SetMetaDataAnnotation(&have.ObjectMeta, annotationRecord, newer)
	_, err = a.client.Update(t.Context(), have, metav1.UpdateOptions{})
	require.NoError(t, err)
	b := lease(t, cfg, ns, "2/1")
	_, _, err = b.Acquire(t.Context(), false)
	require.ErrorContains(t, err, "read annotation")
	held, record := acquire(t, b, true)
	assert.Zero(t, record)
	require.NoError(t, b.Save(held, plan.Record{Step: "closing"}))
	require.NoError(t, b.Release(held))
	have, err = a.client.Get(t.Context(), a.name(), metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, newer, have.Annotations[annotationRecord])
}

func TestDeadHolderIsWaitedOut(t *testing.T) {
	cfg := clustertest.Config(t)
	ns := clustertest.Namespace(t, cfg)
	a, b := quick(lease(t, cfg, ns, "1/1")), quick(lease(t, cfg, ns, "2/1"))
	acquire(t, a, false)
	first := fence(t, a)
	a.stop() // as a killed process: it renews no more
	a.kept.Wait()

	begin := time.Now()
	acquire(t, b, false)
	assert.GreaterOrEqual(t, time.Since(begin), shortDuration)
	assert.Less(t, time.Since(begin), shortDuration+2*time.Second)
	assert.Equal(t, first+1, fence(t, b))
}

func TestRenewalsOutliveASignal(t *testing.T) {
	cfg := clustertest.Config(t)
	ns := clustertest.Namespace(t, cfg)
	a := quick(lease(t, cfg, ns, "1/1"))
	signal, cancel := context.WithCancel(t.Context())
	held, _, err := a.Acquire(signal, false)
	require.NoError(t, err)
	cancel()
	time.Sleep(shortDuration + time.Second)
	require.NoError(t, held.Err(), "a close runs on it")
	fence(t, a)
	require.NoError(t, a.Release(t.Context()))
}

func TestForeignEditsDoNotCostTheLease(t *testing.T) {
	cfg := clustertest.Config(t)
	ns := clustertest.Namespace(t, cfg)
	a := quick(lease(t, cfg, ns, "1/1"))
	held, _ := acquire(t, a, false)
	for i := range 40 {
		_, err := a.client.Patch(t.Context(), a.name(), "application/merge-patch+json",
			fmt.Appendf(nil, `{"metadata":{"annotations":{"someone":"%d"}}}`, i), metav1.PatchOptions{})
		require.NoError(t, err)
		require.NoError(t, a.Save(t.Context(), plan.Record{Step: fmt.Sprint(i)}))
	}
	require.NoError(t, held.Err())
	got, err := a.client.Get(t.Context(), a.name(), metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, "39", got.Annotations["someone"])
}

// gate is a network that can be cut.
type gate struct {
	http.RoundTripper
	cut  atomic.Bool
	lose atomic.Bool // the answer to the next write
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	if g.cut.Load() {
		return nil, errors.New("the network is cut")
	}
	answer, err := g.RoundTripper.RoundTrip(r)
	if err == nil && r.Method == http.MethodPut && g.lose.CompareAndSwap(true, false) {
		_ = answer.Body.Close()
		return nil, errors.New("the connection broke before the answer")
	}
	return answer, err
}

// cutOff returns a holder of a Lease whose network was just cut.
func cutOff(t *testing.T) (a *Lease, held context.Context, g *gate) {
	t.Helper()
	cfg := clustertest.Config(t)
	ns := clustertest.Namespace(t, cfg)
	cutCfg := rest.CopyConfig(cfg)
	cutCfg.Wrap(transport.WrapperFunc(func(rt http.RoundTripper) http.RoundTripper {
		g = &gate{RoundTripper: rt}
		return g
	}))
	a = quick(lease(t, cutCfg, ns, "1/1"))
	held, _ = acquire(t, a, false)
	g.cut.Store(true)
	return a, held, g
}

func TestCutOffHolderStopsBeforeAnotherMayStart(t *testing.T) {
	a, held, g := cutOff(t)
	begin := time.Now()
	<-held.Done()
	require.ErrorIs(t, context.Cause(held), plan.ErrLost)
	assert.Less(t, time.Since(begin), shortDuration)
	g.cut.Store(false)
	_, err := a.Fence(t.Context())
	require.ErrorIs(t, err, plan.ErrLost, "who said lost stays lost")
}

// TestRegainKnowsItsOwnWrite: the API server did what it was asked, and nobody was told.
func TestRegainKnowsItsOwnWrite(t *testing.T) {
	a, held, g := cutOff(t)
	<-held.Done()
	g.cut.Store(false)
	g.lose.Store(true)
	again, err := a.Regain(t.Context())
	require.NoError(t, err)
	require.NoError(t, again.Err())
	assert.False(t, g.lose.Load(), "no answer was lost: it shows nothing")
	require.NoError(t, a.Release(t.Context()))
}

// TestRegainAfterSomebodyLooked: who took the Lease and gave it back with the record still open closed nothing.
func TestRegainAfterSomebodyLooked(t *testing.T) {
	cfg := clustertest.Config(t)
	ns := clustertest.Namespace(t, cfg)
	for _, open := range []bool{true, false} {
		a, b := lease(t, cfg, ns, "1/1"), lease(t, cfg, ns, "2/1")
		held, _ := acquire(t, a, true)
		require.NoError(t, a.Save(held, plan.Record{Identity: a.Identity, Open: true}))
		other, record := acquire(t, b, true)
		record.Open = open
		require.NoError(t, b.Save(other, record))
		require.NoError(t, b.Release(other))
		_, err := a.Regain(t.Context())
		if open {
			require.NoError(t, err)
			require.NoError(t, a.Release(t.Context()))
			continue
		}
		require.ErrorIs(t, err, plan.ErrLost, "it was closed")
	}
}

// TestReleaseAfterRegain: renewals of the hold before end with the new one, else the last one would be waited for for ever.
func TestReleaseAfterRegain(t *testing.T) {
	cfg := clustertest.Config(t)
	a := lease(t, cfg, clustertest.Namespace(t, cfg), "1/1")
	acquire(t, a, false)
	a.mu.Lock()
	a.renewed = time.Now().Add(-a.Duration - time.Second) // it was stopped, and nobody came
	a.mu.Unlock()
	_, err := a.Fence(t.Context())
	require.ErrorIs(t, err, plan.ErrLost)
	_, err = a.Regain(t.Context())
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- a.Release(t.Context()) }()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("the release waits for renewals that nobody ended")
	}
}

func TestBrokenRecord(t *testing.T) {
	cfg := clustertest.Config(t)
	ns := clustertest.Namespace(t, cfg)
	a := lease(t, cfg, ns, "1/1")
	acquire(t, a, false)
	require.NoError(t, a.Release(t.Context()))
	_, err := a.client.Patch(t.Context(), a.name(), "application/merge-patch+json",
		[]byte(`{"metadata":{"annotations":{"gray-upgrade.dev/record":"{"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	_, _, err = a.Acquire(t.Context(), false)
	require.ErrorIs(t, err, errRecord)
	_, record := acquire(t, a, true)
	assert.Zero(t, record, "a close works all the same")
}

func TestNoSuchNamespace(t *testing.T) {
	cfg := clustertest.Config(t)
	_, _, err := lease(t, cfg, "nowhere", "1/1").Acquire(t.Context(), false)
	var f *plan.Failure
	require.ErrorAs(t, err, &f)
	assert.Equal(t, plan.FaultInput, f.Fault)
	assert.Contains(t, f.What, "namespace nowhere does not exist")
}

// TestStoppedProcess stops a real process with SIGSTOP while it holds the Lease, as a suspended runner does.
func TestStoppedProcess(t *testing.T) {
	cfg := clustertest.Config(t)
	ns := clustertest.Namespace(t, cfg)
	for _, tt := range []struct {
		name string
		take bool
	}{{"another took over meanwhile", true}, {"nobody did", false}} {
		t.Run(tt.name, func(t *testing.T) {
			stopped := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
			stopped.Env = append(os.Environ(), holdEnv+"="+ns)
			stopped.Stderr = os.Stderr
			in, err := stopped.StdinPipe()
			require.NoError(t, err)
			out, err := stopped.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, stopped.Start())
			said := bufio.NewScanner(out)
			require.True(t, said.Scan())
			require.Equal(t, "held", said.Text())

			require.NoError(t, stopped.Process.Signal(syscall.SIGSTOP))
			if tt.take {
				acquire(t, quick(lease(t, cfg, ns, "2/1")), false)
			} else {
				time.Sleep(shortDuration + time.Second)
			}
			require.NoError(t, stopped.Process.Signal(syscall.SIGCONT))
			_, err = fmt.Fprintln(in, "fence")
			require.NoError(t, err)
			require.True(t, said.Scan())
			assert.Equal(t, "lost", said.Text())
			require.NoError(t, stopped.Wait())
		})
	}
}

// holdEnv makes this test binary a process that holds the Lease of a namespace and, asked for its fence, says what it gets.
const holdEnv = "GRAY_TEST_HOLD"

func TestMain(m *testing.M) {
	if ns := os.Getenv(holdEnv); ns != "" {
		if err := hold(ns); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func hold(namespace string) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	l := quick(New(Options{Kube: kube, Namespace: namespace, Service: "cart", Identity: plan.Identity{Run: "stopped/1"}}))
	if _, _, err := l.Acquire(context.Background(), true); err != nil {
		return err
	}
	fmt.Println("held")
	bufio.NewScanner(os.Stdin).Scan()
	switch _, err := l.Fence(context.Background()); {
	case errors.Is(err, plan.ErrLost):
		fmt.Println("lost")
	default:
		fmt.Println("still held:", err)
	}
	return nil
}
