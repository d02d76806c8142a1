package main

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/report"
)

// Permissions of the evidence: on GitHub the action's container writes it as root, and the runner uploads it as another user.
const (
	evidenceFolder = 0o755
	evidenceFile   = 0o644
)

// writeReport puts summary, chart and page beside the evidence, for those who prefer to look.
func writeReport(folder string, s plan.Story, log *slog.Logger) {
	for name, text := range map[string][]byte{"summary.md": report.Markdown(s), "weight.svg": report.SVG(s), "report.html": report.Page(s)} {
		if err := os.WriteFile(filepath.Join(folder, name), text, evidenceFile); err != nil {
			log.Warn("write the report", "file", name, "error", err)
		}
	}
}

// keepLogs puts the end of gray's logs into the evidence folder, before a failed gray goes. Secrets become ***.
func keepLogs(c config.Config) func(pod, container string, log []byte) error {
	hide := c.Hider()
	folder := filepath.Join(c.Evidence, "logs")
	return func(pod, container string, log []byte) error {
		if err := os.MkdirAll(folder, evidenceFolder); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(folder, pod+"."+container+".log"), []byte(hide.Replace(string(log))), evidenceFile)
	}
}
