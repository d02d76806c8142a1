// Demo upgrades the shop on the embedded cluster under load: a good version is promoted, a bad one is thrown out. It
// prints what users met, and fails where a bar is not met. make demo runs it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

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
	folder, err := os.MkdirTemp("", "gray-upgrade-demo-")
	if err != nil {
		return err
	}
	o := e2e.DemoOptions{Namespace: "demo", NameVersion: true, Rate: 200, Requests: 20_000, Folder: folder}
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
