package ci

import (
	"os"
	"strings"
)

// tekton prints like a terminal and writes results. The Task names the file of each in GRAY_RESULT_KEY.
type tekton struct{ getenv func(string) string }

// shares is how many bytes of each result are written. Results share the 4,096 bytes of the pod's termination message
// with Tekton's own words: together they stay below 1,024.
var shares = map[string]int{"outcome": 32, "reason": 300, "last-step": 100, "upgrade-id": 80, "image": 320, "evidence": 128}

func (t tekton) message(l level, title, text string) string { return plain(l, title, text) }
func (t tekton) group(title string) string                  { return "== " + title + "\n" }
func (t tekton) endGroup() string                           { return "" }
func (t tekton) foreign(text string) string                 { return indented(text) }
func (t tekton) mask(string) string                         { return "" }
func (t tekton) state(string, string) error                 { return nil }

func (t tekton) output(key, value string) error {
	path := t.getenv("GRAY_RESULT_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_")))
	if path == "" {
		return nil
	}
	return os.WriteFile(path, []byte(cut(value, shares[key])), 0o644) //nolint:gosec // Tekton reads it as another user
}
