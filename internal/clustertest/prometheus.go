package clustertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	address := freeAddress(t)
	url = "http://" + address
	return url, serve(t, url+"/-/ready", "prometheus",
		"--config.file="+file, "--web.listen-address="+address, "--storage.tsdb.path="+dir)
}
