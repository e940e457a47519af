package node_test

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/node"
	"github.com/weirmq/weir/transport"
	"github.com/weirmq/weir/transport/memory"
)

// FuzzConnection writes arbitrary bytes to a connection of a whole node, from the first one on. The node must
// answer or close, serve others all the while, and fail on nothing: a panic that it would survive is one here.
func FuzzConnection(f *testing.F) {
	network := memory.New()
	l, err := network.Listen("node:9092")
	if err != nil {
		f.Fatal(err)
	}
	c := testConfig(f.TempDir())
	c.Listener, c.QUIC = "", false
	c.Topics.AutoCreate, c.Topics.PartitionsMax, c.Topics.MessageBytesMax = false, 100, 64<<10
	c.Limits.RequestBytesMax, c.Limits.RecordBytesMax, c.Limits.ConnectionRateMax = 1<<20, 1<<20, 1_000_000
	c.Limits.FrameTimeout, c.Limits.ConnectionIdleMax = 200*time.Millisecond, time.Second
	n, err := node.Start(node.Options{Config: c, Listeners: []transport.Listener{l}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = n.Close() })
	connect := func(t testing.TB) transport.Conn {
		conn, err := network.Dial(t.Context(), "node:9092")
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	good := connect(f)
	buf := make([]byte, 1<<16)
	if _, err := good.Write(createRequest("t")); err != nil {
		f.Fatal(err)
	}

	for key := range int16(95) {
		if r := kmsg.RequestForKey(key); r != nil {
			r.SetVersion(r.MaxVersion())
			f.Add(request(r))
		}
	}
	for _, codec := range []record.Codec{record.CodecNone, record.CodecGzip, record.CodecSnappy, record.CodecLz4, record.CodecZstd} {
		r := kmsg.NewPtrProduceRequest()
		r.Version, r.Acks = 9, -1
		p := kmsg.NewProduceRequestTopicPartition()
		p.Records = batchOf(codec, 3, 100)
		r.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{p}}}
		f.Add(append(request(r), request(metadataRequest())...))
	}
	f.Add([]byte("\x16\x03\x01\x02\x00"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	hello := request(metadataRequest())
	if _, err := io.ReadFull(good, buf[:4]); err != nil { // what creating the topic gave
		f.Fatal(err)
	}
	if _, err := io.ReadFull(good, buf[:int(buf[2])<<8|int(buf[3])]); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		conn := connect(t)
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write(b)
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
		_, err := io.Copy(io.Discard, conn)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !transport.IsClosed(err) {
			t.Fatal(err)
		}
		_ = conn.Close()
		_ = good.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := good.Write(hello); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(good, buf[:4]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(good, buf[:int(buf[2])<<8|int(buf[3])]); err != nil {
			t.Fatal(err)
		}
		if n.Err() != nil || n.Panics() != 0 {
			t.Fatalf("%v, %d panics", n.Err(), n.Panics())
		}
	})
}
