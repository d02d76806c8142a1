package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// contextOf is the test's context without its end: clean-up runs after it.
func contextOf(t *testing.T) context.Context { return context.WithoutCancel(t.Context()) }

// proxied puts a proxy between the tool and the API server; flag makes the tool use it. token: "" for the credential of the
// cluster, or the file with another one.
func proxied(t *testing.T, s *Shop, token string) (p *Proxy, flag string) {
	t.Helper()
	p, err := StartProxy(s.Rest)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	flag, err = p.Kubeconfig(filepath.Join(t.TempDir(), "kubeconfig"), token)
	require.NoError(t, err)
	return p, flag
}

// failOneGrayPod makes one of three gray pods fail test accounts, as soon as it takes faults.
func failOneGrayPod(t *testing.T, s *Shop) {
	t.Helper()
	require.Eventually(t, func() bool {
		pods, err := s.Pods(t.Context(), GraySelector)
		if err != nil || len(pods) == 0 || pods[0].Status.PodIP == "" {
			return false
		}
		return post(t.Context(), fmt.Sprintf("http://%s:%d/faults", pods[0].Status.PodIP, adminPort), `{"failAccounts":true}`) == nil
	}, time.Minute, 5*time.Millisecond)
}

// stopOneGatewayReplica stops the process of one gateway pod by SIGSTOP: it answers nothing and serves what it has. The
// function it returns lets it go on.
func stopOneGatewayReplica(t *testing.T, s *Shop) (resume func()) {
	t.Helper()
	pods, err := s.Kube.CoreV1().Pods("gateway").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=traefik"})
	require.NoError(t, err)
	require.Len(t, pods.Items, 2)
	pid := processOf(t, string(pods.Items[0].UID), "traefik")
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	resumed := false
	resume = func() {
		if !resumed {
			resumed = true
			require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
		}
	}
	t.Cleanup(resume)
	return resume
}

// processOf finds the process of a pod by its cgroup and the name of its program.
func processOf(t *testing.T, uid, program string) int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cgroup")
	require.NoError(t, err)
	for _, file := range all {
		groups, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(groups, []byte(uid)) {
			continue
		}
		name, err := os.ReadFile(filepath.Join(filepath.Dir(file), "comm"))
		if err != nil || strings.TrimSpace(string(name)) != program {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		require.NoError(t, err)
		return pid
	}
	t.Fatalf("no process %s of pod %s", program, uid)
	return 0
}
