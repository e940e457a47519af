package client

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"log/slog"
	"slices"
	"time"

	"github.com/weirmq/weir/clients/internal/driver"
	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/tcp"
)

// Client describes a cluster and how to talk to it. It is safe for concurrent use, and immutable.
type Client struct{ settings driver.Settings }

// Option changes a Client's description.
type Option func(*driver.Settings)

// New describes a cluster by some of its brokers' addresses ("host:port"); the others are found through
// them. It does no I/O, so a wrong address shows on first use only.
func New(brokers []string, options ...Option) (*Client, error) {
	c := &Client{settings: driver.Settings{Config: machine.NewConfig(slices.Clone(brokers)...), Dialer: tcp.NewDialer(nil)}}
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // it never fails
	c.settings.Config.Seed = binary.NativeEndian.Uint64(seed[:])
	for _, o := range options {
		o(&c.settings)
	}
	if err := c.settings.Config.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// WithID names the client in brokers' logs, metrics and quotas. Default "weir".
func WithID(id string) Option {
	return func(s *driver.Settings) { s.Config.ClientID = id }
}

// WithDialer chooses the transport: transport/tcp, transport/quic, or transport/memory in tests. Default
// plain TCP. QUIC encrypts and keeps slow streams from blocking others, at several times TCP's CPU per byte.
func WithDialer(d transport.Dialer) Option {
	return func(s *driver.Settings) { s.Dialer = d }
}

// WithTLS connects by TLS over TCP. It is short for WithDialer(tcp.NewDialer(config)).
func WithTLS(config *tls.Config) Option {
	return func(s *driver.Settings) { s.Dialer = tcp.NewDialer(config) }
}

// WithLogger logs what happens to connections, metadata and batches. Default silent. Lost connections,
// failed batches and reset positions are warnings, the rest is for debugging; nothing is logged per record.
func WithLogger(l *slog.Logger) Option {
	return func(s *driver.Settings) { s.Logger = l }
}

// WithRequestTimeout is how long a request may stay unanswered before its connection is given up. Default
// 30 s. Shorter notices dead brokers sooner, and abandons slow ones.
func WithRequestTimeout(d time.Duration) Option {
	return func(s *driver.Settings) { s.Config.RequestTimeout = model.Time(d) }
}

// WithDialTimeout bounds connecting, handshakes and version negotiation included. Default 10 s.
func WithDialTimeout(d time.Duration) Option {
	return func(s *driver.Settings) { s.Config.DialTimeout = model.Time(d) }
}

// WithRetryBackoff is the first pause before something is tried again and the longest, to which it doubles.
// Defaults 100 ms and 1 s.
func WithRetryBackoff(first, longest time.Duration) Option {
	return func(s *driver.Settings) {
		s.Config.RetryBackoff, s.Config.RetryBackoffMax = model.Time(first), model.Time(longest)
	}
}

// WithMetadataMaxAge is how old the view of topics may grow without cause to refresh it: new partitions are
// noticed that late. Default 5 min.
func WithMetadataMaxAge(d time.Duration) Option {
	return func(s *driver.Settings) { s.Config.MetadataAgeMax = model.Time(d) }
}

// WithAutoCreate lets brokers that are configured so create topics on first use. Default off: a typing
// error should not make a topic.
func WithAutoCreate() Option {
	return func(s *driver.Settings) { s.Config.AutoCreate = true }
}

// WithMaxResponseBytes is the largest response that is accepted. Default 256 MiB. A larger one closes the
// connection.
func WithMaxResponseBytes(n int) Option {
	return func(s *driver.Settings) { s.Config.FrameBytesMax = n }
}

// Settings are for the packages beside this one.
func (c *Client) Settings() driver.Settings { return c.settings }
