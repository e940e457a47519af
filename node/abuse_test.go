package node_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/node/config"
	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/quic"
)

// abuse is one thing that a hostile or broken client does. docs/SECURITY.md has the table that is made of
// these, and TestSecurityPageHasTheTable holds the two together.
type abuse struct {
	does  string // what the client does
	sees  string // what it gets
	code  explain.Code
	line  string // something that the log's line has beside what all have
	limit string // the properties that bound it
	run   func(t *testing.T, n *testNode)
}

// answered wants the response of a request to begin with these bytes behind its correlation id.
func answered(make func() kmsg.Request, check func(t *testing.T, body []byte)) func(*testing.T, *testNode) {
	return func(t *testing.T, n *testNode) {
		request := make() // to compress megabytes may take longer than a connection may be idle
		w := dial(t, n)
		if _, err := w.Write(w.frame(request)); err != nil {
			t.Fatal(err)
		}
		_, body := w.receive()
		check(t, body)
		// The connection lives.
		if _, err := w.Write(w.frame(metadataRequest())); err != nil {
			t.Fatal(err)
		}
		w.receive()
	}
}

// closedAfter wants the connection to be closed without an answer to these bytes.
func closedAfter(sent func(w *wire) []byte) func(*testing.T, *testNode) {
	return func(t *testing.T, n *testNode) {
		w := dial(t, n)
		if _, err := w.Write(sent(w)); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(w); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("answered %q, %v", b, err)
		}
	}
}

func verbatim(s string) func(*wire) []byte { return func(*wire) []byte { return []byte(s) } }

// changed is a good request of 40 bytes with something done to it.
func changed(change func(frame []byte) []byte) func(*wire) []byte {
	return func(w *wire) []byte {
		r := kmsg.NewPtrMetadataRequest()
		r.Version = 8
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr("t")
		r.Topics = append(r.Topics, topic)
		b := change(w.frame(r))
		binary.BigEndian.PutUint32(b, uint32(len(b)-4))
		return b
	}
}

// topicsAt is where the count of topics stands in the frame of changed: behind length, key, version,
// correlation id and client id.
const topicsAt = 4 + 2 + 2 + 4 + 2 + len("by-hand")

// producing sends one batch to a topic and wants this error code for it.
func producing(batch func() []byte, want *kerr.Error) func(*testing.T, *testNode) {
	return answered(func() kmsg.Request {
		r := kmsg.NewPtrProduceRequest()
		r.Version, r.Acks, r.TimeoutMillis = 8, -1, 1000
		topic, partition := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
		partition.Records = batch()
		topic.Topic, topic.Partitions = "abused", append(topic.Partitions, partition)
		r.Topics = append(r.Topics, topic)
		return r
	}, func(t *testing.T, body []byte) {
		r := kmsg.NewPtrProduceResponse()
		r.Version = 8
		if err := r.ReadFrom(body); err != nil {
			t.Fatal(err)
		}
		p := r.Topics[0].Partitions[0]
		if p.ErrorCode != want.Code || p.ErrorMessage == nil || *p.ErrorMessage == "" {
			t.Errorf("answered with code %d and message %v, want %v", p.ErrorCode, p.ErrorMessage, want)
		}
	})
}

// batchOf is one batch of n records of so many bytes each.
func batchOf(codec record.Codec, n, valueBytes int) []byte {
	var b record.Builder
	b.Begin(record.NewOptions(codec))
	for range n {
		b.Append(record.Record{Value: make([]byte, valueBytes), Timestamp: 1000})
	}
	return append([]byte(nil), b.Finish()...)
}

// lying is a batch some of whose bytes were replaced, and whose checksum holds all the same.
func lying(codec record.Codec, change func(b []byte) []byte) func() []byte {
	return func() []byte {
		b := change(batchOf(codec, 3, 100))
		binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
		binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
		return b
	}
}

// creating asks for one topic and wants this error code for it.
func creating(name string, partitions int32, replicas int16, want *kerr.Error) func(*testing.T, *testNode) {
	return answered(func() kmsg.Request {
		r := kmsg.NewPtrCreateTopicsRequest()
		r.Version, r.TimeoutMillis = 4, 1000
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, replicas
		r.Topics = append(r.Topics, topic)
		return r
	}, func(t *testing.T, body []byte) {
		r := kmsg.NewPtrCreateTopicsResponse()
		r.Version = 4
		if err := r.ReadFrom(body); err != nil {
			t.Fatal(err)
		}
		if got := r.Topics[0]; got.ErrorCode != want.Code || got.ErrorMessage == nil {
			t.Errorf("answered with code %d, message %v; want %v", got.ErrorCode, got.ErrorMessage, want)
		}
	})
}

const closed = "the connection is closed"

var abuses = []abuse{
	{
		"speaks TLS to a plain listener", closed, explain.WrongProtocolTLS, "speaks TLS", "",
		closedAfter(verbatim("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")),
	},
	{
		"speaks SSH, AMQP, Redis or NATS", closed, explain.WrongProtocolOther, "speaks SSH", "",
		closedAfter(verbatim("SSH-2.0-OpenSSH_9.2\r\n")),
	},
	{
		"sends text", closed, explain.WrongProtocolOther, `the text "hell"`, "",
		closedAfter(verbatim("hello, is anybody there?\r\n")),
	},
	{
		"speaks HTTP", "HTTP 400 with a line that says where health and metrics are", explain.WrongProtocolHTTP, "speaks HTTP", "",
		func(t *testing.T, n *testNode) {
			w := dial(t, n)
			if _, err := io.WriteString(w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if b, _ := io.ReadAll(w); !bytes.HasPrefix(b, []byte("HTTP/1.1 400 ")) || !bytes.Contains(b, []byte(n.HTTPAddr())) {
				t.Errorf("answered %q", b)
			}
		},
	},
	{
		"claims a request of 2 GiB first of all", closed, explain.MalformedRequest, "claims 2147483647 bytes", "socket.request.max.bytes",
		closedAfter(verbatim("\x7f\xff\xff\xff")),
	},
	{
		"claims a request larger than is allowed, after a good one", closed, explain.RequestTooLarge, "by-hand", "socket.request.max.bytes",
		func(t *testing.T, n *testNode) {
			w := dial(t, n)
			_, _ = w.Write(w.frame(metadataRequest()))
			w.receive()
			_, _ = w.Write([]byte("\x10\x00\x00\x00"))
			if b, err := io.ReadAll(w); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("answered %q, %v", b, err)
			}
		},
	},
	{"claims a request of no or of negative length", closed, explain.MalformedRequest, "claims -1 bytes", "", closedAfter(verbatim("\xff\xff\xff\xff"))},
	{"sends a request too short for its header", closed, explain.MalformedRequest, "header", "", closedAfter(verbatim("\x00\x00\x00\x03\x00\x03\x00"))},
	{
		"sends a key that is not served", closed, explain.UnknownRequest, "not served", "",
		closedAfter(verbatim("\x00\x00\x00\x0a\x70\x00\x00\x00\x00\x00\x00\x01\xff\xff")),
	},
	{
		"sends a version that is not served", closed, explain.UnknownRequest, "version 99", "",
		closedAfter(changed(func(b []byte) []byte { b[7] = 99; return b })),
	},
	{
		"asks ApiVersions in a version of the future", "UNSUPPORTED_VERSION with the versions that are served, in version 0", "", "", "",
		answered(func() kmsg.Request {
			r := kmsg.NewPtrApiVersionsRequest()
			r.Version = 90
			return r
		}, func(t *testing.T, body []byte) {
			if code := int16(binary.BigEndian.Uint16(body)); code != kerr.UnsupportedVersion.Code {
				t.Errorf("code %d", code)
			}
		}),
	},
	{
		"cuts a request short", closed, explain.MalformedRequest, "cannot be read", "",
		closedAfter(changed(func(b []byte) []byte { return b[:len(b)-3] })),
	},
	{
		"puts bytes behind a request's end", "the answer to the request: the bytes are ignored, as Kafka does", "", "", "",
		func(t *testing.T, n *testNode) {
			w := dial(t, n)
			for range 2 { // and the connection stays good
				if _, err := w.Write(changed(func(b []byte) []byte { return append(b, 1, 2, 3) })(w)); err != nil {
					t.Fatal(err)
				}
				_, body := w.receive()
				r := kmsg.NewPtrMetadataResponse()
				r.Version = 8
				if err := r.ReadFrom(body); err != nil || len(r.Topics) != 1 || len(r.Brokers) != 1 {
					t.Errorf("answered %q, %v", body, err)
				}
			}
		},
	},
	{
		"counts 2³¹-1 topics", closed, explain.MalformedRequest, "cannot be read", "",
		closedAfter(changed(func(b []byte) []byte { copy(b[topicsAt:], "\x7f\xff\xff\xff"); return b })),
	},
	{
		"counts -2 topics", closed, explain.MalformedRequest, "cannot be read", "",
		closedAfter(changed(func(b []byte) []byte { copy(b[topicsAt:], "\xff\xff\xff\xfe"); return b })),
	},
	{
		"gives a name a length beyond the request", closed, explain.MalformedRequest, "cannot be read", "",
		closedAfter(changed(func(b []byte) []byte { copy(b[topicsAt+4:], "\x7f\xff"); return b })),
	},
	{
		"counts 2³¹-1 partitions in a fetch", closed, explain.MalformedRequest, "cannot be read", "",
		closedAfter(func(w *wire) []byte {
			r := kmsg.NewPtrFetchRequest()
			r.Version = 8
			r.Topics = []kmsg.FetchRequestTopic{{Topic: "t"}}
			b := w.frame(r)
			copy(b[len(b)-8:], "\x7f\xff\xff\xff")
			return b
		}),
	},
	{
		"sends a batch with a wrong checksum", "CORRUPT_MESSAGE for the partition", "", "", "",
		producing(func() []byte { b := batchOf(record.CodecNone, 1, 10); b[len(b)-1] ^= 1; return b }, kerr.CorruptMessage),
	},
	{
		"sends a batch with another magic", "UNSUPPORTED_FOR_MESSAGE_FORMAT for the partition", "", "", "",
		producing(func() []byte { b := batchOf(record.CodecNone, 1, 10); b[16] = 1; return b }, kerr.UnsupportedForMessageFormat),
	},
	{
		"sends a batch that is not one", "UNSUPPORTED_FOR_MESSAGE_FORMAT for the partition", "", "", "",
		producing(func() []byte { return []byte("these are no records") }, kerr.UnsupportedForMessageFormat),
	},
	{
		"lies about the number of records", "INVALID_RECORD for the partition", "", "", "",
		producing(lying(record.CodecNone, func(b []byte) []byte { b[60] = 2; return b }), kerr.InvalidRecord),
	},
	{
		"lies about a record's length", "INVALID_RECORD for the partition", "", "", "",
		producing(lying(record.CodecNone, func(b []byte) []byte { b[61]++; return b }), kerr.InvalidRecord),
	},
	{
		"sends a compressed batch that is damaged", "INVALID_RECORD for the partition", "", "", "",
		producing(lying(record.CodecZstd, func(b []byte) []byte { b[len(b)-1] ^= 0x55; return b[:len(b)-2] }), kerr.InvalidRecord),
	},
	{
		"names a codec that Kafka does not have", "UNSUPPORTED_COMPRESSION_TYPE for the partition", "", "", "",
		producing(lying(record.CodecNone, func(b []byte) []byte { b[22] |= 6; return b }), kerr.UnsupportedCompressionType),
	},
	{
		"sends a gzip bomb", "MESSAGE_TOO_LARGE for the partition", "", "", "record.bytes.max",
		producing(func() []byte { return batchOf(record.CodecGzip, 1, 9<<20) }, kerr.MessageTooLarge),
	},
	{
		"sends a snappy bomb", "MESSAGE_TOO_LARGE for the partition", "", "", "record.bytes.max",
		producing(func() []byte { return batchOf(record.CodecSnappy, 1, 9<<20) }, kerr.MessageTooLarge),
	},
	{
		"sends an lz4 bomb", "MESSAGE_TOO_LARGE for the partition", "", "", "record.bytes.max",
		producing(func() []byte { return batchOf(record.CodecLz4, 1, 9<<20) }, kerr.MessageTooLarge),
	},
	{
		"sends a zstd bomb", "MESSAGE_TOO_LARGE for the partition", "", "", "record.bytes.max",
		producing(func() []byte { return batchOf(record.CodecZstd, 1, 9<<20) }, kerr.MessageTooLarge),
	},
	{
		"sends a batch larger than the topic takes", "MESSAGE_TOO_LARGE for the partition", "", "", "message.max.bytes",
		producing(func() []byte { return batchOf(record.CodecNone, 1, 2<<20) }, kerr.MessageTooLarge),
	},
	{
		"sends with acks=0 what is refused", closed, explain.RefusedUnanswered, "acks=0", "",
		closedAfter(func(w *wire) []byte {
			r := kmsg.NewPtrProduceRequest()
			r.Version, r.Acks = 8, 0
			topic, partition := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
			partition.Records = []byte("these are no records")
			topic.Topic, topic.Partitions = "abused", append(topic.Partitions, partition)
			r.Topics = append(r.Topics, topic)
			return w.frame(r)
		}),
	},
	{"asks for a topic of 2³¹-1 partitions", "INVALID_PARTITIONS", "", "", "partitions.max", creating("absurd", 1<<31-1, 1, kerr.InvalidPartitions)},
	{"asks for a topic of no partitions", "INVALID_PARTITIONS", "", "", "", creating("absurd", 0, 1, kerr.InvalidPartitions)},
	{"asks for 32,767 replicas", "INVALID_REPLICATION_FACTOR", "", "", "", creating("absurd", 1, 1<<15-1, kerr.InvalidReplicationFactor)},
	{"asks for a topic whose name has 32,000 letters", "INVALID_TOPIC_EXCEPTION", "", "", "", creating(strings.Repeat("x", 32000), 1, 1, kerr.InvalidTopicException)},
	{
		"begins a request and does not finish it", closed + " after the time", explain.UnfinishedRequest, "2 of 9 bytes", "request.read.timeout.ms",
		closedAfter(verbatim("\x00\x00\x00\x09\x00\x03")),
	},
	{
		"sends fewer than the first four bytes", closed + " after the time", explain.UnfinishedRequest, "2 of a request's first 4", "request.read.timeout.ms",
		closedAfter(verbatim("\x00\x00")),
	},
	{
		"connects and says nothing", closed + " after the time", explain.IdleConnection, "", "connections.max.idle.ms",
		closedAfter(verbatim("")),
	},
	{
		"asks and does not read", closed + " after the time", explain.SlowReader, "by-hand", "response.write.timeout.ms",
		func(t *testing.T, n *testNode) {
			w := dial(t, n)
			_ = w.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			r := kmsg.NewPtrMetadataRequest()
			r.Version = 8
			topic := kmsg.NewMetadataRequestTopic()
			topic.Topic = kmsg.StringPtr("wide")
			r.Topics = append(r.Topics, topic)
			b := w.frame(r)
			for {
				if _, err := w.Write(b); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("it is not closed")
				} else if err == nil {
					continue
				}
				return
			}
		},
	},
	{
		"opens more connections than are allowed", "the connection is closed at once", explain.TooManyConnections, "max.connections.per.ip=30 are open from 127.0.0.1", "max.connections, max.connections.per.ip",
		func(t *testing.T, n *testNode) {
			for range 31 {
				conn, err := net.Dial("tcp", n.KafkaAddr())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
			}
			n.logged(t, explain.Of(explain.TooManyConnections).Title)
			c, err := net.Dial("tcp", n.KafkaAddr())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the connection beyond the limit: %v", err)
			}
		},
	},
	{
		"begins a QUIC stream and goes silent", "the stream is closed after the time", explain.UnfinishedRequest, "quic", "request.read.timeout.ms",
		func(t *testing.T, n *testNode) {
			conn := dialQUIC(t, n)
			if _, err := conn.Write([]byte{0}); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			if b, err := io.ReadAll(conn); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("answered %q, %v", b, err)
			}
		},
	},
	{
		"asks where to connect, again and again, and never arrives there", "it is served", explain.ClientsNeverReturned, "ask for metadata", "advertised.listeners",
		func(t *testing.T, n *testNode) {
			for begin := time.Now(); time.Since(begin) < 4*time.Second; time.Sleep(300 * time.Millisecond) {
				w := dialFrom(t, n, net.IPv4(127, 0, 0, 9))
				if _, err := w.Write(w.frame(metadataRequest())); err != nil {
					t.Fatal(err)
				}
				w.receive()
				_ = w.Close()
			}
		},
	},
}

// abusedConfig has limits that are soon reached. A time is short only where it is what is tested: on a busy machine honest
// requests take longer than that, too.
func abusedConfig(t *testing.T, code explain.Code) config.Config {
	c := testConfig(t.TempDir())
	switch code {
	case explain.UnfinishedRequest:
		// Until its first four bytes are there, a request has not begun.
		c.Limits.FrameTimeout, c.Limits.ConnectionIdleMax = 300*time.Millisecond, time.Second
	case explain.SlowReader:
		c.Limits.ResponseTimeout = 700 * time.Millisecond
	case explain.IdleConnection:
		c.Limits.ConnectionIdleMax = time.Second
	}
	c.Limits.ConnectionsPerAddressMax = 30
	c.Limits.RecordBytesMax = 8 << 20
	c.Advertised = "192.0.2.1:9092" // an address of nobody
	return c
}

func dialQUIC(t *testing.T, n *testNode) transport.Conn {
	t.Helper()
	trust, err := certificate.ClientConfig(n.CertificatePath())
	if err != nil {
		t.Fatal(err)
	}
	d := quic.NewDialer(trust, quic.Config{})
	t.Cleanup(func() { _ = d.Close() })
	conn, err := d.Dial(testContext(t), n.QUICAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// dialFrom is dial from another of this machine's addresses.
func dialFrom(t *testing.T, n *testNode, ip net.IP) *wire {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}
	conn, err := d.Dial("tcp", n.KafkaAddr())
	if err != nil {
		t.Skipf("this machine has no address %v: %v", ip, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &wire{t: t, Conn: conn}
}

// Each abuse gets what the table says, and others are served before and after.
func TestAbuse(t *testing.T) {
	for _, a := range abuses {
		t.Run(strings.ReplaceAll(a.does, " ", "-"), func(t *testing.T) {
			t.Parallel()
			n := start(t, abusedConfig(t, a.code))
			t.Cleanup(func() {
				if t.Failed() {
					for _, line := range n.logs.All() {
						t.Log(line.Message, line.ContextMap())
					}
				}
			})
			w := dial(t, n)
			topics := map[string]int32{"abused": 1}
			if a.code == explain.SlowReader {
				topics["wide"] = 5000
			}
			for topic, partitions := range topics {
				r := kmsg.NewPtrCreateTopicsRequest()
				r.Version, r.TimeoutMillis = 4, 10_000
				c := kmsg.NewCreateTopicsRequestTopic()
				c.Topic, c.NumPartitions, c.ReplicationFactor = topic, partitions, 1
				r.Topics = append(r.Topics, c)
				_, _ = w.Write(w.frame(r))
				w.receive()
			}
			_ = w.Close()
			a.run(t, n)
			if a.code == "" {
				for _, line := range n.logs.All() {
					if line.ContextMap()["code"] != nil {
						t.Errorf("the log says %s %v", line.Message, line.ContextMap())
					}
				}
			} else {
				line := n.logged(t, explain.Of(a.code).Title)
				for _, want := range []string{"code:" + string(a.code), "peer:127.0.0.", "reason:", "fix:", a.line} {
					if !strings.Contains(line, want) {
						t.Errorf("%q is not in the log's line: %s", want, line)
					}
				}
			}
			good := dial(t, n)
			if _, err := good.Write(good.frame(metadataRequest())); err != nil && a.code != explain.TooManyConnections {
				t.Fatal(err)
			}
			if a.code != explain.TooManyConnections {
				good.receive()
			}
			if panics := metric(t, n, "weir_connection_panics_total"); panics != "0" {
				t.Errorf("%s panics", panics)
			}
		})
	}
}

var rewrite = flag.Bool("rewrite", false, "write the table of abuses into docs/SECURITY.md")

const securityPage = "../docs/SECURITY.md"

func TestSecurityPageHasTheTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("| a client | sees | the log's code | bounded by |\n|---|---|---|---|\n")
	for _, a := range abuses {
		code, limit := "–", "–"
		if a.code != "" {
			code = fmt.Sprintf("[%s](ERRORS.md#%s)", a.code, a.code)
		}
		if a.limit != "" {
			limit = "`" + strings.ReplaceAll(a.limit, ", ", "`, `") + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", a.does, a.sees, code, limit)
	}
	page, err := os.ReadFile(securityPage)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- Generated by go test ./node -run SecurityPage -rewrite. -->\n\n", "\n<!-- End of what is generated. -->"
	before, rest, found := strings.Cut(string(page), begin)
	_, after, closes := strings.Cut(rest, end)
	if !found || !closes {
		t.Fatal("docs/SECURITY.md has no place for the table")
	}
	want := before + begin + b.String() + end + after
	if *rewrite {
		if err := os.WriteFile(securityPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(page) {
		t.Error("the table in docs/SECURITY.md is not that of the tests: go test ./node -run SecurityPage -rewrite")
	}
	properties := map[string]bool{}
	for _, p := range config.Properties() {
		properties[p.Name] = true
	}
	for _, a := range abuses {
		for _, p := range strings.Split(a.limit, ", ") {
			if a.limit != "" && !properties[p] {
				t.Errorf("there is no property %s", p)
			}
		}
	}
}

// A flood of bad clients leaves few lines, and says how many it left out.
func TestFloodsOfBadClientsDoNotFillTheLog(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	for range 100 {
		conn, err := net.Dial("tcp", n.KafkaAddr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "SSH-2.0-x\r\n")
		_, _ = io.ReadAll(conn)
		_ = conn.Close()
	}
	n.stop(t)
	if lines := n.logs.FilterMessage(explain.Of(explain.WrongProtocolOther).Title).Len(); lines != 10 {
		t.Errorf("%d lines", lines)
	}
	rest := n.logs.FilterMessage("more of the same was left out of the log").All()
	if len(rest) != 1 || fmt.Sprint(rest[0].ContextMap()["count"]) != "90" {
		t.Errorf("left out: %v", rest)
	}
}

// A client that sits on memory is closed when others wait for it, long before its own time is up.
func TestWhoHoldsMemoryThatOthersWaitForIsClosed(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Limits.QueuedBytesMax, c.Limits.StallTimeout = 1<<20, 500*time.Millisecond
	n := start(t, c)
	cl := client(t, n)
	createTopic(t, cl, "t", 1)
	for range 300 { // more than the budget has, at 4 KiB each, as they claim
		w := dial(t, n)
		if _, err := w.Write([]byte{0, 0x10, 0, 0, 0, 3, 0, 8}); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	produce(t, cl, records("t", 10))
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("a producer waited %v", took)
	}
	line := n.logged(t, explain.Of(explain.StalledConnection).Title)
	if !strings.Contains(line, "held 4096 bytes") {
		t.Error(line)
	}
}

// The misled are told of only if nobody from their host does anything else.
func TestClientsThatArriveElsewhereAreWell(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Advertised = "192.0.2.1:9092"
	n := start(t, c)
	w := dial(t, n)
	r := kmsg.NewPtrListOffsetsRequest()
	r.Version = 5
	told := func() int { return n.logs.FilterMessage(explain.Of(explain.ClientsNeverReturned).Title).Len() }
	eventually(t, "it is told of before it does anything", func() bool {
		_ = w.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = w.Write(w.frame(metadataRequest()))
		w.receive()
		time.Sleep(100 * time.Millisecond)
		return told() > 0
	})
	_, _ = w.Write(w.frame(r))
	w.receive()
	time.Sleep(time.Second)
	if lines := told(); lines != 1 { // once, and never again
		t.Errorf("%d lines", lines)
	}

	c.DataDir = t.TempDir()
	n = start(t, c)
	w = dial(t, n)
	_, _ = w.Write(w.frame(r))
	w.receive()
	for begin := time.Now(); time.Since(begin) < 4*time.Second; time.Sleep(200 * time.Millisecond) {
		_, _ = w.Write(w.frame(metadataRequest()))
		w.receive()
	}
	time.Sleep(time.Second)
	if lines := n.logs.FilterMessage(explain.Of(explain.ClientsNeverReturned).Title).All(); len(lines) != 0 {
		t.Errorf("the log says %v", lines)
	}
}

// A connection gives its buffers back when it is quiet, and gets others when it is not.
func TestQuietConnectionsWakeUp(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a connection to become quiet")
	}
	n := start(t, testConfig(t.TempDir()))
	w := dial(t, n)
	for range 3 {
		big := metadataRequest().(*kmsg.MetadataRequest)
		for i := range 100 {
			topic := kmsg.NewMetadataRequestTopic()
			topic.Topic = kmsg.StringPtr(fmt.Sprint("a-topic-that-is-not-there-", i))
			big.Topics = append(big.Topics, topic)
		}
		if _, err := w.Write(w.frame(big)); err != nil {
			t.Fatal(err)
		}
		if _, body := w.receive(); len(body) < 2000 {
			t.Errorf("%d bytes", len(body))
		}
		time.Sleep(3500 * time.Millisecond) // it becomes quiet after 3 s
	}
	produce(t, client(t, n, kgo.AllowAutoTopicCreation()), records("t", 10))
}
