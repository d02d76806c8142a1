// Demo upgrades the shop on the embedded cluster under load: a good version is promoted, a bad one is thrown out;
// once where the shop names its version in its answers, once where it does not. It prints what users met, and fails where a
// bar is not met. make demo runs it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gray-upgrade/gray-upgrade/internal/e2e"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := demo(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	cfg.QPS, cfg.Burst = 100, 200
	for _, names := range []bool{true, false} {
		if err := upgradeTwice(ctx, cfg, names); err != nil {
			return err
		}
	}
	return nil
}

// upgradeTwice runs the demo on a shop that names its version in its answers, or on one that does not.
func upgradeTwice(ctx context.Context, cfg *rest.Config, names bool) error {
	o := e2e.DemoOptions{Namespace: "demo", NameVersion: names, Rate: 200, Requests: 20_000}
	if !names {
		o.Namespace = "demo-unnamed"
		fmt.Print("\nthe same again, with a shop that names no version in its answers\n\n")
	}
	var err error
	if o.Folder, err = os.MkdirTemp("", "gray-upgrade-demo-"); err != nil {
		return err
	}
	r, err := e2e.Demo(ctx, cfg, os.Stdout, o)
	if err != nil {
		return fmt.Errorf("%w\n%s%s", err, r.GoodOutput, r.BadOutput)
	}
	ok := r.Print(os.Stdout, o)
	fmt.Printf("\nsummaries as a CI job shows them:\n  %s\n  %s\n", r.GoodSummary, r.BadSummary)
	if !ok {
		return fmt.Errorf("a bar is not met\n%s%s", r.GoodOutput, r.BadOutput)
	}
	return nil
}
