package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/node/config"
	"github.com/weirmq/weir/node/explain"
)

// faultyDisk is a real disk that can be told to fail.
type faultyDisk struct {
	storage.Disk
	failSyncs atomic.Bool
	full      atomic.Bool
	// slowSyncs makes each sync take long, and until somebody waits for it. written counts bytes since the last, writtenMax is
	// the most.
	slowSyncs           atomic.Bool
	somebodyWaits       func() bool
	written, writtenMax atomic.Int64
	logs                *observer.ObservedLogs // of the node on it
}

// told reports whether the node's log has a line with this code.
func (d *faultyDisk) told(code explain.Code) bool {
	return d.logs.FilterField(zap.String("code", string(code))).Len() > 0
}

type faultyFile struct {
	storage.File
	d *faultyDisk
}

func (d *faultyDisk) wrap(f storage.File, err error) (storage.File, error) {
	if err != nil {
		return nil, err
	}
	return &faultyFile{f, d}, nil
}

func (d *faultyDisk) Create(path string) (storage.File, error) {
	if d.full.Load() {
		return nil, fmt.Errorf("create %s: %w", path, storage.ErrFull)
	}
	return d.wrap(d.Disk.Create(path))
}
func (d *faultyDisk) Open(path string) (storage.File, error) { return d.wrap(d.Disk.Open(path)) }

func (f *faultyFile) Sync() error {
	if f.d.failSyncs.Load() {
		return fmt.Errorf("sync: %w", unix.EIO)
	}
	if f.d.slowSyncs.Load() {
		if n := f.d.written.Swap(0); n > f.d.writtenMax.Load() {
			f.d.writtenMax.Store(n)
		}
		time.Sleep(100 * time.Millisecond)
		for deadline := time.Now().Add(30 * time.Second); !f.d.somebodyWaits() && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
	return f.File.Sync()
}

func (f *faultyFile) WriteAt(bufs [][]byte, off int64) error {
	if f.d.full.Load() {
		return fmt.Errorf("write: %w", storage.ErrFull)
	}
	for _, b := range bufs {
		f.d.written.Add(int64(len(b)))
	}
	return f.File.WriteAt(bufs, off)
}

func (f *faultyFile) Zero(n int64) error {
	if f.d.full.Load() {
		return fmt.Errorf("zero: %w", storage.ErrFull)
	}
	return f.File.Zero(n)
}

func startFaulty(t *testing.T, dir string) (*Node, *faultyDisk) {
	t.Helper()
	c := config.Default()
	c.DataDir, c.Listener, c.HTTP, c.QUIC = dir, "127.0.0.1:0", "", false
	c.Storage.JournalFileBytes = 2 << 20
	core, logs := observer.New(zapcore.DebugLevel)
	d := &faultyDisk{logs: logs}
	n, err := Start(Options{Config: c, Log: zap.New(core), overDisk: func(real storage.Disk) storage.Disk { d.Disk = real; return d }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n, d
}

func kafkaClient(t *testing.T, n *Node, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(n.KafkaAddr()), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("t"),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// send produces one record and gives up after a time; franz-go itself goes on trying, since a batch that was
// sent once may have been written.
func send(cl *kgo.Client, value string, patience time.Duration) (offset int64, err error) {
	type outcome struct {
		offset int64
		err    error
	}
	came := make(chan outcome, 1)
	cl.Produce(context.Background(), &kgo.Record{Value: []byte(value)}, func(r *kgo.Record, err error) { came <- outcome{r.Offset, err} })
	select {
	case o := <-came:
		return o.offset, o.err
	case <-time.After(patience):
		return 0, context.DeadlineExceeded
	}
}

func TestFailedSyncStopsTheNodeAndAcknowledgesNothing(t *testing.T) {
	dir := t.TempDir()
	n, d := startFaulty(t, dir)
	cl := kafkaClient(t, n)
	if _, err := send(cl, "safe", 30*time.Second); err != nil {
		t.Fatal(err)
	}
	d.failSyncs.Store(true)
	if _, err := send(cl, "doubtful", 2*time.Second); err == nil {
		t.Error("a record was acknowledged whose sync failed")
	}
	select {
	case <-n.Failed():
	case <-time.After(30 * time.Second):
		t.Fatal("the node goes on after a failed sync")
	}
	d.failSyncs.Store(false) // a retry would succeed, and must not be tried
	if _, err := send(cl, "later", 500*time.Millisecond); err == nil {
		t.Error("a record was acknowledged after the node failed")
	}
	if err := n.Close(); !errors.Is(err, storage.ErrStopped) {
		t.Errorf("closed with %v", err)
	}
	if !d.told(explain.DiskFailed) {
		t.Errorf("the log has no line with %s", explain.DiskFailed)
	}
	cl.Close()

	n, _ = startFaulty(t, dir)
	cl = kafkaClient(t, n, kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	records := cl.PollFetches(ctx).Records()
	if len(records) == 0 || string(records[0].Value) != "safe" {
		t.Errorf("after the restart there is %v", records)
	}
}

func TestFullDiskRefusesAndRecovers(t *testing.T) {
	n, d := startFaulty(t, t.TempDir())
	cl := kafkaClient(t, n, kgo.RecordRetries(0))
	want := int64(0)
	if _, err := send(cl, "first", 30*time.Second); err != nil {
		t.Fatal(err)
	}
	d.full.Store(true)
	refused := 0
	for range 50 { // what was set aside for the journal may take a few
		if offset, err := send(cl, "while full", 30*time.Second); err != nil {
			refused++
		} else {
			want = offset
		}
	}
	if refused == 0 {
		t.Error("nothing was refused on a full disk")
	}
	if !d.told(explain.DiskFull) {
		t.Errorf("the log has no line with %s", explain.DiskFull)
	}
	if err := n.Err(); err != nil {
		t.Fatalf("a full disk stopped the node: %v", err)
	}
	d.full.Store(false)
	offset, err := send(cl, "space again", 30*time.Second)
	if err != nil || offset != want+1 {
		t.Errorf("with space again: offset %d, want %d: %v", offset, want+1, err)
	}
}

// slowDisk makes recovery wait.
type slowDisk struct {
	storage.Disk
	gate chan struct{}
}

func (d *slowDisk) List(dir string) ([]storage.Entry, error) {
	<-d.gate
	return d.Disk.List(dir)
}

func TestNodeSaysThatItIsRecovering(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // to know the address before the node says it
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.DataDir, c.Listener, c.HTTP, c.QUIC = t.TempDir(), "127.0.0.1:0", addr, false
	gate := make(chan struct{})
	started := make(chan *Node, 1)
	go func() {
		n, err := Start(Options{Config: c, overDisk: func(d storage.Disk) storage.Disk { return &slowDisk{d, gate} }})
		if err != nil {
			t.Error(err)
		}
		started <- n
	}()
	status := func(path string) (int, string) {
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			resp, err := http.Get("http://" + addr + path)
			if err != nil {
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
				continue
			}
			b, err := io.ReadAll(resp.Body)
			if err := errors.Join(err, resp.Body.Close()); err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(b)
		}
	}
	if code, body := status("/healthz"); code != 200 {
		t.Errorf("while recovering, healthz: %d %s", code, body)
	}
	if code, body := status("/readyz"); code != 503 || body != "waiting for the data to be recovered\n" {
		t.Errorf("while recovering, readyz: %d %s", code, body)
	}
	if code, _ := status("/metrics"); code != 200 {
		t.Errorf("while recovering, metrics: %d", code)
	}
	close(gate)
	n := <-started
	if n == nil {
		return
	}
	if code, body := status("/readyz"); code != 200 {
		t.Errorf("after recovery, readyz: %d %s", code, body)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

// On a slow disk no sync gets more than so much to do, however much is sent, and so those who send little wait
// for so much and no more. All of it arrives, in order.
func TestProducersTakeTurnsAtTheDisk(t *testing.T) {
	n, d := startFaulty(t, t.TempDir())
	const producers, each, valueBytes = 24, 3, 900 << 10
	if _, err := send(kafkaClient(t, n), "first", 30*time.Second); err != nil {
		t.Fatal(err)
	}
	d.somebodyWaits = func() bool { return n.metrics.ProduceTurns.Load() > 0 }
	d.slowSyncs.Store(true)
	d.written.Store(0)
	type outcome struct {
		producer int
		err      error
	}
	done := make(chan outcome, producers)
	for i := range producers {
		cl := kafkaClient(t, n, kgo.ProducerBatchMaxBytes(1<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
		go func() {
			var err error
			last := int64(-1)
			for j := range each {
				value := make([]byte, valueBytes)
				value[0], value[1] = byte(i), byte(j)
				cl.Produce(context.Background(), &kgo.Record{Value: value}, func(r *kgo.Record, e error) {
					err = errors.Join(err, e)
					if e == nil && r.Offset <= last {
						err = errors.Join(err, fmt.Errorf("record %d has offset %d after %d", j, r.Offset, last))
					}
					last = r.Offset
				})
			}
			done <- outcome{i, errors.Join(cl.Flush(context.Background()), err)}
		}()
	}
	for range producers {
		if o := <-done; o.err != nil {
			t.Errorf("producer %d: %v", o.producer, o.err)
		}
	}
	if n.metrics.ProduceTurns.Load() == 0 {
		t.Error("nobody waited: the test shows nothing")
	}
	// What is written to the journal may be written to the segment as well.
	if most := d.writtenMax.Load(); most > 2*(unsyncedBytesMax+2<<20) {
		t.Errorf("one sync had %d MiB to do", most>>20)
	}
}
