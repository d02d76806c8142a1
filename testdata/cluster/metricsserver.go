package main

import "path/filepath"

// startMetricsServer starts what answers metrics.k8s.io, after its rights are there: without them it ends. Nobody waits for
// it: it answers within seconds, and has readings of a pod after the pod was seen twice.
//
// 10 s is the shortest resolution that it takes, and how often the kubelet reads its containers.
func (c *cluster) startMetricsServer() error {
	config := c.kubeconfig("metrics-server")
	return c.kube("metrics-server",
		"--kubeconfig="+config,
		"--authentication-kubeconfig="+config,
		"--authorization-kubeconfig="+config,
		"--bind-address="+nodeIP,
		"--secure-port=4443",
		"--cert-dir="+filepath.Join(state, "metrics-server"),
		"--kubelet-certificate-authority="+c.pki.cert("ca"),
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-request-timeout=5s",
		"--metric-resolution=10s",
	)
}
