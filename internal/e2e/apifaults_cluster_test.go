package e2e

import (
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	faultRate = 0.05 // share of the calls that meet a fault
	mostHangs = 2    // each costs its caller 15 s
)

// A fault is what an API server, or the way to it, does to a call in place of what it was asked.
type fault struct {
	name   string
	answer func() *http.Response // nil: the call is done, and the connection breaks before its answer
	writes bool                  // only writes can meet it
	reads  bool                  // only reads can
}

var faults = []fault{
	{name: "409 Conflict", writes: true, answer: func() *http.Response {
		return Status(http.StatusConflict, "Conflict", "the object has been modified", nil)
	}},
	{name: "429 with Retry-After", answer: func() *http.Response {
		return Status(http.StatusTooManyRequests, "TooManyRequests", "slow down", http.Header{"Retry-After": {"1"}})
	}},
	{name: "500", answer: func() *http.Response {
		return Status(http.StatusInternalServerError, "InternalError", "etcd has no leader", nil)
	}},
	{name: "503", answer: func() *http.Response {
		return Status(http.StatusServiceUnavailable, "ServiceUnavailable", "starting", nil)
	}},
	{name: "stale read", reads: true, answer: func() *http.Response { return Stale }},
	{name: "no answer for 15 s", answer: func() *http.Response { return Hang }},
	{name: "lost answer", writes: true},
}

// meets says whether a call can meet the fault. Watches, logs and port-forwards are not told apart from here; a
// port-forward is left alone.
func (f fault) meets(c Call) bool {
	write := c.Number > 0
	return !strings.HasSuffix(c.Path, "/portforward") && (write || !f.writes) && (!write || !f.reads)
}

// faulty runs one upgrade through a proxy; pick says which fault, if any, a call meets after the tool has said from. It returns how many there were, and
// how the upgrade ended: right, or closed without blaming the image, with nothing left behind.
func faulty(t *testing.T, from string, pick func(Call) *fault) (injected int32, ended string) {
	t.Helper()
	s, before := shopFor(t, Options{Replicas: 1})
	proxy, flag := proxied(t, s, "")
	var begun atomic.Bool
	var count atomic.Int32
	var lose, kinds sync.Map // by number of the write; by name
	proxy.After(func(c Call) bool {
		_, lost := lose.Load(c.Number)
		return !lost
	})
	proxy.Before(func(c Call) *http.Response {
		if !begun.Load() {
			return nil
		}
		f := pick(c)
		if f == nil || !f.meets(c) {
			return nil
		}
		count.Add(1)
		kinds.Store(f.name, true)
		if f.answer == nil {
			lose.Store(c.Number, true)
			return nil
		}
		return f.answer()
	})
	tool, err := s.StartTool(t.Context(), t.TempDir(), "run", quickly(image("v2"), flag)...)
	require.NoError(t, err)
	reaches(t, tool, from)
	begun.Store(true)
	code, err := tool.Wait()
	require.NoError(t, err)
	t.Logf("%d faults, exit code %d\n%s", count.Load(), code, tool.Output())
	assert.Contains(t, []int{0, 5}, code, tool.Output())
	version, ended := "v2", "promoted"
	if code == 5 {
		version, ended = "v1", "closed"
		_, status, err := s.RunTool(t.Context(), t.TempDir(), "status")
		require.NoError(t, err)
		assert.NotContains(t, status, "on hold")
	}
	atHome(t, s, before, version)
	all := !slices.ContainsFunc(faults, func(f fault) bool { _, met := kinds.Load(f.name); return !met })
	if all { // a stale read alone is no failure that the tool could count
		summary, err := tool.File("summary.md")
		require.NoError(t, err)
		assert.Contains(t, summary, "the API server failed")
	}
	return count.Load(), ended
}

// firstStep is after the preflight, which changes nothing and gives up at once.
const firstStep = "msg=begin"

// TestFaultyAPIServer runs an upgrade while one call in twenty meets a fault, all kinds of them.
func TestFaultyAPIServer(t *testing.T) {
	t.Parallel()
	throw := dice()
	var met, hung atomic.Int32
	injected, ended := faulty(t, firstStep, func(c Call) *fault {
		if throw() >= faultRate {
			return nil
		}
		f := &faults[int(met.Add(1))%len(faults)]
		if f.name == "no answer for 15 s" && (!f.meets(c) || hung.Add(1) > mostHangs) {
			return nil
		}
		return f
	})
	assert.Positive(t, injected)
	tally.add("API server: all faults at random, 1 call in 20", int(injected), ended)
}

// TestATokenFileIsReadAgain: the token ends in the middle of a step, and another one stands in its file.
func TestATokenFileIsReadAgain(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 1})
	token := filepath.Join(t.TempDir(), "token")
	proxy, flag := proxied(t, s, token)
	var valid atomic.Value
	renew := func(to string) {
		require.NoError(t, os.WriteFile(token, []byte(to), 0o600))
		valid.Store(to)
	}
	renew("first")
	proxy.Before(func(c Call) *http.Response {
		if c.Token != valid.Load() {
			return Status(http.StatusUnauthorized, "Unauthorized", "Unauthorized", nil)
		}
		return nil
	})
	tool := atWeight20(t, s, quickly(image("v2"), "--step-duration=5s", flag)...)
	renew("second") // client-go reads the file once a minute: until then the API server knows nobody
	code, err := tool.Wait()
	require.NoError(t, err)
	assert.Equal(t, 5, code, tool.Output())
	assert.Contains(t, tool.Output(), "Unauthorized")
	atHome(t, s, before, "v1")
	_, status, err := s.RunTool(t.Context(), t.TempDir(), "status")
	require.NoError(t, err)
	assert.NotContains(t, status, "on hold")
}

// dice throws from 0 to 1 with a fixed seed, so that a failure can be repeated as far as timing allows.
func dice() func() float64 {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(1, 2))
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64()
	}
}
