package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The names of an authority's files.
const (
	AuthorityName    = "authority.pem" // public: what everybody trusts
	AuthorityKeyName = "authority.key"

	authorityValidFor = 10 * 365 * 24 * time.Hour
	nodeValidFor      = 2 * 365 * 24 * time.Hour
)

// Authority signs the certificates of a cluster's nodes, and nothing else.
type Authority struct {
	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes an authority whose files are in dir. The error is os.ErrExist if there is one.
func NewAuthority(dir, name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := template(name, authorityValidFor, time.Now())
	if err != nil {
		return nil, err
	}
	template.IsCA, template.MaxPathLenZero = true, true // it signs nodes, and no other authority
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageCertSign, nil
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	a := &Authority{dir: dir, key: key}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for _, existing := range []string{AuthorityName, AuthorityKeyName} {
		if _, err := os.Stat(filepath.Join(dir, existing)); !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, existing), os.ErrExist)
		}
	}
	return a, writePair(filepath.Join(dir, AuthorityName), filepath.Join(dir, AuthorityKeyName), encode(der), key)
}

// OpenAuthority reads the authority in dir.
func OpenAuthority(dir string) (*Authority, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, AuthorityName), filepath.Join(dir, AuthorityKeyName))
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || pair.Leaf == nil || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("%s is not an authority of weir's making", filepath.Join(dir, AuthorityName))
	}
	return &Authority{dir: dir, certificate: pair.Leaf, key: key}, nil
}

// Issue makes a key and a certificate for a node that is reached by hosts (names or addresses), and puts them beside the
// authority's as NAME.pem and NAME.key, instead of those that are there. It returns until when the certificate is valid.
func (a *Authority) Issue(name string, hosts ...string) (until time.Time, err error) {
	return a.issue(time.Now(), name, hosts)
}

func (a *Authority) issue(now time.Time, name string, hosts []string) (until time.Time, err error) {
	if len(hosts) == 0 {
		return until, errors.New("a certificate is for names or addresses, and there are none")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return until, err
	}
	t, err := template(name, nodeValidFor, now)
	if err != nil {
		return until, err
	}
	if t.NotAfter.After(a.certificate.NotAfter) {
		t.NotAfter = a.certificate.NotAfter
	}
	reachedBy(t, hosts)
	der, err := x509.CreateCertificate(rand.Reader, t, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return until, err
	}
	return t.NotAfter, writePair(filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key"), encode(der), key)
}
