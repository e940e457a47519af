// Package certificate makes the certificate that a development node shows on TLS and QUIC, so that
// encryption works without an authority and without a switch that turns verification off.
//
// Input: a directory. Output: two PEM files in it and the key pair in memory. Clients trust the
// public file by name (ClientConfig, or the CA setting of any Kafka client).
//
//  1. The key is readable by its owner only, and never leaves the directory.
//  2. Files appear whole or not at all; a crash between them is noticed and both are made again.
//  3. The first certificate in the public file is the current one. Those it replaced stay behind it
//     until they expire, so a process that still shows the old one keeps its clients.
//  4. The certificate signs nothing but itself (it is no authority): a stolen key impersonates this
//     node, not other sites to the people who trusted the file.
//
// For the nodes of a cluster, which must trust each other, there is a small authority (Authority): its certificate is what
// everybody trusts, and each node's is signed by it. Its key signs new nodes and renewals, and is needed for nothing else.
//
// Deliberately absent: client certificates, revocation, requests for certificates. Operators with an authority bring theirs.
package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	certificateName = "dev-certificate.pem" // public: the current certificate, then former ones
	keyName         = "dev-key.pem"
	lockName        = "dev-certificate.lock"

	validFor = 365 * 24 * time.Hour
	renewAt  = 30 * 24 * time.Hour // left to live
	backdate = time.Hour           // for clients whose clock is behind
)

// LoadOrCreate returns the development certificate kept in dir, made or renewed as needed, and the
// path of the PEM file that clients trust. It is valid for localhost, the loopback addresses, this
// machine's host name and the given hosts (names or addresses). A certificate that expires within
// 30 days, lacks one of these hosts or does not fit its key is replaced. Concurrent callers, also
// in other processes, get the same one.
func LoadOrCreate(dir string, hosts ...string) (tls.Certificate, string, error) {
	return loadOrCreate(dir, time.Now(), hosts)
}

// KeyPath is where the key of a certificate is that LoadOrCreate returned the path of.
func KeyPath(certificatePath string) string {
	return filepath.Join(filepath.Dir(certificatePath), keyName)
}

// ServerConfig is a TLS configuration that shows the certificate.
func ServerConfig(c tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12}
}

// ClientConfig is a TLS configuration that trusts the certificates in the PEM file, and no others.
func ClientConfig(pemPath string) (*tls.Config, error) {
	data, err := os.ReadFile(pemPath)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", pemPath)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

func loadOrCreate(dir string, now time.Time, hosts []string) (tls.Certificate, string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return tls.Certificate{}, "", err
	}
	unlock, err := lock(filepath.Join(dir, lockName))
	if err != nil {
		return tls.Certificate{}, "", err
	}
	defer unlock()

	certificatePath, keyPath := filepath.Join(dir, certificateName), filepath.Join(dir, keyName)
	names := wantedNames(hosts)
	kept, key, err := load(certificatePath, keyPath)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	if current, ok := usable(kept, key, names, now); ok {
		return current, certificatePath, nil
	}
	c, err := create(certificatePath, keyPath, names, kept, now)
	if err != nil {
		return tls.Certificate{}, "", fmt.Errorf("development certificate in %s: %w", dir, err)
	}
	return c, certificatePath, nil
}

// wantedNames is what the certificate must be valid for, without repetition.
func wantedNames(hosts []string) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if h, err := os.Hostname(); err == nil && h != "" {
		names = append(names, h)
	}
	for _, h := range hosts {
		if h != "" && !slices.Contains(names, h) {
			names = append(names, h)
		}
	}
	return names
}

// load reads what is there. Absent files are no error, and neither are contents that cannot be
// parsed: they are replaced.
func load(certificatePath, keyPath string) (certificates []*x509.Certificate, key []byte, err error) {
	data, err := os.ReadFile(certificatePath)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			certificates = append(certificates, c)
		}
	}
	key, err = os.ReadFile(keyPath)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	return certificates, key, nil
}

// usable returns the first certificate with its key if it serves the names for long enough.
func usable(kept []*x509.Certificate, key []byte, names []string, now time.Time) (tls.Certificate, bool) {
	if len(kept) == 0 || len(key) == 0 {
		return tls.Certificate{}, false
	}
	current := kept[0]
	if now.Before(current.NotBefore) || now.Add(renewAt).After(current.NotAfter) {
		return tls.Certificate{}, false
	}
	for _, name := range names {
		if current.VerifyHostname(name) != nil {
			return tls.Certificate{}, false
		}
	}
	pair, err := tls.X509KeyPair(encode(current.Raw), key)
	return pair, err == nil
}

func create(certificatePath, keyPath string, names []string, kept []*x509.Certificate, now time.Time) (tls.Certificate, error) {
	t, err := template(names[0], validFor, now)
	if err != nil {
		return tls.Certificate{}, err
	}
	t.Subject.Organization = []string{"weir development certificate"}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	reachedBy(t, names)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	var public bytes.Buffer
	public.Write(encode(der))
	for _, old := range kept {
		if now.Before(old.NotAfter) {
			public.Write(encode(old.Raw))
		}
	}
	if err := writePair(certificatePath, keyPath, public.Bytes(), key); err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// template is what certificates have in common.
func template(name string, life time.Duration, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"weir"}, CommonName: name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(life),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}, nil
}

// reachedBy has a certificate be of hosts, which are names or addresses.
func reachedBy(t *x509.Certificate, hosts []string) {
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
}

// writePair writes a certificate and its key, the key first: a certificate without its key would be shown to clients, or
// trusted and sign nothing. A key without its certificate is only replaced.
func writePair(certificatePath, keyPath string, certificatePEM []byte, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writeFile(keyPath, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return err
	}
	return writeFile(certificatePath, certificatePEM, 0o644)
}

func encode(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// writeFile replaces a file so that readers see the old contents or the new, and nobody else could
// ever read a private one.
func writeFile(path string, data []byte, mode os.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
