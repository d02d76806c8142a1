package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"github.com/vishvananda/netlink"
)

// The addresses are of 198.18.0.0/15, which is reserved for benchmarks: no real network uses it.
const (
	podNet     = "198.18.0.0/16"
	serviceNet = "198.19.0.0/16"
	// nodeIP is the node, the gateway of every pod, the API server and the DNS server. It is no loopback address
	// because the API server and the kubelet refuse one.
	nodeIP    = "198.18.0.1"
	apiIP     = "198.19.0.1" // of the Service default/kubernetes: the first of serviceNet
	bridge    = "node0"
	apiServer = "https://" + nodeIP + ":6443"
)

// network sets up the fresh network namespace: loopback, a bridge that holds the node's address, and forwarding.
// The bridge has no ports: pods are connected by links of their own (see cni.go).
func network() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	b := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}
	if err := netlink.LinkAdd(b); err != nil {
		return fmt.Errorf("add a bridge: %w", err)
	}
	addr, err := netlink.ParseAddr(nodeIP + "/32")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(b, addr); err != nil {
		return fmt.Errorf("give the bridge %s: %w", nodeIP, err)
	}
	if err := netlink.LinkSetUp(b); err != nil {
		return fmt.Errorf("bring the bridge up: %w", err)
	}
	// Service addresses need a route before kube-proxy's rules rewrite them. There is no default route: whatever tries
	// to leave the machine fails at once instead of after a timeout.
	_, services, err := net.ParseCIDR(serviceNet)
	if err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: b.Attrs().Index, Dst: services, Src: net.ParseIP(nodeIP)}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("route %s: %w", serviceNet, err)
	}
	for name, value := range map[string]string{
		"net/ipv4/ip_forward":             "1",
		"net/ipv4/conf/all/rp_filter":     "0",
		"net/ipv4/conf/default/rp_filter": "0",
		// Load from one address to one address: the default of 28000 ports, each held for a minute, is used up fast.
		"net/ipv4/ip_local_port_range": "10000 65000",
		"net/ipv4/tcp_tw_reuse":        "1",
	} {
		err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}
