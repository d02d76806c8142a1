package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// outer runs command on a cluster: the one of KUBECONFIG if that is set, else one of its own. Without a command the
// cluster stays until a signal comes.
//
// It builds and installs before it enters the namespaces, because no network is to be had inside. It also cleans up
// after them: whatever way they ended, everything of theirs that outlives a process is a folder or a cgroup with the
// run's name.
func outer(command []string) error {
	if file := os.Getenv("KUBECONFIG"); file != "" {
		if command == nil {
			return fmt.Errorf("KUBECONFIG is set (%s): there is a cluster already", file)
		}
		fmt.Fprintf(os.Stderr, "using the cluster of KUBECONFIG=%s\n", file)
		return replaceBy(command)
	}
	if os.Geteuid() != 0 {
		return errors.New("own namespaces and mounts need root: run this with sudo, or set KUBECONFIG to use a cluster that runs")
	}
	if err := installPackages(); err != nil {
		return err
	}
	if err := build(); err != nil {
		return err
	}
	root, err := repository()
	if err != nil {
		return err
	}
	sweep()
	dir, unlock, err := newRunFolder()
	if err != nil {
		return err
	}
	defer unlock()
	group, err := newGroup(filepath.Base(dir))
	if err != nil {
		return err
	}
	defer group.remove()
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o755); err != nil {
		return err
	}
	err = enter(append([]string{dir, binFolder(root), root}, command...))
	var code exitCode
	interrupted := errors.As(err, &code) && code > 128
	if _, failed := os.Stat(filepath.Join(dir, startedFile)); failed != nil && !interrupted {
		fmt.Fprintf(os.Stderr, "logs: %s\n", filepath.Join(dir, "logs"))
		return err
	}
	if rm := os.RemoveAll(dir); rm != nil {
		fmt.Fprintln(os.Stderr, "cluster:", rm)
	}
	return err
}

// startedFile marks, in a run's folder, that the cluster came up: then its logs go when the run ends.
const startedFile = "started"

// enter runs the first process of new namespaces and returns when every process in them has ended. The signals that
// end this process are passed on; when it is killed, the kernel ends the namespaces.
func enter(args []string) error {
	// The parent's death signal comes when the thread that forked ends, so this goroutine keeps its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", append([]string{initName}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{pid}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("enter new namespaces: %w (in a container, this needs --privileged)", err)
	}
	pid.Close()
	// The process inside cannot see the number it has out here, which `cluster up` has to name.
	fmt.Fprintln(tell, cmd.Process.Pid)
	tell.Close()
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	return exitCode(shellCode(exit.Sys().(syscall.WaitStatus)))
}

// shellCode is the exit code that a shell gives to a process that ended so.
func shellCode(s syscall.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}

// replaceBy becomes command.
func replaceBy(command []string) error {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, command, os.Environ())
}

// runPrefix begins the name of every run's folder and cgroup.
const runPrefix = "gray-cluster-"

// newRunFolder makes the folder of this run and holds a lock on it until unlock: a folder without one is left over.
// It is always in /tmp: a longer TMPDIR could make the paths of sockets too long.
func newRunFolder() (dir string, unlock func(), err error) {
	dir, err = os.MkdirTemp("/tmp", runPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", nil, err
	}
	f, err := lockRun(dir, 0) // waits, for another run's sweep may just look at it
	if err != nil {
		return "", nil, err
	}
	return dir, func() { f.Close() }, os.Chmod(dir, 0o755)
}

func lockRun(dir string, how int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// sweep removes what runs that were killed have left: their cgroups, and their folders when they had started (a
// failed start's logs stay for a day). Errors do not matter: the next sweep tries again.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join("/tmp", runPrefix+"*"))
	for _, dir := range dirs {
		f, err := lockRun(dir, syscall.LOCK_NB)
		if err != nil {
			continue
		}
		group{filepath.Base(dir)}.remove()
		info, err := os.Stat(dir)
		old := err == nil && time.Since(info.ModTime()) > 24*time.Hour
		if _, err := os.Stat(filepath.Join(dir, startedFile)); err == nil || old {
			_ = os.RemoveAll(dir)
		}
		f.Close()
	}
}

// enterCommand is the shell line that enters a running cluster from outside.
func enterCommand(pid, kubeconfig string) string {
	return fmt.Sprintf("nsenter -t %s -n -m -p env KUBECONFIG=%s bash", strings.TrimSpace(pid), kubeconfig)
}
