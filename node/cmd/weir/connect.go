package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/quic"
	"github.com/weirmq/weir/transport/tcp"
)

// connection is how a command reaches a cluster.
type connection struct {
	brokers   []string
	transport string
	ca        string
	timeout   time.Duration
}

// flags adds the connection's flags to a command and its subcommands.
func (k *connection) flags(c *cobra.Command) {
	brokers := []string{defaultBroker}
	if v := os.Getenv("WEIR_BROKERS"); v != "" {
		brokers = strings.Split(v, ",")
	}
	f := c.PersistentFlags()
	f.StringSliceVarP(&k.brokers, "brokers", "b", brokers, "some of the cluster's `HOST:PORT`s, or WEIR_BROKERS")
	f.StringVar(&k.transport, "transport", "tcp", "tcp or quic")
	f.StringVar(&k.ca, "ca", "", "PEM `FILE` with the certificates to trust (quic); the system's authorities if empty")
	f.DurationVar(&k.timeout, "timeout", 30*time.Second, "give up what takes longer")
}

// dialer makes the transport; done releases it.
func (k *connection) dialer() (d transport.Dialer, done func(), err error) {
	switch k.transport {
	case "tcp":
		if k.ca != "" {
			return nil, nil, usage("--ca is for --transport quic: tcp is plain here")
		}
		return tcp.NewDialer(nil), func() {}, nil
	case "quic":
		var trust *tls.Config
		if k.ca != "" {
			if trust, err = certificate.ClientConfig(k.ca); err != nil {
				return nil, nil, fmt.Errorf("--ca: %w", err)
			}
		}
		q := quic.NewDialer(trust, quic.Config{})
		return q, func() { _ = q.Close() }, nil
	}
	return nil, nil, usage("--transport is tcp or quic, not %q", k.transport)
}

// open makes a client of a cluster that answers; done releases it. A cluster that does not answer is told
// at once: the clients themselves would try for a long time.
func (k *connection) open(ctx context.Context, options ...client.Option) (c *client.Client, done func(), err error) {
	d, done, err := k.dialer()
	if err != nil {
		return nil, nil, err
	}
	if err := k.reach(ctx, d); err != nil {
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

// reach tries every broker until one lets itself be connected to.
func (k *connection) reach(ctx context.Context, d transport.Dialer) error {
	var errs []error
	for _, b := range k.brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return usage("--brokers takes HOST:PORT, not %q", b)
		}
		dial, cancel := context.WithTimeout(ctx, min(5*time.Second, k.timeout))
		conn, err := d.Dial(dial, b)
		cancel()
		if err == nil {
			return conn.Close()
		}
		errs = append(errs, fmt.Errorf("%s: %w", b, err))
	}
	err := fmt.Errorf("no broker can be reached: %w", errors.Join(errs...))
	var unknown *tls.CertificateVerificationError
	switch {
	case errors.As(err, &unknown):
		return fail("untrusted", "give the broker's certificate with --ca; `weir dev` prints where its own is", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fail("unreachable", "start a broker with `weir dev`, or say where it is with --brokers", err)
	}
	return fail("unreachable", "look whether the address is right (--brokers), and whether the broker is up", err)
}

// withAdmin runs f with an admin client.
func (k *connection) withAdmin(ctx context.Context, f func(context.Context, *admin.Admin) error) error {
	c, done, err := k.open(ctx)
	if err != nil {
		return err
	}
	defer done()
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
