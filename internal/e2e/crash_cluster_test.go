package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
)

// How the tool dies at a write.
const (
	killedBefore = "killed before" // the write never gets to the API server
	killedAfter  = "killed after"  // the write is done, and the process is gone
	answerLost   = "answer lost"   // the write is done, the connection breaks, the process lives on
)

const badAccount = `{"failAccounts":true}`

// A point is a write, by its number, and how the tool dies at it.
type point struct {
	write int
	mode  string
}

// points are all points of that many writes.
func points(writes int) []point {
	var all []point
	for n := 1; n <= writes; n++ {
		all = append(all, point{n, killedBefore}, point{n, killedAfter}, point{n, answerLost})
	}
	return all
}

// spread is all points, or, where POINTS says how many of each scenario, that many at even distances.
func spread(all []point) []point {
	most, err := strconv.Atoi(os.Getenv("POINTS"))
	if err != nil || most <= 0 || most >= len(all) {
		return all
	}
	some := make([]point, most)
	for i := range some {
		some[i] = all[i*len(all)/most]
	}
	return some
}

// A scenario is an upgrade that ends in a known way.
type scenario struct {
	name    string
	flags   []string
	faultAt int     // the fault is switched on in gray whenever the route gets this weight; 0: never
	before  []int   // exit codes of runs that come first, undisturbed
	code    int     // exit code of the undisturbed run
	version string  // that production ends on
	few     []point // tried by make test; make crash tries every point of every scenario
}

var scenarios = []scenario{
	{name: "clean", flags: quickly(image("v2")), code: 0, version: "v2"},
	{name: "anomaly at a middle weight", flags: quickly(image("v2"), "--step-duration=20s"), faultAt: 20, code: 1, version: "v1", few: []point{{16, killedAfter}}},
	{name: "anomaly at 100", flags: quickly(image("v2"), "--step-duration=20s"), faultAt: 100, code: 1, version: "v1"},
	{name: "production never gets ready", flags: quickly(image("v2"), `--production-env=APP_FAULTS={"neverReady":true}`, "--pod-timeout=20s"), code: 1, version: "v1"},
	{name: "an account fails", flags: quickly(image("v2"), "--gray-env=APP_FAULTS="+badAccount, "--config=testdata/account.yaml"), code: 1, version: "v1"},
	{name: "a held image", flags: quickly(image("v2"), "--gray-env=APP_FAULTS="+badAccount, "--config=testdata/account.yaml"), before: []int{1}, code: 3, version: "v1"},
}

// TestKilledAtEveryWrite ends the tool at its writes to the API server, runs it again as CI would, and expects the end that
// an undisturbed run reaches, or a closed state with no hold. After every write of every run it looks at the cluster. It
// tries one; CRASH=all (make crash) tries all of them.
func TestKilledAtEveryWrite(t *testing.T) {
	t.Parallel()
	clustertest.Config(t)
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			tries := sc.few
			if os.Getenv("CRASH") == "all" {
				tries = spread(points(undisturbed(t, sc)))
			}
			for _, p := range tries {
				t.Run(fmt.Sprintf("%s write %d", p.mode, p.write), func(t *testing.T) {
					t.Parallel()
					if !disturbed(t, sc, p) {
						assert.Equal(t, "all", os.Getenv("CRASH"), "the run had no write %d: nothing was tried", p.write)
						return
					}
					tally.killed(!t.Failed())
				})
			}
		})
	}
}

// attempt is one shop in which a scenario is run, once or again.
type attempt struct {
	*Shop
	t      *testing.T
	sc     scenario
	before map[string]string
	proxy  *Proxy
	flag   string
	load   *Load

	mu     sync.Mutex
	broken []string
}

func newAttempt(t *testing.T, sc scenario) *attempt {
	t.Helper()
	s, before := shopFor(t, Options{Replicas: 1})
	proxy, flag := proxied(t, s, "")
	a := &attempt{Shop: s, t: t, sc: sc, before: before, proxy: proxy, flag: flag}
	if sc.faultAt > 0 {
		var err error
		a.load, err = s.StartLoad(t.TempDir(), 20)
		require.NoError(t, err)
		t.Cleanup(func() { _, _, _ = a.load.Stop() })
	}
	proxy.After(func(c Call) bool { a.wrote(c); return true })
	for _, want := range sc.before {
		require.Equal(t, want, a.run())
	}
	return a
}

// run runs the tool to its end.
func (a *attempt) run() int {
	a.t.Helper()
	code, output, err := a.RunTool(a.t.Context(), a.t.TempDir(), "run", append(slices.Clone(a.sc.flags), a.flag)...)
	require.NoError(a.t, err, output)
	a.t.Log(output)
	return code
}

// wrote looks at the cluster after each write, and switches the fault on where the scenario wants it.
func (a *attempt) wrote(c Call) {
	ctx, cancel := look()
	defer cancel()
	a.mu.Lock()
	defer a.mu.Unlock()
	if empty, _ := a.emptyNow(ctx); empty != "" {
		a.broken = append(a.broken, c.String()+": "+empty)
	}
	if unproven := a.unproven(); unproven != "" {
		a.broken = append(a.broken, c.String()+": "+unproven)
	}
	if a.sc.faultAt == 0 || c.Method != http.MethodPatch || !strings.HasSuffix(c.Path, "/httproutes/web") {
		return
	}
	if err := a.failAt(ctx); err != nil {
		a.broken = append(a.broken, "switch the fault on: "+err.Error())
	}
}

// failAt switches gray's fault on where the route has the scenario's weight now.
func (a *attempt) failAt(ctx context.Context) error {
	route, err := a.Dynamic.Resource(httpRoutes).Namespace(a.Namespace).Get(ctx, "web", metav1.GetOptions{})
	if err != nil || weightOf(route) != a.sc.faultAt {
		return err
	}
	return a.Fault(ctx, GraySelector, 0, `{"errorShare":1,"onlyMode":"gray"}`)
}

// unproven names a gray pod that is ready without its proof.
func (a *attempt) unproven() string {
	ctx, cancel := look()
	defer cancel()
	pods, err := a.Kube.CoreV1().Pods(a.Namespace).List(ctx, metav1.ListOptions{LabelSelector: GraySelector})
	if err != nil {
		return ""
	}
	for _, pod := range pods.Items {
		conditions := map[string]bool{}
		for _, c := range pod.Status.Conditions {
			conditions[string(c.Type)] = c.Status == "True"
		}
		if conditions["Ready"] && !conditions["gray-upgrade.dev/verified"] {
			return "gray pod " + pod.Name + " is ready and not verified"
		}
	}
	return ""
}

func (a *attempt) ended() {
	a.t.Helper()
	a.mu.Lock()
	assert.Empty(a.t, a.broken)
	a.mu.Unlock()
	atHome(a.t, a.Shop, a.before, a.sc.version)
}

// undisturbed runs the scenario to its end and returns how many writes it takes.
func undisturbed(t *testing.T, sc scenario) int {
	a := newAttempt(t, sc)
	first := a.proxy.Writes()
	require.Equal(t, sc.code, a.run())
	a.ended()
	return a.proxy.Writes() - first
}

// disturbed ends the tool at that point, and runs it again; false: the timing gave the run fewer writes.
func disturbed(t *testing.T, sc scenario, p point) (tried bool) {
	a := newAttempt(t, sc)
	n := p.write + a.proxy.Writes()
	var tool *Tool
	var reached atomic.Bool
	kill := func() { _ = tool.Signal(syscall.SIGKILL) }
	ready := make(chan struct{})
	a.proxy.Before(func(c Call) *http.Response {
		<-ready
		if c.Number == n {
			reached.Store(true)
		}
		if c.Number == n && p.mode == killedBefore {
			kill()
			return Status(http.StatusServiceUnavailable, "ServiceUnavailable", "killed", nil)
		}
		return nil
	})
	a.proxy.After(func(c Call) bool {
		a.wrote(c)
		if c.Number == n && p.mode == killedAfter {
			kill()
		}
		return c.Number != n
	})
	var err error
	tool, err = a.StartTool(t.Context(), t.TempDir(), "run", append(slices.Clone(sc.flags), a.flag)...)
	require.NoError(t, err)
	close(ready)
	code, err := tool.Wait()
	t.Log(tool.Output())
	if err == nil { // it was not killed
		a.endsWell(code)
		if reached.Load() {
			tally.add("killed: "+sc.name+", "+p.mode, 1, ends[code]+" at once")
		}
		return reached.Load()
	}
	a.proxy.Before(nil)
	a.proxy.After(func(c Call) bool { a.wrote(c); return true })
	code = a.run()
	a.endsWell(code)
	tally.add("killed: "+sc.name+", "+p.mode, 1, ends[code]+" by the rerun")
	return true
}

// ends are exit codes in words.
var ends = map[int]string{0: "promoted", 1: "rolled back", 3: "refused", 5: "closed"}

// endsWell asserts the undisturbed end, a refusal of what is held already, or a closed state with no hold.
func (a *attempt) endsWell(code int) {
	a.t.Helper()
	if code == 5 {
		_, status, err := a.RunTool(a.t.Context(), a.t.TempDir(), "status")
		require.NoError(a.t, err)
		assert.Len(a.t, a.sc.before, strings.Count(status, "on hold"), "closed, and the image is blamed")
		a.sc.version = "v1"
	} else {
		assert.Contains(a.t, []int{a.sc.code, refusedFor(a.sc.code)}, code)
	}
	a.ended()
}

// refusedFor is the exit code that a rerun may have in place of that one: what was found to be bad is refused.
func refusedFor(code int) int {
	if code == 1 {
		return 3
	}
	return code
}
