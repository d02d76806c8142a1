package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// tailLines is how much of a component's log is shown when it ends by itself.
const tailLines = 15

// run starts a component that is to stay, with its output in a log of its name. When it ends, that is a failure.
func (c *cluster) run(name, path string, args ...string) error {
	log := filepath.Join(c.dir, "logs", name+".log")
	f, err := os.Create(log)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.Dir = state
	cmd.Env = componentEnv()
	// A group of its own keeps the terminal's Ctrl-C away from it: the command may still need the cluster to clean up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = cmd.Wait() // its state says more
		c.failed <- fmt.Errorf("%s ended (%s), its last words:\n%s", name, cmd.ProcessState, tail(log, tailLines))
	}()
	return nil
}

// kube starts a component of the Kubernetes binary.
func (c *cluster) kube(name string, args ...string) error {
	return c.run(name, filepath.Join(c.bin, "kube"), append([]string{name}, args...)...)
}

// componentEnv is the environment of every component: proxies and settings of the caller are not for them.
func componentEnv() []string {
	// GOGC: memory is cheaper here than the processor time of garbage collection.
	return []string{"GOGC=400", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + state}
}

// tail returns the last n lines of a file.
func tail(path string, n int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
