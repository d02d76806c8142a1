// Cluster runs a command on a real Kubernetes of its own: control plane, node, gateway and containers, all built from
// Go modules and Debian packages, in namespaces that end with the command. It is what the tests and the demo run on.
//
//	cluster build              build everything into .build/
//	cluster run -- COMMAND...  start a cluster, run COMMAND with its KUBECONFIG, end with its exit code
//	cluster up                 start a cluster and keep it until Ctrl-C
//	cluster load --url URL...  send requests at a constant rate and count what is lost
//
// A run goes through three processes: the one the user started (outer.go) builds and cleans up, the first process of
// the new namespaces (init.go) reaps and forwards signals, and its child (inside.go) starts the components and COMMAND.
package main

import (
	"errors"
	"fmt"
	"os"
)

const usage = `usage: cluster build              build everything into .build/
       cluster run -- COMMAND...  start a cluster and run COMMAND on it
       cluster up                 start a cluster and keep it until Ctrl-C
       cluster load --url URL...  send requests at a constant rate and count what is lost
CLUSTER_WITHOUT="loki prometheus" leaves these out of what is built.
`

// exitCode is an error that says nothing and ends the process with its code: COMMAND has said it all.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func main() {
	err := dispatch(os.Args[1:])
	var code exitCode
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	default:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func dispatch(args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return exitCode(2)
	}
	switch name, rest := args[0], args[1:]; name {
	case "build":
		return build()
	case "run":
		if len(rest) > 0 && rest[0] == "--" {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			return errors.New("run: name a command, for example: cluster run -- kubectl get pods -A")
		}
		return outer(rest)
	case "up":
		return outer(nil)
	case "load":
		return runLoad(rest)
	case initName:
		return initProcess(rest)
	case insideName:
		return inside(rest)
	default:
		fmt.Fprintf(os.Stderr, "unknown command %q\n%s", name, usage)
		return exitCode(2)
	}
}
