package certificate

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weirmq/weir/transport/memory"
)

// handshake runs one TLS handshake against name and returns the client's error.
func handshake(t *testing.T, server tls.Certificate, pemPath, name string) error {
	t.Helper()
	config, err := ClientConfig(pemPath)
	if err != nil {
		t.Fatal(err)
	}
	config.ServerName = name
	network := memory.New() // buffered, as net.Pipe is not: both sides may write at once
	l, err := network.Listen("server")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := network.Dial(t.Context(), "server")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer b.Close()
		_ = tls.Server(b, ServerConfig(server)).Handshake()
	}()
	return tls.Client(a, config).Handshake()
}

func TestClientThatTrustsTheFileConnectsToEveryLocalName(t *testing.T) {
	c, path, err := LoadOrCreate(t.TempDir(), "broker-7.example", "10.1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "broker-7.example", "10.1.2.3"} {
		if err := handshake(t, c, path, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := handshake(t, c, path, "elsewhere.example"); err == nil {
		t.Error("a name the certificate does not carry was accepted")
	}
}

func TestAnotherDirectorysCertificateIsNotTrusted(t *testing.T) {
	_, path, err := LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, other, path, "localhost"); err == nil {
		t.Fatal("a stranger's certificate was accepted")
	}
}

func TestSecondLoadReturnsTheSameCertificate(t *testing.T) {
	dir := t.TempDir()
	first, _, err := LoadOrCreate(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := LoadOrCreate(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Certificate[0], second.Certificate[0]) {
		t.Fatal("the certificate was made anew")
	}
}

func TestConcurrentCallersGetOneCertificate(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	got := make([][]byte, 8)
	for i := range got {
		wg.Go(func() {
			c, _, err := LoadOrCreate(dir)
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = c.Certificate[0]
		})
	}
	wg.Wait()
	for _, c := range got[1:] {
		if !bytes.Equal(got[0], c) {
			t.Fatal("two certificates were made")
		}
	}
}

func TestKeyIsReadableByItsOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := LoadOrCreate(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, keyName))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v", info.Mode())
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.pem.*"))
	if err != nil || len(left) != 0 {
		t.Fatalf("temporary files left: %v, %v", left, err)
	}
}

func TestRenewalKeepsTheReplacedCertificateTrusted(t *testing.T) {
	dir := t.TempDir()
	made := time.Now().Add(-(validFor - renewAt) - time.Hour)
	old, _, err := loadOrCreate(dir, made, nil)
	if err != nil {
		t.Fatal(err)
	}
	renewed, path, err := LoadOrCreate(dir)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(old.Certificate[0], renewed.Certificate[0]) {
		t.Fatal("not renewed within 30 days of its end")
	}
	for name, c := range map[string]tls.Certificate{"old": old, "renewed": renewed} {
		if err := handshake(t, c, path, "localhost"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	// Once expired, it is dropped.
	if _, _, err := loadOrCreate(dir, time.Now().Add(2*validFor), nil); err != nil {
		t.Fatal(err)
	}
	kept, _, err := load(path, filepath.Join(dir, keyName))
	if err != nil {
		t.Fatal(err)
	}
	if len(kept) != 1 {
		t.Fatalf("%d certificates kept, want the current one only", len(kept))
	}
}

func TestDamagedOrMismatchedFilesAreReplaced(t *testing.T) {
	foreign := t.TempDir()
	if _, _, err := LoadOrCreate(foreign); err != nil {
		t.Fatal(err)
	}
	foreignKey, err := os.ReadFile(filepath.Join(foreign, keyName))
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(dir string) error{
		"empty key":        func(dir string) error { return os.WriteFile(filepath.Join(dir, keyName), nil, 0o600) },
		"another's key":    func(dir string) error { return os.WriteFile(filepath.Join(dir, keyName), foreignKey, 0o600) },
		"no key":           func(dir string) error { return os.Remove(filepath.Join(dir, keyName)) },
		"torn certificate": func(dir string) error { return os.Truncate(filepath.Join(dir, certificateName), 100) },
		"no certificate":   func(dir string) error { return os.Remove(filepath.Join(dir, certificateName)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, _, err := LoadOrCreate(dir); err != nil {
				t.Fatal(err)
			}
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			c, path, err := LoadOrCreate(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := handshake(t, c, path, "localhost"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestCertificateIsNoAuthority(t *testing.T) {
	c, _, err := LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if leaf.IsCA || leaf.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Fatal("the certificate could sign others")
	}
}

func TestClientConfigRefusesAFileWithoutCertificates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(path, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ClientConfig(path); err == nil {
		t.Fatal("accepted")
	}
}
