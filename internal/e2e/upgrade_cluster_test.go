package e2e

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/replay"
)

var shops atomic.Int32

// aliceToken is the secret of the test account.
const aliceToken = "s3cr3t-alice-token"

// forwarded takes the default way to the pods.
const forwarded = "--pod-access=port-forward"

// shopFor makes a shop for one test and removes it when the test ends. What the namespace held before is returned with it.
func shopFor(t *testing.T, o Options) (*Shop, map[string]string) {
	t.Helper()
	cfg := clustertest.Config(t)
	s, err := NewShop(t.Context(), cfg, "shop-"+strconv.Itoa(os.Getpid())+"-"+strconv.Itoa(int(shops.Add(1))), o)
	require.NoError(t, err)
	s.Env = []string{"ALICE_TOKEN=" + aliceToken, "GRAY_POD_ACCESS=direct"} // costs less than the default, which forwarded tests
	t.Cleanup(func() { assert.NoError(t, s.Remove(contextOf(t))) })
	before, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	return s, before
}

// quick makes an upgrade short: no load is needed, because no number of requests is.
var quick = []string{"--steps=20,100", "--step-duration=1s", "--thresholds={min-requests: 0}", "--gray-args=--mode=gray", "--timeout=5m"}

func quickly(extra ...string) []string { return append(append([]string(nil), quick...), extra...) }

// patience is how long a busy machine may take to get to a step.
const patience = 5 * time.Minute

// reaches waits until the tool has said the text.
func reaches(t *testing.T, tool *Tool, text string) {
	t.Helper()
	require.True(t, tool.WaitFor(text, patience), tool.Output())
}

func image(version string) string { return "--image=" + Repository + ":" + version }

// atHome asserts that the namespace is what it was, but for what the upgrade may change.
func atHome(t *testing.T, s *Shop, before map[string]string, version string) {
	t.Helper()
	after, err := s.Snapshot(contextOf(t))
	require.NoError(t, err)
	var left []string
	for _, line := range Diff(before, after) {
		if !strings.HasPrefix(line, "deployments/web:") || !strings.Contains(line, `"image":`) {
			left = append(left, line)
		}
	}
	assert.Empty(t, left, "left behind")
	now, err := s.Image(contextOf(t))
	require.NoError(t, err)
	assert.Contains(t, now, Repository+":"+version)
	pods, err := s.Pods(contextOf(t), GraySelector)
	require.NoError(t, err)
	assert.Empty(t, pods, "gray pods are left")
}

func TestOneGrayPodThatFailsItsAccount(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 2})
	watch, err := s.WatchRoute(contextOf(t))
	require.NoError(t, err)
	folder := t.TempDir()
	tool, err := s.StartTool(t.Context(), folder, "run", quickly(image("v2"), "--gray-replicas=3", "--config=testdata/account.yaml", "--pod-timeout=60s")...)
	require.NoError(t, err)
	failOneGrayPod(t, s)
	code, err := tool.Wait()
	require.NoError(t, err)
	assert.Equal(t, 1, code, tool.Output())
	watch.Stop()
	assert.NotEmpty(t, watch.Weights(), "the watch saw nothing: it shows nothing")
	assert.Equal(t, 0, watch.Highest(), "production traffic reached an unproven side")
	for _, want := range []string{"web-gray-", "sign-in", "alice", "403", "200", "offline"} {
		assert.Contains(t, tool.Output(), want)
	}
	for _, line := range strings.Split(tool.Output(), "\n") {
		if !strings.HasPrefix(line, "::add-mask::") { // the runner hides that line and takes it as an order
			assert.NotContains(t, line, aliceToken, "a secret was printed")
		}
	}
	for _, name := range []string{"summary.md", "output", "state", "evidence/*/evidence.jsonl"} {
		text, err := tool.File(name)
		require.NoError(t, err)
		assert.NotEmpty(t, text, name)
		assert.NotContains(t, text, aliceToken, name)
	}
	summary, err := tool.File("summary.md")
	require.NoError(t, err)
	assert.Contains(t, summary, "objects that this run worked on are as they were before it; nothing was added")
	atHome(t, s, before, "v1")
}

// replays asserts that the evidence of a run leads to its verdicts again.
func replays(t *testing.T, tool *Tool) {
	t.Helper()
	text, err := tool.File("evidence/*/evidence.jsonl")
	require.NoError(t, err)
	r, err := replay.Replay(strings.NewReader(text), func(l judge.Limits) (judge.Limits, error) { return l, nil })
	require.NoError(t, err)
	assert.Empty(t, r.Differences)
	assert.NotEmpty(t, r.Windows)
	assert.NotZero(t, r.Blocks)
	t.Log(r)
}

func TestAnomalyWithAProductionPodDown(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 4})
	load, err := s.StartLoad(t.TempDir(), 100)
	require.NoError(t, err)
	watch, err := s.WatchRoute(contextOf(t))
	require.NoError(t, err)
	tool, err := s.StartTool(t.Context(), t.TempDir(), "run", image("v4"), "--steps=5,20", "--step-duration=60s", "--gray-args=--mode=gray")
	require.NoError(t, err)
	reaches(t, tool, "watch gray at weight 5")
	require.NoError(t, s.Fault(t.Context(), ProductionSelector, 1, `{"readyFail":true}`))
	require.Eventually(t, func() bool {
		d, err := s.Deployment(t.Context(), "web")
		return err == nil && d.Status.ReadyReplicas == 3
	}, 20*time.Second, 100*time.Millisecond)
	require.NoError(t, s.Fault(t.Context(), GraySelector, 0, `{"errorShare":0.3}`))
	code, err := tool.Wait()
	require.NoError(t, err)
	assert.Equal(t, 1, code, tool.Output())
	_, answers, err := load.Stop()
	require.NoError(t, err)
	watch.Stop()
	weights := watch.Weights()
	require.NotEmpty(t, weights)
	assert.Equal(t, 5, watch.Highest())
	assert.Equal(t, 0, weights[len(weights)-1].Percent)
	for i, w := range weights[:len(weights)-1] {
		if w.Percent == 5 {
			assert.Equal(t, 0, weights[i+1].Percent, "the first write of the close")
		}
	}
	took, ok := LastAfterFirstBad(answers, func(a Answer) bool { return a.Side == "gray" })
	require.True(t, ok, "no user met the bad version: the test shows nothing")
	assert.Less(t, took, 5*time.Second)
	t.Logf("first bad to last gray answer: %s", took)
	replays(t, tool)
	require.NoError(t, s.Fault(t.Context(), ProductionSelector, 0, `{}`))
	atHome(t, s, before, "v1")
}

// A moment is where a signal meets an upgrade.
type moment struct {
	name, begin string // begin: in the log; "": the Lease is taken
	after       time.Duration
	replicas    int  // of production; 0: 1
	weight      int  // that stands then
	stays       bool // production is not usable, so the weight stays
	promoted    bool // past the point of no return
	outlives    bool // main, the job: GitHub kills only its docker client, so the post step finds it alive
}

// moments are one in each phase.
var moments = []moment{
	{name: "preflight"},
	{name: "start gray", begin: `step="start 1 gray pod"`},
	{name: "verify gray", begin: `step="verify every gray pod"`},
	{name: "shift traffic", begin: `step="watch gray at weight 20`, after: 200 * time.Millisecond, weight: 20, outlives: true},
	{name: "grow gray", begin: `step="grow gray to at least 2 pods`, after: 200 * time.Millisecond, replicas: 2, weight: 20},
	{name: "all traffic to gray", begin: `step="wait until production serves nothing"`, after: time.Second, weight: 100},
	{name: "roll production", begin: `step="roll production`, after: 200 * time.Millisecond, weight: 100, stays: true, outlives: true},
	{name: "return traffic", begin: `step="watch production at weight 50`, after: 200 * time.Millisecond, weight: 50, promoted: true},
	{name: "remove gray", begin: `step="remove gray"`, after: 100 * time.Millisecond, promoted: true},
}

// awaitLease returns when a run holds the shop's Lease.
func awaitLease(t *testing.T, s *Shop) {
	t.Helper()
	require.Eventually(t, func() bool {
		lease, err := s.Kube.CoordinationV1().Leases(s.Namespace).Get(t.Context(), "gray-upgrade-web", metav1.GetOptions{})
		return err == nil && lease.Spec.HolderIdentity != nil
	}, time.Minute, 10*time.Millisecond, "nobody takes the Lease")
}

// pace is how long a request to the API server takes just now. The tool needs about fifteen to see where users are and to
// move them: what a busy machine adds to its second is not its fault.
func pace(t *testing.T, s *Shop) time.Duration {
	t.Helper()
	const requests = 5
	begin := time.Now()
	for range requests {
		_, err := s.Dynamic.Resource(httpRoutes).Namespace(s.Namespace).Get(t.Context(), "web", metav1.GetOptions{})
		require.NoError(t, err)
	}
	return time.Since(begin) / requests
}

// TestSignalsInEachPhase ends an upgrade in each of its phases: as GitHub cancels a job, and by a runner that is gone or
// that only its docker client has left, with the post entrypoint after it.
func TestSignalsInEachPhase(t *testing.T) {
	t.Parallel()
	for _, m := range moments {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s, before := shopFor(t, Options{Replicas: max(1, m.replicas)})
			cancelled(t, s, before, m)
			killed(t, s, before, m)
		})
	}
}

// started runs an upgrade up to the moment.
func (m moment) started(t *testing.T, s *Shop, folder, version string) *Tool {
	t.Helper()
	tool, err := s.StartTool(t.Context(), folder, "run", quickly(image(version))...)
	require.NoError(t, err)
	if m.begin == "" {
		awaitLease(t, s)
	}
	reaches(t, tool, m.begin)
	time.Sleep(m.after)
	return tool
}

func cancelled(t *testing.T, s *Shop, before map[string]string, m moment) {
	t.Helper()
	watch, err := s.WatchRoute(contextOf(t))
	require.NoError(t, err)
	guard, err := s.Guard(contextOf(t))
	require.NoError(t, err)
	folder := t.TempDir()
	tool := m.started(t, s, folder, "v2")
	require.Equal(t, m.weight, watch.Now(), "the weight before the signal")
	soon := time.Second + 20*pace(t, s)
	signalled := time.Now()
	require.NoError(t, tool.Signal(syscall.SIGINT))
	if !m.stays {
		assert.True(t, watch.WaitFor(0, soon), "weight 0 within %s of the signal", soon)
		t.Logf("weight 0 after %s, of %s", time.Since(signalled), soon)
	}
	version, code := "v1", 130
	if m.promoted {
		version, code = "v2", 0
	}
	if got, ended := onGitHubsClock(t, tool, signalled); ended {
		assert.Equal(t, code, got, tool.Output())
		atHome(t, s, before, version)
	}
	s.post(t, folder, "v2")
	watch.Stop()
	assert.Empty(t, guard.Stop(), "a side with users and no serving endpoint")
	atHome(t, s, before, version)
}

// onGitHubsClock ends a tool that got its SIGINT as GitHub's runner does: SIGTERM after 7.5 s, SIGKILL after 2.5 s more. ended:
// it had ended by itself before that, with code.
func onGitHubsClock(t *testing.T, tool *Tool, interrupted time.Time) (code int, ended bool) {
	t.Helper()
	for _, next := range []struct {
		after  time.Duration
		signal syscall.Signal
	}{{7500 * time.Millisecond, syscall.SIGTERM}, {10 * time.Second, syscall.SIGKILL}} {
		if tool.Ended(time.Until(interrupted.Add(next.after))) {
			code, err := tool.Wait()
			require.NoError(t, err, tool.Output())
			return code, true
		}
		_ = tool.Signal(next.signal) // it may have ended this moment
	}
	code, err := tool.Wait()
	t.Logf("ended %s after SIGINT: %v", time.Since(interrupted), err)
	return code, err == nil
}

// post runs the post entrypoint on what is left of a run of that version.
func (s *Shop) post(t *testing.T, folder, version string) {
	t.Helper()
	code, output, err := s.RunPost(t.Context(), folder, quickly(image(version)))
	require.NoError(t, err)
	assert.Equal(t, 0, code, output)
}

// marked is a mark of the point of no return that was written.
var marked = regexp.MustCompile(`msg=end step="mark as promoted" took=\S+\n`)

func killed(t *testing.T, s *Shop, before map[string]string, m moment) {
	t.Helper()
	guard, err := s.Guard(contextOf(t))
	require.NoError(t, err)
	folder := t.TempDir()
	again := "v2" // what was cancelled may be run again
	if m.promoted {
		again = "v3"
	}
	tool := m.started(t, s, folder, again)
	if !m.outlives {
		require.NoError(t, tool.Signal(syscall.SIGKILL))
		_, err = tool.Wait()
		require.Error(t, err)
	}
	s.post(t, folder, again)
	if m.outlives {
		code, err := tool.Wait()
		require.NoError(t, err)
		assert.Equal(t, 5, code, tool.Output())
	}
	assert.Empty(t, guard.Stop(), "a side with users and no serving endpoint")
	version := "v1"
	if m.promoted || marked.MatchString(tool.Output()) { // perhaps it was faster than the post entrypoint
		version = again
	}
	atHome(t, s, before, version)
	if t.Failed() {
		t.Log(tool.Output())
	}
}

// runs runs the tool to its end again and again, and asserts how.
func runs(t *testing.T, s *Shop) func(want int, flags ...string) string {
	t.Helper()
	return func(want int, flags ...string) string {
		t.Helper()
		code, output, err := s.RunTool(t.Context(), t.TempDir(), "run", quickly(flags...)...)
		require.NoError(t, err)
		require.Equal(t, want, code, output)
		return output
	}
}

func TestRerunOfAFinishedAndOfAKilledRun(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 1})
	run := runs(t, s)
	// A killed run is brought home by the next one, which then goes on.
	tool := atWeight20(t, s, quickly(image("v2"), "--step-duration=30s", forwarded)...)
	require.NoError(t, tool.Signal(syscall.SIGKILL))
	_, err := tool.Wait()
	require.Error(t, err)
	grown(t, s, image("v2"), "--step-duration=5s", forwarded)
	s.scale(t, 1)
	atHome(t, s, before, "v2")
	assert.Contains(t, run(0, image("v2")), "unchanged")
	atHome(t, s, before, "v2")
}

func TestRerunOfARolledBackRunIsRefusedUntilTheOfflineTest(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 1})
	run := runs(t, s)
	assert.Contains(t, run(1, image("v5"), `--gray-env=APP_FAULTS={"neverReady":true}`, "--pod-timeout=25s"), "offline")
	atHome(t, s, before, "v1")
	assert.Contains(t, run(3, image("v5")), "offline-test pass")
	atHome(t, s, before, "v1")
	code, status, err := s.RunTool(t.Context(), t.TempDir(), "status")
	require.NoError(t, err)
	require.Equal(t, 0, code, status)
	digest := digestIn(status)
	require.NotEmpty(t, digest, status)
	code, output, err := s.RunTool(t.Context(), t.TempDir(), "offline-test", "pass", "--digest="+digest, "--by=kim", "--why=tested on staging")
	require.NoError(t, err)
	require.Equal(t, 0, code, output)
	run(0, image("v5"))
	atHome(t, s, before, "v5")
}

// digestIn finds the digest of the line that tells of a hold.
func digestIn(status string) string {
	for _, line := range strings.Split(status, "\n") {
		if !strings.HasPrefix(line, "on hold") {
			continue
		}
		for _, word := range strings.Fields(line) {
			if strings.HasPrefix(word, "sha256:") {
				return word
			}
		}
	}
	return ""
}

func TestTwoRunsAtOnce(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 1})
	first, err := s.StartTool(t.Context(), t.TempDir(), "run", quickly(image("v2"), "--step-duration=20s")...)
	require.NoError(t, err)
	reaches(t, first, "watch gray at weight 20")
	begin := time.Now()
	code, output, err := s.RunTool(t.Context(), t.TempDir(), "run", quickly(image("v3"))...)
	require.NoError(t, err)
	assert.Equal(t, 3, code, output)
	assert.Less(t, time.Since(begin), 5*time.Second+20*pace(t, s))
	assert.Contains(t, output, "https://github.example/shop/web/actions/runs/7")
	assert.Contains(t, output, "kim")
	require.NoError(t, first.Signal(syscall.SIGINT))
	code, err = first.Wait()
	require.NoError(t, err)
	assert.Equal(t, 130, code, first.Output())
	atHome(t, s, before, "v1")
}

func TestNotEnoughEvidenceIsNoPass(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 1})
	code, output, err := s.RunTool(t.Context(), t.TempDir(), "run", image("v2"), "--steps=20", "--step-duration=1s", "--gray-args=--mode=gray")
	require.NoError(t, err)
	assert.Equal(t, 5, code, output)
	assert.Contains(t, output, "not enough evidence")
	atHome(t, s, before, "v1")
	_, status, err := s.RunTool(t.Context(), t.TempDir(), "status")
	require.NoError(t, err)
	assert.NotContains(t, status, "on hold")
}

func TestBadInputChangesNothing(t *testing.T) {
	t.Parallel()
	s, before := shopFor(t, Options{Replicas: 1})
	for _, tt := range []struct {
		name  string
		flags []string
		want  []string
	}{
		{"two faults at once", []string{image("v2"), "--steps=50,20", "--close-floor=101"}, []string{"steps", "50,20", "close-floor", "101"}},
		{"no such container", []string{image("v2"), "--container=nginx"}, []string{"nginx", "web"}},
		{"another repository", []string{"--image=registry.example.com/other:v1"}, []string{"registry.example.com/other", Repository}},
		{"a gateway of another kind", []string{image("v2"), "--gateway=virtualservice/web"}, []string{"virtualservice", "httproute/NAME"}},
		{"no such route", []string{image("v2"), "--gateway=httproute/nope"}, []string{"nope"}},
		{"an unknown flag", []string{image("v2"), "--stepz=5"}, []string{"stepz"}},
		{"a broken config file", []string{image("v2"), "--config=testdata/broken.yaml"}, []string{"broken.yaml", "stepz", "steps"}},
	} {
		code, output, err := s.RunTool(t.Context(), t.TempDir(), "run", tt.flags...)
		require.NoError(t, err)
		assert.Equal(t, 2, code, "%s: %s", tt.name, output)
		for _, want := range tt.want {
			assert.Contains(t, output, want, tt.name)
		}
	}
	atHome(t, s, before, "v1")
}

// TestAStoppedGatewayReplica is not parallel: it stops a replica that every shop shares.
func TestAStoppedGatewayReplica(t *testing.T) {
	s, before := shopFor(t, Options{Replicas: 1})
	folder := t.TempDir()
	tool, err := s.StartTool(t.Context(), folder, "run", quickly(image("v2"), "--close-timeout=10s")...)
	require.NoError(t, err)
	reaches(t, tool, "watch gray at weight 20")
	resume := stopOneGatewayReplica(t, s)
	code, err := tool.Wait()
	require.NoError(t, err)
	assert.Equal(t, 4, code, tool.Output())
	assert.Contains(t, tool.Output(), "gray-upgrade close --namespace "+s.Namespace)
	assert.Contains(t, tool.Output(), "not confirmed")
	now, err := s.Image(t.Context())
	require.NoError(t, err)
	assert.Contains(t, now, ":v1", "production was rolled without a confirmed weight")
	resume()
	code, output, err := s.RunTool(t.Context(), folder, "close")
	require.NoError(t, err)
	assert.Equal(t, 0, code, output)
	atHome(t, s, before, "v1")
}
