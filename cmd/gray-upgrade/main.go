// Gray-upgrade upgrades a running Kubernetes service through gray pods, as one step of a CI/CD pipeline: gray pods start
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
	"strings"
	"syscall"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args, world{Getenv: os.Getenv, Environ: os.Environ, ReadFile: readFile, Stdout: os.Stdout, Stderr: os.Stderr})
	stop()
	os.Exit(code)
}

// world is what the program touches beside the cluster.
type world struct {
	Getenv   func(string) string
	Environ  func() []string // NAME=VALUE
	ReadFile func(string) ([]byte, error)
	Stdout   io.Writer
	Stderr   io.Writer
}

// maxFile is the most bytes of a config file.
const maxFile = 1 << 20

// readFile reads a file that a person wrote: one that has no end, or no business here, is an error.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if len(text) > maxFile {
		return nil, fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return text, err
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
	case "forget":
		return forgetCommand(ctx, rest, w)
	case "replay":
		return replayCommand(rest, w)
	case "watchdog":
		return watchdogCommand(ctx, rest, w)
	case "version":
		fmt.Fprintln(w.Stdout, "gray-upgrade", version)
		return exitDone
	case "help":
		return helpCommand(rest, w)
	}
	return noCommand(name, w)
}

// command splits the command from its flags; without one it is run. CI hands over the words of one in one argument.
func command(args []string) (string, []string) {
	switch {
	case len(args) == 0:
		return "run", nil
	case args[0] == "-h" || args[0] == "--help":
		return "help", args[1:]
	case args[0] == "--version":
		return "version", nil
	case args[0] != "" && args[0][0] == '-':
		return "run", args
	}
	words := strings.Fields(args[0])
	if len(words) == 0 {
		return args[0], args[1:]
	}
	return words[0], append(words[1:], args[1:]...)
}
