package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A requirement is a file that a Debian package brings. The file counts, not the package: other packages bring some
// of them too.
type requirement struct {
	pkg   string
	files []string
}

var requirements = []requirement{
	{"containerd", []string{"/usr/bin/containerd", "/usr/local/bin/containerd"}},
	{"runc", []string{"/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc"}},
	{"containernetworking-plugins", []string{"/usr/lib/cni/ptp", "/opt/cni/bin/ptp"}},
	{"nftables", []string{"/usr/sbin/nft"}},
}

// installed returns the first of the requirement's files that exists.
func (r requirement) installed() (string, bool) {
	for _, f := range r.files {
		if _, err := os.Stat(f); err == nil {
			return f, true
		}
	}
	return "", false
}

// program returns the path of what a package brings. It is to be called after installPackages.
func program(pkg string) string {
	for _, r := range requirements {
		if r.pkg == pkg {
			path, _ := r.installed()
			return path
		}
	}
	return ""
}

// cniPlugins is the folder of the CNI plugins.
func cniPlugins() string { return filepath.Dir(program("containernetworking-plugins")) }

// installPackages installs what is missing where it may, and otherwise says what to install.
func installPackages() error {
	var missing []string
	for _, r := range requirements {
		if _, ok := r.installed(); !ok {
			missing = append(missing, r.pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	names := strings.Join(missing, " ")
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("missing packages, install them first: apt-get install --no-install-recommends %s", names)
	}
	fmt.Fprintf(os.Stderr, "installing %s\n", names)
	for _, args := range [][]string{
		{"update"},
		append([]string{"install", "-y", "--no-install-recommends"}, missing...),
	} {
		cmd := exec.Command(apt, args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s\nby hand: apt-get install --no-install-recommends %s",
				strings.Join(args, " "), err, out, names)
		}
	}
	return nil
}
