package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/ci"
	"github.com/gray-upgrade/gray-upgrade/internal/config"
)

// line is a command line as it was read. Everything that is wrong with it is in faults, so that the faults of the values can be
// told beside them.
type line struct {
	inputs []config.Input
	files  []string // where the command takes one
	faults []error
	help   bool // asked for, wherever it stands

	page page
	into map[string]*string // by name: where the command's own flags go
	lost bool               // a flag was not known, and no other one is meant: which there are is told
}

// readFlags reads the flags of a command: the inputs that it uses, and its own, which go into. Only flags that were given are
// returned. It reads on after a fault, which package flag does not.
func readFlags(args []string, p page, into map[string]*string) line {
	l := line{page: p, into: into}
	for len(args) > 0 {
		args = l.take(args[0], args[1:])
	}
	return l
}

// wrong joins what is wrong with the flags, what is wrong with their values, and, once, which flags there are.
func (l *line) wrong(values error) error {
	faults := append(slices.Clone(l.faults), values)
	if l.lost {
		faults = append(faults, errors.New("allowed flags: --"+strings.Join(l.known(), ", --")))
	}
	return errors.Join(faults...)
}

// take reads one argument and returns those after it, without the value of this one.
func (l *line) take(arg string, rest []string) []string {
	name, value, given := flagOf(arg)
	kind, known := l.kind(name)
	switch {
	case arg == "--":
	case name == "" && l.page.file:
		l.files = append(l.files, arg)
	case name == "":
		l.fault(&config.Fault{Key: "argument", Value: shown(arg), Problem: "is not expected", Allowed: "values as --name=value; gray-upgrade help inputs lists them"})
	case name == "h" || name == "help":
		l.help = true
	case !known:
		l.noSuch(name)
		if !given && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") && !l.page.file {
			return rest[1:] // its value, most likely
		}
	case given && kind == config.TypeBoolean && strings.TrimSpace(value) == "", // who writes --dry-run=$DRY wants no upgrade by mistake
		!given && kind != config.TypeBoolean && (len(rest) == 0 || l.isFlag(name, rest[0])):
		l.fault(&config.Fault{Key: "flag --" + name, Problem: "has no value", Allowed: "--" + name + "=VALUE, where VALUE is: " + kind})
	case given:
		l.set(name, value)
	case kind == config.TypeBoolean:
		l.set(name, "true")
	default:
		l.set(name, rest[0])
		return rest[1:]
	}
	return rest
}

// flagOf takes an argument apart; name is "" where it is no flag.
func flagOf(arg string) (name, value string, given bool) {
	rest, ok := strings.CutPrefix(arg, "-")
	if !ok {
		return "", "", false
	}
	name, value, given = strings.Cut(strings.TrimPrefix(rest, "-"), "=")
	return name, value, given
}

// kind says what a flag takes.
func (l *line) kind(name string) (kind string, known bool) {
	for _, k := range l.page.takes() {
		if k.Name == name {
			return k.Type, true
		}
	}
	return "", false
}

// isFlag says that what follows a flag is the next flag and not its value. Arguments for the image may well look like our
// own flags.
func (l *line) isFlag(of, arg string) bool {
	if strings.HasSuffix(of, "-args") || !strings.HasPrefix(arg, "--") {
		return false
	}
	name, _, _ := flagOf(arg)
	_, known := l.kind(name)
	return known || name == "help"
}

func (l *line) set(name, value string) {
	into, own := l.into[name]
	if !own {
		l.inputs = append(l.inputs, config.Input{Key: name, Value: value, Origin: config.FromFlag})
		return
	}
	if kind, _ := l.kind(name); kind == config.TypeBoolean && value != "true" && value != "false" {
		l.fault(&config.Fault{Key: "flag --" + name, Value: shown(value), Problem: "is not allowed", Allowed: kind})
	}
	*into = value
}

// known are the names of all flags, in the order of the alphabet.
func (l *line) known() []string {
	var names []string
	for _, k := range l.page.takes() {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	return names
}

// noSuch tells a flag that does not exist from an input that this command has no use for.
func (l *line) noSuch(name string) {
	problem := "is not known"
	switch near := config.Nearest(name, l.known()); {
	case (&line{}).uses(name):
		problem = "is not used by " + l.page.name
		l.lost = true
	case near != "":
		problem += ", did you mean --" + near + "?"
	default:
		l.lost = true
	}
	l.fault(&config.Fault{Key: "flag", Value: shown("--" + name), Problem: problem})
}

func (l *line) uses(name string) bool {
	_, known := l.kind(name)
	return known
}

func (l *line) fault(f *config.Fault) { l.faults = append(l.faults, f) }

// notInputs begin the names of our variables that are no inputs.
var notInputs = []string{"GRAY_CI", "GRAY_RUN", "GRAY_ACTOR", "GRAY_SUMMARY", "GRAY_RESULT_", "GRAY_UPGRADE_", "GRAY_PIPELINE_RUN", "GRAY_TEST_", "GRAY_PROMETHEUS_TOKEN", "GRAY_LOKI_TOKEN", "GRAY_LOKI_TENANT"}

// misspelt warns of variables that are nearly an input's: what they say would be lost without a word. Others may belong to
// somebody else.
func misspelt(environ []string) []string {
	known := (&line{}).known()
	var warnings []string
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		rest, ok := strings.CutPrefix(name, "GRAY_")
		ours := func(begin string) bool { return strings.HasPrefix(name, begin) }
		if !ok || slices.ContainsFunc(notInputs, ours) {
			continue
		}
		key := strings.ToLower(strings.ReplaceAll(rest, "_", "-"))
		if near := config.Nearest(key, known); near != "" && near != key {
			warnings = append(warnings, fmt.Sprintf("environment variable %s is no input and is ignored; did you mean %s?", shown(name), config.Key{Name: near}.Env()))
		}
	}
	slices.Sort(warnings)
	return warnings
}

// maxShown is the most bytes of a word of the command line that are printed back.
const maxShown = 120

func shown(word string) string { return ci.Line(word, maxShown) }
