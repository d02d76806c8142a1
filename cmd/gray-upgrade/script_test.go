package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/golden"
)

// TestMain lets the stories run this program under both of its names.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gray-upgrade": main, closeName: main})
}

// TestScript runs the stories of testdata/script: the command line as a job meets it, without a cluster.
func TestScript(t *testing.T) {
	servers := startServers(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true, UpdateScripts: golden.Update(),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "kubeconfig": servers.kubeconfig, "asked": servers.waitAsked,
		},
	})
}

// exits runs a program and compares its exit code: exits 2 gray-upgrade run
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT ...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Check(err)
	}
	got := 0
	if exit != nil {
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// servers are API servers that a story can meet.
type servers struct {
	addresses map[string]string
	asked     chan struct{} // one for each request that the silent server got
}

// startServers starts them, with TLS, since client-go sends no credential without: one accepts no credential, one never
// answers, one takes everybody for nobody, and one knows a ServiceAccount that may do nothing but ask what it may do. Nothing
// listens at the last one's address.
func startServers(t *testing.T) servers {
	t.Helper()
	s := servers{asked: make(chan struct{}, 100)}
	over := make(chan struct{})
	unauthorized := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, err := fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}`)
		if err != nil {
			t.Log(err)
		}
	}))
	silent := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s.asked <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}))
	anonymous := httptest.NewTLSServer(forbid("system:anonymous"))
	powerless := httptest.NewTLSServer(forbid("system:serviceaccount:shop:ci"))
	gone := httptest.NewTLSServer(http.NotFoundHandler())
	gone.Close()
	t.Cleanup(func() {
		close(over)
		unauthorized.Close()
		silent.Close()
		anonymous.Close()
		powerless.Close()
	})
	s.addresses = map[string]string{
		"unauthorized": unauthorized.URL, "silent": silent.URL, "anonymous": anonymous.URL, "powerless": powerless.URL, "gone": gone.URL,
	}
	return s
}

// forbid answers as an API server does to a user without a Role. Whoever is known may ask what he may do.
func forbid(user string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews") && user != "system:anonymous" {
			w.WriteHeader(http.StatusCreated)
			_, _ = fmt.Fprint(w, `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{},"status":{"allowed":false}}`)
			return
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":%q}`,
			fmt.Sprintf("%s is forbidden: User %q cannot do this", r.URL.Path, user))
	}
}

// kubeconfig writes the file kubeconfig for one of the servers: kubeconfig gone [plugin | token LIFETIME]
func (s servers) kubeconfig(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || s.addresses[args[0]] == "" {
		ts.Fatalf("usage: kubeconfig unauthorized|silent|anonymous|powerless|gone [plugin | token LIFETIME]")
	}
	user := `{token: opaque}`
	switch {
	case len(args) == 2 && args[1] == "plugin":
		user = `{exec: {apiVersion: client.authentication.k8s.io/v1, command: gke-auth-that-is-not-here, interactiveMode: Never}}`
	case len(args) == 3 && args[1] == "token":
		lifetime, err := time.ParseDuration(args[2])
		ts.Check(err)
		user = fmt.Sprintf(`{token: %s}`, tokenEnding(time.Now().Add(lifetime)))
	}
	text := fmt.Sprintf(`{kind: Config, apiVersion: v1, current-context: test,
clusters: [{name: test, cluster: {server: %q, insecure-skip-tls-verify: true}}],
users: [{name: test, user: %s}],
contexts: [{name: test, context: {cluster: test, user: test}}]}
`, s.addresses[args[0]], user)
	ts.Check(os.WriteFile(ts.MkAbs("kubeconfig"), []byte(text), 0o600))
}

// tokenEnding is a JSON web token whose signature nobody checks.
func tokenEnding(at time.Time) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode(fmt.Appendf(nil, `{"exp":%d}`, at.Unix())) + "." + encode([]byte("signature"))
}

// waitAsked waits until the silent server got a request: asked
func (s servers) waitAsked(ts *testscript.TestScript, _ bool, _ []string) {
	select {
	case <-s.asked:
	case <-time.After(20 * time.Second):
		ts.Fatalf("the silent server was not asked")
	}
}

func TestEveryStorySaysWhatItShows(t *testing.T) {
	files, err := os.ReadDir("testdata/script")
	require.NoError(t, err)
	for _, f := range files {
		text, err := os.ReadFile("testdata/script/" + f.Name())
		require.NoError(t, err)
		require.Regexp(t, `^# [A-Z].*\.\n`, string(text), f.Name())
	}
}

// TestTheExampleByHandIsUnderstood runs its commands without a cluster: they get as far as to miss one.
func TestTheExampleByHandIsUnderstood(t *testing.T) {
	text, err := os.ReadFile("../../testdata/examples/by-hand.sh")
	require.NoError(t, err)
	config, err := os.ReadFile("../../testdata/examples/gray-upgrade.yaml")
	require.NoError(t, err)
	ran := 0
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "gray-upgrade" {
			continue
		}
		ran++
		var out strings.Builder
		code := run(t.Context(), words, world{
			Getenv: func(name string) string {
				return map[string]string{"SHOP_TOKEN_1": "abcd1", "SHOP_SESSION_2": "abcd2"}[name]
			},
			Environ:  func() []string { return nil },
			ReadFile: func(string) ([]byte, error) { return config, nil },
			Stdout:   &out, Stderr: &out,
		})
		assert.Equal(t, exitInput, code, line)
		assert.Contains(t, out.String(), `context "gray-upgrade": `, line)
	}
	assert.Equal(t, 4, ran)
}

// TestTheExampleOfReplay runs it as it stands.
func TestTheExampleOfReplay(t *testing.T) {
	shared, err := filepath.Abs("../../testdata")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	require.NoError(t, os.Symlink(shared, "testdata"))
	out, err := exec.CommandContext(t.Context(), "sh", "-eu", "testdata/examples/replay.sh").CombinedOutput()
	require.NoError(t, err, "%s", out)
	then, other, _ := strings.Cut(string(out), "The same limits lead to the same verdicts.")
	assert.Regexp(t, `gray +20 .* fail at once [0-9:.]+ p99 +fail at once [0-9:.]+ p99`, then)
	assert.Regexp(t, `gray +20 .* fail at once [0-9:.]+ p99 +not judged`, other)
}
