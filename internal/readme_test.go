package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/golden"
)

// A mark in the README is a comment; what stands between it and the next <!-- end --> is made from the file it names, or
// from the table of inputs.
var mark = regexp.MustCompile(`(?s)<!-- (example: \S+|inputs) -->.*?<!-- end -->\n`)

// documents are those that hold files, and how many at least.
var documents = map[string]int{"../README.md": 4, "../docs/monitoring.md": 2, "../docs/evidence.md": 1}

// TestDocumentsHoldTestedFiles keeps every example of a document a file that a test runs, and the README's table the
// program's own. With -update it writes them in.
func TestDocumentsHoldTestedFiles(t *testing.T) {
	for name, least := range documents {
		t.Run(filepath.Base(name), func(t *testing.T) { holdsFiles(t, name, least) })
	}
}

func holdsFiles(t *testing.T, document string, least int) {
	t.Helper()
	have, err := os.ReadFile(document)
	require.NoError(t, err)
	want := mark.ReplaceAllStringFunc(string(have), func(part string) string {
		name := mark.FindStringSubmatch(part)[1]
		return "<!-- " + name + " -->\n" + content(t, name) + "<!-- end -->\n"
	})
	if golden.Update() {
		require.NoError(t, os.WriteFile(document, []byte(want), 0o600))
		return
	}
	assert.Equal(t, want, string(have), "write it with: make golden")
	assert.GreaterOrEqual(t, strings.Count(want, "<!-- end -->"), least)
}

func content(t *testing.T, name string) string {
	t.Helper()
	file, ok := strings.CutPrefix(name, "example: ")
	if !ok {
		return "\n" + config.Table() + "\n"
	}
	text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(file)))
	require.NoError(t, err)
	language := map[string]string{".sh": "sh"}[filepath.Ext(file)]
	if language == "" {
		language = "yaml"
	}
	return "\n```" + language + "\n" + string(text) + "```\n\n"
}

// TestREADMELinksLeadSomewhere follows every relative link of the README.
func TestREADMELinksLeadSomewhere(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	for _, link := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(link[1], "://") {
			assert.FileExists(t, filepath.Join("..", link[1]))
		}
	}
}
