package producer

import (
	"math"
	"time"

	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// Option configures a Producer.
type Option func(*config)

type config struct {
	machine.ProducerConfig
	bufferBytes int
}

// Acks is how much of the cluster must have a record before it counts as written.
type Acks = machine.Acks

// The choices of Acks.
const (
	AcksAll    = machine.AcksAll    // on every in-sync replica
	AcksLeader = machine.AcksLeader // on the leader; lost with it if it fails before its followers have it
	AcksNone   = machine.AcksNone   // nobody is asked: results have no offset, losses go unnoticed
)

// WithAcks says when a record counts as written. Default AcksAll. Anything less gives up idempotence, for
// little: brokers of weir sync in groups.
func WithAcks(a Acks) Option { return func(c *config) { c.Acks = a } }

// WithoutIdempotence lets retries write a record twice, or out of order. Default idempotent. It is for
// brokers that deny InitProducerId.
func WithoutIdempotence() Option { return func(c *config) { c.NotIdempotent = true } }

// WithLinger is how long a batch waits for more records. Default 5 ms. 0 sends at once, in batches of what
// came while earlier requests were on their way: the lowest latency, at more requests per record.
func WithLinger(d time.Duration) Option {
	return func(c *config) { c.Linger = model.Time(d) }
}

// WithBatchBytes is how large a partition's batch grows before it is sent, before compression. Default
// 256 KiB. Batches take memory as they fill, so a large limit costs nothing while traffic is low.
func WithBatchBytes(n int) Option { return func(c *config) { c.BatchBytes = n } }

// Codec names a compression.
type Codec = record.Codec

// The codecs.
const (
	NoCompression = record.CodecNone
	Gzip          = record.CodecGzip   // every client reads it; slow
	Snappy        = record.CodecSnappy // fast, weak
	Lz4           = record.CodecLz4    // fast
	Zstd          = record.CodecZstd   // the best ratio; brokers since Kafka 2.1
)

// WithCompression compresses batches; those that would not shrink go out plain. Default none. Level 0 is
// the codec's own default; the others are Kafka's. It is done on the producer's one goroutine.
func WithCompression(codec Codec, level int) Option {
	return func(c *config) { c.Codec, c.Level = codec, level }
}

// WithDeliveryTimeout is how long after it was taken a record may still be written. Default 2 min. After
// that it fails with client.ErrTimedOut.
func WithDeliveryTimeout(d time.Duration) Option {
	return func(c *config) { c.DeliveryTimeout = model.Time(d) }
}

// WithBufferBytes bounds the records that were taken and have no outcome yet. Default 64 MiB.
func WithBufferBytes(n int) Option { return func(c *config) { c.bufferBytes = n } }

// WithMaxRequestBytes bounds a request, and so a record. Default 1 MiB, which brokers accept unless told
// otherwise (message.max.bytes).
func WithMaxRequestBytes(n int) Option { return func(c *config) { c.RequestBytesMax = n } }

// WithInFlight is how many requests a connection may have unanswered. Default 5, which is also the most that
// idempotence allows. 1 keeps the order without idempotence.
func WithInFlight(n int) Option { return func(c *config) { c.InFlightMax = n } }

func newConfig(shared machine.Config, options []Option) config {
	c := config{ProducerConfig: machine.NewProducerConfig(), bufferBytes: 64 << 20}
	c.Config = shared
	for _, o := range options {
		o(&c)
	}
	// The producer counts what is on its way to the machine as well, so the machine need not.
	c.BufferBytes = math.MaxInt
	return c
}
