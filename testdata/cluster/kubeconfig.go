package main

import (
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// kubeconfig is the path of a user's kubeconfig. They lie in the run's folder and hold all they name, so that they are
// of use to a process that enters the namespaces later.
func (c *cluster) kubeconfig(user string) string { return filepath.Join(c.dir, user+".kubeconfig") }

// writeKubeconfigs writes one for each user that has a certificate.
func (c *cluster) writeKubeconfigs() error {
	ca, err := os.ReadFile(c.pki.cert("ca"))
	if err != nil {
		return err
	}
	for _, user := range []string{"admin", "controller-manager", "scheduler", "proxy", "kubelet", "metrics-server"} {
		cert, err := os.ReadFile(c.pki.cert(user))
		if err != nil {
			return err
		}
		key, err := os.ReadFile(c.pki.keyFile(user))
		if err != nil {
			return err
		}
		config := api.NewConfig()
		config.Clusters["cluster"] = &api.Cluster{Server: apiServer, CertificateAuthorityData: ca}
		config.AuthInfos[user] = &api.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
		config.Contexts["cluster"] = &api.Context{Cluster: "cluster", AuthInfo: user}
		config.CurrentContext = "cluster"
		if err := clientcmd.WriteToFile(*config, c.kubeconfig(user)); err != nil {
			return err
		}
	}
	return nil
}
