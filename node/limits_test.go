package node_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	wclient "github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/producer"
	"github.com/weirmq/weir/node"
	"github.com/weirmq/weir/node/config"
)

// wire is a connection that speaks the protocol by hand.
type wire struct {
	t *testing.T
	net.Conn
	correlation int32
}

func dial(t *testing.T, n *testNode) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", n.KafkaAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &wire{t: t, Conn: conn}
}

// frame encodes a request of some version.
func (w *wire) frame(r kmsg.Request) []byte {
	w.correlation++
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("by-hand")).AppendRequest(nil, r, w.correlation)
}

// receive reads a response's correlation id and body.
func (w *wire) receive() (int32, []byte) {
	w.t.Helper()
	var head [8]byte
	if _, err := io.ReadFull(w, head[:]); err != nil {
		w.t.Fatalf("read a response: %v", err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(w, body); err != nil {
		w.t.Fatal(err)
	}
	return int32(binary.BigEndian.Uint32(head[4:])), body
}

func metadataRequest() kmsg.Request {
	r := kmsg.NewPtrMetadataRequest()
	r.Version = 8
	r.Topics = []kmsg.MetadataRequestTopic{}
	return r
}

func TestResponsesKeepTheOrderOfRequests(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	w := dial(t, n)
	const count = 500 // far more than may be in flight: the rest waits in the socket
	var all []byte
	for range count {
		all = append(all, w.frame(metadataRequest())...)
	}
	go func() { _, _ = w.Write(all) }()
	for i := range int32(count) {
		if id, _ := w.receive(); id != i+1 {
			t.Fatalf("response %d answers request %d", i+1, id)
		}
	}
}

// A client that asks and does not read must cost a bounded amount of memory, and leave the others alone.
func TestSlowReaderIsBounded(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Limits.QueuedBytesMax = 4 << 20
	n := start(t, c)
	cl := client(t, n)
	createTopic(t, cl, "big", 1)
	value := make([]byte, 512<<10)
	for i := range value {
		value[i] = byte(rand.Uint32())
	}
	for range 20 {
		produce(t, cl, []*kgo.Record{{Topic: "big", Value: value}})
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range 8 {
		w := dial(t, n)
		go func() {
			r := kmsg.NewPtrFetchRequest()
			r.Version, r.MaxBytes, r.SessionEpoch = 11, 50<<20, -1
			p := kmsg.NewFetchRequestTopicPartition()
			p.PartitionMaxBytes, p.CurrentLeaderEpoch = 50<<20, -1
			r.Topics = []kmsg.FetchRequestTopic{{Topic: "big", Partitions: []kmsg.FetchRequestTopicPartition{p}}}
			for range 2000 {
				if _, err := w.Write(w.frame(r)); err != nil {
					return
				}
			}
		}()
	}
	time.Sleep(700 * time.Millisecond)
	if after := heap(); after > before+32<<20 {
		t.Errorf("clients that do not read made the heap grow from %d to %d MiB", before>>20, after>>20)
	}
	produce(t, cl, records("big", 50))
}

// Requests that have begun, and claim to be large, take memory only as their bytes arrive.
func TestClaimedSizeTakesNoMemory(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 200 {
		w := dial(t, n)
		if _, err := w.Write([]byte{0x06, 0, 0, 0, 0, 0, 0, 9}); err != nil { // 96 MiB
			t.Fatal(err)
		}
	}
	time.Sleep(200 * time.Millisecond)
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
		t.Errorf("200 connections that sent 8 bytes each hold %d MiB", grown>>20)
	}
	cl := client(t, n)
	createTopic(t, cl, "t", 1)
	produce(t, cl, records("t", 10))
}

func TestLoadLargerThanTheBudgetGetsThrough(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Limits.QueuedBytesMax = 1 << 20
	n := start(t, c)
	admin := client(t, n)
	createTopic(t, admin, "load", 8)
	done := make(chan error, 8)
	const each = 12
	for i := range 8 {
		acks := producer.AcksAll
		if i%2 == 1 { // half of them want no answer
			acks = producer.AcksNone
		}
		p := newProducer(t, n, producer.WithAcks(acks))
		go func() {
			value := bytes.Repeat([]byte{byte(i)}, 700<<10)
			for range each {
				if err := p.ProduceAsync(t.Context(), producer.Record{Topic: "load", Partition: producer.On(int32(i)), Value: value}, nil); err != nil {
					done <- fmt.Errorf("producer %d: %w", i, err)
					return
				}
			}
			done <- p.Close(t.Context())
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	got := consume(t, n, "load", 8*each, kgo.FetchMaxBytes(4<<20))
	for p := range int32(8) {
		if len(got[p]) != each {
			t.Errorf("partition %d holds %d records, want %d", p, len(got[p]), each)
		}
	}
	// Everything that was held is given back.
	var held string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if held = metric(t, n, "weir_queued_request_bytes"); held == "0" {
			return
		}
	}
	t.Errorf("%s bytes are held by nobody", held)
}

func newProducer(t *testing.T, n *testNode, options ...producer.Option) *producer.Producer {
	t.Helper()
	c, err := wclient.New([]string{n.KafkaAddr()})
	if err != nil {
		t.Fatal(err)
	}
	p, err := producer.New(c, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

func TestNoAnswerIsSentWithoutAcks(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	createTopic(t, client(t, n), "quiet", 1)
	p := newProducer(t, n, producer.WithAcks(producer.AcksNone), producer.WithLinger(0))
	for i := range 100 {
		if _, err := p.Produce(testContext(t), producer.Record{Topic: "quiet", Value: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range consume(t, n, "quiet", 100)[0] {
		if string(r.Value) != fmt.Sprint(i) {
			t.Errorf("offset %d holds %q", i, r.Value)
		}
	}
}

func TestProducersWithoutIdempotenceAreServed(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	for topic, acks := range map[string]kgo.Acks{"none": kgo.NoAck(), "leader": kgo.LeaderAck(), "all": kgo.AllISRAcks()} {
		cl := client(t, n, kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite())
		createTopic(t, cl, topic, 1)
		all := records(topic, 100)
		produce(t, cl, all)
		for i, r := range all {
			r.Offset = int64(i) // which a client is not told without acks
		}
		same(t, all, consume(t, n, topic, len(all)))
	}
}

// Whatever bytes arrive, one connection closes and the node goes on.
func TestGarbageHurtsNobody(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	cl := client(t, n)
	createTopic(t, cl, "t", 1)
	random := rand.New(rand.NewPCG(1, 1))
	valid := dial(t, n).frame(metadataRequest())
	for i := range 200 {
		conn, err := net.Dial("tcp", n.KafkaAddr())
		if err != nil {
			t.Fatal(err)
		}
		var b []byte
		switch i % 3 {
		case 0: // any bytes
			b = make([]byte, 1+random.IntN(200))
			for j := range b {
				b[j] = byte(random.Uint32())
			}
		case 1: // any bytes in a frame
			b = make([]byte, 4+random.IntN(100))
			for j := range b {
				b[j] = byte(random.Uint32())
			}
			binary.BigEndian.PutUint32(b, uint32(len(b)-4))
			if len(b) > 6 {
				b[4], b[5] = 0, byte(random.IntN(70))
			}
		case 2: // a request with some bits turned
			b = bytes.Clone(valid)
			for range 1 + random.IntN(4) {
				b[4+random.IntN(len(b)-4)] ^= 1 << random.IntN(8)
			}
		}
		_, _ = conn.Write(b)
		_ = conn.SetReadDeadline(time.Now().Add(time.Duration(random.IntN(5)) * time.Millisecond))
		_, _ = conn.Read(make([]byte, 100))
		_ = conn.Close()
	}
	produce(t, cl, records("t", 10))
	if err := n.Err(); err != nil {
		t.Error(err)
	}
}

func TestHalfReadRequestsDoNotStarveTheRest(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Limits.QueuedBytesMax = 1 << 20
	c.Limits.FrameTimeout = 700 * time.Millisecond
	n := start(t, c)
	cl := client(t, n)
	createTopic(t, cl, "t", 1)
	// Each claims much and sends so little of it that the budget is held by halves.
	for range 16 {
		w := dial(t, n)
		b := make([]byte, 60<<10)
		binary.BigEndian.PutUint32(b, 8<<20)
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	produce(t, cl, records("t", 10))
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("a producer waited %v", took)
	}
}

func metric(t *testing.T, n *testNode, name string) string {
	t.Helper()
	body, err := get(n, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(body) {
		if value, found := bytes.CutPrefix(line, []byte(name+" ")); found {
			return string(bytes.TrimSpace(value))
		}
	}
	t.Fatalf("there is no metric %s", name)
	return ""
}

func TestFailedStartLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.HTTP = l.Addr().String()
	if _, err := startQuietly(c); err == nil {
		t.Fatal("started on a port that is taken")
	}
	_ = l.Close()
	n, err := startQuietly(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.Close(), n.Close()); err != nil {
		t.Error(err)
	}
}

func startQuietly(c config.Config) (*node.Node, error) { return node.Start(node.Options{Config: c}) }

func get(n *testNode, path string) ([]byte, error) {
	resp, err := http.Get("http://" + n.HTTPAddr() + path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(resp.Body)
	return b, errors.Join(err, resp.Body.Close())
}
