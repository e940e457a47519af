// Command nats-peer is the NATS server, with JetStream on files, and a client that measures it. It is a module
// of its own, so that what weir depends on stays what weir uses.
//
//	nats-peer serve -port N -data DIR [-sync always|2m]
//	nats-peer drive -driver produce|latency|consume -addr HOST:PORT ...
//
// The client is nats.go's own, publishing asynchronously with acknowledgements. The flags and what it prints are
// those of package drive: lines begin and end around the measured window, then a result as JSON.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "nats-peer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch {
	case len(args) > 0 && args[0] == "serve":
		return serve(ctx, args[1:])
	case len(args) > 0 && args[0] == "drive":
		return drive(ctx, args[1:])
	case len(args) > 0 && args[0] == "version":
		fmt.Println(server.VERSION)
		return nil
	}
	return errors.New("serve, drive or version?")
}

func serve(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	port := f.Int("port", 0, "to listen on")
	data := f.String("data", "", "directory")
	syncInterval := f.String("sync", "", "sync_interval: always, or a duration; empty: the server's default")
	if err := f.Parse(args); err != nil {
		return err
	}
	o := &server.Options{
		Host: "127.0.0.1", Port: *port, JetStream: true, StoreDir: *data, NoSigs: true, NoLog: true,
		JetStreamMaxStore: 64 << 30, JetStreamMaxMemory: 1 << 30,
	}
	switch *syncInterval {
	case "":
	case "always":
		o.SyncAlways = true
	default:
		d, err := time.ParseDuration(*syncInterval)
		if err != nil {
			return err
		}
		o.SyncInterval = d
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		return errors.New("not ready after 20 s")
	}
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

type latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	P9999 float64 `json:"p9999_ms"`
	Max   float64 `json:"max_ms"`
	Mean  float64 `json:"mean_ms"`
	Curve []point `json:"curve"`
}

type point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

func summary(h *hdrhistogram.Histogram) *latency {
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	l := &latency{
		Count: h.TotalCount(), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), P9999: at(99.99),
		Max: float64(h.Max()) / 1000, Mean: h.Mean() / 1000,
	}
	for x := 1.0; x <= float64(l.Count); x *= 1.189207115 {
		l.Curve = append(l.Curve, point{x, at(100 * (1 - 1/x))})
	}
	return l
}

type result struct {
	Records  int64    `json:"records"`
	Bytes    int64    `json:"bytes"`
	Seconds  float64  `json:"seconds"`
	All      int64    `json:"all,omitempty"`
	Ack      *latency `json:"ack,omitempty"`
	EndToEnd *latency `json:"end_to_end,omitempty"`
}

// driver is one run against a stream of its own.
type driver struct {
	js        jetstream.JetStream
	topic     string
	value     []byte
	warm, d   time.Duration
	rate      float64
	bytesMax  int64
	count     atomic.Int64
	stop      atomic.Bool
	failed    chan error
	whenOpens func()
}

func drive(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("drive", flag.ContinueOnError)
	kind := f.String("driver", "", "produce, latency, consume, create or delete")
	addr := f.String("addr", "", "HOST:PORT")
	topic := f.String("topic", "bench", "stream and subject")
	size := f.Int("value", 1024, "bytes of a message")
	warm := f.Duration("warm", 500*time.Millisecond, "time before the window")
	d := f.Duration("for", 3*time.Second, "the window")
	bytesMax := f.Int64("bytes-max", 2<<30, "stop after so many bytes")
	rate := f.Float64("rate", 0, "messages a second")
	records := f.Int64("records", 0, "how many there are to consume")
	if err := f.Parse(args); err != nil {
		return err
	}
	nc, err := nats.Connect(*addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	x := &driver{
		js: js, topic: *topic, value: make([]byte, *size), warm: *warm, d: *d, rate: *rate, bytesMax: *bytesMax,
		failed: make(chan error, 1),
	}
	for i := range x.value {
		x.value[i] = 'a' + byte(i*7%26)
	}
	var r result
	switch *kind {
	case "create":
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: *topic, Subjects: []string{*topic}, Storage: jetstream.FileStorage})
		return err
	case "delete":
		return js.DeleteStream(ctx, *topic)
	case "produce":
		r, err = x.produce(ctx)
	case "latency":
		r, err = x.latency(ctx)
	case "consume":
		r, err = x.consume(ctx, *records)
	default:
		err = fmt.Errorf("there is no driver %q", *kind)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func (x *driver) fail(err error) {
	x.stop.Store(true)
	select {
	case x.failed <- err:
	default:
	}
}

// window waits for the warm-up and measures until time or bytes are up, or done is closed.
func (x *driver) window(ctx context.Context, done <-chan struct{}) (result, error) {
	defer x.stop.Store(true)
	select {
	case <-time.After(x.warm):
	case err := <-x.failed:
		return result{}, err
	case <-ctx.Done():
		return result{}, ctx.Err()
	}
	if x.whenOpens != nil {
		x.whenOpens()
	}
	fmt.Println("begin")
	first, from := x.count.Load(), time.Now()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for open := true; open; {
		select {
		case <-look.C:
			open = time.Since(from) < x.d && x.count.Load()*int64(len(x.value)) < x.bytesMax
		case <-done:
			open = false
		case err := <-x.failed:
			return result{}, err
		case <-ctx.Done():
			return result{}, ctx.Err()
		}
	}
	r := result{Records: x.count.Load() - first, Seconds: time.Since(from).Seconds()}
	r.Bytes = r.Records * int64(len(x.value))
	fmt.Println("end")
	if r.Records == 0 {
		return r, fmt.Errorf("nothing was answered in %v", x.d)
	}
	return r, nil
}

// patience lets a publisher wait while as many messages are unacknowledged as the client allows.
var patience = jetstream.WithStallWait(30 * time.Second)

// produce publishes asynchronously, with as many unacknowledged messages as the client allows by default.
func (x *driver) produce(ctx context.Context) (result, error) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		pending := make(chan jetstream.PubAckFuture, 4000) // the client's own limit
		collected := make(chan struct{})
		go func() {
			defer close(collected)
			for f := range pending {
				select {
				case <-f.Ok():
					x.count.Add(1)
				case err := <-f.Err():
					x.fail(err)
				}
			}
		}()
		for !x.stop.Load() {
			f, err := x.js.PublishAsync(x.topic, x.value, patience)
			if err != nil {
				x.fail(err)
				break
			}
			pending <- f
		}
		close(pending)
		<-collected
	}()
	r, err := x.window(ctx, nil)
	if err != nil {
		return r, err
	}
	<-ended
	r.All = x.count.Load()
	return r, nil
}

// latency publishes at a rate and reads back: the time from when a message was due to its ack, and to its consumer.
func (x *driver) latency(ctx context.Context) (result, error) {
	if x.rate <= 0 || len(x.value) < 8 {
		return result{}, errors.New("a rate and messages of 8 bytes or more are needed")
	}
	began := time.Now()
	consumer, err := x.js.OrderedConsumer(ctx, x.topic, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return result{}, err
	}
	acks, arrivals := make(chan time.Duration, 1<<16), make(chan time.Duration, 1<<16)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		arrivals <- time.Since(began) - time.Duration(binary.BigEndian.Uint64(m.Data()))
	})
	if err != nil {
		return result{}, err
	}
	defer consuming.Stop()
	ack, endToEnd := hdrhistogram.New(1, 120_000_000, 3), hdrhistogram.New(1, 120_000_000, 3)
	reset, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case v, ok := <-acks:
				if !ok {
					return
				}
				_ = ack.RecordValue(max(1, v.Microseconds())) // in range unless the run has failed
			case v := <-arrivals:
				_ = endToEnd.RecordValue(max(1, v.Microseconds())) // likewise
			case <-reset:
				ack.Reset()
				endToEnd.Reset()
			}
		}
	}()
	x.whenOpens = func() { reset <- struct{}{} }
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		type sent struct {
			due time.Time
			f   jetstream.PubAckFuture
		}
		pending := make(chan sent, 1<<17)
		collected := make(chan struct{})
		go func() {
			defer close(collected)
			for s := range pending {
				select {
				case <-s.f.Ok():
					acks <- time.Since(s.due)
					x.count.Add(1)
				case err := <-s.f.Err():
					x.fail(err)
				}
			}
		}()
		interval := time.Duration(float64(time.Second) / x.rate)
		for due := time.Now(); !x.stop.Load(); due = due.Add(interval) {
			for wait := time.Until(due); wait > 0; wait = time.Until(due) {
				ts := syscall.NsecToTimespec(int64(wait))
				_ = syscall.Nanosleep(&ts, nil) // an interrupted one is slept again
			}
			v := append([]byte(nil), x.value...)
			binary.BigEndian.PutUint64(v, uint64(due.Sub(began)))
			f, err := x.js.PublishAsync(x.topic, v, patience)
			if err != nil {
				x.fail(err)
				break
			}
			pending <- sent{due, f}
		}
		close(pending)
		<-collected
	}()
	r, err := x.window(ctx, nil)
	if err != nil {
		return r, err
	}
	<-ended
	time.Sleep(200 * time.Millisecond) // the last arrivals
	close(acks)
	<-stopped
	r.All, r.Ack, r.EndToEnd = x.count.Load(), summary(ack), summary(endToEnd)
	return r, nil
}

func (x *driver) consume(ctx context.Context, records int64) (result, error) {
	if records == 0 {
		return result{}, errors.New("how many messages are there?")
	}
	consumer, err := x.js.OrderedConsumer(ctx, x.topic, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return result{}, err
	}
	done := make(chan struct{})
	x.warm = 0
	consuming, err := consumer.Consume(func(jetstream.Msg) {
		if x.count.Add(1) == records {
			close(done)
		}
	})
	if err != nil {
		return result{}, err
	}
	defer consuming.Stop()
	return x.window(ctx, done)
}
