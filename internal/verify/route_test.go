package verify

import (
	"context"
	"net/http"
	"net/http/httptest"
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

// proxy is a gateway with an account route that is served from its nth request with the token on.
func proxy(from int32, gray http.Handler, sideHeader func(gray bool) (name, value string)) http.Handler {
	var asked atomic.Int32
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		toGray := r.Header.Get("X-Token") == "t0ken" && asked.Add(1) >= from && r.Host == "shop.example.com"
		if name, value := sideHeader(toGray); value != "" {
			w.Header().Set(name, value)
		}
		if toGray {
			gray.ServeHTTP(w, r)
			return
		}
		answers(200, "production")(w, r)
	})
}

func ours(gray bool) (name, value string) {
	if gray {
		return plan.SideHeader, "gray"
	}
	return plan.SideHeader, ""
}

func theirs(gray bool) (name, value string) {
	if gray {
		return "X-Version", "v2"
	}
	return "X-Version", "v1"
}

func nothing(bool) (name, value string) { return "", "" }

func everywhere(bool) (name, value string) { return plan.SideHeader, "gray" }

func alike(bool) (name, value string) { return "X-Version", "v1" }

func TestRoute(t *testing.T) {
	post := signIn
	post.Name, post.Method = "order", http.MethodPost
	for _, tt := range []struct {
		name    string
		gateway http.Handler
		header  string
		checks  []config.Check
		want    string
		proofs  int
	}{
		{"leads to gray", proxy(1, shop, ours), "", []config.Check{signIn}, "", 2},
		{"is served after a moment", proxy(3, shop, ours), "", []config.Check{signIn}, "", 2},
		{"no check may be sent", proxy(1, answers(404, ""), ours), "", []config.Check{post}, "", 1},
		{"the user's own header", proxy(1, shop, theirs), "X-Version", []config.Check{signIn}, "", 2},
		{"the user's own header, absent", proxy(1, shop, nothing), "X-Version", []config.Check{signIn},
			`the account route failed check "sign-in" as account "alice": expected header X-Version, got no such header on status 200; ` +
				`failed check "sign-in" as account "bob": expected header X-Version, got no such header on status 200`, 2},
		{"the user's own header does not differ", proxy(1, shop, alike), "X-Version", []config.Check{signIn},
			`expected header X-Version with another value than production's, got "v1" on status 200`, 2},
		{"never served", proxy(1000, shop, ours), "", []config.Check{signIn}, `expected header X-Gray-Upgrade-Side: "gray", got no such header on status 200`, 2},
		{"gray answers wrongly", proxy(1, answers(500, "t0ken s3cret-a"), ours), "", []config.Check{signIn}, `expected status 200, got 500 ("*** ***")`, 2},
		{"leads to gray without the token", proxy(1, shop, everywhere), "", []config.Check{signIn}, "a request without the token of the account route reached gray (status 200)", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(tt.gateway)
			defer s.Close()
			v := newWorld(t).verifier(both, tt.checks...)
			if tt.header != "" {
				v.SideHeader = tt.header
			}
			v.Options.Route = func(context.Context) (RouteProbe, error) {
				return RouteProbe{URL: s.URL + "/", Host: "shop.example.com", Header: "X-Token", Token: "t0ken", Client: s.Client()}, nil
			}
			proofs, err := v.Route(t.Context())
			assert.Len(t, proofs, tt.proofs)
			for _, p := range proofs {
				assert.Equal(t, "route", p.Pod)
			}
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			f := failure(t, err)
			assert.Equal(t, plan.FaultInfrastructure, f.Fault, "the pods have passed: it is the route")
			assert.Contains(t, f.What, tt.want)
		})
	}
}

// A pod may answer what the gateway does not let through: such a check is no proof of the route, and none against it.
func TestRouteIsAskedForWhatItLeadsToGray(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/cart") || r.Header.Get("X-Tenant") != "a" {
			answers(404, "nowhere")(w, r)
			return
		}
		proxy(1, answers(204, ""), ours).ServeHTTP(w, r)
	}))
	defer s.Close()
	v := newWorld(t).verifier(both, signIn)
	v.Options.Route = func(context.Context) (RouteProbe, error) {
		return RouteProbe{
			URL: s.URL, Host: "shop.example.com", Header: "X-Token", Token: "t0ken", Client: s.Client(),
			Any:   config.Check{Name: "route", Path: "/cart?a=b", Headers: map[string]string{"X-Tenant": "a"}},
			Leads: func(path string) bool { return strings.HasPrefix(path, "/cart") },
		}, nil
	}
	proofs, err := v.Route(t.Context())
	require.NoError(t, err)
	assert.Len(t, proofs, 1)
}

func TestProbe(t *testing.T) {
	repeated := signIn
	repeated.Repeat, repeated.Within = true, time.Second
	bad := answers(500, "no")
	mute := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for _, tt := range []struct {
		name             string
		gray, production http.Handler
		want             judge.Verdict
		ours, silent     bool
	}{
		{"all pass", shop, shop, judge.Pass, false, false},
		{"gray fails, production passes", bad, shop, judge.Fail, false, false},
		{"gray is silent, production passes", mute, shop, judge.Fail, false, true},
		{"both fail", bad, bad, judge.Inconclusive, true, false},
		{"gray fails, no production", bad, nil, judge.Inconclusive, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t).add(plan.Gray, "g1", shop).add(plan.Gray, "g2", tt.gray).add(plan.Gray, "g3", bad)
			for _, name := range []string{"g1", "g2"} {
				w.edit(name, func(p *Pod) { p.Verified = true })
			}
			if tt.production != nil {
				w.add(plan.Production, "p1", tt.production)
			}
			checks := w.verifier([]config.Account{alice}, repeated, config.Check{Name: "once", Path: "/never"}).Probe(t.Context())
			require.Len(t, checks, 1)
			assert.Equal(t, tt.want, checks[0].Verdict, checks[0].Why)
			assert.Equal(t, "sign-in as alice", checks[0].Name)
			assert.Equal(t, tt.ours, checks[0].Infrastructure)
			assert.Equal(t, tt.silent, checks[0].Silent)
			if tt.want != judge.Pass {
				assert.Equal(t, "g2", checks[0].Where)
			}
		})
	}
	assert.Nil(t, newWorld(t).verifier(both, signIn).Probe(t.Context()), "nothing repeats")
}

func TestProbeOfProductionOnTheWayBack(t *testing.T) {
	repeated := signIn
	repeated.Repeat, repeated.Side = true, "both"
	w := newWorld(t).add(plan.Gray, "g1", shop).add(plan.Production, "p1", answers(500, "no"))
	w.edit("g1", func(p *Pod) { p.Verified = true })
	checks := w.verifier([]config.Account{alice}, repeated).ProbeProduction(t.Context())
	require.Len(t, checks, 1)
	assert.Equal(t, judge.Fail, checks[0].Verdict)
	assert.Contains(t, checks[0].Why, "(gray passes it)")
}

func TestProbeOutOfReach(t *testing.T) {
	repeated := signIn
	repeated.Repeat = true
	w := newWorld(t).add(plan.Gray, "g1", shop).add(plan.Production, "p1", shop)
	w.edit("g1", func(p *Pod) { p.Verified = true })
	addr := w.addr["g1"]
	w.addr["g1"] = ""
	v := w.verifier([]config.Account{alice}, repeated)
	for round, want := range []judge.Verdict{judge.Inconclusive, judge.Inconclusive, judge.Fail, judge.Fail} {
		checks := v.Probe(t.Context())
		require.Len(t, checks, 1)
		assert.Equal(t, want, checks[0].Verdict, round)
		assert.True(t, checks[0].Infrastructure)
	}
	w.addr["g1"] = addr
	assert.Equal(t, judge.Pass, v.Probe(t.Context())[0].Verdict)
	w.addr["g1"] = ""
	assert.Equal(t, judge.Inconclusive, v.Probe(t.Context())[0].Verdict, "counted anew")
	w.remove(plan.Gray, "g1")
	assert.Empty(t, v.Probe(t.Context()))
}

func TestProbeTakesTurns(t *testing.T) {
	v := newWorld(t).verifier(nil)
	var pods []Pod
	for i := range 45 {
		pods = append(pods, Pod{UID: string(rune('A' + i))})
	}
	seen := map[string]int{}
	for range 9 {
		round := v.nextPods(pods)
		assert.Len(t, round, 20)
		for _, p := range round {
			seen[p.UID]++
		}
	}
	assert.Len(t, seen, 45)
	for uid, n := range seen {
		assert.Equal(t, 4, n, uid)
	}
}

// TestTheUsersSideHeaderIsComparedWithAnAnswer: a request that was lost says nothing of production's value.
func TestTheUsersSideHeaderIsComparedWithAnAnswer(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		proxy(1, answers(204, ""), alike).ServeHTTP(w, r) // production answers, whatever is asked
	}))
	defer s.Close()
	v := newWorld(t).verifier(both)
	v.SideHeader = "X-Version"
	v.Options.Route = func(context.Context) (RouteProbe, error) {
		return RouteProbe{URL: s.URL, Host: "shop.example.com", Header: "X-Token", Token: "t0ken", Client: s.Client()}, nil
	}
	_, err := v.Route(t.Context())
	assert.ErrorContains(t, err, "header X-Version with another value than production's")
}
