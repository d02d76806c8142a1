package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// initName is the hidden command of the first process in the namespaces.
const initName = "in-namespaces"

// initProcess is process 1 of the PID namespace: it gives the namespaces their own /proc and /run, starts the process
// that does the work, reaps orphans (every container's shim is one) and ends, and with it everything, when that ends.
//
// The two are apart because a process that reaps every child cannot also wait for commands of its own.
func initProcess(args []string) error {
	if err := privateMounts(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	child, err := os.StartProcess(self, append([]string{self, insideName}, args...), &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, os.NewFile(3, "pid")},
		Env:   os.Environ(),
	})
	if err != nil {
		return err
	}
	go func() {
		for s := range signals {
			_ = syscall.Kill(child.Pid, s.(syscall.Signal))
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return fmt.Errorf("wait for children: %w", err)
		case pid == child.Pid:
			return exitCode(shellCode(status))
		}
	}
}

// privateMounts keeps what is mounted here from the machine and hides the machine's /run.
//
// containerd's shims, its network namespaces and the kubelet use fixed folders, which would mix two clusters; an
// empty file system over each keeps them apart. The mount points in /var stay behind, empty, when they were not there:
// removing one would unmount it in the namespaces of a cluster that still runs.
func privateMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, dir := range []string{"/run", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	return fixedTunables()
}

// tunables are the settings of the whole machine that the kubelet would change. They have no namespace, so it gets to
// see files with the values it wants and leaves the machine alone.
var tunables = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

func fixedTunables() error {
	for name, value := range tunables {
		f, err := os.CreateTemp("/run", "tunable-")
		if err != nil {
			return err
		}
		if _, err := f.WriteString(value + "\n"); err != nil {
			return err
		}
		f.Close()
		if err := unix.Mount(f.Name(), "/proc/sys/"+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover %s: %w", name, err)
		}
	}
	return nil
}
