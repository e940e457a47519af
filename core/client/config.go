package client

import (
	"errors"
	"fmt"
	"math"

	"github.com/weirmq/weir/core/model"
)

const (
	millisecond = model.Time(1_000_000)
	second      = 1000 * millisecond
)

// Config is what every machine needs to talk to a cluster. Start from NewConfig.
type Config struct {
	// Bootstrap are addresses ("host:port") to find the cluster by. Any reachable broker will do.
	Bootstrap []string
	// ClientID names this client in brokers' logs and quotas.
	ClientID string
	// RequestTimeout is how long a request may stay unanswered before its connection is given up.
	// Default 30 s, as Kafka's. Shorter finds dead brokers sooner and abandons slow ones.
	RequestTimeout model.Time
	// DialTimeout bounds connecting and version negotiation. Default 10 s.
	DialTimeout model.Time
	// RetryBackoff is the first pause before something is tried again, doubling up to RetryBackoffMax,
	// with up to a fifth of jitter. Defaults 100 ms and 1 s.
	RetryBackoff, RetryBackoffMax model.Time
	// MetadataAgeMax is how old the view of topics may grow without cause to refresh it. Default 5 min.
	MetadataAgeMax model.Time
	// AutoCreate lets brokers create topics that are asked for, if they are configured to. Default
	// false: a typing error should not make a topic.
	AutoCreate bool
	// FrameBytesMax is the largest response that is accepted. Default 256 MiB.
	FrameBytesMax int
	// Seed feeds the jitter; equal seeds give equal runs.
	Seed uint64
}

// NewConfig is the default configuration.
func NewConfig(bootstrap ...string) Config {
	return Config{
		Bootstrap:       bootstrap,
		ClientID:        "weir",
		RequestTimeout:  30 * second,
		DialTimeout:     10 * second,
		RetryBackoff:    100 * millisecond,
		RetryBackoffMax: second,
		MetadataAgeMax:  300 * second,
		FrameBytesMax:   256 << 20,
	}
}

// Validate reports what is wrong with the configuration.
func (c *Config) Validate() error {
	switch {
	case len(c.Bootstrap) == 0:
		return errors.New("no bootstrap address")
	case c.RequestTimeout <= 0 || c.DialTimeout <= 0:
		return errors.New("timeouts must be positive")
	case c.RetryBackoff <= 0 || c.RetryBackoffMax < c.RetryBackoff:
		return errors.New("the retry backoff must be positive and at most its maximum")
	case c.MetadataAgeMax <= 0:
		return errors.New("the metadata's maximal age must be positive")
	case c.FrameBytesMax <= 0 || c.FrameBytesMax > math.MaxInt32:
		return fmt.Errorf("the largest response must be between 1 byte and 2 GiB, not %d", c.FrameBytesMax)
	}
	return nil
}

// backoff is the pause before attempt n+1, n counting failures from 1.
func (c *cluster) backoff(failures int) model.Time {
	d := c.cfg.RetryBackoff
	for range min(failures, 30) - 1 {
		if d *= 2; d >= c.cfg.RetryBackoffMax {
			break
		}
	}
	d = min(d, c.cfg.RetryBackoffMax)
	// Up to a fifth less, so that clients which failed together do not return together.
	return d - model.Time(c.draw(uint64(d/5)+1))
}

// draw is the next number below n of this machine's own stream.
func (c *cluster) draw(n uint64) uint64 {
	c.draws++
	z := c.cfg.Seed + c.draws*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return (z ^ z>>31) % n
}
