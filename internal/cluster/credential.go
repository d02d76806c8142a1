package cluster

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Expiry is when the credential of the configuration ends; the zero time where it does not say, or where it is
// renewed by itself (a pod's token file, a plugin). A kubeconfig whose plugin is not installed here is a
// *plan.Failure with FaultInput that says what to use instead.
func Expiry(c *rest.Config) (time.Time, error) {
	switch {
	case c.ExecProvider != nil:
		return time.Time{}, pluginThere(c.ExecProvider.Command)
	case c.AuthProvider != nil:
		return time.Time{}, plan.Failf(plan.FaultInput, "", "the kubeconfig asks for the auth provider %s, which client libraries no longer have; use a token", c.AuthProvider.Name)
	case c.BearerTokenFile != "":
		return time.Time{}, nil
	case c.BearerToken != "":
		return tokenExpiry(c.BearerToken), nil
	}
	return certificateExpiry(c)
}

func pluginThere(command string) error {
	if _, err := exec.LookPath(command); err != nil {
		return plan.Failf(plan.FaultInput, "", "the kubeconfig gets its credential from the program %q, which is not here; give a kubeconfig with a token instead "+
			"(kubectl create token SERVICEACCOUNT --duration=2h, for a ServiceAccount with the role), or run in the cluster", command)
	}
	return nil
}

// tokenExpiry reads the exp claim of a JSON web token without verifying it: the API server does that. An opaque
// token says nothing.
func tokenExpiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Exp int64 `json:"exp"`
	}
	if json.Unmarshal(raw, &claims) != nil || claims.Exp == 0 {
		return time.Time{}
	}
	return time.Unix(claims.Exp, 0)
}

func certificateExpiry(c *rest.Config) (time.Time, error) {
	data := c.CertData
	if len(data) == 0 && c.CertFile != "" {
		var err error
		if data, err = os.ReadFile(c.CertFile); err != nil {
			return time.Time{}, plan.Failf(plan.FaultInput, c.CertFile, "the kubeconfig's client certificate cannot be read: %w", err)
		}
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return time.Time{}, nil
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the client certificate of the kubeconfig: %w", err)
	}
	return certificate.NotAfter, nil
}
