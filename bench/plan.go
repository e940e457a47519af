package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirmq/weir/bench/drive"
	"github.com/weirmq/weir/bench/system"
)

// cell is one workload on one system.
type cell struct {
	workload, system string
	rounds           int // 0: every round; otherwise only the first so many
	limit            time.Duration
	run              func(context.Context, *bench, *sample) error
}

func (c cell) String() string { return c.workload + " · " + c.system }

// most bounds a cell's time.
func (c cell) most() time.Duration { return max(c.limit, 2*time.Minute) }

// variant is a way to run a broker of Kafka's protocol: which process, and the configuration of topics.
type variant struct {
	server string
	config map[string]string
}

// Kafka's flush.messages counts records after which it syncs; the largest value means never.
const never = "9223372036854775807"

var variants = map[string]variant{
	"weir":              {"weir", nil},
	"weir, no sync":     {"weir", map[string]string{"flush.messages": never}},
	"kafka":             {"kafka", nil},
	"kafka, sync":       {"kafka", map[string]string{"flush.messages": "1"}},
	"floor":             {"floor", nil},
	"floor, no sync":    {"floor no sync", nil},
	"floor, sync each":  {"floor sync each", nil},
	"floor, one file":   {"floor one file", nil},
	"floor, pread":      {"floor pread", nil},
	"floor, lock":       {"floor lock", nil},
	"floor, no pool":    {"floor no pool", nil},
	"floor, no writev":  {"floor no writev", nil},
	"floor, each reply": {"floor each reply", nil},
}

// floorFlags are the flags of each way to run the floor program.
var floorFlags = map[string][]string{
	"floor":            nil,
	"floor no sync":    {"-sync", "none"},
	"floor sync each":  {"-sync", "each"},
	"floor one file":   {"-shared"},
	"floor pread":      {"-sendfile=false"},
	"floor lock":       {"-path", "lock"},
	"floor no pool":    {"-pool=false"},
	"floor no writev":  {"-writev=false"},
	"floor each reply": {"-inline"},
}

func speaksKafka(server string) bool {
	return server == "weir" || server == "kafka" || strings.HasPrefix(server, "floor")
}

// family is what -systems names.
func family(name string) string {
	name, _, _ = strings.Cut(name, ",")
	name, _, _ = strings.Cut(name, " ")
	return name
}

const (
	kib16 = 16 << 10
	mib   = 1 << 20
)

func sizes(valueBytes, batchBytes int) string {
	if batchBytes == mib {
		return fmt.Sprintf("%d B, 1 MiB batches", valueBytes)
	}
	return fmt.Sprintf("%d B, %d KiB batches", valueBytes, batchBytes>>10)
}

// plan is every cell there is to measure, in order.
func plan(s *settings) ([]cell, error) {
	var cells []cell
	add := func(workload string, systems []string, run func(name string) func(context.Context, *bench, *sample) error) {
		for _, name := range systems {
			cells = append(cells, cell{workload: workload, system: name, run: run(name)})
		}
	}
	add("bare 4 KiB overwrite + fdatasync", []string{"bare"}, bareLoop("sync", ""))
	add("bare 4 KiB append + fdatasync", []string{"bare"}, bareLoop("sync-grow", ""))
	add("bare 1 MiB append + fdatasync", []string{"bare"}, bareLoop("append", ""))
	add("bare 1 MiB append", []string{"bare"}, bareLoop("write", ""))
	add("bare cold read", []string{"bare"}, bareLoop("read", ""))
	add("bare TCP", []string{"bare"}, bareLoop("tcp", "bare tcp"))
	add("bare TLS", []string{"bare"}, bareLoop("tls", "bare tls"))
	add("bare QUIC", []string{"bare"}, bareLoop("quic", "bare quic"))
	add("bare sendfile", []string{"bare"}, bareLoop("sendfile", "bare sendfile"))
	add("bare round trip 200 B", []string{"bare"}, bareLoop("rtt", "bare rtt"))

	all := []string{"weir", "weir, no sync", "floor", "floor, no sync", "kafka", "kafka, sync"}
	synced := []string{"weir", "floor", "kafka", "kafka, sync"}
	for _, value := range []int{100, 1024} {
		for _, batch := range []int{kib16, mib} {
			add("produce raw "+sizes(value, batch), all, produceRaw(rawShape(value, batch)))
		}
	}
	add("produce raw one 1 KiB record a request", append(all, "floor, sync each"),
		produceRaw(drive.Options{ValueBytes: 1024, BatchBytes: 1, Connections: 8, InFlight: 5, Partitions: 8}))
	add("produce raw QUIC "+sizes(1024, mib), []string{"weir"}, func(string) func(context.Context, *bench, *sample) error {
		o := rawShape(1024, mib)
		o.Transport, o.Connections, o.Partitions = "quic", 1, 1
		return produceRaw(o)("weir")
	})
	for _, value := range []int{100, 1024} {
		for _, batch := range []int{kib16, mib} {
			add("produce franz-go "+sizes(value, batch), synced, produceFull("kgo-produce", value, batch))
		}
	}
	for _, value := range []int{100, 1024} {
		add("produce librdkafka "+sizes(value, mib), synced, produceFull("rdkafka", value, mib))
	}
	nats := []string{"nats", "nats, sync always"}
	for _, value := range []int{100, 1024} {
		add(fmt.Sprintf("produce own client %d B", value), nats, natsProduce(value))
	}

	consumers := []string{"weir", "floor", "kafka"}
	add("consume raw "+sizes(1024, kib16)+", 1 MiB a fetch", append(consumers, "floor, pread"), consumeRaw(kib16, mib))
	add("consume raw "+sizes(1024, mib)+", 8 MiB a fetch", append(consumers, "floor, pread"), consumeRaw(mib, 8*mib))
	add("consume franz-go 100 B", consumers, consumeFull("kgo-consume", 100))
	add("consume franz-go 1024 B", consumers, consumeFull("kgo-consume", 1024))
	add("consume librdkafka 1024 B", consumers, consumeFull("rdkafka", 1024))
	add("consume own client 1024 B", nats[:1], natsConsume(1024))

	add("latency 100 B at 10,000/s", append(all, nats...), latency)

	for _, partitions := range []int{1, 10, 100, 1000, 10_000} {
		if s.quick && partitions > 100 {
			continue
		}
		add(fmt.Sprintf("partitions %d, raw 1024 B, 16 KiB batches", partitions), []string{"weir", "kafka"}, manyPartitions(partitions))
	}
	for _, n := range []int{10, 1000} {
		if s.quick && n > 100 {
			n = 100
		}
		add(fmt.Sprintf("connections %d, raw one 1 KiB record a request", n), []string{"weir", "kafka"},
			produceRaw(drive.Options{ValueBytes: 1024, BatchBytes: 1, Connections: n, InFlight: 1, Partitions: 8}))
	}
	idle := 10_000
	if s.quick {
		idle = 200
	}
	add(fmt.Sprintf("connections 10 beside %d idle", idle), []string{"weir"}, besideIdle(idle))
	polled := 1000
	if s.quick {
		polled = 100
	}
	add(fmt.Sprintf("poll a fetch session over %d idle partitions", polled), []string{"weir", "kafka"}, pollSession(polled))

	cells = append(cells, starts(s)...)
	cells = slices.DeleteFunc(cells, func(c cell) bool {
		return !slices.Contains(s.systems, family(c.system)) || !matches(c.workload, s.only) ||
			strings.Contains(c.workload, "librdkafka") && !slices.Contains(s.systems, "kafka")
	})
	return cells, nil
}

func matches(workload, only string) bool {
	if only == "" {
		return true
	}
	for part := range strings.SplitSeq(only, ",") {
		if strings.Contains(workload, strings.TrimSpace(part)) {
			return true
		}
	}
	return false
}

// rawShape is how the light driver calls: few connections with large batches, more with small ones.
func rawShape(value, batch int) drive.Options {
	o := drive.Options{ValueBytes: value, BatchBytes: batch, Connections: 2, InFlight: 5, Partitions: 2}
	if batch < mib {
		o.Connections, o.Partitions = 8, 8
	}
	return o
}

func (b *bench) options(o drive.Options, p *system.Process, topic string) drive.Options {
	o.Addr, o.CA, o.Topic, o.Acks = p.Addr, p.CA, topic, -1
	o.Warm, o.For, o.BytesMax = b.window/6, b.window, b.bytesMax
	o.Linger = 5 * time.Millisecond
	return o
}

// onTopic calls f with a fresh topic on a system.
func (b *bench) onTopic(ctx context.Context, name string, partitions int, f func(p *system.Process, topic string) error) (err error) {
	v := variants[name]
	p, err := b.server(ctx, v.server)
	if err != nil {
		return err
	}
	topic := b.topic()
	if err := system.CreateTopic(ctx, p.Addr, topic, partitions, v.config); err != nil {
		return err
	}
	defer func() {
		if deleted := system.DeleteTopic(context.WithoutCancel(ctx), p.Addr, topic); err == nil {
			err = deleted
		}
	}()
	return f(p, topic)
}

func produceRaw(o drive.Options) func(string) func(context.Context, *bench, *sample) error {
	o.Driver = "raw-produce"
	return func(name string) func(context.Context, *bench, *sample) error {
		return func(ctx context.Context, b *bench, x *sample) error {
			return b.onTopic(ctx, name, o.Partitions, func(p *system.Process, topic string) error {
				o := b.options(o, p, topic)
				_, err := b.drive(ctx, p, b.driver(&o), x)
				return err
			})
		}
	}
}

// fullPartitions is how many partitions full clients write to.
const fullPartitions = 6

func produceFull(driver string, value, batch int) func(string) func(context.Context, *bench, *sample) error {
	return func(name string) func(context.Context, *bench, *sample) error {
		return func(ctx context.Context, b *bench, x *sample) error {
			return b.onTopic(ctx, name, fullPartitions, func(p *system.Process, topic string) error {
				if batch == mib {
					batch = 1_000_000 // a little less than the brokers' limit on a request's batch
				}
				o := b.options(drive.Options{Driver: driver, ValueBytes: value, BatchBytes: batch, Partitions: fullPartitions}, p, topic)
				_, err := b.drive(ctx, p, b.fullDriver(&o, "produce"), x)
				return err
			})
		}
	}
}

// fullDriver is the command line of a full client's driver.
func (b *bench) fullDriver(o *drive.Options, verb string) []string {
	if o.Driver != "rdkafka" {
		return b.driver(o)
	}
	return []string{
		b.peers.Librdkafka(), "-driver", verb, "-addr", o.Addr, "-topic", o.Topic, "-partitions", fmt.Sprint(o.Partitions),
		"-value", fmt.Sprint(o.ValueBytes), "-batch", fmt.Sprint(o.BatchBytes), "-warm", seconds(o.Warm), "-for", seconds(o.For),
		"-bytes-max", fmt.Sprint(o.BytesMax), "-records", fmt.Sprint(o.Records),
	}
}

// fill puts records on a topic; they are counted and not measured.
func (b *bench) fill(ctx context.Context, p *system.Process, o drive.Options, bytes int64) (int64, error) {
	o.Driver, o.Connections, o.InFlight, o.Acks = "raw-produce", 2, 5, -1
	o.Warm, o.For, o.BytesMax = 0, time.Minute, bytes
	r, err := b.drive(ctx, p, b.driver(&o), nil)
	if err != nil {
		return 0, fmt.Errorf("filling the topic: %w", err)
	}
	return r.All, nil
}

func consumeRaw(batch, fetch int) func(string) func(context.Context, *bench, *sample) error {
	return func(name string) func(context.Context, *bench, *sample) error {
		return func(ctx context.Context, b *bench, x *sample) error {
			return b.onTopic(ctx, name, 2, func(p *system.Process, topic string) error {
				o := b.options(drive.Options{ValueBytes: 1024, BatchBytes: batch, FetchBytes: fetch, Partitions: 2}, p, topic)
				if _, err := b.fill(ctx, p, o, min(b.bytesMax, 512<<20)); err != nil {
					return err
				}
				b.quiet(ctx)
				o.Driver, o.Connections, o.BytesMax = "raw-fetch", 2, 64*b.bytesMax // what is read is not kept
				_, err := b.drive(ctx, p, b.driver(&o), x)
				return err
			})
		}
	}
}

func consumeFull(driver string, value int) func(string) func(context.Context, *bench, *sample) error {
	return func(name string) func(context.Context, *bench, *sample) error {
		return func(ctx context.Context, b *bench, x *sample) error {
			return b.onTopic(ctx, name, fullPartitions, func(p *system.Process, topic string) error {
				o := b.options(drive.Options{ValueBytes: value, BatchBytes: mib, FetchBytes: mib, Partitions: fullPartitions}, p, topic)
				o.Connections = fullPartitions
				records, err := b.fill(ctx, p, o, b.bytesMax)
				if err != nil {
					return err
				}
				b.quiet(ctx)
				o.Driver, o.Records = driver, records
				_, err = b.drive(ctx, p, b.fullDriver(&o, "consume"), x)
				return err
			})
		}
	}
}

const latencyRate = 10_000

func latency(name string) func(context.Context, *bench, *sample) error {
	if family(name) == "nats" {
		return natsLatency(name)
	}
	return func(ctx context.Context, b *bench, x *sample) error {
		return b.onTopic(ctx, name, 1, func(p *system.Process, topic string) error {
			o := b.options(drive.Options{Driver: "kgo-latency", ValueBytes: 100, Partitions: 1, Rate: latencyRate, InFlight: 1}, p, topic)
			o.Warm, o.For = b.window/2, 2*b.window
			_, err := b.drive(ctx, p, b.driver(&o), x)
			return err
		})
	}
}

func manyPartitions(partitions int) func(string) func(context.Context, *bench, *sample) error {
	return func(name string) func(context.Context, *bench, *sample) error {
		return func(ctx context.Context, b *bench, x *sample) error {
			return b.onTopic(ctx, name, partitions, func(p *system.Process, topic string) error {
				o := b.options(drive.Options{
					Driver: "raw-produce", ValueBytes: 1024, BatchBytes: kib16, Connections: 8, InFlight: 5, Partitions: partitions,
				}, p, topic)
				// Every partition is written to once before the window, as far as the time allows.
				o.Warm = min(10*time.Second, b.window/6+time.Duration(partitions)*400*time.Microsecond)
				o.BytesMax *= 2
				_, err := b.drive(ctx, p, b.driver(&o), x)
				return err
			})
		}
	}
}

// besideIdle measures ten busy connections beside many on which nothing happens.
func besideIdle(idle int) func(string) func(context.Context, *bench, *sample) error {
	return func(name string) func(context.Context, *bench, *sample) error {
		return func(ctx context.Context, b *bench, x *sample) error {
			return b.onTopic(ctx, name, 8, func(p *system.Process, topic string) error {
				before, err := p.Memory()
				if err != nil {
					return err
				}
				held, release := context.WithCancel(ctx)
				defer release()
				opened := make(chan error, 1)
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					o := b.options(drive.Options{Driver: "raw-idle", Connections: idle}, p, topic)
					o.For = time.Hour
					opened <- b.hold(held, b.driver(&o), opened)
				}()
				defer func() { release(); <-ended }()
				if err := <-opened; err != nil {
					return fmt.Errorf("idle connections: %w", err)
				}
				after, err := p.Memory()
				if err != nil {
					return err
				}
				o := b.options(drive.Options{Driver: "raw-produce", ValueBytes: 1024, BatchBytes: 1, Connections: 10, InFlight: 1, Partitions: 8}, p, topic)
				if _, err = b.drive(ctx, p, b.driver(&o), x); err != nil {
					return err
				}
				x.Figures[perItem] = float64(after.RSS-before.RSS) / float64(idle) / 1024
				return nil
			})
		}
	}
}

func pollSession(partitions int) func(string) func(context.Context, *bench, *sample) error {
	return func(name string) func(context.Context, *bench, *sample) error {
		return func(ctx context.Context, b *bench, x *sample) error {
			return b.onTopic(ctx, name, partitions, func(p *system.Process, topic string) error {
				o := b.options(drive.Options{Driver: "raw-poll", Partitions: partitions}, p, topic)
				_, err := b.drive(ctx, p, b.driver(&o), x)
				return err
			})
		}
	}
}

// bareLoop runs a loop, with the server of that name if it has one.
func bareLoop(kind, server string) func(string) func(context.Context, *bench, *sample) error {
	return func(string) func(context.Context, *bench, *sample) error {
		return func(ctx context.Context, b *bench, x *sample) error {
			var p *system.Process
			args := []string{b.self, "bare", "-kind", kind, "-dir", b.dir, "-warm", seconds(b.window / 6), "-for", seconds(b.window)}
			if server == "" {
				args = append(args, "-bytes-max", fmt.Sprint(b.bytesMax))
			} else {
				var err error
				if p, err = b.server(ctx, server); err != nil {
					return err
				}
				args = append(args, "-addr", p.Addr, "-ca", p.CA, "-bytes-max", fmt.Sprint(64*b.bytesMax))
			}
			_, err := b.drive(ctx, p, args, x)
			if p == nil && err == nil && x.Figures[byteRate] > 0 {
				x.Figures[cpuPerByte] = x.Figures[clientCores] / x.Figures[byteRate] * 1e3 // the loop is its own client
			}
			return err
		}
	}
}
