// Package ci is where a job came from and where its words go: GitHub Actions, Tekton, or a terminal (any other CI is one).
package ci

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Host is the CI system around this process. Its methods may be called at the same time; all text that reaches it may
// be foreign. What was given to Mask is never printed or written by it.
type Host struct {
	// Name says what was detected: "github", "tekton" or "terminal".
	Name string

	getenv  func(string) string
	dialect dialect

	mu      sync.Mutex
	out     io.Writer
	errs    io.Writer // for errors and warnings
	secrets []string  // longest first
}

// level is how loud a message is.
type level string

const (
	levelError   level = "error"
	levelWarning level = "warning"
	levelNotice  level = "notice"
)

// dialect is what hosts do differently. The text it gets is clean and masked; it may hold line breaks. What it returns is
// printed in one piece.
type dialect interface {
	message(l level, title, text string) string
	group(title string) string
	endGroup() string
	foreign(text string) string
	own(text string) string // text of this program, in which foreign text may stand
	mask(secret string) string
	output(key, value string) error
	state(key, value string) error
}

// Detect finds out where this process runs, from its environment. Everything is printed to out, but on a terminal errors and
// warnings to errs: CI reads them as commands, in their place among the rest.
func Detect(getenv func(string) string, out, errs io.Writer) *Host {
	h := &Host{Name: "terminal", getenv: getenv, out: out, errs: errs, dialect: terminal{out: out}}
	switch {
	case getenv("GITHUB_ACTIONS") == "true":
		h.Name, h.dialect = "github", github{getenv: getenv}
	case getenv("GRAY_CI") == "tekton": // set by the Task: Tekton itself leaves no mark in a step's environment
		h.Name, h.dialect = "tekton", tekton{getenv: getenv}
	}
	if h.Name != "terminal" {
		h.errs = out
	}
	return h
}

// Inputs returns what the environment gives: INPUT_* of the GitHub runner, and GRAY_* everywhere.
func (h *Host) Inputs(keys []config.Key) []config.Input {
	var out []config.Input
	for _, k := range keys {
		if v := h.getenv(k.Env()); v != "" {
			out = append(out, config.Input{Key: k.Name, Value: v, Origin: config.FromEnv})
		}
		if v := h.getenv(k.ActionEnv()); v != "" && h.Name == "github" {
			out = append(out, config.Input{Key: k.Name, Value: v, Origin: config.FromInput})
		}
	}
	return out
}

// Mask keeps a value out of everything that is printed from now on. Call it before anything is printed.
func (h *Host) Mask(secret string) {
	if strings.TrimSpace(secret) == "" {
		return
	}
	values := []string{secret}
	for _, line := range strings.FieldsFunc(secret, func(r rune) bool { return r == '\n' || r == '\r' }) { // runners look for secrets line by line
		values = append(values, strings.TrimSpace(line))
	}
	for _, v := range values {
		h.hide(v)
	}
}

func (h *Host) hide(value string) {
	h.mu.Lock()
	known := value == "" || slices.Contains(h.secrets, value)
	if !known {
		h.secrets = append(h.secrets, value)
		slices.SortStableFunc(h.secrets, func(a, b string) int { return len(b) - len(a) })
	}
	h.mu.Unlock()
	if !known && !strings.ContainsAny(value, "\r\n") {
		h.print(h.dialect.mask(value))
	}
}

// minMasked is the length in bytes from which this package masks by itself: shorter secrets would turn ordinary words and
// numbers into stars. The GitHub runner is told all of them.
const minMasked = 4

// masked replaces every known secret by ***.
func (h *Host) masked(s string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, secret := range h.secrets {
		if len(secret) >= minMasked {
			s = strings.ReplaceAll(s, secret, "***")
		}
	}
	return s
}

// safe makes any text fit to be handed to the dialect, at most maxLooked bytes of it. Masking comes first and last:
// cleaning may take a secret apart, or put one together.
func (h *Host) safe(s string) string { return h.masked(Clean(cut(h.masked(s), maxLooked))) }

// print writes in one piece, so that nothing comes between the lines. A log that cannot be written stops nothing.
func (h *Host) print(s string) { h.printTo(h.out, s) }

func (h *Host) printTo(to io.Writer, s string) {
	if s == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _ = io.WriteString(to, s)
}

// Notice prints a message that belongs on top of the job's page.
func (h *Host) Notice(text string) { h.say(levelNotice, "", text) }

// Warn prints a warning.
func (h *Host) Warn(text string) { h.say(levelWarning, "", text) }

const (
	maxMessage = 4096     // what GitHub keeps of one annotation, in characters
	maxText    = 64 << 10 // bytes: every fault of a long config file
)

func (h *Host) say(l level, about, text string) {
	title := "gray-upgrade"
	if about != "" {
		title += ": " + about
	}
	to := h.out
	if l != levelNotice {
		to = h.errs
	}
	h.printTo(to, h.dialect.message(l, title, cut(h.safe(text), h.longest())))
}

// longest is the most bytes of one message. Nothing limits a log but that people read it.
func (h *Host) longest() int {
	if h.Name == "github" {
		return maxMessage
	}
	return maxText
}

// Fail prints the four lines of a failed run: what happened, where, what was done, what to do next. What does not fit into
// an annotation stands whole above it in the log.
func (h *Host) Fail(f *plan.Failure) {
	what := strings.TrimSpace(h.safe(f.What))
	room := h.longest() - maxNotes
	if len(what) > room {
		h.Foreign(cut(what, maxText))
	}
	h.say(levelError, fault(f.Fault), h.lines(cut(what, room), f))
}

// fault says whose it is, for whoever reads no more than the title.
func fault(f plan.Fault) string {
	switch f {
	case plan.FaultImage:
		return "the new image failed"
	case plan.FaultInfrastructure:
		return "infrastructure, not the image"
	case plan.FaultEvidence, plan.FaultInput, plan.FaultRefused, plan.FaultInterrupted:
	}
	return string(f)
}

// Each of the four lines has its own share, so that a long first one never takes the last one away: this is what the last
// three have, and with their names.
const (
	maxNote  = 600
	maxNext  = 1000 // it holds commands, and half of one is worse than none
	maxNotes = 2*maxNote + maxNext + 96
)

func (h *Host) lines(out string, f *plan.Failure) string {
	for _, l := range []struct {
		name, text string
		most       int
	}{{"where: ", f.Where, maxNote}, {"done:  ", f.Done, maxNote}, {"next:  ", f.Next, maxNext}} {
		if l.text != "" {
			out += "\n  " + l.name + Line(h.safe(l.text), l.most)
		}
	}
	return out
}

// Group begins a part of the log that can be folded.
func (h *Host) Group(title string) { h.print(h.dialect.group(Line(h.safe(title), 200))) }

// EndGroup ends it.
func (h *Host) EndGroup() { h.print(h.dialect.endGroup()) }

// Foreign prints text from the cluster, such as log lines of a pod: nothing in it is taken for a command.
func (h *Host) Foreign(text string) {
	if text = strings.TrimRight(h.safe(text), "\n"); text != "" {
		h.print(h.dialect.foreign(text + "\n"))
	}
}

// Print prints what this program says, at most 1 MiB of it. No line of it is taken for a command, whatever foreign text
// stands in it.
func (h *Host) Print(text string) {
	if text = h.safe(text); text != "" {
		h.print(h.dialect.own(strings.TrimSuffix(text, "\n") + "\n"))
	}
}

// Log returns a writer for log records, which end up in out: they are masked, cut and no commands, as all else is. Runners
// read commands from stderr, too.
func (h *Host) Log(out io.Writer) io.Writer { return records{host: h, out: out} }

type records struct {
	host *Host
	out  io.Writer
}

// Write writes one record.
func (r records) Write(p []byte) (int, error) {
	text := strings.TrimSuffix(cut(r.host.safe(string(p)), maxText), "\n")
	if _, err := io.WriteString(r.out, r.host.dialect.own(text+"\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Output gives a value to the steps that follow: one line, at most 1000 bytes; anything else is refused.
func (h *Host) Output(key, value string) error {
	if err := oneLine(key, value); err != nil {
		return fmt.Errorf("set output %s: %w", key, err)
	}
	if err := h.dialect.output(key, h.masked(value)); err != nil {
		return fmt.Errorf("set output %s: %w", key, err)
	}
	return nil
}

// State keeps a value for the post entrypoint of the same step; where there is none it does nothing.
func (h *Host) State(key, value string) error {
	if err := oneLine(key, value); err != nil {
		return fmt.Errorf("save state %s: %w", key, err)
	}
	if err := h.dialect.state(key, value); err != nil {
		return fmt.Errorf("save state %s: %w", key, err)
	}
	return nil
}

// SavedState returns what State kept; "" where nothing was.
func (h *Host) SavedState(key string) string { return h.getenv("STATE_" + key) }

// maxValue is the most bytes of an output: all of them together must fit into what Tekton keeps.
const maxValue = 1000

func oneLine(key, value string) error {
	switch {
	case strings.ContainsAny(key, "=<\r\n") || key == "":
		return fmt.Errorf("the key %q is not a word", key)
	case strings.ContainsAny(value, "\r\n") || Clean(value) != value:
		return fmt.Errorf("the value has line breaks or control characters")
	case len(value) > maxValue:
		return fmt.Errorf("the value has %d bytes, more than %d", len(value), maxValue)
	}
	return nil
}

// hostname names the machine; in a container, the container.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown host"
	}
	return name
}
