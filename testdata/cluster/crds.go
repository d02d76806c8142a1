package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/gateway-api/pkg/consts"
)

// gatewayKinds are the kinds of the Gateway API that Traefik watches: it serves nothing before all of them exist.
var gatewayKinds = []string{
	"gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants", "backendtlspolicies", "tlsroutes",
}

// crdFolder is where the definitions lie after the build.
func crdFolder(root string) string {
	return filepath.Join(root, ".build", "crds-"+consts.BundleVersion)
}

func crdFile(kind string) string { return "gateway.networking.k8s.io_" + kind + ".yaml" }

// buildCRDs copies the definitions out of the Gateway API's module: a run must not depend on the module cache, which
// need not be there when everything else was built before.
func buildCRDs(root string) error {
	if _, err := os.Stat(crdFolder(root)); err == nil {
		return nil
	}
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api")
	cmd.Dir = filepath.Join(root, "testdata", "cluster")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("find the Gateway API %s in the module cache: %w", consts.BundleVersion, err)
	}
	next := crdFolder(root) + ".next"
	if err := os.MkdirAll(next, 0o755); err != nil {
		return err
	}
	for _, kind := range gatewayKinds {
		content, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "config", "crd", "standard", crdFile(kind)))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(next, crdFile(kind)), content, 0o644); err != nil {
			return err
		}
	}
	return os.Rename(next, crdFolder(root))
}
