package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/node/weirtest"
	"github.com/weirmq/weir/transport/certificate"
)

// TestMain keeps the profiles of whoever runs the tests out of them, and a place for what they build.
func TestMain(m *testing.M) {
	for _, s := range profileSettings {
		_ = os.Unsetenv(s.variable)
	}
	_ = os.Setenv("WEIR_CONFIG", filepath.Join(os.TempDir(), "weir-test-has-no-such-file", "profiles.json"))
	var err error
	if buildDir, err = os.MkdirTemp("", "weir-test-"); err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(buildDir) // it holds the binary at most
	os.Exit(code)
}

// answer serves TCP connections with a function.
func answer(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return l.Addr().String()
}

func TestWhyABrokerCannotBeReachedIsSaid(t *testing.T) {
	t.Parallel()
	cert, path, err := certificate.LoadOrCreate(t.TempDir(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	secure := answer(t, func(c net.Conn) {
		_ = tls.Server(c, certificate.ServerConfig(cert)).Handshake()
	})
	shut := answer(t, func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 4))
	})
	ssh := answer(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n"); _, _ = bufio.NewReader(c).ReadByte() })
	silent := answer(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	junk := answer(t, func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 10))
		_, _ = c.Write(make([]byte, 100))
	})
	plain := weirtest.Start(t)
	wrong := weirtest.Start(t, weirtest.Property("advertised.listeners", closedPort(t)))
	mute := weirtest.Start(t, weirtest.Property("advertised.listeners", silent)) // a proxy without anything behind it
	nowhere := weirtest.Start(t, weirtest.Property("advertised.listeners", "broker-1.invalid:9092"))
	for _, c := range []struct {
		args string
		code explain.Code
		says string
	}{
		{closedPort(t), explain.Unreachable, "weir dev"},
		{"no-such-host.invalid:9092", explain.NameNotFound, "no-such-host.invalid"},
		{strings.TrimPrefix(web.URL, "http://"), explain.NotKafka, "HTTP"},
		{ssh, explain.NotKafka, "SSH"},
		{junk, explain.NotKafka, "not a Kafka broker"},
		{secure, explain.TLSExpected, "--tls"},
		{shut, explain.TLSExpected, "closed the connection at the first request"},
		{silent + " --timeout 300ms", explain.Unreachable, "i/o timeout"},
		{secure + " --tls", explain.Untrusted, "--ca"},
		{strings.Replace(secure, "127.0.0.1", "localhost.localdomain", 1) + " --tls --ca " + path, explain.NameNotFound, ""},
		{plain.Addr() + " --tls --ca " + path, explain.TLSUnexpected, "Leave out --tls"},
		{wrong.Addr(), explain.AdvertisedUnreachable, "refuses connections from here"},
		{wrong.Addr(), explain.AdvertisedUnreachable, "--advertise"},
		{mute.Addr() + " --timeout TIME", explain.AdvertisedUnreachable, "does not answer from here"},
		{nowhere.Addr(), explain.AdvertisedUnreachable, "says to use broker-1.invalid:9092, which does not resolve here"},
	} {
		var code int
		var errs string
		right := func() bool {
			return code == 1 && strings.Contains(errs, "error "+string(c.code)+":") && strings.Contains(errs, c.says)
		}
		withTimeEnough(c.args, func(args []string) bool {
			code, _, errs = weir(t, "", append([]string{"topic", "ls", "-b"}, args...)...)
			return right()
		})
		if !right() {
			t.Errorf("%s: exit code %d, wants %s and %q; it says\n%s", c.args, code, c.code, c.says, errs)
		}
	}
	// One that hangs and one that is gone are no reason to fail while another serves.
	if code, _, errs := weir(t, "", "topic", "ls", "-b", silent+","+closedPort(t)+","+plain.Addr(), "--timeout", "10s"); code != 0 {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if code, _, errs := weir(t, "", "topic", "ls", "-b", silent+","+ssh, "--timeout", "1s"); code != 1 || !strings.Contains(errs, silent+": ") || !strings.Contains(errs, ssh+": ") {
		t.Errorf("exit code %d, not both are blamed: %s", code, errs)
	}
	for args, says := range map[string]string{
		"--ca x":                              "--tls",
		"--tls --cert x":                      "--cert-key",
		"--tls --ca /does/not/exist":          "--ca",
		"--timeout yesterday":                 "--timeout",
		"--timeout 0":                         "error usage: --timeout is more than 0",
		"--timeout -5s":                       "error usage: --timeout is more than 0",
		"--tls --cert /no/such --cert-key /x": "--cert",
	} {
		if code, _, errs := weir(t, "", append([]string{"topic", "ls"}, strings.Fields(args)...)...); code == 0 || !strings.Contains(errs, says) {
			t.Errorf("%s: exit code %d: %s", args, code, errs)
		}
	}
	if out := on(t, plain)("", "topic", "ls", "--bootstrap-server", plain.Addr()); out != "" {
		t.Errorf("as other tools call it: %s", out)
	}
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestProfilesAndVariablesCountInOrder(t *testing.T) {
	b := weirtest.Start(t)
	t.Setenv("WEIR_CONFIG", filepath.Join(t.TempDir(), "deep", "profiles.json"))
	ok := func(args ...string) string {
		t.Helper()
		code, out, errs := weir(t, "", args...)
		if code != 0 {
			t.Fatalf("weir %s: exit code %d: %s", strings.Join(args, " "), code, errs)
		}
		return out
	}
	fails := func(says string, args ...string) {
		t.Helper()
		if code, _, errs := weir(t, "", args...); code == 0 || !strings.Contains(errs, says) {
			t.Errorf("weir %s: exit code %d, wants %q: %s", strings.Join(args, " "), code, says, errs)
		}
	}
	ok("profile", "create", "here", "--brokers", b.Addr(), "--timeout", "17s", "--use")
	fails("--timeout is more than 0", "profile", "create", "hasty", "--timeout", "0")
	ok("profile", "create", "gone", "--brokers", "127.0.0.1:1,127.0.0.1:2")
	ok("topic", "create", "t")
	ok("profile", "use", "gone")
	fails("unreachable", "topic", "ls")
	ok("topic", "ls", "--profile", "here")
	ok("topic", "ls", "--brokers", b.Addr())
	t.Setenv("WEIR_PROFILE", "here")
	ok("topic", "ls")
	t.Setenv("WEIR_BROKERS", "127.0.0.1:3")
	fails("127.0.0.1:3", "topic", "ls")
	ok("topic", "ls", "--brokers", b.Addr())
	show := ok("profile", "show", "--transport", "tcp")
	for _, line := range []string{"brokers", "127.0.0.1:3", "WEIR_BROKERS", "17s", "profile here", "--transport"} {
		if !strings.Contains(show, line) {
			t.Errorf("show does not say %q:\n%s", line, show)
		}
	}
	t.Setenv("WEIR_BROKERS", "")
	t.Setenv("WEIR_PROFILE", "")
	ok("profile", "use", "-")
	ok("topic", "ls")
	var line struct {
		Name     string
		InUse    bool `json:"in_use"`
		Settings map[string]string
	}
	if err := json.Unmarshal([]byte(lastLine(ok("profile", "ls", "--output", "json"))), &line); err != nil || line.Name != "here" || !line.InUse || line.Settings["timeout"] != "17s" {
		t.Errorf("%v: %+v", err, line)
	}
	fails("did you mean here?", "profile", "use", "hree")
	fails("profile-not-found", "topic", "ls", "--profile", "no")
	fails("--replace", "profile", "create", "here", "--brokers", "x:1")
	fails("empty profile", "profile", "create", "x")
	ok("profile", "delete", "here")
	t.Setenv("WEIR_TIMEOUT", "soon")
	fails("WEIR_TIMEOUT", "topic", "ls")
	t.Setenv("WEIR_TIMEOUT", "0")
	fails("--timeout is more than 0", "topic", "ls")
	t.Setenv("WEIR_TIMEOUT", "")
	if err := os.WriteFile(os.Getenv("WEIR_CONFIG"), []byte(`{"profiles":{"x":{"broker":"y"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	fails("error profile-invalid:", "topic", "ls")
}
