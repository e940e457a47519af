// Package drive is load: clients that keep a broker of Kafka's protocol busy for a while and count. Each runs
// as a process of its own, so that what the client and the broker use can be told apart.
//
// In: Options, from flags. Out, on stdout: a line `begin` when the measured window opens, a line `end` when it
// closes, and a Result as one line of JSON. Whoever started the driver samples the broker at these lines.
//
//		raw-produce   replays one prepared Produce request over C connections, W in flight on each. It patches the
//		              request's number and partition and looks at error codes, and costs next to nothing. With
//		              a rate it is an open loop.
//		raw-fetch     reads partitions in sequence into one buffer and walks batch headers
//		raw-poll      polls a fetch session over many partitions in which nothing happens
//		raw-idle      holds connections on which nothing happens
//		kgo-produce   franz-go, idempotent, acks=all
//		kgo-consume   franz-go from the beginning
//		kgo-latency   franz-go at a fixed rate, linger 0: time from when a record was due to its ack, and, read back
//		              by a consumer in the same process, to its arrival
//
//	 1. An open loop sends when a record is due, whether or not answers have come, and counts from the due time:
//	    a stall is charged to everything that it delays (no coordinated omission).
//	 2. Only what is answered within the window counts. Load goes on while the window closes.
//	 3. Everything ends: by time, by bytes, or by an error.
package drive

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/weirmq/weir/bench/report"
)

// Options is what a driver is told.
type Options struct {
	Driver      string
	Addr        string
	Transport   string // tcp or quic
	CA          string // for quic: the broker's certificate
	Topic       string
	Partitions  int
	Connections int
	InFlight    int
	ValueBytes  int
	BatchBytes  int
	FetchBytes  int
	Acks        int
	Rate        float64       // records a second, 0: a closed loop
	Warm        time.Duration // before the window, which opens earlier when a quarter of BytesMax was moved
	For         time.Duration
	BytesMax    int64         // of values; the window closes when so many were moved
	Records     int64         // how many there are to consume
	Linger      time.Duration // of full clients
}

// Result is what a driver counted in its window.
type Result struct {
	Records  int64   `json:"records"`
	Requests int64   `json:"requests,omitempty"`
	Bytes    int64   `json:"bytes"` // of record values
	Seconds  float64 `json:"seconds"`
	// All is the records of the whole run, outside the window too.
	All int64 `json:"all,omitempty"`
	// Ack is the time to the acknowledgement: from when a record was due (open loop), or sent (closed loop).
	Ack *report.Latency `json:"ack,omitempty"`
	// EndToEnd is the time from when a record was due to its consumer.
	EndToEnd *report.Latency `json:"end_to_end,omitempty"`
	// Slip is how late the driver itself was to send: part of what Ack counts.
	Slip *report.Latency `json:"slip,omitempty"`
}

var drivers = map[string]func(context.Context, *Options, *window) (Result, error){
	"raw-produce": rawProduce,
	"raw-fetch":   rawFetch,
	"raw-poll":    rawPoll,
	"raw-idle":    rawIdle,
	"kgo-produce": kgoProduce,
	"kgo-consume": kgoConsume,
	"kgo-latency": kgoLatency,
}

// Flags binds the options to flags.
func (o *Options) Flags(f *flag.FlagSet) {
	f.StringVar(&o.Driver, "driver", "", "which driver")
	f.StringVar(&o.Addr, "addr", "", "HOST:PORT of the broker")
	f.StringVar(&o.Transport, "transport", "tcp", "tcp or quic")
	f.StringVar(&o.CA, "ca", "", "the broker's certificate, for quic")
	f.StringVar(&o.Topic, "topic", "bench", "an existing topic")
	f.IntVar(&o.Partitions, "partitions", 1, "of the topic")
	f.IntVar(&o.Connections, "connections", 2, "of raw drivers")
	f.IntVar(&o.InFlight, "in-flight", 5, "requests on each connection of raw-produce")
	f.IntVar(&o.ValueBytes, "value", 1024, "bytes of a value")
	f.IntVar(&o.BatchBytes, "batch", 16<<10, "bytes of a batch at most")
	f.IntVar(&o.FetchBytes, "fetch", 1<<20, "bytes of a fetch at most")
	f.IntVar(&o.Acks, "acks", -1, "of raw-produce")
	f.Float64Var(&o.Rate, "rate", 0, "records a second; 0: as fast as can be")
	f.DurationVar(&o.Warm, "warm", 500*time.Millisecond, "time before the window, at most")
	f.DurationVar(&o.For, "for", 3*time.Second, "the window")
	f.Int64Var(&o.BytesMax, "bytes-max", 2<<30, "stop after so many bytes")
	f.Int64Var(&o.Records, "records", 0, "how many there are to consume")
	f.DurationVar(&o.Linger, "linger", 5*time.Millisecond, "of full clients")
}

// Main runs a driver as a process.
func Main(ctx context.Context, args []string, stdout io.Writer) error {
	var o Options
	f := flag.NewFlagSet("drive", flag.ContinueOnError)
	o.Flags(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	drive, ok := drivers[o.Driver]
	if !ok {
		return fmt.Errorf("there is no driver %q", o.Driver)
	}
	ctx, cancel := context.WithTimeout(ctx, o.Warm+o.For+time.Minute)
	defer cancel()
	r, err := drive(ctx, &o, &window{o: &o, out: stdout})
	if err != nil {
		return fmt.Errorf("%s: %w", o.Driver, err)
	}
	return json.NewEncoder(stdout).Encode(r)
}

// counts is what clients add to as answers come.
type counts struct {
	records, requests, bytes atomic.Int64
}

// window is the measured part of a run.
type window struct {
	o   *Options
	out io.Writer

	counts counts
	full   atomic.Bool // nothing more is wanted: time, bytes or an error
	opened func()      // called when the window opens
	failed chan error  // from clients, made by run
}

func (w *window) say(line string) { _, _ = fmt.Fprintln(w.out, line) } // who started us sees a broken pipe as our end

// run waits for the warm-up, opens the window, and closes it when time or bytes are up, or done is closed. The
// counts of the window are returned; w.full is set at the end. The warm-up takes a quarter of the bytes at most:
// what is too fast for its bytes is still measured.
func (w *window) run(ctx context.Context, done <-chan struct{}) (Result, error) {
	defer w.full.Store(true)
	// Everything may be over by the end of the warm-up, but the window must be seen.
	if err := w.wait(ctx, nil, w.o.Warm, w.o.BytesMax/4); err != nil {
		return Result{}, err
	}
	if w.opened != nil {
		w.opened()
	}
	w.say("begin")
	records, requests, bytes := w.counts.records.Load(), w.counts.requests.Load(), w.counts.bytes.Load()
	from := time.Now()
	err := w.wait(ctx, done, w.o.For, w.o.BytesMax)
	r := Result{
		Records: w.counts.records.Load() - records, Requests: w.counts.requests.Load() - requests,
		Bytes: w.counts.bytes.Load() - bytes, Seconds: time.Since(from).Seconds(),
	}
	w.say("end")
	if err == nil && r.Records+r.Requests == 0 {
		err = fmt.Errorf("nothing was answered in %v", w.o.For)
	}
	return r, err
}

// wait returns after d, after bytesMax since the begin of the run, when done is closed, or with what failed.
func (w *window) wait(ctx context.Context, done <-chan struct{}, d time.Duration, bytesMax int64) error {
	t := time.NewTimer(d)
	defer t.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-t.C:
			return nil
		case <-done:
			return nil
		case err := <-w.failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			if w.counts.bytes.Load() >= bytesMax {
				return nil
			}
		}
	}
}

// fail ends the run with an error. The first one counts.
func (w *window) fail(err error) {
	w.full.Store(true)
	select {
	case w.failed <- err:
	default:
	}
}

// value is a record's value: text that compresses about as events do.
func value(sizeBytes int) []byte {
	const text = `{"id":"%08x","user":"u%05d","action":"view","page":"/items/%d","ms":%d},`
	v := make([]byte, 0, sizeBytes+128)
	for x := uint64(88172645463325252); len(v) < sizeBytes; {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		v = fmt.Appendf(v, text, uint32(x), x>>32%100_000, x>>20%10_000, x>>40%1000)
	}
	return v[:sizeBytes]
}

// certificateOf says what is wrong early, rather than in a handshake.
func certificateOf(o *Options) error {
	if o.Transport != "quic" {
		return nil
	}
	_, err := os.Stat(o.CA)
	return err
}
