package main

import (
	"fmt"
	"os"
	"path/filepath"
)

const containerdSocket = state + "/containerd.sock"

// startContainerd starts the container runtime with folders of its own. Written for Debian's version 1.6; version 2
// reads the same file.
func (c *cluster) startContainerd() error {
	cni := filepath.Join(state, "cni")
	if err := writeCNI(cni); err != nil {
		return err
	}
	// restrict_oom_score_adj: without CAP_SYS_RESOURCE, runc dies of a score below its own.
	// The opt plugin is off because it wants a folder in /opt, the snapshotters because no probing is needed.
	config := fmt.Sprintf(`version = 2
root = "%[1]s/containerd"
state = "%[1]s/containerd-state"
oom_score = 0
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = %[2]q

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %[3]q
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %[4]q
    conf_dir = %[5]q

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = %[6]q
        SystemdCgroup = false
`, state, containerdSocket, pauseImage, cniPlugins(), cni, program("runc"))
	file := filepath.Join(state, "containerd.toml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	return c.run("containerd", program("containerd"), "--config", file)
}
