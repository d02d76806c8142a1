package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Prometheus runs a real Prometheus (2.42 of Debian 12; testdata/cluster/prometheus.sh brings it) that scrapes the targets,
// HOST:PORT, every second. It returns the base URL, once it answers, and what kills it; the end of the test does, too.
func Prometheus(t *testing.T, targets ...string) (url string, kill func()) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs: [{job_name: test, static_configs: [{targets: [%s]}]}]
`, strings.Join(targets, ",")), 0o600))
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	address := freeAddress(t)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(root(t), ".build", "bin", "prometheus"),
		"--config.file="+file, "--web.listen-address="+address, "--storage.tsdb.path="+dir)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start(), "testdata/cluster/prometheus.sh brings it")
	killed := false
	kill = func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // says that it was killed
		}
	}
	t.Cleanup(func() {
		kill()
		_ = log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("prometheus: %s", text)
		}
	})
	url = "http://" + address
	require.Eventually(t, func() bool { return answers(t.Context(), url+"/-/ready") }, time.Minute, 100*time.Millisecond, "prometheus is not ready")
	return url, kill
}

// freeAddress is one of this machine that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	var c net.ListenConfig
	free, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, free.Close())
	return free.Addr().String()
}

func answers(ctx context.Context, url string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// root is the folder of the repository, from that of any package in it.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir
		}
		require.True(t, errors.Is(err, os.ErrNotExist) && filepath.Dir(dir) != dir, "no go.mod above the test: %v", err)
		dir = filepath.Dir(dir)
	}
}
