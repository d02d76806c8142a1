// Gray-upgrade upgrades a running Kubernetes service through gray nodes, as one step of a CI/CD pipeline: gray nodes start
// with the new image, are proven with test accounts, get production traffic step by step under watch, carry all of
// it while production is rolled to the same image, and go. On an anomaly gray traffic is closed and the job fails.
//
// Read next: internal/upgrade/upgrade.go (how a plan is run), internal/plan/build.go (the method, in order) and
// internal/plan/close.go (where users end when something is wrong).
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args, world{Getenv: os.Getenv, ReadFile: os.ReadFile, Stdout: os.Stdout, Stderr: os.Stderr})
	stop()
	os.Exit(code)
}

// world is what the program touches beside the cluster.
type world struct {
	Getenv   func(string) string
	ReadFile func(string) ([]byte, error)
	Stdout   io.Writer
	Stderr   io.Writer
}

// closeName is the second name of the program: GitHub runs it as the action's post entrypoint, with main's arguments.
const closeName = "gray-upgrade-close"

// run does one command and returns the exit code.
func run(ctx context.Context, args []string, w world) int {
	if filepath.Base(args[0]) == closeName {
		return afterwards(ctx, w)
	}
	name, rest := command(args[1:])
	switch name {
	case "run":
		return upgradeCommand(ctx, rest, w)
	case "plan":
		return planCommand(ctx, rest, w)
	case "close":
		return closeCommand(ctx, rest, w)
	case "status":
		return statusCommand(ctx, rest, w)
	case "offline-test":
		return offlineTestCommand(ctx, rest, w)
	case "watchdog":
		return watchdogCommand(ctx, rest, w)
	case "version":
		fmt.Fprintln(w.Stdout, "gray-upgrade", version)
		return exitDone
	case "help":
		fmt.Fprint(w.Stdout, help(rest))
		return exitDone
	}
	return usage(w, "there is no command %q; allowed: run, plan, close, status, offline-test, watchdog, version, help", name)
}

// command splits the command from its flags; without one it is run.
func command(args []string) (string, []string) {
	switch {
	case len(args) == 0:
		return "run", nil
	case args[0] == "-h" || args[0] == "--help":
		return "help", nil
	case args[0] != "" && args[0][0] == '-':
		return "run", args
	}
	return args[0], args[1:]
}
