package ci

import (
	"bytes"
	"fmt"
	"os"
)

// maxSummary is just below the 1 MiB above which GitHub drops a step's summary whole.
const maxSummary = 1<<20 - 1024

// Summary replaces the page of this step: the whole of it is written each time, because a runner that is killed shows
// what was written last. GitHub reads the file that GITHUB_STEP_SUMMARY names; elsewhere GRAY_SUMMARY names one, and
// without it nothing is written.
func (h *Host) Summary(markdown []byte) error {
	path := h.getenv("GRAY_SUMMARY")
	if h.Name == "github" {
		path = h.getenv("GITHUB_STEP_SUMMARY")
	}
	if path == "" {
		return nil
	}
	text := fitting([]byte(h.masked(string(markdown))))
	if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // the runner reads it as another user
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}

// fitting cuts a summary that is too long after a line, and says so. A code block that the cut would leave open is closed.
func fitting(markdown []byte) []byte {
	if len(markdown) <= maxSummary {
		return markdown
	}
	kept := markdown[:maxSummary]
	if i := bytes.LastIndexByte(kept, '\n'); i >= 0 {
		kept = kept[:i+1]
	} else {
		kept = bytes.ToValidUTF8(kept, nil)
	}
	fences := 0
	for line := range bytes.Lines(kept) {
		if bytes.HasPrefix(bytes.TrimSpace(line), []byte("```")) {
			fences++
		}
	}
	out := bytes.Clone(kept)
	if fences%2 == 1 {
		out = append(out, "```\n"...)
	}
	return fmt.Appendf(out, "\n\nThe summary was cut here: it had %d bytes, and 1 MiB is shown. The whole report is among the evidence.\n", len(markdown))
}
