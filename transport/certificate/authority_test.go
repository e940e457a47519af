package certificate

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestNodesOfOneAuthorityTrustEachOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, err := NewAuthority(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	until, err := a.Issue("node-1", "broker-1.example", "127.0.0.1")
	if err != nil || time.Until(until) < 365*24*time.Hour {
		t.Fatal(until, err)
	}
	load := func(name string) tls.Certificate {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	trust := filepath.Join(dir, AuthorityName)
	for name, good := range map[string]bool{"broker-1.example": true, "127.0.0.1": true, "broker-2.example": false, "127.0.0.2": false} {
		if err := handshake(t, load("node-1"), trust, name); (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Read again it is the same authority: what it signs now is trusted by those who have the old file.
	again, err := OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Issue("node-2", "broker-2.example"); err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, load("node-2"), trust, "broker-2.example"); err != nil {
		t.Error(err)
	}
	// A renewed certificate is another one.
	before, err := os.ReadFile(filepath.Join(dir, "node-1.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Issue("node-1", "broker-1.example"); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "node-1.pem")); err != nil || string(after) == string(before) {
		t.Errorf("it was not renewed: %v", err)
	}
	// Another authority's nodes are strangers.
	elsewhere := t.TempDir()
	other, err := NewAuthority(elsewhere, "other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Issue("node-1", "broker-1.example"); err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, load("node-1"), filepath.Join(elsewhere, AuthorityName), "broker-1.example"); err == nil {
		t.Error("a node of another authority was trusted")
	}
}

func TestKeysAreTheOwnersOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, err := NewAuthority(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Issue("node-1", "localhost"); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{AuthorityKeyName: 0o600, "node-1.key": 0o600, AuthorityName: 0o644, "node-1.pem": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestAnAuthorityIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := NewAuthority(dir, "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := NewAuthority(dir, "test"); err == nil {
		t.Error("it was made anew: nothing that it signed would be trusted any more")
	}
	a, err := OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Issue("node-1"); err == nil {
		t.Error("a certificate for nobody")
	}
	// A node's certificate is no authority, and neither outlives its authority.
	until, err := a.issue(time.Now().Add(authorityValidFor-time.Hour), "node-1", []string{"localhost"})
	if err != nil || until.After(a.certificate.NotAfter) {
		t.Error(until, err)
	}
	if err := os.Rename(filepath.Join(dir, "node-1.pem"), filepath.Join(dir, AuthorityName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "node-1.key"), filepath.Join(dir, AuthorityKeyName)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(dir); err == nil {
		t.Error("a node's certificate was taken for an authority")
	}
}
