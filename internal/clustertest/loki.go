package clustertest

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// lokiConfig is one process that keeps everything in a folder and talks to nobody. It is ready at once and not after the time
// in which several would find together (15 s and 10 s for the ring and the scheduler), and takes what a test sends at once.
const lokiConfig = `
analytics: {reporting_enabled: false}
common:
  instance_addr: 127.0.0.1
  replication_factor: 1
  ring: {kvstore: {store: inmemory}}
ingester: {lifecycler: {min_ready_duration: 0s}}
limits_config: {ingestion_rate_mb: 1000, ingestion_burst_size_mb: 1000, per_stream_rate_limit: 1GB, per_stream_rate_limit_burst: 1GB}
schema_config:
  configs:
    - {from: "2024-01-01", store: tsdb, object_store: filesystem, schema: v13, index: {prefix: index_, period: 24h}}
server: {http_listen_address: 127.0.0.1, grpc_listen_address: 127.0.0.1, log_level: warn}
`

// Loki runs a real Loki (testdata/loki/go.mod says which) without tenants and with the limits that are its defaults, but for how
// fast it takes lines; flags change that (https://grafana.com/docs/loki/latest/configure/). It returns the base URL, once it
// answers; the end of the test kills it.
func Loki(t *testing.T, flags ...string) (url string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "loki.yaml")
	require.NoError(t, os.WriteFile(file, []byte(lokiConfig), 0o600))
	address := freeAddress(t)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	_, grpc, err := net.SplitHostPort(freeAddress(t))
	require.NoError(t, err)
	url = "http://" + address
	serve(t, url+"/ready", "loki", append([]string{
		"-config.file=" + file, "-auth.enabled=false", "-common.path-prefix=" + dir,
		"-common.storage.filesystem.chunk-directory=" + filepath.Join(dir, "chunks"),
		"-common.storage.filesystem.rules-directory=" + filepath.Join(dir, "rules"),
		"-server.http-listen-port=" + port, "-server.grpc-listen-port=" + grpc, "-querier.frontend-address=127.0.0.1:" + grpc,
	}, flags...)...)
	return url
}
