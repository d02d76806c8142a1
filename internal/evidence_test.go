package internal_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryKindOfEvidenceIsDocumented, and no other is.
func TestEveryKindOfEvidenceIsDocumented(t *testing.T) {
	calls, err := exec.CommandContext(t.Context(), "grep", "-rhoE", "--include=*.go", "--exclude=*_test.go", `\.Record\("[a-z-]+"`, ".", "../cmd").Output()
	require.NoError(t, err)
	doc, err := os.ReadFile("../docs/evidence.md")
	require.NoError(t, err)
	recorded := kinds(`\.Record\("([a-z-]+)"`, string(calls))
	require.NotEmpty(t, recorded)
	assert.Equal(t, recorded, kinds("(?m)^\\| `([a-z-]+)` \\|", string(doc)))
}

// kinds are the first groups of all matches, sorted, each once.
func kinds(pattern, text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}
