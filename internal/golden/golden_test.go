package golden

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recorder is a test that remembers how it failed. Everything it does not answer itself is not called here.
type recorder struct {
	testing.TB

	errors []string
	fatal  []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.fatal = append(r.fatal, fmt.Sprintf(format, args...))
}

// in runs the test in a folder of its own with testdata/a.txt in it, comparing unless updating is wanted.
func in(t *testing.T, updating bool) {
	t.Helper()
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("testdata", 0o750))
	require.NoError(t, os.WriteFile("testdata/a.txt", []byte("one\ntwo\n"), 0o600))
	was := *update
	*update = updating
	t.Cleanup(func() { *update = was })
}

func TestEqual(t *testing.T) {
	in(t, false)
	r := &recorder{TB: t}
	Equal(r, "a.txt", []byte("one\ntwo\n"))
	assert.Empty(t, r.errors)
	assert.Empty(t, r.fatal)
}

func TestEqualShowsTheLinesThatDiffer(t *testing.T) {
	in(t, false)
	r := &recorder{TB: t}
	Equal(r, "a.txt", []byte("one\nthree\n"))
	require.Len(t, r.errors, 1)
	assert.Contains(t, r.errors[0], "testdata/a.txt")
	assert.Contains(t, r.errors[0], "-two\n+three\n")
	assert.Contains(t, r.errors[0], "make golden")
}

func TestEqualWithoutAFile(t *testing.T) {
	in(t, false)
	r := &recorder{TB: t}
	Equal(r, "none.txt", nil)
	require.NotEmpty(t, r.fatal)
	assert.Contains(t, r.fatal[0], "testdata/none.txt")
}

func TestUpdateWritesTheFile(t *testing.T) {
	in(t, true)
	assert.True(t, Update())
	Equal(t, "deep/b.txt", []byte("new\n"))
	got, err := os.ReadFile("testdata/deep/b.txt")
	require.NoError(t, err)
	assert.Equal(t, "new\n", string(got))
}

func TestSection(t *testing.T) {
	in(t, false)
	require.NoError(t, os.WriteFile("a.md", []byte("before\n<!-- x -->\nold\n<!-- /x -->\nafter\n"), 0o600))
	Section(t, "a.md", "x", "| new |\n")
	got, err := os.ReadFile("a.md")
	require.NoError(t, err)
	assert.Equal(t, "before\n<!-- x -->\n\n| new |\n\n<!-- /x -->\nafter\n", string(got))
}
