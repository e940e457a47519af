// Package weirtest runs a real weir broker inside a Go test: the production node, with its data in a
// temporary directory, on a free port or on no port at all.
//
//	func TestOrders(t *testing.T) {
//		b := weirtest.Start(t)
//		client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
//		...
//		b.Kill()    // what was acknowledged is there
//		b.Restart() // on the same address and data
//	}
//
// Any Kafka client works. With InMemory the broker listens on a transport/memory network instead of a port:
// a client that can be given a dial function then runs beside it without the kernel in between, also inside
// a testing/synctest bubble, where time-outs take no time.
//
// The broker is closed when the test ends, and the test fails if it could not be closed cleanly. Topics are
// created when they are first asked for.
package weirtest

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/weirmq/weir/node"
	"github.com/weirmq/weir/node/config"
	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/memory"
)

// Option changes how a broker is started.
type Option func(*settings)

type settings struct {
	config config.Config
	memory bool
	errs   []error
}

// Property sets a property by its name in Kafka, such as num.partitions; `weir node --help` lists them.
func Property(name, value string) Option {
	return func(s *settings) {
		if _, err := s.config.Set(name, value); err != nil {
			s.errs = append(s.errs, err)
		}
	}
}

// InMemory gives the broker no port. Clients reach it by Broker.Dial.
func InMemory() Option { return func(s *settings) { s.memory = true } }

// Broker is a broker that belongs to a test. Its methods end the test when they fail, so they must be called
// from the test's goroutine; Dial and Addr may be called from any.
type Broker struct {
	t       testing.TB
	config  config.Config
	network *memory.Network // nil with a port
	addr    string
	node    *node.Node // nil when killed or stopped
}

// Start starts a broker.
func Start(t testing.TB, options ...Option) *Broker {
	t.Helper()
	s := settings{config: config.Default()}
	// A test's data is small: small files make a start as fast as it can be.
	s.config.Storage.JournalFileBytes = 4 << 20
	s.config.Listener, s.config.HTTP = "127.0.0.1:0", ""
	for _, o := range options {
		o(&s)
	}
	for _, err := range s.errs {
		t.Fatalf("weirtest: %v", err)
	}
	if s.config.DataDir == "" {
		s.config.DataDir = filepath.Join(t.TempDir(), "data")
	}
	b := &Broker{t: t, config: s.config}
	if s.memory {
		b.network = memory.New()
		b.config.Listener, b.config.QUIC = "", false
		b.addr = "weir:9092"
	}
	b.Restart()
	b.addr = b.node.KafkaAddr()
	if !s.memory {
		b.config.Listener = b.addr // the same again after a restart
	}
	t.Cleanup(b.Stop)
	return b
}

// Addr is the address to bootstrap a client with.
func (b *Broker) Addr() string { return b.addr }

// CertificatePath is the PEM file that QUIC clients must trust; empty without QUIC.
func (b *Broker) CertificatePath() string { return b.running().CertificatePath() }

// Dial connects to the broker at an address it advertises, whichever way it listens. It has the form that
// franz-go's kgo.Dialer takes.
func (b *Broker) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if b.network != nil {
		return b.network.Dial(ctx, addr)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// Stop shuts the broker down cleanly. Stopping it again does nothing.
func (b *Broker) Stop() {
	b.t.Helper()
	if b.node == nil {
		return
	}
	n := b.node
	b.node = nil
	if err := n.Close(); err != nil {
		b.t.Errorf("weirtest: stop: %v", err)
	}
}

// Kill ends the broker as the death of its process would: nothing is answered, synced or closed in order.
func (b *Broker) Kill() {
	b.t.Helper()
	b.running().Kill()
	b.node = nil
}

// Restart starts the broker again on its data and address, stopping it first if it runs.
func (b *Broker) Restart() {
	b.t.Helper()
	b.Stop()
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(b.t.Output()), zap.InfoLevel)
	o := node.Options{Config: b.config, Log: zap.New(core), Version: "weirtest"}
	if b.network != nil {
		l, err := b.network.Listen(b.addr)
		if err != nil {
			b.t.Fatalf("weirtest: listen: %v", err)
		}
		o.Listeners = []transport.Listener{l}
	}
	n, err := node.Start(o)
	if err != nil {
		b.t.Fatalf("weirtest: start: %v", err)
	}
	b.node = n
}

func (b *Broker) running() *node.Node {
	b.t.Helper()
	if b.node == nil {
		b.t.Fatal("weirtest: the broker does not run")
	}
	return b.node
}
