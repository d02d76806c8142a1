package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// insideName is the hidden command of the process that starts the cluster.
const insideName = "in-cluster"

// startTimeout bounds the start. An idle machine needs a tenth of it.
const startTimeout = 3 * time.Minute

// A cluster is what the parts need to know of each other.
type cluster struct {
	dir   string // of this run; outlives the namespaces
	bin   string // of the binaries
	root  string // of the repository
	start time.Time
	pki   *pki
	// failed gets the error of a component that ended by itself.
	failed chan error
}

// state is the folder of everything that ends with the namespaces. It lies on /run, which is private and in memory:
// overlayfs works on it wherever the machine keeps its own files, and nothing waits for a disk.
const state = "/run/cluster"

// inside starts the cluster and runs the command, or waits for a signal when there is none. Everything it started is
// killed by the kernel when it returns, with the namespaces.
func inside(args []string) error {
	pid, _ := io.ReadAll(os.NewFile(3, "pid"))
	c := &cluster{dir: args[0], bin: args[1], root: args[2], start: time.Now(), failed: make(chan error, 16)}
	command := args[3:]

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	env, err := c.up(ctx)
	if ctx.Err() != nil {
		return exitCode(128 + int(syscall.SIGINT))
	}
	if err != nil {
		return fmt.Errorf("the cluster did not start: %w", err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, startedFile), nil, 0o644); err != nil {
		return err
	}
	go func() {
		for err := range c.failed {
			fmt.Fprintln(os.Stderr, "cluster:", err)
		}
	}()
	if len(command) == 0 {
		fmt.Fprintf(os.Stderr, "cluster up until Ctrl-C. To enter it:\n  %s\n", enterCommand(string(pid), c.kubeconfig("admin")))
		<-ctx.Done()
		return nil
	}
	stop()
	return runCommand(command, env)
}

// up starts everything and returns the environment of a command that uses it.
func (c *cluster) up(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	started := make(chan struct{})
	defer close(started)
	go func() {
		select {
		case err := <-c.failed:
			fail(err)
		case <-started:
		}
	}()
	env, err := c.steps(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return nil, cause
	}
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("not ready after %s: %w", startTimeout, err)
	}
	return env, err
}

func (c *cluster) steps(ctx context.Context) ([]string, error) {
	if err := os.MkdirAll(state, 0o755); err != nil {
		return nil, err
	}
	if err := network(); err != nil {
		return nil, err
	}
	var err error
	if c.pki, err = newPKI(filepath.Join(state, "pki")); err != nil {
		return nil, err
	}
	if err := c.writeKubeconfigs(); err != nil {
		return nil, err
	}
	if err := c.startEtcd(); err != nil {
		return nil, err
	}
	if err := c.startAPIServer(); err != nil {
		return nil, err
	}
	if err := c.startContainerd(); err != nil {
		return nil, err
	}
	images := make(chan error, 1)
	go func() { images <- c.serveImages(ctx) }()
	clients, err := c.connect()
	if err != nil {
		return nil, err
	}
	if err := clients.waitAPI(ctx); err != nil {
		return nil, err
	}
	c.phase("API server ready")
	for _, start := range []func() error{c.startScheduler, c.startControllerManager, c.startKubelet, c.startProxy} {
		if err := start(); err != nil {
			return nil, err
		}
	}
	if err := clients.applyCRDs(ctx, c.root); err != nil {
		return nil, err
	}
	if err := <-images; err != nil {
		return nil, err
	}
	c.phase("images pushed")
	if err := clients.applyManifests(ctx, c.root); err != nil {
		return nil, err
	}
	if err := c.startMetricsServer(); err != nil {
		return nil, err
	}
	if err := startDNS(ctx, clients.kube); err != nil {
		return nil, err
	}
	if err := clients.waitNode(ctx); err != nil {
		return nil, err
	}
	c.phase("node ready")
	gateway, err := clients.waitGateway(ctx)
	if err != nil {
		return nil, err
	}
	if gateway != "" {
		c.phase("gateway ready")
	}
	return c.environment(gateway), nil
}

// phase says what is done and how long after the start.
func (c *cluster) phase(what string) {
	fmt.Fprintf(os.Stderr, "cluster: %s %.1fs\n", what, time.Since(c.start).Seconds())
}

// environment is what a command on the cluster gets.
func (c *cluster) environment(gateway string) []string {
	env := []string{
		"KUBECONFIG=" + c.kubeconfig("admin"),
		"GRAY_TEST_CLUSTER=1",
		"CLUSTER_REGISTRY=" + registryAddress,
		"CLUSTER_NODE_IP=" + nodeIP,
		"CLUSTER_AUDIT_LOG=" + c.auditLog(),
		"CLUSTER_BIN=" + c.bin,
		"GOPROXY=off", // there is no network inside: say so at once instead of after a timeout
	}
	if gateway != "" {
		env = append(env, "CLUSTER_GATEWAY_URL="+gateway)
	}
	return env
}
