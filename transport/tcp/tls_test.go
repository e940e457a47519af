package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/certificate"
)

// encryptedListener returns a TLS listener with a short handshake timeout, and what its clients
// need to trust it.
func encryptedListener(t *testing.T, timeout time.Duration) (*Listener, *tls.Config) {
	t.Helper()
	c, path, err := certificate.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	client, err := certificate.ClientConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen("127.0.0.1:0", Config{TLS: certificate.ServerConfig(c), HandshakeTimeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, client
}

func acceptOne(t *testing.T, l *Listener) transport.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := l.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSilentClientDelaysNobodyAndIsDropped(t *testing.T) {
	l, config := encryptedListener(t, 200*time.Millisecond)
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	first := acceptOne(t, l) // the silent one, without waiting for its handshake

	go func() {
		c, err := NewDialer(config).Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Errorf("dial beside a silent client: %v", err)
			return
		}
		defer c.Close()
		_, _ = c.Write([]byte("hello"))
		_, _ = c.Read(make([]byte, 1))
	}()
	second := acceptOne(t, l)
	if _, err := io.ReadFull(second, make([]byte, 5)); err != nil {
		t.Fatalf("read beside a silent client: %v", err)
	}

	var timeout net.Error
	_, err = first.Read(make([]byte, 1))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("read without a handshake: %v", err)
	}
	if !strings.Contains(err.Error(), "handshake") {
		t.Errorf("error does not say what was missing: %v", err)
	}
	if _, err := silent.Read(make([]byte, 1)); !transport.IsClosed(err) {
		t.Errorf("the silent client is still connected: %v", err)
	}
}

func TestDeadlineInTheHandshakeFailsTheConnectionAndIsNoTimeout(t *testing.T) {
	l, _ := encryptedListener(t, time.Hour)
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := acceptOne(t, l)
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read: %v, after which a caller would read on", err)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	l, config := encryptedListener(t, time.Minute)
	config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	go func() { _, _ = acceptOne(t, l).Read(make([]byte, 1)) }()
	if c, err := tls.Dial("tcp", l.Addr().String(), config); err == nil {
		c.Close()
		t.Fatal("TLS 1.1 was accepted")
	}
}

func TestDialerRefusesACertificateItDoesNotKnow(t *testing.T) {
	l, _ := encryptedListener(t, time.Minute)
	_, config := encryptedListener(t, time.Minute) // trusts another one
	go func() { _, _ = acceptOne(t, l).Read(make([]byte, 1)) }()
	_, err := NewDialer(config).Dial(t.Context(), l.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Fatalf("dial: %v", err)
	}
}

func TestDialToAServerThatDoesNotSpeakTLSEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := NewDialer(&tls.Config{}).Dial(ctx, l.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("dial: %v", err)
	}
}

func TestMutualTLSShowsTheClientsCertificate(t *testing.T) {
	c, path, err := certificate.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	client, err := certificate.ClientConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	client.Certificates = []tls.Certificate{c}
	server := certificate.ServerConfig(c)
	server.ClientAuth = tls.RequireAnyClientCert
	l, err := Listen("127.0.0.1:0", Config{TLS: server})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := NewDialer(client).Dial(t.Context(), l.Addr().String()); err == nil {
			defer c.Close()
			_, _ = c.Read(make([]byte, 1))
		}
	}()
	state, err := acceptOne(t, l).(*TLSConn).ConnectionState()
	if err != nil || len(state.PeerCertificates) != 1 {
		t.Fatalf("%d certificates, %v", len(state.PeerCertificates), err)
	}
}

func TestAddressIsFreeOnceEverythingIsClosed(t *testing.T) {
	l, err := Listen("127.0.0.1:0", Config{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewDialer(nil).Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := acceptOne(t, l)
	s.Close()
	c.Close()
	l.Close()
	again, err := Listen(l.Addr().String(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestListenWithoutACertificateIsRefused(t *testing.T) {
	if l, err := Listen("127.0.0.1:0", Config{TLS: &tls.Config{}}); err == nil {
		l.Close()
		t.Fatal("listening without a certificate")
	}
}
