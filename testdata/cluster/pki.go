package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A pki is the folder of the cluster's keys and certificates: NAME.crt and NAME.key each.
type pki struct {
	dir    string
	serial int64
}

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

const nodeName = "node"

// newPKI makes every key and certificate. The authority of the front proxy is one of its own: whoever has a certificate
// of it may name any user.
func newPKI(dir string) (*pki, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &pki{dir: dir}
	ca, err := p.authority("ca")
	if err != nil {
		return nil, err
	}
	front, err := p.authority("front-ca")
	if err != nil {
		return nil, err
	}
	if _, err := p.key("service-account"); err != nil {
		return nil, err
	}
	for _, c := range []struct {
		by         *authority
		file, user string
		group      string
		names      []string
		addresses  []string
	}{
		{by: ca, file: "apiserver", user: "kube-apiserver",
			names:     []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
			addresses: []string{"127.0.0.1", nodeIP, apiIP}},
		{by: ca, file: "kubelet-server", user: nodeName, names: []string{nodeName}, addresses: []string{nodeIP, "127.0.0.1"}},
		{by: ca, file: "apiserver-kubelet", user: "kube-apiserver-kubelet-client", group: "system:masters"},
		{by: ca, file: "admin", user: "admin", group: "system:masters"},
		{by: ca, file: "controller-manager", user: "system:kube-controller-manager"},
		{by: ca, file: "scheduler", user: "system:kube-scheduler"},
		{by: ca, file: "proxy", user: "system:kube-proxy"},
		{by: ca, file: "metrics-server", user: "metrics-server"},
		{by: ca, file: "kubelet", user: "system:node:" + nodeName, group: "system:nodes"},
		{by: front, file: "front-proxy", user: "front-proxy"},
	} {
		template := &x509.Certificate{
			Subject:     pkix.Name{CommonName: c.user},
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			DNSNames:    c.names,
		}
		if c.group != "" {
			template.Subject.Organization = []string{c.group}
		}
		for _, a := range c.addresses {
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(a))
		}
		if c.names != nil {
			template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		}
		if _, err := p.issue(c.file, template, c.by); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *pki) cert(name string) string    { return filepath.Join(p.dir, name+".crt") }
func (p *pki) keyFile(name string) string { return filepath.Join(p.dir, name+".key") }

func (p *pki) authority(name string) (*authority, error) {
	return p.issue(name, &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}, nil)
}

// issue makes a key and has a certificate for it signed, by itself if there is no authority.
func (p *pki) issue(name string, template *x509.Certificate, by *authority) (*authority, error) {
	key, err := p.key(name)
	if err != nil {
		return nil, err
	}
	p.serial++
	template.SerialNumber = big.NewInt(p.serial)
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(365 * 24 * time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert, key}, writePEM(p.cert(name), "CERTIFICATE", der)
}

func (p *pki) key(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(p.keyFile(name), "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
