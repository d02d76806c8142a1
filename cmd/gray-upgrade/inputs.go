package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/ci"
	"github.com/gray-upgrade/gray-upgrade/internal/config"
)

// extra is a flag that one command has beside the inputs.
type extra struct {
	name, kind string // kind says what it takes
	into       *string
}

// line is a command line as it was read. Everything that is wrong with it is in faults, so that the faults of the values can be
// told beside them.
type line struct {
	inputs []config.Input
	faults []error
	help   bool // asked for, wherever it stands

	own     []extra
	unknown bool
}

// readFlags reads the flags of a command: every key of the config is one, and own are some of its own. Only flags that
// were given are returned. It reads on after a fault, which package flag does not.
func readFlags(args []string, own []extra) line {
	l := line{own: own}
	for len(args) > 0 {
		args = l.take(args[0], args[1:])
	}
	return l
}

// wrong joins what is wrong with the flags, what is wrong with their values, and, once, which flags there are.
func (l *line) wrong(values error) error {
	faults := append(slices.Clone(l.faults), values)
	if l.unknown {
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
	case name == "":
		l.fault(&config.Fault{Key: "argument", Value: shown(arg), Problem: "is not expected", Allowed: "values as --name=value; gray-upgrade help inputs lists them"})
	case name == "h" || name == "help":
		l.help = true
	case !known:
		l.noSuch(name)
		if !given && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
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
	for _, k := range config.Keys {
		if k.Name == name {
			return k.Type, true
		}
	}
	for _, e := range l.own {
		if e.name == name {
			return e.kind, true
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
	for _, e := range l.own {
		if e.name == name {
			if e.kind == config.TypeBoolean && value != "true" && value != "false" {
				l.fault(&config.Fault{Key: "flag --" + name, Value: shown(value), Problem: "is not allowed", Allowed: e.kind})
			}
			*e.into = value
			return
		}
	}
	l.inputs = append(l.inputs, config.Input{Key: name, Value: value, Origin: config.FromFlag})
}

// known are the names of all flags, in the order of the alphabet.
func (l *line) known() []string {
	var names []string
	for _, k := range config.Keys {
		names = append(names, k.Name)
	}
	for _, e := range l.own {
		names = append(names, e.name)
	}
	slices.Sort(names)
	return names
}

func (l *line) noSuch(name string) {
	problem := "is not known"
	if near := config.Nearest(name, l.known()); near != "" {
		problem += ", did you mean --" + near + "?"
	}
	l.unknown = true
	l.fault(&config.Fault{Key: "flag", Value: shown("--" + name), Problem: problem})
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

// commands are the words that a command line may begin with.
var commands = []string{"run", "plan", "close", "status", "offline-test", "forget", "replay", "watchdog", "version", "help"}

// helpCommand teaches the commands, or the inputs.
func helpCommand(args []string, w world) int {
	switch {
	case len(args) > 0 && args[0] == "inputs":
		fmt.Fprint(w.Stdout, inputsHelp())
	case len(args) == 0 || strings.HasPrefix(args[0], "-") || slices.Contains(commands, args[0]):
		fmt.Fprint(w.Stdout, help)
	default:
		return usage(w, "there is no help on %q; allowed: help inputs, or help alone", shown(args[0]))
	}
	return exitDone
}

const help = `gray-upgrade upgrades a Kubernetes service through gray nodes and keeps a bad release away from its users.

usage: gray-upgrade [COMMAND] [--input=value ...]

  run                 upgrade the service (the default)
  plan                check everything and print the plan; nothing is changed
  close               bring users home from whatever an earlier run left
  status              say what is under way, what is on hold, and how earlier runs ended
  offline-test run    test an image offline, on gray nodes without users, and record its pass; takes the inputs of run
  offline-test pass   record that an image on hold passed its offline test: --digest sha256:... --by WHO --why TEXT
  forget              delete what is recorded of the service (its Lease); --holds=true: also while an image is on hold
  replay FILE         judge the evidence of a run again, offline; --thresholds={...}: see what other limits would have done
  watchdog            close when the runner is lost; a run starts it by itself, in the cluster
  version             print the version
  help inputs         list every input

An upgrade needs an image and a service:

  gray-upgrade plan --service=web --image=registry.example.com/shop/web:v2
  gray-upgrade run  --service=web --image=registry.example.com/shop/web:v2 --gray-args=--mode=gray --config=gray-upgrade.yaml

exit codes: 0 promoted, unchanged or passed, 1 the image's fault, 2 bad input, 3 refused, 4 a person must act,
            5 infrastructure or not enough evidence, 130 interrupted
`

func inputsHelp() string {
	var b strings.Builder
	b.WriteString("Each input is a flag, an input of the GitHub action, an environment variable and a key of the config file.\n\n")
	for _, k := range config.Keys {
		fmt.Fprintf(&b, "  --%s=%s   %s\n", k.Name, k.Type, k.Env())
		fmt.Fprintf(&b, "        %s", k.Description)
		if k.Default != "" {
			fmt.Fprintf(&b, " Default: %s.", k.Default)
		}
		b.WriteString("\n")
	}
	return b.String()
}
