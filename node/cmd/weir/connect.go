package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/quic"
	"github.com/weirmq/weir/transport/tcp"
)

// connection is how a command reaches a cluster. Each value is its flag's or else its variable's (WEIR_BROKERS
// for --brokers), the profile's, or the default.
type connection struct {
	brokers   []string
	transport string
	tls       bool
	ca        string
	cert, key string
	timeout   time.Duration
	profile   string

	set      *pflag.FlagSet
	resolved bool
	waiting  io.Writer // where to say that something takes long; nil: nowhere
}

const timeoutDefault = 30 * time.Second

// flags adds the connection's flags to a command and its subcommands.
func (k *connection) flags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringSliceVarP(&k.brokers, "brokers", "b", []string{defaultBroker}, "some of the cluster's `HOST:PORT`s (WEIR_BROKERS)")
	f.StringVar(&k.transport, "transport", "tcp", "tcp or quic (WEIR_TRANSPORT)")
	f.BoolVar(&k.tls, "tls", false, "speak TLS on tcp (WEIR_TLS); quic always does")
	f.StringVar(&k.ca, "ca", "", "PEM `FILE` with the certificates to trust (WEIR_CA); the system's authorities if empty")
	f.StringVar(&k.cert, "cert", "", "PEM `FILE` with the certificate to show (WEIR_CERT)")
	f.StringVar(&k.key, "cert-key", "", "PEM `FILE` with the key of --cert (WEIR_CERT_KEY)")
	f.DurationVar(&k.timeout, "timeout", timeoutDefault, "give up what takes longer (WEIR_TIMEOUT)")
	f.StringVar(&k.profile, "profile", "", "the `NAME` of a profile (WEIR_PROFILE); default the one in use, see `weir profile --help`")
	k.set = f
	c.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if forced, _ := c.Flags().GetBool("progress"); forced || isTerminal(c.ErrOrStderr()) {
			k.waiting = c.ErrOrStderr()
		}
		return k.resolve()
	}
}

// resolve takes what no flag says from the environment and the profile.
func (k *connection) resolve() error {
	if k.resolved || k.set == nil {
		return nil
	}
	k.resolved = true
	name := k.profile
	if name == "" {
		name = os.Getenv("WEIR_PROFILE")
	}
	p, err := loadProfile(name)
	if err != nil {
		return err
	}
	for _, s := range profileSettings {
		if k.set.Changed(s.flag) {
			continue
		}
		value, from := os.Getenv(s.variable), s.variable
		if value == "" {
			value, from = p.values[s.flag], "profile "+p.name
		}
		if value == "" {
			continue
		}
		// Set by the flag's own parser, and not marked as given.
		if err := k.set.Lookup(s.flag).Value.Set(value); err != nil {
			return usage("%s: %v", from, err)
		}
	}
	return k.check()
}

// check refuses values that a flag's own parser takes and that no command can do anything with.
func (k *connection) check() error {
	if k.timeout <= 0 {
		return usage("--timeout is more than 0, not %s", k.timeout)
	}
	return nil
}

// secure is the TLS configuration of the flags; nil if there is nothing to configure.
func (k *connection) secure() (*tls.Config, error) {
	var c *tls.Config
	if k.ca != "" {
		var err error
		if c, err = certificate.ClientConfig(k.ca); err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
	}
	if k.cert != "" || k.key != "" {
		if k.cert == "" || k.key == "" {
			return nil, usage("--cert and --cert-key belong together")
		}
		pair, err := tls.LoadX509KeyPair(k.cert, k.key)
		if err != nil {
			return nil, fmt.Errorf("--cert: %w", err)
		}
		if c == nil {
			c = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// dialer makes the transport; done releases it.
func (k *connection) dialer() (d transport.Dialer, done func(), err error) {
	if k.transport == "tcp" && !k.tls && (k.ca != "" || k.cert != "" || k.key != "") {
		return nil, nil, usage("--ca and --cert are for TLS: add --tls, or --transport quic")
	}
	c, err := k.secure()
	if err != nil {
		return nil, nil, err
	}
	switch k.transport {
	case "tcp":
		if k.tls && c == nil {
			c = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		return tcp.NewDialer(c), func() {}, nil
	case "quic":
		q := quic.NewDialer(c, quic.Config{})
		return q, func() { _ = q.Close() }, nil
	}
	return nil, nil, usage("--transport is tcp or quic, not %q", k.transport)
}

// open makes a client of a cluster that answers; done releases it. A cluster that does not answer is told
// at once: the clients themselves would try for a long time.
func (k *connection) open(ctx context.Context, options ...client.Option) (c *client.Client, done func(), err error) {
	if err := k.resolve(); err != nil {
		return nil, nil, err
	}
	d, done, err := k.dialer()
	if err != nil {
		return nil, nil, err
	}
	stop := k.patience("waiting for an answer of %s", strings.Join(k.brokers, ", "))
	err = k.reach(ctx, d)
	stop()
	if err != nil {
		done()
		return nil, nil, err
	}
	c, err = client.New(k.brokers, append([]client.Option{client.WithDialer(d), client.WithID("weir-cli")}, options...)...)
	if err != nil {
		done()
		return nil, nil, usage("--brokers: %v", err)
	}
	return c, done, nil
}

// patience says what is being waited for when it takes longer than two seconds.
func (k *connection) patience(format string, args ...any) (stop func()) {
	if k.waiting == nil {
		return func() {}
	}
	t := time.AfterFunc(2*time.Second, func() {
		_, _ = fmt.Fprintf(k.waiting, format+" (at most %s, --timeout)\n", append(args, k.timeout)...)
	})
	return func() { t.Stop() }
}

// withAdmin runs f with an admin client.
func (k *connection) withAdmin(ctx context.Context, f func(context.Context, *admin.Admin) error) error {
	c, done, err := k.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	defer k.patience("waiting for the cluster")()
	return withAdmin(ctx, c, k.timeout, f)
}

func withAdmin(ctx context.Context, c *client.Client, timeout time.Duration, f func(context.Context, *admin.Admin) error) error {
	a, err := admin.New(c, admin.WithTimeout(timeout))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return errors.Join(clientError(f(ctx, a)), a.Close())
}

// clientError adds the code and the cure to an error of the clients.
func clientError(err error) error {
	var f *failure
	if err == nil || errors.As(err, &f) {
		return err
	}
	var kafka *kerr.Error
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return fail(explain.TopicNotFound, "", err)
	case errors.Is(err, kerr.TopicAlreadyExists):
		return fail(explain.TopicExists, "", err)
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, client.ErrRecordTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return fail(explain.RecordTooLarge, "", err)
	case errors.Is(err, kerr.KafkaStorageError):
		return fail(explain.Storage, "", err)
	case errors.Is(err, kerr.InvalidConfig):
		return fail(explain.InvalidConfig, "", err)
	case errors.Is(err, kerr.OffsetOutOfRange):
		return fail(explain.OffsetOutOfRange, "", err)
	case errors.Is(err, kerr.GroupIDNotFound):
		return fail(explain.GroupNotFound, "", err)
	case errors.Is(err, kerr.NonEmptyGroup), errors.Is(err, kerr.GroupSubscribedToTopic):
		return fail(explain.GroupNotEmpty, "", err)
	case errors.Is(err, kerr.RebalanceInProgress):
		return fail(explain.GroupRebalancing, "", err)
	case errors.Is(err, kerr.FencedInstanceID), errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration):
		return fail(explain.MemberFenced, "", err)
	case errors.Is(err, kerr.NotEnoughReplicas), errors.Is(err, kerr.NotEnoughReplicasAfterAppend):
		return fail(explain.NotEnoughReplicas, "", err)
	case errors.Is(err, kerr.LeaderNotAvailable), errors.Is(err, kerr.NotLeaderForPartition):
		return fail(explain.NoLeader, "", err)
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return fail(explain.NotAuthorized, "", err)
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.IllegalSaslState):
		return fail(explain.NotAuthenticated, "", err)
	case errors.Is(err, kerr.ThrottlingQuotaExceeded):
		return fail(explain.Throttled, "", err)
	case errors.Is(err, kerr.UnsupportedCompressionType):
		return fail(explain.CompressionUnusable, "", err)
	case errors.Is(err, kerr.UnsupportedVersion), errors.Is(err, client.ErrUnsupported):
		return fail(explain.Unsupported, "", err)
	case errors.As(err, &kafka):
		known, _ := explain.KafkaByNumber(kafka.Code)
		return fail(explain.Refused, known.Fix, err)
	case errors.Is(err, client.ErrTimedOut), errors.Is(err, context.DeadlineExceeded):
		return fail(explain.TimedOut, "", err)
	case errors.Is(err, client.ErrConnectionLost):
		return fail(explain.ConnectionLost, "", err)
	case errors.Is(err, client.ErrMalformed):
		return fail(explain.MalformedAnswer, "", err)
	}
	return err
}
