package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Peers is where the programs are that are measured or that measure.
type Peers struct {
	Weir  string // the binary
	Floor string // the binary
	Dir   string // what bench/peers/install.sh made; empty: no peers
	Heap  string // of Kafka's JVM
}

// ErrMissing is a program that is not there.
var ErrMissing = errors.New("not installed: run bench/peers/install.sh (make compare does), or leave it out")

// NATS is the program that is both the NATS server and its client.
func (p *Peers) NATS() string { return filepath.Join(p.Dir, "nats-peer") }

// Librdkafka is the driver on librdkafka.
func (p *Peers) Librdkafka() string { return filepath.Join(p.Dir, "rdkafka-driver") }

// Need is an error unless a file is there.
func Need(file string) error {
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("%s is %w", file, ErrMissing)
	}
	return nil
}

// StartWeir starts a node with default settings, plus settings NAME=VALUE.
func (p *Peers) StartWeir(ctx context.Context, dir string, settings ...string) (*Process, error) {
	if err := Need(p.Weir); err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	args := []string{
		p.Weir, "dev", "--data", filepath.Join(dir, "data"), "--listen", fmt.Sprintf("127.0.0.1:%d", ports[0]),
		"--http", fmt.Sprintf("127.0.0.1:%d", ports[1]), "--set", "pprof.enable=true", "--set", "auto.create.topics.enable=false",
		"--set", "max.connections=20000", // Kafka has no limit by default
	}
	for _, s := range settings {
		args = append(args, "--set", s)
	}
	from := time.Now()
	w, err := start("weir", dir, args...)
	if err != nil {
		return nil, err
	}
	w.Addr, w.HTTP = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	w.CA = filepath.Join(dir, "data", "tls", "dev-certificate.pem")
	ready := regexp.MustCompile(`(?m)^ready `)
	err = w.until(ctx, 2*time.Millisecond, 3*time.Minute, func() bool {
		b, err := os.ReadFile(w.log)
		return err == nil && ready.Match(lastStart(b))
	})
	w.StartedIn = time.Since(from)
	return w.orEnd(err)
}

// lastStart is everything: a process appends to the log of an earlier one of the same directory only after
// RotateLog.
func lastStart(b []byte) []byte { return b }

// RotateLog puts the log of an ended process aside, so that the next one of the directory begins anew.
func (p *Process) RotateLog() error { return os.Rename(p.log, p.log+".before") }

func (p *Process) orEnd(err error) (*Process, error) {
	if err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}

// StartFloor starts the floor program with flags.
func (p *Peers) StartFloor(ctx context.Context, dir string, flags ...string) (*Process, error) {
	if err := Need(p.Floor); err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", ports[0])
	from := time.Now()
	f, err := start("floor", dir, append([]string{p.Floor, "-listen", addr, "-data", dir}, flags...)...)
	if err != nil {
		return nil, err
	}
	f.Addr = addr
	err = f.until(ctx, 2*time.Millisecond, 10*time.Second, func() bool { return accepts(addr) })
	f.StartedIn = time.Since(from)
	return f.orEnd(err)
}

// StartNATS starts a NATS server with JetStream; sync is its sync_interval, empty for its default.
func (p *Peers) StartNATS(ctx context.Context, dir, sync string) (*Process, error) {
	if err := Need(p.NATS()); err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", ports[0])
	from := time.Now()
	n, err := start("nats", dir, p.NATS(), "serve", "-port", fmt.Sprint(ports[0]), "-data", filepath.Join(dir, "data"), "-sync", sync)
	if err != nil {
		return nil, err
	}
	n.Addr = addr
	err = n.until(ctx, 5*time.Millisecond, 10*time.Second, func() bool { return accepts(addr) })
	n.StartedIn = time.Since(from)
	return n.orEnd(err)
}

// jvm is how Kafka's own start script runs a broker.
func (p *Peers) jvm(logs string) []string {
	heap := p.Heap
	if heap == "" {
		heap = "1g" // the script's default
	}
	return []string{
		"java", "-Xmx" + heap, "-Xms" + heap, "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
		"-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15",
		"-Djava.awt.headless=true", "-Dkafka.logs.dir=" + logs,
		"-Dlog4j2.configurationFile=" + filepath.Join(p.Dir, "kafka", "log4j2.properties"), "-cp", filepath.Join(p.Dir, "kafka", "lib", "*"),
	}
}

// StartKafka starts one Kafka process, broker and controller, with its default settings but for what one
// node needs, and for deleted topics: their files go at once, so that a long run has room.
func (p *Peers) StartKafka(ctx context.Context, dir string) (*Process, error) {
	if err := Need(filepath.Join(p.Dir, "kafka", "lib")); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath("java"); err != nil {
		return nil, fmt.Errorf("java is %w", ErrMissing)
	}
	properties := filepath.Join(dir, "server.properties")
	var addr string
	if b, err := os.ReadFile(properties); err == nil { // started again on its data
		m := regexp.MustCompile(`listeners=PLAINTEXT://([^,]*),`).FindSubmatch(b)
		if m == nil {
			return nil, fmt.Errorf("%s names no listener", properties)
		}
		addr = string(m[1])
	} else {
		ports, err := freePorts(2)
		if err != nil {
			return nil, err
		}
		addr = fmt.Sprintf("127.0.0.1:%d", ports[0])
		if err := p.formatKafka(ctx, dir, properties, addr, fmt.Sprintf("127.0.0.1:%d", ports[1])); err != nil {
			return nil, err
		}
	}
	from := time.Now()
	k, err := start("kafka", dir, append(p.jvm(dir), "kafka.Kafka", properties)...)
	if err != nil {
		return nil, err
	}
	k.Addr = addr
	err = k.until(ctx, 10*time.Millisecond, 3*time.Minute, func() bool { return accepts(addr) && serves(ctx, addr) })
	k.StartedIn = time.Since(from)
	return k.orEnd(err)
}

func (p *Peers) formatKafka(ctx context.Context, dir, properties, addr, controller string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text := strings.NewReplacer("ADDR", addr, "CONTROLLER_AT", controller, "DATA", filepath.Join(dir, "data")).Replace(`process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=CONTROLLER_AT
listeners=PLAINTEXT://ADDR,CONTROLLER://CONTROLLER_AT
advertised.listeners=PLAINTEXT://ADDR,CONTROLLER://CONTROLLER_AT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=DATA
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
auto.create.topics.enable=false
log.segment.delete.delay.ms=500
file.delete.delay.ms=500
`)
	if err := os.WriteFile(properties, []byte(text), 0o644); err != nil {
		return err
	}
	format := exec.CommandContext(ctx, "java", append(p.jvm(dir)[1:], "kafka.tools.StorageTool", "format",
		"--cluster-id", "bWVhc3VyZWQtYmVzaWRlcw", "--config", properties, "--standalone")...)
	if out, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("the storage of Kafka could not be formatted: %w\n%s", err, out)
	}
	return nil
}

// serves reports whether a broker answers for itself.
func serves(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	ok := false
	_ = WithAdmin(addr, func(a *kadm.Client) error { // the caller asks again
		b, err := a.ListBrokers(ctx)
		ok = err == nil && len(b) == 1
		return err
	})
	return ok
}

// WithAdmin runs f with an admin client.
func WithAdmin(addr string, f func(*kadm.Client) error) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequestTimeoutOverhead(30*time.Second), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return err
	}
	defer c.Close()
	return f(kadm.NewClient(c))
}

// CreateTopic creates a topic and waits until the leaders of its partitions answer.
func CreateTopic(ctx context.Context, addr, topic string, partitions int, config map[string]string) error {
	values := map[string]*string{}
	for name, value := range config {
		values[name] = &value
	}
	return WithAdmin(addr, func(a *kadm.Client) error {
		a.SetTimeoutMillis(120_000)
		r, err := a.CreateTopic(ctx, int32(partitions), 1, values, topic)
		if errors.Is(err, kerr.PolicyViolation) { // Kafka makes fewer than 10,000 at a time
			half := partitions / 2
			if r, err = a.CreateTopic(ctx, int32(half), 1, values, topic); err == nil {
				_, err = a.CreatePartitions(ctx, partitions-half, topic)
			}
		}
		if err != nil {
			return fmt.Errorf("create topic %s: %w %s", topic, err, r.ErrMessage)
		}
		for from := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			ends, err := a.ListEndOffsets(ctx, topic)
			if err == nil {
				err = ends.Error()
			}
			if err == nil && len(ends[topic]) == partitions {
				return nil
			}
			if time.Since(from) > 4*time.Minute {
				return fmt.Errorf("of %d partitions of topic %s %d answer after four minutes: %w", partitions, topic, len(ends[topic]), err)
			}
		}
	})
}

// DeleteTopic deletes a topic.
func DeleteTopic(ctx context.Context, addr, topic string) error {
	return WithAdmin(addr, func(a *kadm.Client) error {
		a.SetTimeoutMillis(120_000)
		_, err := a.DeleteTopic(ctx, topic)
		return err
	})
}

// StartBare starts the server of a bare loop: program is the one that serves it.
func StartBare(ctx context.Context, program, kind, dir string) (*Process, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", ports[0])
	b, err := start("bare "+kind, dir, program, "serve", "-kind", kind, "-listen", addr, "-dir", dir)
	if err != nil {
		return nil, err
	}
	b.Addr, b.CA = addr, filepath.Join(dir, "tls", "dev-certificate.pem")
	err = b.until(ctx, 5*time.Millisecond, 20*time.Second, func() bool {
		if kind == "quic" {
			return listensUDP(ports[0])
		}
		return accepts(addr)
	})
	return b.orEnd(err)
}

// listensUDP reports whether a UDP port of this machine is taken.
func listensUDP(port int) bool {
	b, err := os.ReadFile("/proc/net/udp")
	return err == nil && strings.Contains(string(b), fmt.Sprintf(":%04X ", port))
}
