package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weirmq/weir/node"
	"github.com/weirmq/weir/node/config"
	"github.com/weirmq/weir/node/disk"
	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/quic"
)

// testNode is a node with its log.
type testNode struct {
	*node.Node
	logs *observer.ObservedLogs
}

func testConfig(dir string) config.Config {
	c := config.Default()
	c.DataDir, c.Listener, c.HTTP = dir, "127.0.0.1:0", "127.0.0.1:0"
	c.Storage.JournalFileBytes = 8 << 20
	return c
}

func start(t *testing.T, c config.Config) *testNode {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	n, err := node.Start(node.Options{Config: c, Log: zap.New(core), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return &testNode{n, logs}
}

func (n *testNode) stop(t *testing.T) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// logged waits until the log has a line with this message, and returns it as text.
func (n *testNode) logged(t *testing.T, message string) string {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if lines := n.logs.FilterMessage(message).All(); len(lines) > 0 {
			return fmt.Sprint(lines[0].Message, " ", lines[0].ContextMap())
		}
	}
	t.Fatalf("the log has no line %q", message)
	return ""
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func client(t *testing.T, n *testNode, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(n.KafkaAddr()), kgo.RetryTimeout(30 * time.Second)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func createTopic(t *testing.T, cl *kgo.Client, topic string, partitions int32) {
	t.Helper()
	if _, err := kadm.NewClient(cl).CreateTopic(testContext(t), partitions, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
}

func produce(t *testing.T, cl *kgo.Client, records []*kgo.Record) {
	t.Helper()
	if err := cl.ProduceSync(testContext(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// epoch is the time of the first record: young enough not to be deleted.
var epoch = time.Now().Add(-time.Hour).UnixMilli()

// records makes records that differ in everything that a record has.
func records(topic string, n int) []*kgo.Record {
	out := make([]*kgo.Record, n)
	for i := range out {
		r := &kgo.Record{
			Topic: topic, Value: bytes.Repeat([]byte{byte(i)}, i%700),
			Timestamp: time.UnixMilli(epoch + int64(i)),
			Headers:   []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, i)}, {Key: "nothing"}},
		}
		if i%3 > 0 {
			r.Key = fmt.Appendf(nil, "key %d", i%7)
		}
		if i%11 == 0 {
			r.Value = nil
		}
		out[i] = r
	}
	return out
}

// consume reads n records from the beginning and returns them by partition.
func consume(t *testing.T, n *testNode, topic string, count int, opts ...kgo.Opt) map[int32][]*kgo.Record {
	t.Helper()
	cl := client(t, n, append([]kgo.Opt{
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(time.Second),
	}, opts...)...)
	defer cl.Close()
	ctx := testContext(t)
	got := map[int32][]*kgo.Record{}
	for total := 0; total < count; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("after %d records: %v", total, err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			got[r.Partition] = append(got[r.Partition], r)
			total++
		})
	}
	return got
}

// same compares what was produced, with the offsets that the acknowledgements told, with what was read.
func same(t *testing.T, produced []*kgo.Record, read map[int32][]*kgo.Record) {
	t.Helper()
	want := map[int32][]*kgo.Record{}
	for _, r := range produced {
		want[r.Partition] = append(want[r.Partition], r)
	}
	for p, records := range want {
		if len(read[p]) != len(records) {
			t.Errorf("partition %d: %d records, want %d", p, len(read[p]), len(records))
			continue
		}
		for i, w := range records {
			g := read[p][i]
			if g.Offset != w.Offset || !bytes.Equal(g.Key, w.Key) || (g.Key == nil) != (w.Key == nil) ||
				!bytes.Equal(g.Value, w.Value) || (g.Value == nil) != (w.Value == nil) ||
				!g.Timestamp.Equal(w.Timestamp) || fmt.Sprint(g.Headers) != fmt.Sprint(w.Headers) {
				t.Fatalf("partition %d: read %+v, want %+v", p, g, w)
			}
		}
	}
}

// overQUIC makes kgo dial QUIC, trusting the node's certificate.
func overQUIC(t *testing.T, n *testNode) kgo.Opt {
	t.Helper()
	trust, err := certificate.ClientConfig(n.CertificatePath())
	if err != nil {
		t.Fatal(err)
	}
	d := quic.NewDialer(trust, quic.Config{})
	t.Cleanup(func() { _ = d.Close() })
	return kgo.Dialer(func(ctx context.Context, _, addr string) (net.Conn, error) { return d.Dial(ctx, addr) })
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	for transport, over := range map[string][]kgo.Opt{"tcp": nil, "quic": {overQUIC(t, n)}} {
		for name, codec := range codecs {
			t.Run(transport+" "+name, func(t *testing.T) {
				topic := transport + "-" + name
				cl := client(t, n, append(over, kgo.ProducerBatchCompression(codec))...)
				createTopic(t, cl, topic, 3)
				all := records(topic, 500)
				produce(t, cl, all)
				same(t, all, consume(t, n, topic, len(all), over...))
			})
		}
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	for _, end := range []string{"closed", "killed"} {
		t.Run(end, func(t *testing.T) {
			dir := t.TempDir()
			n := start(t, testConfig(dir))
			cl := client(t, n)
			createTopic(t, cl, "kept", 4)
			all := records("kept", 300)
			produce(t, cl, all)
			cl.Close()
			if end == "closed" {
				n.stop(t)
			} else {
				n.Kill()
			}

			n = start(t, testConfig(dir))
			if line := n.logged(t, "data recovered"); strings.Contains(line, "clean_shutdown:true") != (end == "closed") {
				t.Error(line)
			}
			more := records("kept", 100)
			produce(t, client(t, n), more)
			same(t, append(all, more...), consume(t, n, "kept", 400))
			n.stop(t)
		})
	}
}

func TestDataDirectoryIsUsedByOneNode(t *testing.T) {
	dir := t.TempDir()
	n := start(t, testConfig(dir))
	_, err := node.Start(node.Options{Config: testConfig(dir)})
	if !errors.Is(err, disk.ErrInUse) {
		t.Errorf("a second node on the same data: %v", err)
	}
	n.stop(t)
	start(t, testConfig(dir)).stop(t)
}

func TestDataOfAnotherNodeIsRefused(t *testing.T) {
	dir := t.TempDir()
	start(t, testConfig(dir)).stop(t)
	c := testConfig(dir)
	c.NodeID = 9
	if _, err := node.Start(node.Options{Config: c}); err == nil || !strings.Contains(err.Error(), "node.id") {
		t.Errorf("data of node 1 opened as node 9: %v", err)
	}
}

func TestPortThatIsTakenIsNamed(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	c := testConfig(t.TempDir())
	c.Listener = n.KafkaAddr()
	if _, err := node.Start(node.Options{Config: c}); err == nil || !strings.Contains(err.Error(), "listeners") {
		t.Errorf("a port that is taken: %v", err)
	}
}

func TestShutdownAnswersWhatWasAsked(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	cl := client(t, n, kgo.RequestRetries(0), kgo.RecordRetries(0), kgo.ProducerLinger(0))
	createTopic(t, cl, "load", 4)
	// A consumer that waits for data must not hold up the shutdown.
	go consumeQuietly(client(t, n, kgo.ConsumeTopics("load"), kgo.FetchMaxWait(20*time.Second), kgo.FetchMinBytes(1<<30)))

	acked := make(chan *kgo.Record, 1<<20)
	first, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			r := &kgo.Record{Topic: "load", Value: fmt.Append(nil, i)}
			err := cl.ProduceSync(context.Background(), r).FirstErr()
			if err != nil {
				return
			}
			if acked <- r; i == 0 {
				close(first)
			}
		}
	}()
	select {
	case <-first:
	case <-done:
		t.Fatal("nothing was acknowledged before the shutdown")
	}
	time.Sleep(300 * time.Millisecond)
	begin := time.Now()
	dir := n.DataDir()
	n.stop(t)
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("a shutdown took %v", took)
	}
	cl.Close()
	<-done
	close(acked)

	n = start(t, testConfig(dir))
	if line := n.logged(t, "data recovered"); !strings.Contains(line, "clean_shutdown:true") || !strings.Contains(line, "journal_entries:0") {
		t.Error(line)
	}
	count := 0
	want := map[int32][]*kgo.Record{}
	for r := range acked {
		want[r.Partition] = append(want[r.Partition], r)
		count++
	}
	read := consume(t, n, "load", count)
	for p, records := range want {
		for i, r := range records {
			if i >= len(read[p]) || !bytes.Equal(read[p][i].Value, r.Value) || read[p][i].Offset != r.Offset {
				t.Fatalf("partition %d: acknowledged record %d at offset %d is not there", p, i, r.Offset)
			}
		}
	}
}

func consumeQuietly(cl *kgo.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for !cl.PollFetches(ctx).IsClientClosed() && ctx.Err() == nil {
	}
}

func TestWrongProtocolIsToldWhatItDid(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	for _, c := range []struct {
		name, sent string
		code       explain.Code
		line       string
	}{
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", explain.WrongProtocolTLS, "security.protocol=PLAINTEXT"},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", explain.WrongProtocolOther, "the client speaks SSH"},
		{"text", "hello, is anybody there?\r\n", explain.WrongProtocolOther, "the text \"hell\""},
		{"huge", "\x7f\xff\xff\xff", explain.MalformedRequest, "socket.request.max.bytes"},
		{"negative", "\xff\xff\xff\xff", explain.MalformedRequest, "a request claims -1 bytes"},
		{"garbage", "\x00\x00\x00\x0a\x70\x00\x00\x00\x00\x00\x00\x01\xff\xff", explain.UnknownRequest, "not served"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n.logs.TakeAll()
			conn, err := net.Dial("tcp", n.KafkaAddr())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, c.sent); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			if b, err := io.ReadAll(conn); len(b) > 0 || errors.Is(err, net.ErrClosed) {
				t.Errorf("answered %q, %v", b, err)
			}
			if line := n.logged(t, explain.Of(c.code).Title); !strings.Contains(line, c.line) {
				t.Error(line)
			}
		})
	}
	t.Run("HTTP", func(t *testing.T) {
		n.logs.TakeAll()
		resp, err := http.Get("http://" + n.KafkaAddr() + "/topics")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 400 || !strings.Contains(string(b), "http://"+n.HTTPAddr()) {
			t.Errorf("%d %s", resp.StatusCode, b)
		}
		n.logged(t, explain.Of(explain.WrongProtocolHTTP).Title)
	})
}

func TestHTTPShowsHealthAndMetrics(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Pprof = true
	n := start(t, c)
	cl := client(t, n)
	createTopic(t, cl, "seen", 2)
	produce(t, cl, records("seen", 10))
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + n.HTTPAddr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body := get(path); code != 200 || body != "ok\n" {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	_, text := get("/metrics")
	for _, want := range []string{
		`kafka_network_requestmetrics_requests_total{request="Produce"}`,
		`kafka_network_requestmetrics_requests_total{request="CreateTopics"} 1`,
		`kafka_server_replicamanager_partitioncount 2`,
		`kafka_controller_kafkacontroller_globaltopiccount 1`,
		`weir_journal_sync_seconds_count`, `weir_notes_total{note="topic_created"} 1`,
		`weir_build_info{version="test"} 1`, `process_resident_memory_bytes`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	if code, _ := get("/debug/pprof/goroutine?debug=1"); code != 200 {
		t.Errorf("pprof: %d", code)
	}
	c = testConfig(t.TempDir())
	n = start(t, c)
	if code, _ := get("/debug/pprof/goroutine"); code != 404 {
		t.Errorf("pprof is served without being enabled: %d", code)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Limits.ConnectionsMax = 2
	n := start(t, c)
	var conns []net.Conn
	for range 3 {
		conn, err := net.Dial("tcp", n.KafkaAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		conns = append(conns, conn)
		time.Sleep(20 * time.Millisecond)
	}
	_ = conns[2].SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := conns[2].Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the third connection: %v", err)
	}
	n.logged(t, explain.Of(explain.TooManyConnections).Title)
}

func TestIdleConnectionIsClosed(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Limits.ConnectionIdleMax = 200 * time.Millisecond
	c.Limits.FrameTimeout = 200 * time.Millisecond
	n := start(t, c)
	for name, sent := range map[string]string{"silent": "", "half a request": "\x00\x00\x00\x10\x00\x12"} {
		begin := time.Now()
		conn, err := net.Dial("tcp", n.KafkaAddr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(begin); took < 100*time.Millisecond || took > 20*time.Second {
			t.Errorf("%s: closed after %v", name, took)
		}
		_ = conn.Close()
	}
}
