package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
)

// page is what a command does and takes: help prints it, and the command line is read by it.
type page struct {
	name   string
	word   string       // what stands after the name, beside flags
	what   string       // one line
	inputs []string     // that it uses; nil: all of them
	others bool         // it takes the other inputs, too, and leaves them alone
	own    []config.Key // flags that it has beside the inputs
	file   bool         // it takes a word that is no flag
	more   string       // on its own page
}

// reached are the inputs that lead to the record of a service.
var reached = []string{"service", "namespace", "kubeconfig", "context", "config"}

// pages are the commands, in the order in which people read of them.
var pages = []page{
	{name: "run", what: "upgrade the service (the default)", more: "It needs service, and image or manifest."},
	{name: "plan", what: "check everything and print the plan; nothing is changed", more: "It needs service, and image or manifest."},
	{name: "close", what: "bring users home from whatever an earlier run left",
		inputs: append([]string{"deployment", "container", "gateway", "gateway-pods", "url", "side-header", "confirm", "close-floor", "drain",
			"close-timeout", "pod-timeout", "pod-access"}, reached...), others: true,
		more: "It takes the other inputs as well and leaves them alone, so that the command line of a run closes what that run left."},
	{name: "status", what: "say what is under way, what is on hold, and how earlier runs ended",
		inputs: append([]string{"deployment", "container", "image", "gateway"}, reached...)},
	{name: "offline-test run", what: "test an image offline, on gray pods without users, and record its pass; takes the inputs of run",
		more: "It needs service, and image or manifest. Inputs about traffic are not used."},
	{name: "offline-test pass", what: "record that an image on hold passed its offline test: --digest sha256:... --by WHO --why TEXT",
		inputs: reached, own: []config.Key{
			{Name: "digest", Type: "sha256:...", Description: "Digest of the image on hold, as the notice of the failed run and status give it. Required."},
			{Name: "by", Type: "who", Description: "Who tested it. Required."},
			{Name: "why", Type: "text", Description: "What was tested, or where the result is. Required."},
		}},
	{name: "forget", what: "delete what is recorded of the service (its Lease); --holds=true: also while an image is on hold",
		inputs: reached, own: []config.Key{
			{Name: "holds", Type: config.TypeBoolean, Default: "false", Description: "Forget also while an image is on hold."},
		}},
	{name: "replay", word: "FILE", what: "judge the evidence of a run again, offline; --thresholds={...}: see what other limits would have done",
		inputs: []string{"thresholds"}, file: true, more: "FILE is the evidence.jsonl of a run; - reads standard input."},
	{name: "watchdog", what: "close when the runner is lost; a run starts it by itself, in the cluster"},
	{name: "version", what: "print the version", inputs: []string{}},
	{name: "help", word: "inputs", what: "list every input; help COMMAND, help INPUT: one of them", inputs: []string{}},
}

// pageOf is the page of a command that there is.
func pageOf(name string) page {
	return pages[slices.IndexFunc(pages, func(p page) bool { return p.name == name })]
}

// takes are the flags that may be given.
func (p page) takes() []config.Key {
	if p.others {
		return config.Keys
	}
	return p.keys()
}

// keys are the flags that the command uses.
func (p page) keys() []config.Key {
	if p.inputs == nil {
		return append(slices.Clone(config.Keys), p.own...)
	}
	used := slices.DeleteFunc(slices.Clone(config.Keys), func(k config.Key) bool { return !slices.Contains(p.inputs, k.Name) })
	return append(used, p.own...)
}

// commands are the words that a command line may begin with.
func commands() []string {
	var words []string
	for _, p := range pages {
		word, _, _ := strings.Cut(p.name, " ")
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return words
}

// helpCommand teaches all commands, one of them, all inputs, or one of those.
func helpCommand(args []string, w world) int {
	about := strings.Join(args, " ")
	input := slices.IndexFunc(config.Keys, func(k config.Key) bool { return k.Name == strings.TrimLeft(about, "-") })
	switch {
	case about == "inputs":
		fmt.Fprint(w.Stdout, inputsHelp())
	case commandHelp(about) != "":
		fmt.Fprint(w.Stdout, commandHelp(about))
	case input >= 0:
		fmt.Fprint(w.Stdout, inputHelp(config.Keys[input]))
	case about == "" || strings.HasPrefix(about, "-"):
		fmt.Fprint(w.Stdout, generalHelp())
	default:
		return usage(w, "there is no help on %q; allowed: help COMMAND, help inputs, help INPUT, or help alone", shown(about))
	}
	return exitDone
}

func generalHelp() string {
	var b strings.Builder
	b.WriteString("gray-upgrade upgrades a Kubernetes service through gray pods and keeps a bad release away from its users.\n\n" +
		"usage: gray-upgrade [COMMAND] [--input=value ...]\n\n")
	for _, p := range pages {
		fmt.Fprintf(&b, "  %-19s %s\n", strings.TrimSpace(p.name+" "+p.word), p.what)
	}
	b.WriteString(footer)
	return b.String()
}

const footer = `
An upgrade needs an image and a service:

  gray-upgrade plan --service=web --image=registry.example.com/shop/web:v2
  gray-upgrade run  --service=web --image=registry.example.com/shop/web:v2 --gray-args=--mode=gray --config=gray-upgrade.yaml

exit codes: 0 promoted, unchanged or passed, 1 the image's fault, 2 bad input, 3 refused, 4 a person must act,
            5 infrastructure or not enough evidence, 130 interrupted
`

// commandHelp is the page of a command, or those of the commands that begin with this word; "" where there is none.
func commandHelp(words string) string {
	var all []string
	for _, p := range pages {
		if p.name == words || strings.HasPrefix(p.name, words+" ") {
			all = append(all, p.String())
		}
	}
	return strings.Join(all, "\n")
}

// String is the page as help prints it.
func (p page) String() string {
	var b strings.Builder
	usage := strings.TrimSpace(p.name + " " + p.word)
	if len(p.keys()) > 0 {
		usage += " [--input=value ...]"
	}
	fmt.Fprintf(&b, "usage: gray-upgrade %s\n\n%s\n", usage, p.what)
	if p.more != "" {
		b.WriteString(p.more + "\n")
	}
	if p.inputs == nil {
		b.WriteString("\ngray-upgrade help inputs lists every input.\n")
		return b.String()
	}
	if len(p.keys()) > 0 {
		b.WriteString("\n")
	}
	for _, k := range p.keys() {
		b.WriteString(inputHelp(k))
	}
	return b.String()
}

func inputsHelp() string {
	var b strings.Builder
	b.WriteString("Each input is a flag, an input of the GitHub action, an environment variable and a key of the config file.\n\n")
	for _, k := range config.Keys {
		b.WriteString(inputHelp(k))
	}
	return b.String()
}

func inputHelp(k config.Key) string {
	variable := ""
	if slices.ContainsFunc(config.Keys, func(of config.Key) bool { return of.Name == k.Name }) {
		variable = "   " + k.Env()
	}
	text := fmt.Sprintf("  --%s=%s%s\n        %s", k.Name, k.Type, variable, k.Description)
	if k.Default != "" {
		text += " Default: " + k.Default + "."
	}
	return text + "\n"
}
