package main

import (
	"compress/gzip"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/golden"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/replay"
)

// document has the table of the runs.
const document = "../../docs/verdict.md"

// TestRecordedRuns judges every run again, by the rules as they are now: an image is blamed if it had a fault, and not before.
func TestRecordedRuns(t *testing.T) {
	runs, err := readIndex(".")
	require.NoError(t, err)
	byName := map[string]run{}
	for _, r := range runs {
		byName[r.Name] = r
	}
	var table strings.Builder
	table.WriteString("| what happens to gray | judged | found by | after |\n|---|---|---|---|\n")
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			r, recorded := byName[k.name]
			require.True(t, recorded, "record it: make corpus ONLY='^%s'", k.name)
			delete(byName, k.name)
			require.Equal(t, k.blame, r.Blame)
			table.WriteString(r.row(t))
		})
	}
	assert.Empty(t, byName, "runs of kinds that there are no more")
	if os.Getenv("JUDGE") == "full" {
		golden.Section(t, document, "recorded", table.String())
	}
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	if !strings.Contains(string(text), table.String()) { // not by assert: it would print the document
		t.Errorf("%s has not this table; write it with: make judge\n%s", document, table.String())
	}
}

// row replays a run, and tells how it ends.
func (r run) row(t *testing.T) string {
	t.Helper()
	w, blamed := blame(replayed(t, file(".", r.Name)))
	require.Equal(t, r.Blame, blamed, "%+v", w)
	if !blamed {
		return fmt.Sprintf("| %s | %s | | |\n", r.Name, r.Outcome)
	}
	require.False(t, w.Now.At.Before(r.Faulty), "blamed %s, before its fault began at %s", w.Now, r.Faulty)
	var by []string
	for _, c := range w.Now.Deciding {
		by = append(by, c.Name)
	}
	return fmt.Sprintf("| **%s** | blamed at weight %d | %s | %.1f s |\n", r.Name, w.Weight, strings.Join(by, ", "), w.Now.At.Sub(r.Faulty).Seconds())
}

func replayed(t *testing.T, path string) replay.Result {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	text, err := gzip.NewReader(f)
	require.NoError(t, err)
	got, err := replay.Replay(text, func(l judge.Limits) (judge.Limits, error) { return l, nil })
	require.NoError(t, err)
	require.NotZero(t, got.Blocks)
	require.NotEmpty(t, got.Windows)
	return got
}

// blame is the window in which the image was blamed.
func blame(r replay.Result) (w replay.Window, blamed bool) {
	for _, w := range r.Windows {
		if w.Now.Verdict == judge.Fail && judge.Blamed(w.Now.Deciding) {
			return w, true
		}
	}
	return w, false
}

// TestSlug: names of kinds are those of files and of namespaces.
func TestSlug(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range kinds() {
		assert.Regexp(t, `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, slug(k.name))
		assert.Less(t, len(slug(k.name)), 50)
		assert.False(t, seen[slug(k.name)], k.name)
		seen[slug(k.name)] = true
		assert.Less(t, k.after, k.step, "it happens within its step")
	}
}
