package e2e

import (
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// faultRate is the share of calls that are answered with a fault.
const faultRate = 0.05

// refusals are what an API server answers in place of doing what it was asked.
var refusals = []func() *http.Response{
	func() *http.Response {
		return Status(http.StatusConflict, "Conflict", "the object has been modified", nil)
	},
	func() *http.Response {
		return Status(http.StatusTooManyRequests, "TooManyRequests", "slow down", http.Header{"Retry-After": {"1"}})
	},
	func() *http.Response {
		return Status(http.StatusInternalServerError, "InternalError", "etcd has no leader", nil)
	},
	func() *http.Response {
		return Status(http.StatusServiceUnavailable, "ServiceUnavailable", "starting", nil)
	},
}

// TestFaultyAPIServer runs an upgrade while one call in twenty, reads and writes alike, is refused, or is done and loses its
// answer: it ends right, or closed without blaming the image, and nothing is left behind.
func TestFaultyAPIServer(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 1})
	proxy, err := StartProxy(s.Rest)
	require.NoError(t, err)
	t.Cleanup(func() { _ = proxy.Close() })
	throw, injected, begun := dice(faultRate), atomic.Int32{}, atomic.Bool{}
	unlucky := func() bool { return begun.Load() && hit(throw, &injected) }
	proxy.After(func(Call) bool { return !unlucky() })
	proxy.Before(func(c Call) *http.Response {
		if strings.HasSuffix(c.Path, "/portforward") || !unlucky() {
			return nil
		}
		some := refusals
		if c.Method == http.MethodGet {
			some = refusals[1:] // a conflict is an answer to a write
		}
		return some[int(injected.Load())%len(some)]()
	})
	flag, err := proxy.Kubeconfig(filepath.Join(t.TempDir(), "kubeconfig"))
	require.NoError(t, err)
	tool, err := s.StartTool(t.Context(), t.TempDir(), "run", quickly(image("v2"), flag)...)
	require.NoError(t, err)
	reaches(t, tool, "msg=begin") // the preflight changes nothing and gives up at once
	begun.Store(true)
	code, err := tool.Wait()
	require.NoError(t, err)
	t.Logf("%d faults, exit code %d\n%s", injected.Load(), code, tool.Output())
	assert.Positive(t, injected.Load())
	assert.Contains(t, []int{0, 5}, code, tool.Output())
	version := "v2"
	if code == 5 {
		version = "v1"
		_, status, err := s.RunTool(t.Context(), t.TempDir(), "status")
		require.NoError(t, err)
		assert.NotContains(t, status, "on hold")
	}
	atHome(t, s, before, version)
}

// TestACredentialThatEndsIsTriedUntilItIsBack: 401 for ten seconds from the middle of a step on.
func TestACredentialThatEndsIsTriedUntilItIsBack(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 1})
	proxy, err := StartProxy(s.Rest)
	require.NoError(t, err)
	t.Cleanup(func() { _ = proxy.Close() })
	var ended atomic.Bool
	proxy.Before(func(Call) *http.Response {
		if ended.Load() {
			return Status(http.StatusUnauthorized, "Unauthorized", "Unauthorized", nil)
		}
		return nil
	})
	flag, err := proxy.Kubeconfig(filepath.Join(t.TempDir(), "kubeconfig"))
	require.NoError(t, err)
	tool, err := s.StartTool(t.Context(), t.TempDir(), "run", quickly(image("v2"), "--step-duration=5s", flag)...)
	require.NoError(t, err)
	reaches(t, tool, "watch gray at weight 20")
	ended.Store(true)
	time.Sleep(10 * time.Second)
	ended.Store(false)
	code, err := tool.Wait()
	require.NoError(t, err)
	assert.Equal(t, 5, code, tool.Output())
	if strings.Contains(tool.Output(), "taken over") { // the Lease ended before the credential came back: nothing may be written
		code, output, err := s.RunTool(t.Context(), t.TempDir(), "close")
		require.NoError(t, err)
		assert.Equal(t, 0, code, output)
	}
	atHome(t, s, before, "v1")
}

// dice throws with a fixed seed, so that a failure can be repeated as far as timing allows.
func dice(rate float64) func() bool {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(1, 2))
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64() < rate
	}
}

func hit(dice func() bool, count *atomic.Int32) bool {
	if !dice() {
		return false
	}
	count.Add(1)
	return true
}
