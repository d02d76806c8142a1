package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func token(claims string) string {
	return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestExpiry(t *testing.T) {
	end := time.Unix(1900000000, 0)
	certificate := selfSigned(t, end)
	file := filepath.Join(t.TempDir(), "cert.pem")
	require.NoError(t, os.WriteFile(file, certificate, 0o600))
	for name, c := range map[string]struct {
		config rest.Config
		want   time.Time
		fault  string
	}{
		"token":                {config: rest.Config{BearerToken: token(fmt.Sprintf(`{"exp":%d}`, end.Unix()))}, want: end},
		"token without end":    {config: rest.Config{BearerToken: token(`{}`)}},
		"opaque token":         {config: rest.Config{BearerToken: "abc"}},
		"token with bad parts": {config: rest.Config{BearerToken: "a.!.c"}},
		"token of the pod":     {config: rest.Config{BearerToken: token(`{"exp":1}`), BearerTokenFile: "/token"}},
		"certificate":          {config: rest.Config{TLSClientConfig: rest.TLSClientConfig{CertData: certificate}}, want: end},
		"certificate file":     {config: rest.Config{TLSClientConfig: rest.TLSClientConfig{CertFile: file}}, want: end},
		"no such certificate":  {config: rest.Config{TLSClientConfig: rest.TLSClientConfig{CertFile: file + "x"}}, fault: "cannot be read"},
		"nothing":              {},
		"plugin":               {config: rest.Config{ExecProvider: &clientcmdapi.ExecConfig{Command: "go"}}},
		"plugin that is not there": {config: rest.Config{ExecProvider: &clientcmdapi.ExecConfig{Command: "aws-that-is-not-here"}},
			fault: `the program "aws-that-is-not-here", which is not here; give a kubeconfig with a token instead`},
		"old auth provider": {config: rest.Config{AuthProvider: &clientcmdapi.AuthProviderConfig{Name: "gcp"}}, fault: "auth provider gcp"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Expiry(&c.config)
			if c.fault != "" {
				assert.Equal(t, plan.FaultInput, fault(t, err))
				assert.ErrorContains(t, err, c.fault)
				return
			}
			require.NoError(t, err)
			assert.True(t, c.want.Equal(got), "%s", got)
		})
	}
}

func selfSigned(t *testing.T, end time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
