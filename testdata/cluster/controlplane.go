package main

import (
	"os"
	"path/filepath"
)

// auditLog is the path of the API server's audit log. The server writes a request's line before it answers.
func (c *cluster) auditLog() string { return filepath.Join(c.dir, "audit.log") }

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    nonResourceURLs: [/readyz*, /livez*, /healthz*]
  - level: None # heartbeats
    resources: [{group: coordination.k8s.io}]
    namespaces: [kube-system, kube-node-lease]
  - level: Metadata
`

func (c *cluster) startEtcd() error {
	return c.kube("etcd", "--data-dir", filepath.Join(state, "etcd"))
}

// startAPIServer starts the API server with what it has in a real cluster: RBAC, the node's restrictions, the default
// admission plugins, aggregation and an audit log.
func (c *cluster) startAPIServer() error {
	policy := filepath.Join(state, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o644); err != nil {
		return err
	}
	p := c.pki
	return c.kube("kube-apiserver",
		"--etcd-servers=http://127.0.0.1:2379",
		"--advertise-address="+nodeIP,
		"--service-cluster-ip-range="+serviceNet,
		"--allow-privileged=true",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--cert-dir="+filepath.Join(state, "apiserver"),
		"--tls-cert-file="+p.cert("apiserver"),
		"--tls-private-key-file="+p.keyFile("apiserver"),
		"--client-ca-file="+p.cert("ca"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-signing-key-file="+p.keyFile("service-account"),
		"--service-account-key-file="+p.keyFile("service-account"),
		"--kubelet-client-certificate="+p.cert("apiserver-kubelet"),
		"--kubelet-client-key="+p.keyFile("apiserver-kubelet"),
		"--kubelet-certificate-authority="+p.cert("ca"),
		"--kubelet-preferred-address-types=InternalIP",
		// Aggregation, for metrics.k8s.io.
		"--proxy-client-cert-file="+p.cert("front-proxy"),
		"--proxy-client-key-file="+p.keyFile("front-proxy"),
		"--requestheader-client-ca-file="+p.cert("front-ca"),
		"--requestheader-allowed-names=front-proxy",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--audit-policy-file="+policy,
		"--audit-log-path="+c.auditLog(),
		"--audit-log-mode=blocking",
	)
}

func (c *cluster) startControllerManager() error {
	p, config := c.pki, c.kubeconfig("controller-manager")
	return c.kube("kube-controller-manager",
		"--kubeconfig="+config,
		"--authentication-kubeconfig="+config,
		"--authorization-kubeconfig="+config,
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		// It makes an account and a token for each controller when it starts: at the default of 20 requests a second,
		// that alone takes 4 s.
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		"--root-ca-file="+p.cert("ca"),
		"--service-account-private-key-file="+p.keyFile("service-account"),
		"--cluster-signing-cert-file="+p.cert("ca"),
		"--cluster-signing-key-file="+p.keyFile("ca"),
		"--cert-dir="+filepath.Join(state, "controller-manager"),
	)
}

func (c *cluster) startScheduler() error {
	config := c.kubeconfig("scheduler")
	return c.kube("kube-scheduler",
		"--kubeconfig="+config,
		"--authentication-kubeconfig="+config,
		"--authorization-kubeconfig="+config,
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--cert-dir="+filepath.Join(state, "scheduler"),
	)
}
