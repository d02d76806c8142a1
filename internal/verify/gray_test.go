package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func failure(t *testing.T, err error) *plan.Failure {
	t.Helper()
	var f *plan.Failure
	require.ErrorAs(t, err, &f)
	return f
}

func TestGrayPasses(t *testing.T) {
	w := newWorld(t).add(plan.Gray, "g1", shop).add(plan.Gray, "g2", shop)
	check := signIn
	check.Account, check.JSONPath, check.Equals = "bob", "$.account.name", "bob"
	proofs, err := w.verifier(both, signIn, check, config.Check{Name: "later", Path: "/never", Side: "production"}).Gray(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"g1", "g2"}, w.verified())
	assert.Equal(t, "passed 3 checks", w.said["g1"])
	require.Len(t, proofs, 6)
	for _, p := range proofs {
		assert.Equal(t, judge.Pass, p.Verdict)
		assert.Equal(t, plan.Gray, p.Side)
	}
	for _, port := range w.ports {
		assert.Equal(t, 8080, port)
	}
}

func TestGrayNamesTheOneThatFails(t *testing.T) {
	w := newWorld(t).add(plan.Gray, "cart-gray-1", shop).add(plan.Gray, "cart-gray-2", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("session"); err == nil && c.Value == "s3cret-a" {
			answers(500, "no such \x1b[31maccount: s3cret-a\n"+strings.Repeat("x", 500))(rw, r)
			return
		}
		shop(rw, r)
	})).add(plan.Gray, "cart-gray-3", shop).add(plan.Production, "cart-1", shop)
	proofs, err := w.verifier(both, signIn).Gray(t.Context())
	f := failure(t, err)
	assert.Equal(t, plan.FaultImage, f.Fault)
	assert.Regexp(t, `^pod cart-gray-2 failed check "sign-in" as account "alice": expected status 200, got 500 \("no such \\x1b\[31maccount: \*\*\*\\nx+…"\) \(production passes it\)$`, f.What)
	assert.Equal(t, "Pod cart-gray-2", f.Where)
	require.Len(t, f.Checks, 1)
	assert.Equal(t, judge.Fail, f.Checks[0].Verdict)
	assert.Equal(t, "cart-gray-2", f.Checks[0].Where)
	assert.Equal(t, []string{"cart-gray-1", "cart-gray-3"}, w.verified(), "the others pass")
	assert.Contains(t, w.said["cart-gray-2"], `failed check "sign-in"`)
	assert.Len(t, proofs, 6)
	assert.NotContains(t, fmt.Sprint(proofs, err, f.Checks, w.said), "s3cret")
}

func TestGrayWithoutChecksIsReadinessAlone(t *testing.T) {
	w := newWorld(t).add(plan.Gray, "g1", shop)
	proofs, err := w.verifier(both).Gray(t.Context())
	require.NoError(t, err)
	require.Len(t, proofs, 1)
	assert.Equal(t, "ready", proofs[0].Check)
	assert.Equal(t, judge.Pass, proofs[0].Verdict)
	assert.Equal(t, []string{"g1"}, w.verified())
	assert.Empty(t, w.ports, "nothing was asked")
}

func TestGrayAsksNobodyTwice(t *testing.T) {
	var asked atomic.Int32
	w := newWorld(t).add(plan.Gray, "g1", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		shop(rw, r)
	}))
	v := w.verifier([]config.Account{alice}, signIn)
	for range 3 {
		_, err := v.Gray(t.Context())
		require.NoError(t, err)
	}
	assert.EqualValues(t, 1, asked.Load())
	w.add(plan.Gray, "g2", shop) // a pod that joins later
	proofs, err := v.Gray(t.Context())
	require.NoError(t, err)
	require.Len(t, proofs, 1)
	assert.Equal(t, "g2", proofs[0].Pod)
}

func TestGrayWithAStaleList(t *testing.T) {
	w := newWorld(t).add(plan.Gray, "g1", shop)
	v := w.verifier([]config.Account{alice}, signIn)
	v.Mark = func(context.Context, string, bool, string) error { return nil } // the list never shows it
	proofs, err := v.Gray(t.Context())
	require.NoError(t, err)
	assert.Len(t, proofs, 1)
}

func TestGrayWhenNothingCanBeJudged(t *testing.T) {
	w := newWorld(t)
	v := w.verifier(both, signIn)
	_, err := v.Gray(t.Context())
	assert.Equal(t, plan.FaultInfrastructure, failure(t, err).Fault)
	w.add(plan.Gray, "g1", shop).edit("g1", func(p *Pod) { p.Ready = false })
	_, err = v.Gray(t.Context())
	assert.Equal(t, "no gray pod can be verified: 1 found, none with its containers ready", failure(t, err).What)
	w.add(plan.Gray, "g2", shop)
	_, err = v.Gray(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"g2"}, w.verified(), "g1's gate stays closed")
}

func TestGrayPodThatRestartsIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int32
	w.add(plan.Gray, "g1", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.edit("g1", func(p *Pod) { p.Restarts++ })
		}
		shop(rw, r)
	}))
	_, err := w.verifier([]config.Account{alice}, signIn).Gray(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 2, asked.Load())
	assert.Equal(t, []string{"g1"}, w.verified())
}

// TestGrayPodThatRestartsAfterItPassed: its proof was that of another process.
func TestGrayPodThatRestartsAfterItPassed(t *testing.T) {
	w := newWorld(t).add(plan.Gray, "g1", shop)
	v := w.verifier([]config.Account{alice}, signIn)
	for restarts, want := range []int{1, 1, 0} {
		proofs, err := v.Gray(t.Context())
		require.NoError(t, err)
		assert.Len(t, proofs, want)
		if restarts == 0 {
			w.edit("g1", func(p *Pod) { p.Restarts++ })
		}
	}
}

func TestGrayPodThatIsGoneIsNotTheImage(t *testing.T) {
	w := newWorld(t)
	w.add(plan.Gray, "g1", shop).add(plan.Production, "p1", shop)
	w.add(plan.Gray, "g2", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		w.remove(plan.Gray, "g2")
		panic(http.ErrAbortHandler)
	}))
	_, err := w.verifier([]config.Account{alice}, signIn).Gray(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"g1"}, w.verified())
}

func TestWhoseFault(t *testing.T) {
	slow := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	hangUp := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	breaksOff := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("half"))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	failing := answers(500, "backend down")
	quick := signIn
	quick.Within = 100 * time.Millisecond
	const pod = `pod g1 failed check "sign-in" as account "alice": `
	for _, tt := range []struct {
		name       string
		gray       http.Handler
		production http.Handler
		want       plan.Fault
		text       string
	}{
		{"wrong answer, production right", failing, shop, plan.FaultImage, pod + `expected status 200, got 500 ("backend down") (production passes it)`},
		{"wrong answer, production wrong too", failing, failing, plan.FaultInfrastructure, pod + `expected status 200, got 500 ("backend down") (production fails it too: got 500 ("backend down"))`},
		{"wrong answer, no production", failing, nil, plan.FaultImage, pod + `expected status 200, got 500 ("backend down")`},
		{"slow, production right", slow, shop, plan.FaultImage, pod + `expected an answer within 100ms, got no whole answer in 100ms (production passes it)`},
		{"slow, production slow too", slow, slow, plan.FaultInfrastructure, pod + `expected an answer within 100ms, got no whole answer in 100ms (production fails it too: got no whole answer in 100ms)`},
		{"slow, no production", slow, nil, plan.FaultInfrastructure, pod + `expected an answer within 100ms, got no whole answer in 100ms (no pod of production could be asked the same)`},
		{"hangs up, production right", hangUp, shop, plan.FaultImage, pod + `expected an answer within 100ms, got EOF (production passes it)`},
		{"breaks off, production right", breaksOff, shop, plan.FaultImage, pod + `expected status 200, got unexpected EOF (production passes it)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t).add(plan.Gray, "g1", tt.gray)
			if tt.production != nil {
				w.add(plan.Production, "p1", tt.production)
			}
			_, err := w.verifier([]config.Account{alice}, quick).Gray(t.Context())
			f := failure(t, err)
			assert.Equal(t, tt.want, f.Fault)
			assert.Equal(t, tt.text, f.What)
			assert.Empty(t, w.verified())
		})
	}
}

func TestUnreachedIsOurs(t *testing.T) {
	for _, tt := range []struct {
		name, addr, want string
	}{
		{"tunnel broken", "", `pod g1 could not be asked check "sign-in" as account "alice": forward: the stream connection broke`},
		{"nobody listens", "127.0.0.1:1", `pod g1 could not be asked check "sign-in" as account "alice": dial tcp 127.0.0.1:1: connect: connection refused`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t).add(plan.Gray, "g1", shop).add(plan.Production, "p1", shop)
			w.addr["g1"] = tt.addr
			_, err := w.verifier([]config.Account{alice}, signIn).Gray(t.Context())
			f := failure(t, err)
			assert.Equal(t, plan.FaultInfrastructure, f.Fault)
			assert.Equal(t, tt.want, f.What)
			assert.True(t, f.Checks[0].Infrastructure)
		})
	}
}

func TestAStartingListenerGetsASecondTry(t *testing.T) {
	var asked atomic.Int32
	w := newWorld(t).add(plan.Production, "p1", shop).add(plan.Gray, "g1", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		shop(rw, r)
	}))
	_, err := w.verifier([]config.Account{alice}, signIn).Gray(t.Context())
	require.NoError(t, err)

	asked.Store(0)
	w = newWorld(t).add(plan.Production, "p1", shop).add(plan.Gray, "g1", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			answers(500, "")(rw, r)
			return
		}
		shop(rw, r)
	}))
	_, err = w.verifier([]config.Account{alice}, signIn).Gray(t.Context())
	assert.Contains(t, failure(t, err).What, "got 500 (empty body)", "a wrong answer is an answer")
	assert.EqualValues(t, 1, asked.Load())
}

func TestManyFailuresAreAllListed(t *testing.T) {
	w := newWorld(t).add(plan.Production, "p1", shop)
	for i := range 12 {
		w.add(plan.Gray, fmt.Sprintf("g%02d", i), answers(500, "no"))
	}
	_, err := w.verifier([]config.Account{alice}, signIn).Gray(t.Context())
	f := failure(t, err)
	assert.Len(t, f.Checks, 12)
	assert.Equal(t, 5, strings.Count(f.What, "failed check"))
	assert.Contains(t, f.What, "; and 7 more")
}

func TestGrayIsInterrupted(t *testing.T) {
	w := newWorld(t).add(plan.Gray, "g1", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := w.verifier([]config.Account{alice}, signIn).Gray(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Empty(t, w.verified())
}

func TestALostLeaseStopsTheMarking(t *testing.T) {
	w := newWorld(t).add(plan.Gray, "g1", shop)
	v := w.verifier(nil)
	v.Mark = func(context.Context, string, bool, string) error { return fmt.Errorf("%w: by 2/1", plan.ErrLost) }
	_, err := v.Gray(t.Context())
	require.ErrorIs(t, err, plan.ErrLost)
	v.Pods = func(context.Context, plan.Side) ([]Pod, error) { return nil, errors.New("apiserver is away") }
	_, err = v.Gray(t.Context())
	assert.EqualError(t, err, "list the pods of gray: apiserver is away")
}

func TestBadChecksAreTheUsers(t *testing.T) {
	_, err := newWorld(t).verifier(both, config.Check{Name: "a", Path: "/", JSONPath: "$..x"}, config.Check{Name: "b", Path: "/", Account: "carol"}).Gray(t.Context())
	f := failure(t, err)
	assert.Equal(t, plan.FaultInput, f.Fault)
	assert.Contains(t, f.What, `check "a": json-path "$..x"`)
	assert.Contains(t, f.What, `check "b": no account is called "carol"`)
}

func TestProduction(t *testing.T) {
	onBoth := signIn
	onBoth.Side = "both"
	own := signIn
	own.Name, own.Side = "worker", "production"
	bad := answers(500, "no")
	for _, tt := range []struct {
		name             string
		gray, production http.Handler
		check            config.Check
		want             plan.Fault
	}{
		{"passes", shop, shop, onBoth, ""},
		{"gray's check is not for it", shop, bad, signIn, ""},
		{"fails, gray passes", shop, bad, onBoth, plan.FaultImage},
		{"fails, gray too", bad, bad, onBoth, plan.FaultInfrastructure},
		{"fails a check that gray need not pass", bad, bad, own, plan.FaultImage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t).add(plan.Gray, "g1", tt.gray).add(plan.Production, "p1", shop).add(plan.Production, "p2", tt.production)
			w.edit("g1", func(p *Pod) { p.Verified = true })
			proofs, err := w.verifier([]config.Account{alice}, tt.check).Production(t.Context())
			assert.Len(t, proofs, 2)
			assert.Empty(t, w.said, "production has no gate")
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			f := failure(t, err)
			assert.Equal(t, tt.want, f.Fault)
			assert.Equal(t, "Pod p2", f.Where)
		})
	}
	w := newWorld(t)
	_, err := w.verifier(nil).Production(t.Context())
	assert.Equal(t, "production has no pod to verify", failure(t, err).What)
	w.add(plan.Production, "p1", shop).edit("p1", func(p *Pod) { p.Ready = false })
	_, err = w.verifier(nil).Production(t.Context())
	assert.Equal(t, "pod p1 of production is not ready to be verified", failure(t, err).What)
}

// TestAProductionPodThatIsJustReplaced ends nothing: who goes is not held against the image, who comes is asked, too.
func TestAProductionPodThatIsJustReplaced(t *testing.T) {
	own := signIn
	own.Side = "production"
	w := newWorld(t).add(plan.Production, "p1", shop)
	asked := make(chan struct{}, 10)
	goes := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		w.remove(plan.Production, "p2")
		asked <- struct{}{}
		panic(http.ErrAbortHandler)
	})
	w.add(plan.Production, "p2", goes).add(plan.Production, "p3", shop)
	w.edit("p3", func(p *Pod) { p.Ready = false })
	go func() {
		time.Sleep(50 * time.Millisecond)
		w.edit("p3", func(p *Pod) { p.Ready = true })
		<-asked
		w.add(plan.Production, "p4", shop)
	}()
	proofs, err := w.verifier([]config.Account{alice}, own).Production(t.Context())
	require.NoError(t, err)
	var pods []string
	for _, p := range proofs {
		pods = append(pods, p.Pod)
	}
	assert.Subset(t, pods, []string{"p1", "p3"})
	assert.NotContains(t, pods, "p2")
}

func TestBaseline(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.verifier(nil).Baseline(t.Context()), "nothing to try")
	v := w.verifier([]config.Account{alice}, signIn)
	assert.Contains(t, failure(t, v.Baseline(t.Context())).What, "no production pod is ready")
	w.add(plan.Production, "p1", shop)
	require.NoError(t, v.Baseline(t.Context()), "a check for gray is tried on production")

	w = newWorld(t).add(plan.Production, "p1", answers(404, "gone"))
	f := failure(t, w.verifier([]config.Account{alice}, signIn).Baseline(t.Context()))
	assert.Equal(t, plan.FaultInfrastructure, f.Fault)
	assert.Equal(t, `the check is broken: production fails it too: pod p1 failed check "sign-in" as account "alice": expected status 200, got 404 ("gone")`, f.What)
	w.addr["p1"] = ""
	f = failure(t, w.verifier([]config.Account{alice}, signIn).Baseline(t.Context()))
	assert.Equal(t, plan.FaultInfrastructure, f.Fault)
	assert.NotContains(t, f.What, "broken: production")
}
