package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// writeCNI writes the network of the pods: a link to the node each (ptp). With the bridge plugin, an answer from pod to
// pod would take the short way through the bridge and miss the rule that rewrites Service addresses, unless the
// machine's kernel has br_netfilter.
func writeCNI(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "10-pods.conflist"), fmt.Appendf(nil, `{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [{
    "type": "ptp",
    "ipMasq": false,
    "ipam": {
      "type": "host-local",
      "ranges": [[{"subnet": %q, "gateway": %q, "rangeStart": "198.18.1.0"}]],
      "routes": [{"dst": "0.0.0.0/0"}],
      "dataDir": %q
    }
  }]
}
`, podNet, nodeIP, filepath.Join(state, "cni-leases")), 0o644)
}
