package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A group is a cgroup of a run under the root of every hierarchy. The kubelet keeps its pods below it, so that two
// clusters do not share a `kubepods`, and so that it can be removed as a whole.
type group struct{ name string }

// A hierarchy is a mounted cgroup file system: one per controller with version 1, a single one with version 2.
type hierarchy struct {
	path    string
	unified bool
}

func hierarchies() ([]hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []hierarchy
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if h, ok := parseHierarchy(lines.Text()); ok {
			all = append(all, h)
		}
	}
	return all, lines.Err()
}

// parseHierarchy reads a line of mountinfo. The mount point is its fifth word, the type the first behind the dash.
func parseHierarchy(line string) (hierarchy, bool) {
	head, tail, ok := strings.Cut(line, " - ")
	words, kind := strings.Fields(head), strings.Fields(tail)
	if !ok || len(words) < 5 || len(kind) < 1 || (kind[0] != "cgroup" && kind[0] != "cgroup2") {
		return hierarchy{}, false
	}
	return hierarchy{path: words[4], unified: kind[0] == "cgroup2"}, true
}

// unifiedOnly tells whether this machine has cgroup version 2 and nothing else.
func unifiedOnly() (bool, error) {
	all, err := hierarchies()
	return len(all) == 1 && all[0].unified, err
}

func newGroup(name string) (group, error) {
	g := group{name}
	all, err := hierarchies()
	if err != nil {
		return g, err
	}
	if len(all) == 0 {
		return g, errors.New("no cgroup file system is mounted: the kubelet cannot run here")
	}
	for _, h := range all {
		if err := g.create(h); err != nil {
			g.remove()
			return g, fmt.Errorf("cgroup in %s: %w", h.path, err)
		}
	}
	return g, nil
}

func (g group) create(h hierarchy) error {
	dir := filepath.Join(h.path, g.name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	prefer(dir)
	if h.unified {
		return delegate(h.path, dir)
	}
	// A fresh group of the cpuset controller has no processors and no memory, and the kubelet would copy that.
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(h.path, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), value, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// prefer gives the pods more processor time than one process of the control plane: without it all pods together count as
// much as a single thread beside them, so that starting a few pods makes the others' users wait. Best effort.
func prefer(dir string) {
	for file, value := range map[string]string{"cpu.shares": "8192", "cpu.weight": "800"} { // of version 1, of version 2
		if f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0); err == nil {
			_, _ = f.WriteString(value)
			_ = f.Close()
		}
	}
}

// delegate gives a version 2 group, and the groups below it, every controller its parent has.
func delegate(parent, dir string) error {
	controllers, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, c := range strings.Fields(string(controllers)) {
		for _, d := range []string{parent, dir} {
			// Best effort: a controller that cannot be had (realtime processes, a container's own root) is missed by
			// the kubelet only if it needs it, and then it says so.
			_ = os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+"+c), 0o644)
		}
	}
	return nil
}

// remove removes the group with all below it. Its processes must have been killed; the kernel may need a moment to
// let go of them.
func (g group) remove() {
	all, _ := hierarchies()
	for _, h := range all {
		dir := filepath.Join(h.path, g.name)
		for range 50 {
			if removeTree(dir) == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// removeTree removes groups from the deepest up. Only folders can be removed in a cgroup file system.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(dir)
}
