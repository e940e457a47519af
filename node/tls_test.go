package node_test

import (
	"crypto/tls"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/node/config"
	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/transport/certificate"
)

// tlsConfigured is a configuration with a TLS listener whose certificate is trust's.
func tlsConfigured(t *testing.T) (c config.Config, trust *tls.Config) {
	t.Helper()
	_, path, err := certificate.LoadOrCreate(t.TempDir(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if trust, err = certificate.ClientConfig(path); err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*key*"))
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys: %v, %v", keys, err)
	}
	c = testConfig(t.TempDir())
	for name, value := range map[string]string{"listeners": "SSL://127.0.0.1:0", "ssl.certificate.file": path, "ssl.key.file": keys[0]} {
		if _, err := c.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	return c, trust
}

func TestClientsAreServedOverTLS(t *testing.T) {
	c, trust := tlsConfigured(t)
	n := start(t, c)
	cl := client(t, n, kgo.DialTLSConfig(trust))
	createTopic(t, cl, "secret", 1)
	all := records("secret", 200)
	produce(t, cl, all)
	same(t, all, consume(t, n, "secret", len(all), kgo.DialTLSConfig(trust)))
}

func TestTLSListenersSayWhatClientsDoWrong(t *testing.T) {
	c, trust := tlsConfigured(t)
	n := start(t, c)
	w := dial(t, n)
	if _, err := w.Write(w.frame(metadataRequest())); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(w)
	if line := n.logged(t, explain.Of(explain.WrongProtocolPlain).Title); !strings.Contains(line, "code:wrong-protocol-plain") || !strings.Contains(line, "began with the bytes 00 00") {
		t.Error(line)
	}
	stranger := trust.Clone()
	stranger.RootCAs = nil // it trusts the system's authorities
	stranger.ServerName = "127.0.0.1"
	if err := tls.Client(dial(t, n), stranger).Handshake(); err == nil {
		t.Fatal("it trusts anybody")
	}
	if line := n.logged(t, explain.Of(explain.TLSHandshakeFailed).Title); !strings.Contains(line, "bad certificate") {
		t.Error(line)
	}
	// A client that connects and says nothing is not waited for for ever; one that goes away is no news.
	_ = dial(t, n).Close()
	time.Sleep(50 * time.Millisecond)
	if lines := n.logs.FilterMessage(explain.Of(explain.TLSHandshakeFailed).Title).Len(); lines != 1 {
		t.Errorf("%d lines", lines)
	}
}

func TestTLSListenersConfiguredWronglyDoNotStart(t *testing.T) {
	good, _ := tlsConfigured(t)
	other, _ := tlsConfigured(t)
	text := filepath.Join(t.TempDir(), "text.pem")
	if err := os.WriteFile(text, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for claim, change := range map[string]func(*config.Config){
		"ssl.certificate.file: open":       func(c *config.Config) { c.TLSCertificate = "/nowhere/cert.pem" },
		"ssl.key.file: open":               func(c *config.Config) { c.TLSKey = "/nowhere/key.pem" },
		"they must be PEM files":           func(c *config.Config) { c.TLSCertificate = text },
		"private key does not match":       func(c *config.Config) { c.TLSKey = other.TLSKey },
		"an SSL listener needs a certific": func(c *config.Config) { c.TLSCertificate, c.TLSKey = "", "" },
	} {
		c := good
		c.DataDir = t.TempDir()
		change(&c)
		n, err := startQuietly(c)
		if err == nil || !strings.Contains(err.Error(), claim) {
			t.Errorf("%s: %v", claim, err)
		}
		if err == nil {
			_ = n.Close()
		}
	}
}
