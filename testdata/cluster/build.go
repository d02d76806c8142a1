package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// kubeVersion must be the version that go.mod requires: without the stamp, clients see no semantic version.
const kubeVersion = "v1.37.2"

// A binary is one thing to build.
type binary struct {
	name string
	// recipe lists files and folders (with everything in them) that decide the result, from the root. A binary with a
	// recipe is built only when the recipe or the Go version has changed; without one, go's own cache decides.
	recipe []string
	// dir is where the command runs, from the root.
	dir string
	// command builds into the path that follows it.
	command []string
	env     []string
	// source is a pattern of files, from the root. Where none exists, the binary is left out.
	source string
	// optional binaries are left out, with a warning, when they do not compile: the cluster is of use without them,
	// and whatever is being worked on should not stand in the way of everything else.
	optional bool
	// first says how long the very first build takes.
	first string
}

var binaries = []binary{
	{
		name: "pause", dir: "testdata/cluster", source: "testdata/cluster/pause/*.go",
		command: []string{"go", "build", "-trimpath", "-ldflags", "-s -w", "./pause", "-o"},
		env:     []string{"CGO_ENABLED=0"},
	},
	{
		name: "app", dir: ".", source: "testdata/app/*.go", optional: true,
		command: []string{"go", "build", "-trimpath", "-ldflags", "-s -w", "./testdata/app", "-o"},
		env:     []string{"CGO_ENABLED=0"},
	},
	{
		name: "gray-upgrade", dir: ".", source: "cmd/gray-upgrade/*.go", optional: true,
		command: []string{"go", "build", "-trimpath", "./cmd/gray-upgrade", "-o"},
		env:     []string{"CGO_ENABLED=0"},
	},
	{
		name: "traefik", dir: ".", source: "testdata/gateway/build.sh",
		recipe: []string{
			"testdata/gateway/build.sh", "testdata/gateway/overlay.json", "testdata/gateway/_stub", "testdata/gateway/ext",
			"testdata/gateway/go.mod", "testdata/gateway/go.sum", "testdata/gateway/link.mod", "testdata/gateway/link.sum",
		},
		command: []string{"sh", "testdata/gateway/build.sh"},
		first:   "7 CPU minutes",
	},
	{
		name: "prometheus", dir: ".", source: "testdata/cluster/prometheus.sh",
		recipe:  []string{"testdata/cluster/prometheus.sh"},
		command: []string{"sh", "testdata/cluster/prometheus.sh"},
	},
	{
		name: "loki", dir: "testdata/loki", source: "testdata/loki/go.mod",
		recipe:  []string{"testdata/loki"},
		command: []string{"go", "build", "-trimpath", "-ldflags", "-s -w", "github.com/grafana/loki/v3/cmd/loki", "-o"},
		env:     []string{"CGO_ENABLED=0"},
		first:   "9 CPU minutes",
	},
	{
		name: "kube", dir: "testdata/cluster", source: "testdata/cluster/kube/*.go",
		recipe: []string{"testdata/cluster/kube", "testdata/cluster/go.mod", "testdata/cluster/go.sum"},
		command: []string{"go", "build", "-trimpath",
			"-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion=" + kubeVersion, "./kube", "-o"},
		env:   []string{"CGO_ENABLED=0"},
		first: "15 CPU minutes",
	},
}

// without is a variable that names binaries which are not needed now: the demo has no use for servers that only tests ask.
const without = "CLUSTER_WITHOUT"

// build builds what is not up to date into .build/ of the repository. Several builds may be started at once: they
// take turns.
func build() error {
	root, err := repository()
	if err != nil {
		return err
	}
	unlock, err := lockBuild(root)
	if err != nil {
		return err
	}
	defer unlock()
	if err := buildCRDs(root); err != nil {
		return err
	}
	goVersion, err := exec.Command("go", "env", "GOVERSION").Output()
	if err != nil {
		return fmt.Errorf("go env GOVERSION: %w (is Go installed and in PATH?)", err)
	}
	for i, b := range binaries {
		title := fmt.Sprintf("build %d/%d %s", i+1, len(binaries), b.name)
		if slices.Contains(strings.Fields(os.Getenv(without)), b.name) {
			continue
		}
		if files, _ := filepath.Glob(filepath.Join(root, b.source)); len(files) == 0 {
			fmt.Fprintf(os.Stderr, "%s: left out, there is no %s\n", title, b.source)
			continue
		}
		err := b.build(root, string(goVersion), title)
		if err != nil && b.optional {
			fmt.Fprintf(os.Stderr, "%v\n%s: left out\n", err, title)
			err = os.RemoveAll(filepath.Join(binFolder(root), b.name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// binFolder is where the binaries lie.
func binFolder(root string) string { return filepath.Join(root, ".build", "bin") }

// build builds b unless the binary that lies there has the same recipe.
func (b binary) build(root, goVersion, title string) error {
	out := filepath.Join(binFolder(root), b.name)
	stamp := filepath.Join(root, ".build", b.name+".recipe")
	var key string
	if b.recipe != nil {
		var err error
		if key, err = recipeHash(root, b.recipe, append(b.command, b.env...), goVersion); err != nil {
			return fmt.Errorf("%s: %w", title, err)
		}
		old, _ := os.ReadFile(stamp)
		if _, err := os.Stat(out); err == nil && string(old) == key {
			return nil
		}
	}
	args := append([]string(nil), b.command[1:]...)
	next := out + ".next" // a cluster that runs keeps the old file
	if args[len(args)-1] == "-o" {
		// go wants flags before packages.
		pkg := args[len(args)-2]
		args = append(args[:len(args)-2], "-o", next, pkg)
	} else {
		args = append(args, next)
	}
	cmd := exec.Command(b.command[0], args...)
	cmd.Dir = filepath.Join(root, b.dir)
	cmd.Env = append(os.Environ(), b.env...)
	cmd.Env = append(cmd.Env, "GOWORK=off")
	if err := b.run(cmd, title); err != nil {
		return err
	}
	if err := os.Rename(next, out); err != nil {
		return err
	}
	if b.recipe == nil {
		return nil
	}
	return os.WriteFile(stamp, []byte(key), 0o644)
}

// run runs cmd and shows the progress of it. The output is shown only when it fails.
func (b binary) run(cmd *exec.Cmd, title string) error {
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	note := ""
	if b.first != "" {
		note = " (" + b.first + " the first time)"
	}
	start := time.Now()
	p := startProgress(title+note, start)
	err := cmd.Run()
	p.stop()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s failed after %s:\n%s", title, time.Since(start).Round(time.Second), strings.TrimSpace(output.String()))
	}
	return err
}

// lockBuild waits until no other build runs in this repository.
func lockBuild(root string) (unlock func(), err error) {
	if err := os.MkdirAll(binFolder(root), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(root, ".build", "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		fmt.Fprintln(os.Stderr, "build: waiting for another build to end")
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			return nil, fmt.Errorf("lock .build: %w", err)
		}
	}
	return func() { f.Close() }, nil
}
