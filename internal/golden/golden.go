// Package golden compares text made by the program with files that people review.
package golden

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/diff"
)

var update = flag.Bool("update", false, "write the golden files under testdata instead of comparing with them")

// Update says whether golden files are being written: for tests that keep their expected text elsewhere.
func Update() bool { return *update }

// Equal fails the test unless got is byte for byte the file testdata/NAME beside the test, and shows the lines that
// differ. With -update it writes the file instead. The name may hold slashes.
func Equal(t testing.TB, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		write(t, path, got)
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v\nwrite it with: make golden", err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s differs; if the new text is right: make golden\n%s", path, diff.Diff(path, want, "got", got))
	}
}

// write leaves a file alone that is right already, so that its time stays and no cached test result is lost.
func write(t testing.TB, path string, got []byte) {
	t.Helper()
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, got) {
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, got, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Section writes what stands in a Markdown file between the lines <!-- NAME --> and <!-- /NAME -->: text that a long run
// measured, in a document that people wrote. The file's other lines stay.
func Section(t testing.TB, path, name, text string) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	before, rest, found := strings.Cut(string(old), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no lines %q and %q to write between", path, strings.TrimSpace(begin), end)
	}
	write(t, path, []byte(before+begin+"\n"+text+"\n"+end+after))
}
