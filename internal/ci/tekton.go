package ci

import (
	"fmt"
	"os"
	"strings"
)

// tekton prints like a terminal and writes results. The Task names the file of each in GRAY_RESULT_KEY.
type tekton struct{ getenv func(string) string }

// WatchdogRun begins the name of a watchdog's run.
const WatchdogRun = "watchdog/"

// TakesOver says whether a close from here ends the run that holds the Lease at once, alive or not. Everywhere but in a
// PipelineRun somebody wants it so: a person, or the post step of the job whose upgrade is unfinished. In a PipelineRun
// the close stands in finally, which also runs after a task that was refused because of another PipelineRun's upgrade: ending
// that one, while it lives and is well, would do harm to a run that this one has nothing to do with. So there the holder must
// be of the same PipelineRun (its main task may still be ending while finally begins; the fence keeps it from writing), or a
// watchdog, which does nothing but the same close. Any other holder is left alone while it lives. The same holds for a script that
// follows every job, as after_script does on GitLab: there the holder must be this very job.
func (h *Host) TakesOver(holder string) bool {
	switch {
	case h.follows():
		return holder == h.Identity().Run || strings.HasPrefix(holder, WatchdogRun)
	case h.Name != "tekton":
		return true
	}
	mine, alone, said := pipelineRun(h.Identity().Run)
	theirs, _, _ := pipelineRun(holder)
	return said && (alone || mine == theirs || strings.HasPrefix(holder, WatchdogRun))
}

// follows says that this runs in a job of a CI system that no person started by hand.
func (h *Host) follows() bool {
	env := h.getenv
	return env("GITLAB_CI") == "true" && env("CI_JOB_MANUAL") != "true" || env("CI") == "woodpecker" || env("DRONE") == "true"
}

// pipelineRun takes the name of a run apart, tekton/NAMESPACE/PIPELINERUN/TASKRUN/RETRY. It returns the PipelineRun with its
// namespace; alone where somebody started the Task by itself; said is false where the name says nothing of it.
func pipelineRun(run string) (name string, alone, said bool) {
	parts := strings.Split(run, "/")
	if len(parts) != 5 || parts[0] != "tekton" {
		return "", false, false
	}
	return parts[1] + "/" + parts[2], parts[2] == "", true
}

// shares is how many bytes of each result are written. Results share the 4,096 bytes of the pod's termination message
// with Tekton's own words: together they stay below 1,024.
var shares = map[string]int{"outcome": 32, "reason": 300, "last-step": 100, "upgrade-id": 80, "image": 320, "evidence": 128}

func (t tekton) message(l level, title, text string) string { return plain(l, title, text) }
func (t tekton) group(title string) string                  { return "== " + title + "\n" }
func (t tekton) endGroup() string                           { return "" }
func (t tekton) foreign(text string) string                 { return indented(text) }
func (t tekton) own(text string) string                     { return text }
func (t tekton) mask(string) string                         { return "" }
func (t tekton) state(string, string) error                 { return nil }

func (t tekton) output(key, value string) error {
	path := t.getenv("GRAY_RESULT_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_")))
	if path == "" {
		return nil
	}
	if key == "image" && len(value) > shares[key] {
		return fmt.Errorf("the image reference has %d bytes, there is room for %d: it is not written", len(value), shares[key])
	}
	return os.WriteFile(path, []byte(cut(value, shares[key])), 0o644) //nolint:gosec // Tekton reads it as another user
}
