package drive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/bench/openloop"
	"github.com/weirmq/weir/bench/report"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/quic"
)

// stream is a connection over any transport.
type stream interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

// dialer makes connections; the returned function closes what they share.
func dialer(o *Options) (func(context.Context) (stream, error), func(), error) {
	if err := certificateOf(o); err != nil {
		return nil, nil, err
	}
	if o.Transport == "quic" {
		tls, err := certificate.ClientConfig(o.CA)
		if err != nil {
			return nil, nil, err
		}
		d := quic.NewDialer(tls, quic.Config{})
		return func(ctx context.Context) (stream, error) { return d.Dial(ctx, o.Addr) }, func() { _ = d.Close() }, nil
	}
	return func(ctx context.Context) (stream, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", o.Addr)
	}, func() {}, nil
}

// produceVersion is understood by Kafka 0.11 to 4.x; its frames are flexible from 9 on.
const produceVersion = 9

// prepared is one Produce request to be sent again and again.
type prepared struct {
	frame     []byte
	partition int // where in the frame the partition's number is
	records   int
	bytes     int // of values
}

func prepare(o *Options) prepared {
	var b record.Builder
	b.Begin(record.NewOptions(record.CodecNone))
	v, count := value(o.ValueBytes), 0
	for ; count == 0 || b.SizeBytes()+o.ValueBytes+16 <= o.BatchBytes; count++ {
		b.Append(record.Record{Value: v, Timestamp: model.Timestamp(time.Now().UnixMilli())})
	}
	p := kmsg.NewPtrProduceRequest()
	p.Acks, p.TimeoutMillis = int16(o.Acks), 30_000
	pt := kmsg.NewProduceRequestTopic()
	pt.Topic = o.Topic
	pp := kmsg.NewProduceRequestTopicPartition()
	const mark = 0x5ec7a11e
	pp.Partition, pp.Records = mark, b.Finish()
	pt.Partitions = append(pt.Partitions, pp)
	p.Topics = append(p.Topics, pt)
	p.SetVersion(produceVersion)
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, p, 0)
	at := bytes.Index(frame, binary.BigEndian.AppendUint32(nil, mark))
	return prepared{frame: frame, partition: at, records: count, bytes: count * o.ValueBytes}
}

// producedCode is the error code in the response to a request for one partition.
func producedCode(body []byte, topic string) (int16, error) {
	// number (4), tags (1), topics+1 (1), name's length+1 (1), name, partitions+1 (1), partition (4), error (2)
	at := 4 + 1 + 1 + 1 + len(topic) + 1 + 4
	if len(body) < at+2 || string(body[7:7+len(topic)]) != topic {
		return 0, fmt.Errorf("a produce response of %d bytes that is not about topic %s", len(body), topic)
	}
	return int16(binary.BigEndian.Uint16(body[at:])), nil
}

func rawProduce(ctx context.Context, o *Options, w *window) (Result, error) {
	if o.Connections < 1 || o.InFlight < 1 || o.Partitions < 1 || len(o.Topic) > 100 {
		return Result{}, errors.New("connections, in-flight and partitions are 1 or more, a topic's name is short")
	}
	dial, done, err := dialer(o)
	if err != nil {
		return Result{}, err
	}
	defer done()
	w.failed = make(chan error, 1)
	ack, slip := report.NewHistogram(), report.NewHistogram()
	w.opened = func() { ack.Reset(); slip.Reset() }
	var all sync.WaitGroup
	var conns []*replay
	for i := range o.Connections {
		conn, err := dial(ctx)
		if err != nil {
			return Result{}, err
		}
		defer func() { _ = conn.Close() }() // only reads follow, and they have failed or ended
		if d, ok := ctx.Deadline(); ok {
			if err := conn.SetDeadline(d); err != nil {
				return Result{}, err
			}
		}
		r := &replay{
			o: o, w: w, conn: conn, prepared: prepare(o), next: i % o.Partitions, step: o.Connections,
			ack: ack, slip: slip, sent: make(chan time.Time, max(o.InFlight, 1<<16)), slots: make(chan struct{}, o.InFlight),
		}
		conns = append(conns, r)
	}
	for _, r := range conns {
		all.Go(func() {
			defer close(r.sent)
			if err := r.send(); err != nil {
				w.fail(err)
			}
		})
		all.Go(func() {
			if err := r.receive(); err != nil {
				w.fail(err)
			}
		})
	}
	result, err := w.run(ctx, nil)
	if err != nil {
		return result, err
	}
	all.Wait()
	select {
	case err := <-w.failed:
		return result, err
	default:
	}
	result.All = w.counts.records.Load()
	result.Ack = ack.Latency()
	if o.Rate > 0 {
		result.Slip = slip.Latency()
	}
	return result, nil
}

// replay is one connection of raw-produce.
type replay struct {
	o    *Options
	w    *window
	conn stream
	prepared
	next, step int // partition
	ack, slip  *report.Histogram

	sent  chan time.Time // when what is in flight was due or sent, in order
	slots chan struct{}  // of a closed loop
	id    uint32
}

func (r *replay) send() error {
	if r.o.Rate > 0 {
		each := float64(r.o.Connections) * float64(r.records) / r.o.Rate
		var failed error
		err := openloop.Pace(time.Now(), time.Duration(each*float64(time.Second)), func(due time.Time) bool {
			r.slip.Record(time.Since(due))
			failed = r.one(due)
			return failed == nil && !r.w.full.Load()
		})
		return errors.Join(err, failed)
	}
	for !r.w.full.Load() {
		r.slots <- struct{}{}
		if err := r.one(time.Now()); err != nil {
			return err
		}
	}
	return nil
}

func (r *replay) one(due time.Time) error {
	r.id++
	binary.BigEndian.PutUint32(r.frame[8:], r.id)
	binary.BigEndian.PutUint32(r.frame[r.partition:], uint32(r.next))
	r.next = (r.next + r.step) % r.o.Partitions
	select {
	case r.sent <- due:
	default:
		return errors.New("65,536 requests of one connection are unanswered: the broker cannot keep up with the rate")
	}
	_, err := r.conn.Write(r.frame)
	return err
}

func (r *replay) receive() error {
	in := bufio.NewReaderSize(r.conn, 4096)
	body := make([]byte, 4096)
	for due := range r.sent {
		if _, err := io.ReadFull(in, body[:4]); err != nil {
			return fmt.Errorf("waiting for an answer: %w", err)
		}
		size := binary.BigEndian.Uint32(body)
		if int(size) > len(body) {
			return fmt.Errorf("a produce response of %d bytes", size)
		}
		if _, err := io.ReadFull(in, body[:size]); err != nil {
			return err
		}
		code, err := producedCode(body[:size], r.o.Topic)
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("produce refused: error %d", code)
		}
		r.ack.Record(time.Since(due))
		r.w.counts.records.Add(int64(r.records))
		r.w.counts.requests.Add(1)
		r.w.counts.bytes.Add(int64(r.bytes))
		if r.o.Rate == 0 {
			<-r.slots
		}
	}
	return nil
}
