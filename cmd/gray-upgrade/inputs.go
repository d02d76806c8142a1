package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
)

// usageError is a command line that cannot be read.
type usageError struct{ err error }

func (u usageError) Error() string { return u.err.Error() }

// readFlags reads the flags of a command: every key of the config is one, and add may add some of its own. Only flags
// that were given are returned.
func readFlags(args []string, add func(*flag.FlagSet)) ([]config.Input, error) {
	flags := flag.NewFlagSet("gray-upgrade", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var given []config.Input
	for _, k := range config.Keys {
		take := func(v string) error {
			given = append(given, config.Input{Key: k.Name, Value: v, Origin: config.FromFlag})
			return nil
		}
		if k.Type == config.TypeBoolean {
			flags.BoolFunc(k.Name, k.Description, take)
			continue
		}
		flags.Func(k.Name, k.Description, take)
	}
	if add != nil {
		add(flags)
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, unreadable(flags, err)
	}
	if flags.NArg() > 0 {
		return nil, usageError{fmt.Errorf("unexpected argument %q: values are given as --name=value; gray-upgrade help inputs lists them", flags.Arg(0))}
	}
	return given, nil
}

// unreadable says what is wrong with the command line in this program's words: package flag gives an unknown flag one
// dash, and does not say which ones there are.
func unreadable(flags *flag.FlagSet, err error) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return usageError{fmt.Errorf("%w; gray-upgrade help inputs lists what each flag takes", err)}
	}
	var all []string
	flags.VisitAll(func(f *flag.Flag) { all = append(all, "--"+f.Name) })
	return usageError{fmt.Errorf("there is no flag --%s; allowed: %s", name, strings.Join(all, ", "))}
}

// help teaches the commands, or one of them.
func help(args []string) string {
	if len(args) > 0 && args[0] == "inputs" {
		return inputsHelp()
	}
	return `gray-upgrade upgrades a Kubernetes service through gray nodes and keeps a bad release away from its users.

usage: gray-upgrade [COMMAND] [--input=value ...]

  run                 upgrade the service (the default)
  plan                check everything and print the plan; nothing is changed
  close               bring users home from whatever an earlier run left
  status              say what is under way, what is on hold, and how earlier runs ended
  offline-test pass   record that an image on hold passed its offline test: --digest sha256:... --by WHO --why TEXT
  watchdog            close when the runner is lost; a run starts it by itself, in the cluster
  version             print the version
  help inputs         list every input

An upgrade needs an image and a service:

  gray-upgrade plan --service=web --image=registry.example.com/shop/web:v2
  gray-upgrade run  --service=web --image=registry.example.com/shop/web:v2 --gray-args=--mode=gray --config=gray-upgrade.yaml

exit codes: 0 promoted or unchanged, 1 the image's fault, 2 bad input, 3 refused, 4 a person must act,
            5 infrastructure or not enough evidence, 130 interrupted
`
}

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
