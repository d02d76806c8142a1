package plan

import (
	"regexp"
	"strings"
)

// Command is a command of this tool on the same service in the same cluster, as a person pastes it into a shell: words, then
// namespace and service (those that are known), then Flags.
func (t Target) Command(words string) string {
	command := "gray-upgrade " + words
	if t.Namespace != "" {
		command += " --namespace " + Quoted(t.Namespace)
	}
	if t.Service != "" {
		command += " --service " + Quoted(t.Service)
	}
	return command + t.Flags
}

// unquoted are the words that a POSIX shell takes as they stand.
var unquoted = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// Quoted is a word as a POSIX shell reads it back: quoted only where it must be.
func Quoted(word string) string {
	if unquoted.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
