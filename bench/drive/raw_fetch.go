package drive

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchVersion is the last one before flexible frames: its response is read with fixed offsets.
const fetchVersion = 11

func rawFetch(ctx context.Context, o *Options, w *window) (Result, error) {
	dial, done, err := dialer(o)
	if err != nil {
		return Result{}, err
	}
	defer done()
	w.failed = make(chan error, 1)
	var all sync.WaitGroup
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
		r := newReader(o, w, conn, int32(i%o.Partitions))
		all.Go(func() {
			for !w.full.Load() {
				if err := r.one(); err != nil {
					w.fail(err)
					return
				}
			}
		})
	}
	result, err := w.run(ctx, nil)
	if err != nil {
		return result, err
	}
	all.Wait()
	return result, nil
}

// reader is one connection of raw-fetch: it reads a partition from its beginning, again and again.
type reader struct {
	o    *Options
	w    *window
	conn stream

	frame    []byte
	offsetAt int
	offset   int64
	id       uint32
	buf      []byte
}

func newReader(o *Options, w *window, conn stream, partition int32) *reader {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.MinBytes, req.SessionEpoch = fetchVersion, int32(o.FetchBytes), 1, -1 // at the end nothing is waited for
	p := kmsg.NewFetchRequestTopicPartition()
	const mark = 0x5ec7a11e5ec7a11e
	p.Partition, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.FetchOffset = partition, int32(o.FetchBytes), -1, mark
	req.Topics = []kmsg.FetchRequestTopic{{Topic: o.Topic, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, req, 0)
	return &reader{
		o: o, w: w, conn: conn, frame: frame, offsetAt: bytes.Index(frame, binary.BigEndian.AppendUint64(nil, mark)),
		buf: make([]byte, o.FetchBytes+4096),
	}
}

func (r *reader) one() error {
	r.id++
	binary.BigEndian.PutUint32(r.frame[8:], r.id)
	binary.BigEndian.PutUint64(r.frame[r.offsetAt:], uint64(r.offset))
	if _, err := r.conn.Write(r.frame); err != nil {
		return err
	}
	if _, err := io.ReadFull(r.conn, r.buf[:4]); err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint32(r.buf))
	if size > len(r.buf) { // a batch larger than the limit is sent alone
		if size > 64<<20 {
			return fmt.Errorf("a fetch response of %d bytes", size)
		}
		r.buf = make([]byte, size)
	}
	body := r.buf[:size]
	if _, err := io.ReadFull(r.conn, body); err != nil {
		return err
	}
	records, err := r.records(body)
	if err != nil {
		return err
	}
	count := int64(0)
	next := r.offset
	for len(records) >= 61 {
		size := 12 + int(binary.BigEndian.Uint32(records[8:]))
		if size > len(records) || size < 61 {
			break // the last one is cut off
		}
		next = int64(binary.BigEndian.Uint64(records)) + int64(int32(binary.BigEndian.Uint32(records[23:]))) + 1
		count += int64(int32(binary.BigEndian.Uint32(records[57:])))
		records = records[size:]
	}
	if count == 0 {
		if r.offset == 0 {
			return errors.New("the partition is empty")
		}
		r.offset = 0
		return nil
	}
	r.offset = next
	r.w.counts.records.Add(count)
	r.w.counts.bytes.Add(count * int64(r.o.ValueBytes))
	r.w.counts.requests.Add(1)
	return nil
}

// records finds the records in a response about one partition.
func (r *reader) records(body []byte) ([]byte, error) {
	// number (4), throttle (4), error (2), session (4), topics (4), name (2+), partitions (4), partition (4),
	// error (2), high watermark (8), last stable offset (8), log start (8), aborted (4), replica (4), bytes (4)
	at := 4 + 4 + 2 + 4 + 4 + 2 + len(r.o.Topic) + 4 + 4
	if len(body) < at+2 {
		return nil, fmt.Errorf("a fetch response of %d bytes", len(body))
	}
	if code := int16(binary.BigEndian.Uint16(body[8:])); code != 0 {
		return nil, fmt.Errorf("fetch refused: error %d", code)
	}
	if code := int16(binary.BigEndian.Uint16(body[at:])); code != 0 {
		return nil, fmt.Errorf("fetch refused: error %d of the partition", code)
	}
	at += 2 + 8 + 8 + 8
	if len(body) < at+12 {
		return nil, fmt.Errorf("a fetch response of %d bytes", len(body))
	}
	if aborted := int32(binary.BigEndian.Uint32(body[at:])); aborted > 0 {
		return nil, errors.New("the partition holds transactions")
	}
	at += 4 + 4
	size := int32(binary.BigEndian.Uint32(body[at:]))
	at += 4
	if size < 0 || at+int(size) > len(body) {
		return nil, nil
	}
	return body[at : at+int(size)], nil
}

// rawPoll opens a fetch session over every partition and polls it while nothing happens in them.
func rawPoll(ctx context.Context, o *Options, w *window) (Result, error) {
	dial, done, err := dialer(o)
	if err != nil {
		return Result{}, err
	}
	defer done()
	conn, err := dial(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = conn.Close() }() // only reads follow, and they have failed or ended
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.MinBytes, req.SessionEpoch = fetchVersion, 1<<20, 1, 0
	t := kmsg.NewFetchRequestTopic()
	t.Topic = o.Topic
	for i := range o.Partitions {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.PartitionMaxBytes, p.CurrentLeaderEpoch = int32(i), 1<<20, -1
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	format := kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw"))
	exchange := func(frame []byte) (*kmsg.FetchResponse, error) {
		if _, err := conn.Write(frame); err != nil {
			return nil, err
		}
		body, err := readFrame(conn)
		if err != nil {
			return nil, err
		}
		resp := kmsg.NewPtrFetchResponse()
		resp.Version = fetchVersion
		if err := resp.ReadFrom(body[4:]); err != nil {
			return nil, err
		}
		if resp.ErrorCode != 0 {
			return nil, fmt.Errorf("fetch refused: error %d", resp.ErrorCode)
		}
		return resp, nil
	}
	resp, err := exchange(format.AppendRequest(nil, req, 1))
	if err != nil {
		return Result{}, err
	}
	if resp.SessionID == 0 {
		return Result{}, errors.New("the broker gave no fetch session")
	}
	next := kmsg.NewPtrFetchRequest()
	next.Version, next.MaxBytes, next.MinBytes, next.SessionID = fetchVersion, 1<<20, 1, resp.SessionID
	w.failed = make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var frame []byte
		for next.SessionEpoch = 1; !w.full.Load(); next.SessionEpoch++ {
			frame = format.AppendRequest(frame[:0], next, 2)
			if _, err := exchange(frame); err != nil {
				w.fail(err)
				return
			}
			w.counts.requests.Add(1)
		}
	}()
	result, err := w.run(ctx, nil)
	if err != nil {
		return result, err
	}
	<-ended
	return result, nil
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > 64<<20 {
		return nil, fmt.Errorf("a response of %d bytes", size)
	}
	body := make([]byte, size)
	_, err := io.ReadFull(r, body)
	return body, err
}

// rawIdle opens connections, says hello on each and then nothing, until the window closes.
func rawIdle(ctx context.Context, o *Options, w *window) (Result, error) {
	dial, done, err := dialer(o)
	if err != nil {
		return Result{}, err
	}
	defer done()
	hello := kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 1)
	for range o.Connections {
		conn, err := dial(ctx)
		if err != nil {
			return Result{}, err
		}
		defer func() { _ = conn.Close() }() // nothing was written that could be lost
		if _, err := conn.Write(hello); err != nil {
			return Result{}, err
		}
		if _, err := readFrame(conn); err != nil {
			return Result{}, err
		}
		w.counts.requests.Add(1)
	}
	w.say("begin")
	select {
	case <-time.After(o.For):
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	w.say("end")
	return Result{Requests: w.counts.requests.Load(), Seconds: o.For.Seconds()}, nil
}
