package drain

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func FuzzLine(f *testing.F) {
	for _, log := range []string{
		`{"level":"ERROR","msg":"a 1"}`, `level=error msg="x \" y"`, `E0102 03:04:05.678901 1 a.go:1] x`, `level=error msg="\`,
		"panic: \x00\xff", "ERROR " + strings.Repeat("é1-", 200), "ERROR \x1b[31m'\"`", `{"log":{"level":60}}`, "", "\x1b[",
		"ERROR a\nx.Error: b\n\tat c", "Traceback (most recent call last):\n  File \"a\"\nE\nDuring handling of the above exception",
		`{"level":"error","err":{"type":"\u0000\ud800 1"}}`, "ERROR 1:2:3: \u00a0 ٣ 2001:db8::ff", `{"":"",`, "E0102 03:04:05.]",
	} {
		f.Add([]byte(log))
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		m, s, again := NewMiner(), NewStream(shown), NewStream(shown)
		for line := range bytes.SplitSeq(log, []byte("\n")) {
			level, event := s.Line(line)
			if other, same := again.Line(bytes.Clone(line)); other != level || (same == nil) != (event == nil) || same != nil && *same != *event {
				t.Fatalf("%q: %v %v, then %v %v", line, level, event, other, same)
			}
			if event == nil {
				continue
			}
			if level != Error {
				t.Fatalf("%q: an event at level %v", line, level)
			}
			sound(t, "line", event.Line, 6*MaxLine+1)
			sound(t, "text", event.Text, 6*MaxLine)
			id := m.Group(event)
			if m.Group(event) != id {
				t.Fatalf("%q: in another group the second time", line)
			}
			template := m.Name(id)
			sound(t, "template", template, MaxTemplate+len(" …")+maxKind+len(" ()"))
			if template == "" || strings.ContainsFunc(template, unicode.IsDigit) {
				t.Fatalf("%q: template %q", line, template)
			}
		}
	})
}

// sound ends the test where a text is too long, or no text.
func sound(t *testing.T, what, text string, most int) {
	t.Helper()
	if len(text) > most || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		t.Fatalf("%s of %d bytes: %q", what, len(text), text)
	}
}
