package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Tool is gray-upgrade running as its own process, as a CI job starts it.
type Tool struct {
	cmd    *exec.Cmd
	output lockedBuffer
	done   chan struct{}
	err    error
	folder string
}

// Flags for short runs on the demo shop.
func (s *Shop) flags(command, extra []string) []string {
	return slices.Concat(command, []string{"--namespace=" + s.Namespace, "--service=web"}, extra)
}

// wordsFirst puts the words of a command (offline-test pass) before its flags.
func wordsFirst(command string, rest []string) (words, flags []string) {
	words = []string{command}
	for len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		words, rest = append(words, rest[0]), rest[1:]
	}
	return words, rest
}

// githubEnv is what a GitHub runner tells a step; the files are in folder.
func githubEnv(folder string) []string {
	return []string{
		"GITHUB_ACTIONS=true", "GITHUB_STEP_SUMMARY=" + filepath.Join(folder, "summary.md"),
		"GITHUB_OUTPUT=" + filepath.Join(folder, "output"), "GITHUB_STATE=" + filepath.Join(folder, "state"),
		"GITHUB_SERVER_URL=https://github.example", "GITHUB_REPOSITORY=shop/web", "GITHUB_RUN_ID=7", "GITHUB_RUN_ATTEMPT=1", "GITHUB_ACTOR=kim",
	}
}

// savedState turns what a step wrote into its state file (NAME<<MARK, value, MARK) into the variables of its post step.
func savedState(file string) []string {
	var env []string
	lines := strings.Split(file, "\n")
	for i := 0; i+2 < len(lines); i++ {
		if name, mark, ok := strings.Cut(lines[i], "<<"); ok && lines[i+2] == mark {
			env = append(env, "STATE_"+name+"="+lines[i+1])
			i += 2
		}
	}
	return env
}

// StartTool starts a command of gray-upgrade on the shop; folder takes evidence and summary.
func (s *Shop) StartTool(ctx context.Context, folder, command string, extra ...string) (*Tool, error) {
	t := &Tool{folder: folder, done: make(chan struct{})}
	words, extra := wordsFirst(command, extra)
	if command == "run" {
		extra = append([]string{"--evidence=" + filepath.Join(folder, "evidence")}, extra...)
	}
	t.cmd = exec.CommandContext(ctx, Bin("gray-upgrade"), s.flags(words, extra)...)
	t.cmd.Stdout, t.cmd.Stderr = &t.output, &t.output
	t.cmd.Env = append(append(os.Environ(), githubEnv(folder)...), s.Env...)
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		t.err = t.cmd.Wait()
		close(t.done)
	}()
	return t, nil
}

// RunPost runs the action's post entrypoint as GitHub does: the same inputs, and the state that main saved.
func (s *Shop) RunPost(ctx context.Context, folder string, inputs []string) (code int, output string, err error) {
	cmd := exec.CommandContext(ctx, Bin("gray-upgrade"), "run")
	cmd.Args[0] = "gray-upgrade-close" // the image has it as a second name of the same binary
	cmd.Env = append(append(os.Environ(), githubEnv(folder)...), s.Env...)
	for _, in := range s.flags(nil, inputs) {
		name, value, _ := strings.Cut(strings.TrimPrefix(in, "--"), "=")
		cmd.Env = append(cmd.Env, "INPUT_"+strings.ToUpper(name)+"="+value)
	}
	state, err := os.ReadFile(filepath.Join(folder, "state"))
	if err != nil {
		return 0, "", err
	}
	cmd.Env = append(cmd.Env, savedState(string(state))...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), string(out), nil
	}
	return 0, string(out), err
}

// RunTool starts a command and waits for its exit code.
func (s *Shop) RunTool(ctx context.Context, folder, command string, extra ...string) (code int, output string, err error) {
	t, err := s.StartTool(ctx, folder, command, extra...)
	if err != nil {
		return 0, "", err
	}
	code, err = t.Wait()
	return code, t.Output(), err
}

// Wait returns the exit code; a process that a signal ended is an error.
func (t *Tool) Wait() (int, error) {
	<-t.done
	var exit *exec.ExitError
	if errors.As(t.err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, t.err
}

// Ended says whether the process has ended, at the latest after so long.
func (t *Tool) Ended(within time.Duration) bool {
	select {
	case <-t.done:
		return true
	case <-time.After(within):
		return false
	}
}

// WaitFor returns when the output holds the text, or false when the process ended or the time is over without.
func (t *Tool) WaitFor(text string, within time.Duration) bool {
	deadline := time.Now().Add(within)
	for !strings.Contains(t.Output(), text) {
		select {
		case <-t.done:
			return strings.Contains(t.Output(), text)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// Steps tells each step as it begins, until the process ends.
func (t *Tool) Steps(tell func(step string)) {
	told := 0
	for {
		steps := begun.FindAllStringSubmatch(t.Output(), -1)
		for ; told < len(steps); told++ {
			tell(steps[told][1])
		}
		select {
		case <-t.done:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// begun finds the steps in the log.
var begun = regexp.MustCompile(`msg=begin step="([^"]*)"`)

// Signal sends a signal to the process.
func (t *Tool) Signal(sig syscall.Signal) error { return t.cmd.Process.Signal(sig) }

// Output is what the process has printed until now.
func (t *Tool) Output() string { return t.output.String() }

// File reads one of the files that the tool wrote for its CI, by a pattern: summary.md, output, state, evidence/*/evidence.jsonl.
func (t *Tool) File(pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(t.folder, pattern))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%d files match %s: %w", len(found), pattern, errors.Join(err, os.ErrNotExist))
	}
	b, err := os.ReadFile(found[0])
	return string(b), err
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
