package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/jepsen/broker"
	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/quic"
)

// patience is how long one program, or one client's part in a case, may take.
const patience = 60 * time.Second

// codecs by the number that a batch's attributes carry.
var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// transports that Go clients can use. The others know TCP only.
var transports = []string{"tcp", "quic"}

// suite is one run against one broker.
type suite struct {
	weir string // the binary
	addr string
	ca   string // the certificate that QUIC shows
	dir  string // for files
	tls  *tls.Config

	topicCount     int
	passed, failed int
}

func newSuite(weir, dir string, b *broker.Broker) (*suite, error) {
	s := &suite{weir: weir, dir: dir, addr: b.Kafka, ca: filepath.Join(b.Data, "tls", "dev-certificate.pem")}
	var err error
	s.tls, err = certificate.ClientConfig(s.ca)
	return s, err
}

// try runs one case.
func (s *suite) try(name string, f func() error) {
	if err := f(); err != nil {
		s.failed++
		fmt.Printf("FAIL %s\n     %s\n", name, strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "\n     "))
		return
	}
	s.passed++
	fmt.Printf("ok   %s\n", name)
}

// equal says where bytes differ.
func equal(got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	return fmt.Errorf("%d bytes instead of %d; they differ from byte %d on: %q instead of %q",
		len(got), len(want), at, clip(got[at:]), clip(want[at:]))
}

func clip(b []byte) []byte { return b[:min(len(b), 60)] }

// kcat runs kcat on the broker with some input.
func (s *suite) kcat(stdin []byte, args ...string) ([]byte, error) {
	return output(stdin, "kcat", append([]string{"-b", s.addr, "-q", "-X", "topic.metadata.refresh.interval.ms=-1"}, args...)...)
}

// cli runs a command of weir on the broker with some input.
func (s *suite) cli(stdin []byte, command string, args ...string) ([]byte, error) {
	return output(stdin, s.weir, append(append(strings.Fields(command), "--brokers", s.addr), args...)...)
}

// over is what makes weir's commands use a transport.
func (s *suite) over(transport string) []string {
	if transport == "quic" {
		return []string{"--transport", "quic", "--ca", s.ca}
	}
	return []string{"--transport", transport}
}

func output(stdin []byte, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	var out, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &stderr
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, stderr.Bytes())
	}
	return out.Bytes(), nil
}

// topic makes a topic, by weir's command line, with a name that no other case has.
func (s *suite) topic(name string, partitions int) (string, error) {
	s.topicCount++
	name = fmt.Sprintf("%s-%d", name, s.topicCount)
	_, err := s.cli(nil, "topic create", name, "--partitions", fmt.Sprint(partitions))
	return name, err
}

// franz makes a franz-go client; closeIt closes it.
func (s *suite) franz(transport string, opts ...kgo.Opt) (cl *kgo.Client, closeIt func(), err error) {
	opts = append([]kgo.Opt{kgo.SeedBrokers(s.addr), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)
	closeDialer := func() error { return nil }
	if transport == "quic" {
		d := quic.NewDialer(s.tls, quic.Config{})
		closeDialer = d.Close
		opts = append(opts, kgo.Dialer(func(ctx context.Context, _, host string) (net.Conn, error) { return d.Dial(ctx, host) }))
	}
	cl, err = kgo.NewClient(opts...)
	if err != nil {
		return nil, nil, err
	}
	return cl, func() {
		cl.Close()
		_ = closeDialer() // the case is over
	}, nil
}
