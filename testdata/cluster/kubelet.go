package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// startKubelet starts the node.
func (c *cluster) startKubelet() error {
	v2, err := unifiedOnly()
	if err != nil {
		return err
	}
	// protectKernelDefaults: see init.go; the kubelet finds what it wants and changes nothing of the machine.
	// localStorageCapacityIsolation, evictionHard and imageGCHighThresholdPercent: a full disk is not this cluster's
	// concern. resolvConf: empty, because the machine's name servers are out of reach.
	// failCgroupV1: the kubelet refuses version 1 by default.
	config := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[1]s}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /%[2]s
clusterDNS: [%[3]s]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://%[4]s
enforceNodeAllocatable: []
evictionHard: {}
failCgroupV1: %[5]t
failSwapOn: false
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
maxPods: 250
oomScoreAdj: 0
podLogsDir: %[6]s
protectKernelDefaults: true
registryPullQPS: 0
resolvConf: ""
serializeImagePulls: false
tlsCertFile: %[7]s
tlsPrivateKeyFile: %[8]s
volumePluginDir: %[9]s
`, c.pki.cert("ca"), filepath.Base(c.dir), nodeIP, containerdSocket, v2, "/var/log/pods",
		c.pki.cert("kubelet-server"), c.pki.keyFile("kubelet-server"), filepath.Join(state, "volume-plugins"))
	file := filepath.Join(state, "kubelet.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	return c.kube("kubelet",
		"--config="+file,
		"--kubeconfig="+c.kubeconfig("kubelet"),
		"--hostname-override="+nodeName,
		"--node-ip="+nodeIP,
		"--root-dir=/var/lib/kubelet",
	)
}

// startProxy starts the part that makes Service addresses work.
func (c *cluster) startProxy() error {
	// The limits of conntrack are settings of the whole machine: zero leaves them.
	config := fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: %q}
clusterCIDR: %s
conntrack:
  maxPerCore: 0
  min: 0
  tcpCloseWaitTimeout: 0s
  tcpEstablishedTimeout: 0s
hostnameOverride: %s
mode: nftables
oomScoreAdj: 0
`, c.kubeconfig("proxy"), podNet, nodeName)
	file := filepath.Join(state, "proxy.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	return c.kube("kube-proxy", "--config="+file)
}
