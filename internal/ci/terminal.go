package ci

import (
	"io"
	"strings"
)

// terminal is a person's terminal, or the log of a CI system that has no commands.
type terminal struct{ out io.Writer }

func (t terminal) message(l level, title, text string) string { return plain(l, title, text) }
func (t terminal) group(title string) string                  { return "== " + title + "\n" }
func (t terminal) endGroup() string                           { return "" }
func (t terminal) foreign(text string) string                 { return indented(text) }
func (t terminal) own(text string) string                     { return text }
func (t terminal) mask(string) string                         { return "" }
func (t terminal) state(string, string) error                 { return nil }

func (t terminal) output(key, value string) error {
	if value == "" {
		return nil // people need not read what there is not
	}
	_, err := io.WriteString(t.out, key+": "+value+"\n")
	return err
}

// plain is a message in words: "gray-upgrade: the new image failed: what happened", with the level in front unless it is a notice.
func plain(l level, title, text string) string {
	prefix := ""
	if l == levelWarning {
		prefix = "warning: "
	}
	return title + ": " + prefix + text + "\n"
}

// indented sets foreign lines apart from our own.
func indented(text string) string {
	return "  | " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  | ") + "\n"
}
