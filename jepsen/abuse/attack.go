package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/transport/quic"
)

// attackCase is one kind of hostile client.
type attackCase struct {
	name     string
	about    string
	settings []string // of the broker
	codes    []string // that its log must have
	prepare  func(context.Context, *victim) error
	attack   func(*assault)
}

var cases = []attackCase{
	{"idle", "many connections that did something once", nil, nil, nothing, idle},
	{"storm", "connections opened, used once and closed, as fast as can be", nil, nil, nothing, storm},
	{"crowd", "more connections than are allowed", []string{"max.connections.per.ip=100"}, []string{"too-many-connections"}, nothing, crowd},
	{"loris", "requests that begin and go on by a byte now and then", []string{"request.read.timeout.ms=700"}, []string{"unfinished-request"}, nothing, loris},
	{"deaf", "requests whose answers are large and never read", []string{"response.write.timeout.ms=500"}, []string{"slow-reader"}, manyPartitions, deaf},
	{"garbage", "bytes of other protocols, and of none", nil, []string{"malformed-request", "wrong-protocol-tls", "wrong-protocol-http", "wrong-protocol"}, nothing, garbage},
	{"counts", "requests whose counts and lengths lie", nil, []string{"malformed-request", "request-too-large"}, nothing, counts},
	{"bombs", "batches of every codec that inflate to a thousand times their size", nil, nil, target, bombs},
	{"names", "requests that name a hundred thousand topics or partitions", nil, nil, manyPartitions, names},
	{"overload", "producers, consumers and those who ask, each as fast as it can", nil, nil, manyPartitions, overload},
	{"quic", "QUIC handshakes, and streams that begin and stop", nil, nil, nothing, handshakes},
}

// busyCase is no attack: what the honest ones see beside it is what it costs to share this machine's processors with anybody.
var busyCase = attackCase{"busy", "processors kept busy, and nothing asked of the broker", nil, nil, nothing, busy}

func busy(a *assault) {
	a.each(runtime.NumCPU(), func(int) {
		for range 1 << 20 {
			a.done.Add(1)
		}
	})
}

func nothing(context.Context, *victim) error { return nil }

func target(ctx context.Context, v *victim) error {
	_, err := v.admin.CreateTopic(ctx, 4, 1, nil, "target")
	return err
}

func manyPartitions(ctx context.Context, v *victim) error {
	_, err := v.admin.CreateTopic(ctx, 5000, 1, nil, "many")
	if err != nil {
		return err
	}
	return target(ctx, v)
}

// assault is a case as the hostile process runs it.
type assault struct {
	ctx     context.Context
	addr    string
	quic    string
	clients int
	short   bool
	work    sync.WaitGroup
	done    atomic.Int64 // of whatever the case does
}

// attackMain is the hostile process: it attacks until it is interrupted.
func attackMain(args []string) error {
	if len(args) != 5 {
		return errors.New("it is started by abuse itself")
	}
	if err := stepBack(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	clients, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	a := &assault{ctx: ctx, addr: args[1], quic: args[2], clients: clients, short: args[4] == "true"}
	for _, c := range append(cases, busyCase) {
		if c.name == args[0] {
			begin := time.Now()
			c.attack(a)
			for a.done.Load() == 0 && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			fmt.Println(begun)
			<-ctx.Done()
			a.work.Wait()
			fmt.Printf("%s: %d in %v", c.about, a.done.Load(), time.Since(begin).Round(100*time.Millisecond))
			return nil
		}
	}
	return fmt.Errorf("there is no case %q", args[0])
}

// begun is what the hostile process says when the attack is under way: what it must prepare is no attack yet.
const begun = "begun"

// stepBack gives every thread of this process the lowest priority; those that are made later inherit it. A priority
// is a thread's: to set the process's sets that of one thread.
func stepBack() error {
	for range 2 { // one may have been made by another that was not looked at yet
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				return err
			}
			if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, 19); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
	}
	return nil
}

// each runs f in so many goroutines, again and again.
func (a *assault) each(count int, f func(i int)) {
	for i := range count {
		a.work.Go(func() {
			for a.ctx.Err() == nil {
				f(i)
			}
		})
	}
}

var sources atomic.Uint32

// dial connects from one of many addresses, so that no client runs out of ports.
func (a *assault) dial() (net.Conn, error) {
	n := sources.Add(1)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1+byte(n>>8)%8, 1+byte(n)%200)}, Timeout: 5 * time.Second}
	conn, err := d.DialContext(a.ctx, "tcp", a.addr)
	if err != nil {
		a.pause()
		return nil, err
	}
	context.AfterFunc(a.ctx, func() { _ = conn.Close() })
	return conn, nil
}

func (a *assault) pause() {
	select {
	case <-a.ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
}

func frame(r kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("hostile")).AppendRequest(nil, r, 1)
}

func versions() []byte {
	r := kmsg.NewPtrApiVersionsRequest()
	r.Version, r.ClientSoftwareName, r.ClientSoftwareVersion = 3, "hostile", "1.0"
	return frame(r)
}

// receive reads one response and forgets it.
func receive(conn net.Conn) error {
	var size [4]byte
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(size[:])))
	return err
}

func metadata(topics ...string) []byte {
	r := kmsg.NewPtrMetadataRequest()
	r.Version = 9
	for _, t := range topics {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(t)
		r.Topics = append(r.Topics, topic)
	}
	return frame(r)
}

func idle(a *assault) {
	hello, ask := versions(), metadata("honest")
	var next atomic.Int64
	for range 16 {
		a.work.Go(func() {
			for int(next.Add(1)) <= a.clients && a.ctx.Err() == nil {
				conn, err := a.dial()
				if err != nil {
					next.Add(-1)
					continue
				}
				_, err = conn.Write(append(append([]byte(nil), hello...), ask...))
				if err := errors.Join(err, receive(conn), receive(conn)); err != nil {
					_ = conn.Close()
					continue
				}
				a.done.Add(1) // and it stays open until the end
			}
		})
	}
}

func storm(a *assault) {
	hello := versions()
	a.each(32, func(int) {
		conn, err := a.dial()
		if err != nil {
			return
		}
		if _, err := conn.Write(hello); err == nil && receive(conn) == nil {
			a.done.Add(1)
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	})
}

func crowd(a *assault) {
	a.each(16, func(int) {
		conn, err := net.Dial("tcp", a.addr)
		if err != nil {
			a.pause()
			return
		}
		a.done.Add(1)
		if a.done.Load() <= 200 {
			context.AfterFunc(a.ctx, func() { _ = conn.Close() })
			return
		}
		_ = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		_, _ = io.Copy(io.Discard, conn) // until it is refused
		_ = conn.Close()
	})
}

func loris(a *assault) {
	begin := []byte{0x03, 0, 0, 0, 0, 3, 0, 9} // 48 MiB of Metadata
	a.each(1000, func(int) {
		conn, err := a.dial()
		if err != nil {
			return
		}
		a.done.Add(1)
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write(begin); err != nil {
			return
		}
		for a.ctx.Err() == nil {
			if _, err := conn.Write([]byte{0}); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

func deaf(a *assault) {
	ask := metadata("many")
	a.each(10, func(int) {
		conn, err := a.dial()
		if err != nil {
			return
		}
		a.done.Add(1)
		defer func() { _ = conn.Close() }()
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
		for a.ctx.Err() == nil {
			if _, err := conn.Write(ask); err != nil {
				return
			}
		}
	})
}

func garbage(a *assault) {
	a.each(16, func(int) {
		conn, err := a.dial()
		if err != nil {
			return
		}
		a.done.Add(1)
		defer func() { _ = conn.Close() }()
		b := make([]byte, 16+rand.IntN(500))
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		switch rand.IntN(5) {
		case 0:
			b = []byte("GET /metrics HTTP/1.1\r\nHost: broker\r\n\r\n")
		case 1:
			c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			_ = c.SetDeadline(time.Now().Add(time.Second))
			_ = c.Handshake()
			return
		case 2:
			b = []byte("SSH-2.0-OpenSSH_9.9\r\n")
		case 3:
			binary.BigEndian.PutUint32(b, uint32(len(b)-4)) // a frame of garbage
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write(b)
		_, _ = io.Copy(io.Discard, conn)
	})
}

// counts sends well-formed requests in which some four bytes were replaced by an extreme count.
func counts(a *assault) {
	extremes := []uint32{0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffe, 0x7ffffffe, 0x00ffffff, 0x01000000}
	var all [][]byte
	for key := range int16(95) {
		r := kmsg.RequestForKey(key)
		if r == nil {
			continue
		}
		for v := int16(0); v <= r.MaxVersion(); v++ {
			r.SetVersion(v)
			all = append(all, frame(r))
		}
	}
	fetch := kmsg.NewPtrFetchRequest()
	fetch.Version, fetch.MaxBytes, fetch.MinBytes, fetch.MaxWaitMillis = 11, 0x7fffffff, 0x7fffffff, 0x7fffffff
	all = append(all, frame(fetch), frame(produce("target", -1, []byte("no batch"))))
	a.each(16, func(int) {
		conn, err := a.dial()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		if rand.IntN(8) == 0 { // one that is good, then one that claims too much
			_, _ = conn.Write(append(versions(), 0x7f, 0xff, 0xff, 0xff))
			a.done.Add(1)
			a.pause()
			return
		}
		for range 20 {
			b := append([]byte(nil), all[rand.IntN(len(all))]...)
			if len(b) > 16 {
				binary.BigEndian.PutUint32(b[8+rand.IntN(len(b)-12):], extremes[rand.IntN(len(extremes))])
			}
			if _, err := conn.Write(b); err != nil {
				return
			}
			a.done.Add(1)
		}
	})
}

func produce(topic string, acks int16, batches ...[]byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Version, r.Acks, r.TimeoutMillis = 9, acks, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	for i, b := range batches {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i%4), b
		t.Partitions = append(t.Partitions, p)
	}
	r.Topics = append(r.Topics, t)
	return r
}

func batch(codec record.Codec, bytes int, fill func([]byte)) []byte {
	var b record.Builder
	b.Begin(record.NewOptions(codec))
	value := make([]byte, bytes)
	if fill != nil {
		fill(value)
	}
	b.Append(record.Record{Value: value, Timestamp: 1000})
	return append([]byte(nil), b.Finish()...)
}

func bombs(a *assault) {
	var all [][]byte
	for _, codec := range []record.Codec{record.CodecGzip, record.CodecSnappy, record.CodecLz4, record.CodecZstd} {
		for _, size := range []int{3 << 20, 50 << 20, 90 << 20} { // of 64 MiB that are allowed
			all = append(all, frame(produce("target", -1, batch(codec, size, nil))))
		}
		small := batch(codec, 3<<20, nil)
		all = append(all, frame(produce("target", -1, small, small, small, small, small, small, small, small)))
	}
	a.ask(16, all)
}

// ask sends these requests over so many connections, each one after the answer to the one before.
func (a *assault) ask(conns int, all [][]byte) {
	a.each(conns, func(i int) {
		conn, err := a.dial()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		for j := i; a.ctx.Err() == nil; j++ {
			_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if _, err := conn.Write(all[j%len(all)]); err != nil || receive(conn) != nil {
				return
			}
			a.done.Add(1)
		}
	})
}

func names(a *assault) {
	topics := make([]string, 100_000)
	for i := range topics {
		topics[i] = "t" + strconv.Itoa(i)
	}
	fetch := kmsg.NewPtrFetchRequest()
	fetch.Version, fetch.MaxBytes, fetch.MinBytes, fetch.MaxWaitMillis, fetch.SessionEpoch = 11, 0x7fffffff, 1, 60_000, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = "many"
	for i := range 100_000 {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.PartitionMaxBytes, p.CurrentLeaderEpoch = int32(i%5000), 0x7fffffff, -1
		t.Partitions = append(t.Partitions, p)
	}
	fetch.Topics = append(fetch.Topics, t)
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version, create.TimeoutMillis = 5, 1000
	for _, count := range []int32{0x7fffffff, -2, 0, 1 << 20} {
		c := kmsg.NewCreateTopicsRequestTopic()
		c.Topic, c.NumPartitions, c.ReplicationFactor = "absurd"+strconv.Itoa(int(count)), count, 1
		create.Topics = append(create.Topics, c)
	}
	all := [][]byte{metadata(topics...), frame(fetch), frame(create), metadata("many")}
	a.ask(8, all)
}

func overload(a *assault) {
	random := rand.NewChaCha8([32]byte{})
	big := frame(produce("target", -1, batch(record.CodecNone, 64<<10, func(b []byte) { _, _ = random.Read(b) })))
	unanswered := frame(produce("target", 0, batch(record.CodecNone, 1<<10, nil)))
	ask := metadata("many")
	fetch := kmsg.NewPtrFetchRequest()
	fetch.Version, fetch.MaxBytes, fetch.SessionEpoch = 11, 50<<20, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = "target"
	for i := range int32(4) {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.PartitionMaxBytes, p.CurrentLeaderEpoch = i, 1<<20, -1
		t.Partitions = append(t.Partitions, p)
	}
	fetch.Topics = append(fetch.Topics, t)
	pull := frame(fetch)
	a.each(32, func(i int) {
		conn, err := a.dial()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		send, answered := [][]byte{big, ask, pull, unanswered}[i%4], i%4 != 3
		window := make(chan struct{}, 16) // in flight
		go func() {
			for a.ctx.Err() == nil {
				_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
				if _, err := conn.Write(send); err != nil {
					return
				}
				if !answered {
					a.done.Add(1)
					time.Sleep(100 * time.Microsecond)
					continue
				}
				select {
				case window <- struct{}{}:
				case <-a.ctx.Done():
				}
			}
		}()
		for a.ctx.Err() == nil {
			if !answered {
				<-a.ctx.Done()
				return
			}
			if receive(conn) != nil {
				return
			}
			select {
			case <-window: // its writer may not have said yet that it wrote
			case <-a.ctx.Done():
			}
			a.done.Add(1)
		}
	})
}

func handshakes(a *assault) {
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{quic.ALPN}}
	hello := versions()
	a.each(16, func(int) {
		d := quic.NewDialer(config, quic.Config{})
		defer func() { _ = d.Close() }()
		ctx, cancel := context.WithTimeout(a.ctx, 5*time.Second)
		defer cancel()
		for range 1 + rand.IntN(20) {
			conn, err := d.Dial(ctx, a.quic)
			if err != nil {
				a.pause()
				return
			}
			a.done.Add(1)
			if _, err := conn.Write(hello[:1+rand.IntN(len(hello))]); err != nil {
				return
			}
		}
	})
}
