package ci

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sethvargo/go-githubactions"
)

// github speaks workflow commands. The SDK escapes them; it is used with a buffer for a writer, because it panics when a
// write fails, and not for summaries, which it can only append to.
type github struct{ getenv func(string) string }

// delimiter is the SDK's constant end of a value in the files of outputs and state: a value that holds it could
// set other outputs.
const delimiter = "_GitHubActionsFileCommandDelimeter_"

func (g github) command(name, text string, properties githubactions.CommandProperties) string {
	var b bytes.Buffer
	githubactions.New(githubactions.WithWriter(&b), githubactions.WithGetenv(g.getenv)).
		IssueCommand(&githubactions.Command{Name: name, Message: text, Properties: properties})
	return b.String()
}

func (g github) message(l level, title, text string) string {
	return g.command(string(l), text, githubactions.CommandProperties{"title": title})
}

func (g github) group(title string) string { return g.command("group", title, nil) }
func (g github) endGroup() string          { return g.command("endgroup", "", nil) }
func (g github) mask(secret string) string { return g.command("add-mask", secret, nil) }

// foreign stops the runner from reading commands until it sees a word that nobody can guess.
func (g github) foreign(text string) string {
	word := rand.Text()
	return g.command("stop-commands", word, nil) + indented(text) + "::" + word + "::\n"
}

// likeCommand matches what the runner takes for a command: "::" first in a line, after white space at most, and "##["
// anywhere.
var likeCommand = regexp.MustCompile(`(?m)^([ \t]*:)(:)|(##)(\[)`)

// own takes the likeness apart by a space. Commands are not stopped: what is said on stdout meanwhile must stay one.
func (g github) own(text string) string { return likeCommand.ReplaceAllString(text, "$1$3 $2$4") }

func (g github) output(key, value string) error {
	return g.file("GITHUB_OUTPUT", value, func(a *githubactions.Action) { a.SetOutput(key, value) })
}

func (g github) state(key, value string) error {
	return g.file("GITHUB_STATE", value, func(a *githubactions.Action) { a.SaveState(key, value) })
}

// file lets the SDK append to the file that the variable names, and turns its panics into errors.
func (g github) file(variable, value string, write func(*githubactions.Action)) (err error) {
	if g.getenv(variable) == "" {
		return errors.New("environment variable " + variable + " is not set")
	}
	if strings.Contains(value, delimiter) {
		return errors.New("the value holds the delimiter of the runner's files")
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("write the file of %s: %v", variable, r)
		}
	}()
	write(githubactions.New(githubactions.WithGetenv(g.getenv)))
	return nil
}
