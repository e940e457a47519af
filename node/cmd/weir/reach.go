package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/transport"
)

// reach finds a broker that answers, and then whether what that one advertises can be reached: the
// client would connect there next, and wait for a long time.
func (k *connection) reach(ctx context.Context, d transport.Dialer) error {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	for _, b := range k.brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return usage("--brokers takes HOST:PORT, not %q", b)
		}
	}
	first, failed := firstToAnswer(ctx, k.brokers, func(ctx context.Context, addr string) ([]string, error) { return interview(ctx, d, addr) })
	if failed == nil {
		return k.reachAdvertised(ctx, d, first.addr, first.says)
	}
	for i, why := range failed {
		failed[i] = fmt.Errorf("%s: %w", k.brokers[i], why)
	}
	err := fmt.Errorf("no broker can be reached: %w", errors.Join(failed...))
	code := codeOfDial(err, k.tls || k.transport == "quic")
	fix := ""
	if code == explain.Unreachable && errors.Is(err, syscall.ECONNREFUSED) {
		fix = "start a broker with `weir dev`, or say where yours is with --brokers, WEIR_BROKERS or a profile"
	}
	return fail(code, fix, err)
}

// reached is an address that answered, and what it says.
type reached struct {
	addr string
	says []string
}

// headStart is how long an address is waited for before the next is asked as well: one that hangs is no reason to fail.
const headStart = 300 * time.Millisecond

// firstToAnswer asks one address after the other, the next when one has failed or has said nothing for a while, and returns the first answer
// or, if there is none, why not, for each address.
func firstToAnswer(ctx context.Context, addrs []string, ask func(ctx context.Context, addr string) ([]string, error)) (reached, []error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		of   int
		says []string
		err  error
	}
	came := make(chan outcome, len(addrs))
	errs := make([]error, len(addrs))
	next, underway := 0, 0
	askNext := func() {
		if next == len(addrs) {
			return
		}
		of := next
		next, underway = next+1, underway+1
		go func() {
			says, err := ask(ctx, addrs[of])
			came <- outcome{of, says, err}
		}()
	}
	wait := time.NewTicker(headStart)
	defer wait.Stop()
	for askNext(); underway > 0; {
		select {
		case o := <-came:
			if o.err == nil {
				return reached{addrs[o.of], o.says}, nil
			}
			underway--
			errs[o.of] = o.err
			askNext()
		case <-wait.C:
			askNext()
		}
	}
	return reached{}, errs
}

// reachAdvertised connects to the addresses that a broker advertises, if they are others than those that were given. One
// broker of many that is down is the clients' business. When none can be reached, the addresses are wrong.
func (k *connection) reachAdvertised(ctx context.Context, d transport.Dialer, bootstrap string, advertised []string) error {
	known := func(addr string) bool { return addr == bootstrap || slices.Contains(k.brokers, addr) }
	if len(advertised) == 0 || slices.ContainsFunc(advertised, known) {
		return nil
	}
	_, failed := firstToAnswer(ctx, advertised, func(ctx context.Context, addr string) ([]string, error) { return nil, greet(ctx, d, addr) })
	if failed == nil {
		return nil
	}
	for i, why := range failed {
		failed[i] = fmt.Errorf("it says to use %s, which %s", advertised[i], inWords(why))
	}
	return fail(explain.AdvertisedUnreachable, "", fmt.Errorf("%s answers, but %w", bootstrap, errors.Join(failed...)))
}

// greet finds out whether a broker is at an address. To be connected does not tell: a proxy without anything behind it,
// or a port that a container's host keeps for nobody, takes connections and never answers.
func greet(ctx context.Context, d transport.Dialer, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, err := d.Dial(ctx, addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer hangUp(ctx, conn)()
	_, err = askVersions(ctx, conn)
	return err
}

// hangUp closes a connection when nobody wants its answer any more. Deadlines are the connection's own.
func hangUp(ctx context.Context, conn transport.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			_ = conn.Close()
		}
	})
}

// inWords says what stands in the way of an address.
func inWords(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "does not resolve here"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refuses connections from here"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "does not answer from here"
	}
	return "cannot be reached from here: " + err.Error()
}

// errNotKafka: what came back is no answer of a Kafka broker.
var errNotKafka = errors.New("this is not a Kafka broker")

// codeOfDial classifies why a broker could not be reached.
func codeOfDial(err error, secure bool) explain.Code {
	var (
		dns       *net.DNSError
		unknown   *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &name):
		return explain.CertificateName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return explain.CertificateExpired
	case errors.As(err, &unknown), errors.As(err, &authority):
		return explain.Untrusted
	case errors.As(err, &record), secure && transport.IsClosed(err) && !errors.Is(err, errNoAnswer):
		return explain.TLSUnexpected
	case errors.Is(err, errTLSAlert):
		return explain.TLSExpected
	case errors.Is(err, errNotKafka):
		return explain.NotKafka
	case errors.Is(err, errNoAnswer) && !secure:
		return explain.TLSExpected
	case errors.As(err, &dns) && dns.IsNotFound:
		return explain.NameNotFound
	}
	return explain.Unreachable
}

var (
	errTLSAlert = errors.New("it answers in TLS")
	errNoAnswer = errors.New("it closed the connection at the first request")
)

// interview asks a broker for its versions and then for the addresses of all brokers.
func interview(ctx context.Context, d transport.Dialer, addr string) ([]string, error) {
	conn, err := dial(ctx, d, addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	defer hangUp(ctx, conn)()

	known, err := askVersions(ctx, conn)
	if err != nil {
		return nil, err
	}
	version := int16(-1)
	for _, v := range known.APIKeys {
		if protocol.Key(v.APIKey) == protocol.KeyMetadata {
			version = max(min(4, v.MaxVersion), v.MinVersion)
		}
	}
	if version < 1 || version > protocol.MaxVersion(protocol.KeyMetadata) {
		return nil, nil // the client will say what it thinks of such a broker
	}
	var ask protocol.MetadataRequest
	ask.Default()
	ask.Topics = []protocol.MetadataRequestTopic{}
	if version >= 4 {
		ask.AllowAutoTopicCreation = false
	}
	frame, err := exchange(ctx, conn, &ask, version)
	if err != nil {
		return nil, err
	}
	var m protocol.MetadataResponse
	m.Decode(frame, version)
	if err := frame.Finish(); err != nil {
		return nil, fmt.Errorf("%w: %v", errNotKafka, err)
	}
	var addrs []string
	for i := range m.Brokers {
		addrs = append(addrs, net.JoinHostPort(m.Brokers[i].Host, strconv.Itoa(int(m.Brokers[i].Port))))
	}
	return addrs, nil
}

// askVersions asks which requests a broker knows.
func askVersions(ctx context.Context, conn transport.Conn) (known protocol.APIVersionsResponse, err error) {
	var versions protocol.APIVersionsRequest
	versions.Default()
	frame, err := exchange(ctx, conn, &versions, 0)
	if err != nil {
		return known, err
	}
	known.Decode(frame, 0)
	if err := frame.Finish(); err != nil {
		return known, fmt.Errorf("%w: %v", errNotKafka, err)
	}
	return known, nil
}

// dialTime bounds connecting to one address, and what an advertised one may take to answer.
const dialTime = 5 * time.Second

func dial(ctx context.Context, d transport.Dialer, addr string) (transport.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	return d.Dial(ctx, addr)
}

// exchange sends a request and reads its answer.
func exchange(ctx context.Context, conn transport.Conn, m protocol.Message, version int16) (*protocol.Reader, error) {
	var w protocol.Writer
	h := protocol.RequestHeader{Key: m.Key(), Version: version, CorrelationID: 1, ClientID: protocol.String("weir-cli")}
	w.BeginRequest(&h)
	m.Encode(&w, version)
	w.EndFrame()
	request, err := w.AppendTo(nil)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(request); err != nil {
		return nil, closedEarly(err)
	}
	var prefix [8]byte
	if n, err := readAnswer(ctx, conn, prefix[:]); err != nil {
		if n == 0 {
			return nil, closedEarly(err)
		}
		if s := stranger(prefix[:n]); s != nil {
			return nil, s
		}
		return nil, err
	}
	if s := stranger(prefix[:]); s != nil {
		return nil, s
	}
	const answerBytesMax = 16 << 20
	size := binary.BigEndian.Uint32(prefix[:])
	if size < 4 || size > answerBytesMax || binary.BigEndian.Uint32(prefix[4:]) != uint32(h.CorrelationID) {
		return nil, fmt.Errorf("%w: its answer begins with %q", errNotKafka, prefix)
	}
	body, err := io.ReadAll(io.LimitReader(conn, int64(size)-4))
	if err != nil {
		return nil, err
	}
	if len(body) != int(size)-4 {
		return nil, io.ErrUnexpectedEOF
	}
	r := protocol.NewReader(append(prefix[4:8:8], body...), protocol.BudgetForClients())
	protocol.ReadResponseHeader(&r, m.Key(), version)
	return &r, nil
}

// silence is how long a broker may say nothing before we look whether it is one.
const silence = 2 * time.Second

// readAnswer fills b. When nothing comes for a while it asks in HTTP: web servers wait for the end of a line
// that a Kafka request does not have.
func readAnswer(ctx context.Context, conn transport.Conn, b []byte) (int, error) {
	until, _ := ctx.Deadline()
	patience := time.Now().Add(silence)
	if until.Before(patience) {
		patience = until
	}
	if err := conn.SetReadDeadline(patience); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(conn, b)
	if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		if rerr := conn.SetReadDeadline(until); err == nil && rerr != nil {
			return n, rerr
		}
		return n, err
	}
	if conn.Transport() == "tcp" && speaksHTTP(conn.RemoteAddr().String()) {
		return 0, fmt.Errorf("%w: it speaks HTTP", errNotKafka)
	}
	if err := conn.SetReadDeadline(until); err != nil {
		return 0, err
	}
	return io.ReadFull(conn, b)
}

// speaksHTTP reports whether an address answers a request in HTTP.
func speaksHTTP(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	if conn.SetDeadline(time.Now().Add(time.Second)) != nil {
		return false
	}
	if _, err := io.WriteString(conn, "HEAD / HTTP/1.0\r\n\r\n"); err != nil {
		return false
	}
	var begin [5]byte
	_, err = io.ReadFull(conn, begin[:])
	return err == nil && string(begin[:]) == "HTTP/"
}

// closedEarly marks an error that says that the other side hung up on the very first request.
func closedEarly(err error) error {
	if transport.IsClosed(err) {
		return fmt.Errorf("%w (%w)", errNoAnswer, err)
	}
	return err
}

// stranger recognises what is no answer of a Kafka broker by its first bytes.
func stranger(begin []byte) error {
	switch {
	case len(begin) >= 3 && (begin[0] == 0x15 || begin[0] == 0x16) && begin[1] == 3 && begin[2] <= 4:
		return errTLSAlert
	case strings.HasPrefix(string(begin), "HTTP/"):
		return fmt.Errorf("%w: it answers in HTTP", errNotKafka)
	case strings.HasPrefix(string(begin), "SSH-"):
		return fmt.Errorf("%w: it answers in SSH", errNotKafka)
	}
	return nil
}
