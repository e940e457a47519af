package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/session"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/node/config"
	"github.com/weirmq/weir/node/disk"
	"github.com/weirmq/weir/node/explain"
	"github.com/weirmq/weir/node/metrics"
	"github.com/weirmq/weir/transport"
)

// Options is what a node is started with.
type Options struct {
	Config config.Config
	Log    *zap.Logger // nil: silent
	// Version is shown in metrics.
	Version string
	// Listeners are served beside those of the configuration, such as one of transport/memory. The node
	// closes them.
	Listeners []transport.Listener
	// Nodes serves other nodes instead of nodes.listener, such as one of transport/memory. The node closes it.
	Nodes transport.Listener
	// Dialers reach other nodes, by transport, instead of those that the node makes for itself. For
	// effect.TransportMemory there is no other.
	Dialers map[effect.Transport]transport.Dialer

	// overDisk lets a test put faults between the engine and the disk.
	overDisk func(storage.Disk) storage.Disk
}

// Node is a running broker.
//
//	Start ──► serving ──Close──► stopping ──► closed
//	             │                  ▲
//	             └──a sync failed───┘ Failed is closed; Close returns the error
type Node struct {
	config    config.Config
	log       *zap.Logger
	clock     clock
	metrics   *metrics.Metrics
	buffers   bufferPool
	sessions  session.Config
	published atomic.Pointer[broker.Published] // what sessions answer from
	disk      *disk.Disk
	engine    *storage.Engine
	loop      *loop
	storage   *storageIO
	links     *links
	heard     heard // from other nodes

	// requests bounds the bytes of request frames, responses what they are decoded to and what is yet to be
	// sent. They are two so that clients that only ask cannot keep producers from writing, nor the other way.
	requests, responses *budget
	// purses are those two, of clients, and two of their own for other nodes: clients that ask too much must not keep
	// nodes from hearing each other.
	clients, nodes purse
	costs          costs
	inflaters      inflaters
	heavy          *gate // in which all heavy work takes turns
	costly         *gate // before heavy: large requests and responses
	pace           pace
	complaints     *complaints
	advice         advice
	thrift         thrift        // the janitor's
	idle           chan struct{} // closed when the janitor must end

	listeners   []transport.Listener // for clients
	inner       []transport.Listener // for other nodes
	addresses   addresses
	connections connections
	accepting   context.Context // ends when no more connections are wanted
	stopAccept  context.CancelFunc
	acceptors   sync.WaitGroup
	serving     sync.WaitGroup // connections
	tasks       sync.WaitGroup // http, janitor
	http        *http.Server

	// work counts what is under way: events queued, turns of storage, a sync, answers not written. At zero,
	// with nobody reading, everything that was asked has been answered, except what waits for data or time.
	work atomic.Int64

	recovered  atomic.Bool // loop and storage run
	cutOff     atomic.Bool // the controller is not reached: clients are sent away
	ready      chan struct{}
	readyOnce  sync.Once
	isStopping atomic.Bool
	together   atomic.Bool // all nodes of its cluster are closed with it
	closeOnce  sync.Once
	closed     error
	failOnce   sync.Once
	failed     chan struct{}
	failure    error
}

// Start opens the data directory, recovers what is in it, and serves.
func Start(o Options) (*Node, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	log := o.Log
	if log == nil {
		log = zap.NewNop()
	}
	heavy := newGate(processors() - 1)
	n := &Node{
		config: o.Config, log: log, clock: newClock(), failed: make(chan struct{}), ready: make(chan struct{}), idle: make(chan struct{}),
		inflaters: newInflaters(processors(), heavy), heavy: heavy, costly: newGate(processors() / 2), complaints: newComplaints(log), pace: pace{perSecond: int(o.Config.Limits.ConnectionRateMax)},
	}
	n.accepting, n.stopAccept = context.WithCancel(context.Background())
	n.connections.byID, n.connections.byHost = map[effect.ConnID]*connection{}, map[string]int{}
	n.metrics = metrics.New(o.Version, n.holdings)
	limits := &o.Config.Limits
	n.requests = newBudget(limits.QueuedBytesMax, n.clock, &n.metrics.QueuedBytes, &n.metrics.QueueWaits)
	n.responses = newBudget(limits.QueuedResponseBytesMax, n.clock, &n.metrics.ResponseBytes, &n.metrics.ResponseWaits)
	n.clients = purse{n.requests, n.responses}
	n.nodes = purse{
		newBudget(limits.QueuedBytesMax/nodesShare, n.clock, new(atomic.Int64), new(atomic.Int64)),
		newBudget(limits.QueuedResponseBytesMax/nodesShare, n.clock, new(atomic.Int64), new(atomic.Int64)),
	}
	if limit := o.Config.Storage.MemoryLimitBytes; limit > 0 {
		debug.SetMemoryLimit(limit)
	}
	if err := n.start(o); err != nil {
		return nil, errors.Join(err, n.abandon())
	}
	return n, nil
}

func (n *Node) start(o Options) error {
	if err := n.fitDescriptors(); err != nil {
		return err
	}
	d, err := disk.Open(n.config.DataDir)
	if err != nil {
		return err
	}
	n.disk = d
	if n.config.Storage.JournalDirect {
		d.Direct(storage.JournalPrefix)
	}
	identity, err := loadIdentity(d.Path(), model.NodeID(n.config.NodeID), n.config.Cluster.ID)
	if err != nil {
		return err
	}
	// Addresses are bound before recovery, so that a port that is taken is known at once; connections are
	// accepted after it.
	n.listeners = append(n.listeners, o.Listeners...)
	if o.Nodes != nil {
		n.inner, n.addresses.nodes = append(n.inner, o.Nodes), o.Nodes.Addr()
	}
	listener, err := n.listen()
	if err != nil {
		return err
	}
	if listener != nil {
		n.serveHTTP(listener) // who asks during a long recovery is told of it
	}
	files := storage.Disk(d)
	if o.overDisk != nil {
		files = o.overDisk(d)
	}
	if err := n.recover(files, identity); err != nil {
		return err
	}
	n.startLinks(o.Dialers)
	n.loop.dispatch() // what the broker wants done first
	go n.loop.run()
	go n.storage.run()
	host, port := n.config.Advertise(n.addresses.kafka)
	n.advice.start(n, host, port)
	n.recovered.Store(true)
	n.tasks.Go(n.janitor)
	n.acceptNodes()
	n.loop.inputs.wake()
	if !n.config.Cluster.Alone() {
		n.tasks.Go(n.tellWaiting)
		return nil
	}
	// Nobody has to be waited for: a node by itself serves when its own disk has answered.
	select {
	case <-n.ready:
		return nil
	case <-n.failed:
		return n.Err()
	}
}

// Ready is closed when clients are served: the node is part of its cluster, has caught up with the metadata, and the
// others count on it. A node by itself is ready when Start returns.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// becomeReady lets clients in.
func (n *Node) becomeReady() {
	n.readyOnce.Do(func() {
		n.tasks.Go(func() {
			n.accept()
			close(n.ready)
		})
	})
}

// ErrDamaged says that what a node needs of its data directory to start is damaged.
var ErrDamaged = errors.New("the node does not start")

// notOpened is why the data directory cannot be used.
func (n *Node) notOpened(err error) error {
	if storage.IsDamage(err) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return fmt.Errorf("data directory %s: %w", n.disk.Path(), err)
}

// recover opens the engine and the broker over it.
func (n *Node) recover(files storage.Disk, identity storage.Identity) error {
	begin := time.Now()
	engine, rec, err := storage.Open(files, storage.Config{
		Identity:         identity,
		JournalFileBytes: n.config.Storage.JournalFileBytes,
		CheckpointBytes:  n.config.Storage.CheckpointBytes,
		InPlaceBytesMin:  int(n.config.Storage.InPlaceBytesMin),
		OpenFilesMax:     int(n.config.Storage.OpenFilesMax),
		Regions:          true,
		DefaultLog:       n.topicDefaults().Log,
	})
	if err != nil {
		return n.notOpened(err)
	}
	n.engine = engine
	n.observe(rec.Notes, effect.Marks{})

	n.sessions = session.DefaultConfig()
	n.sessions.ClusterID, n.sessions.NodeID = identity.ClusterID, identity.NodeID
	n.sessions.Advertised, n.sessions.Listener, n.sessions.Fixed = n.advertised(identity), broker.ClientListener, n.fixed()
	_, _ = rand.Read(n.sessions.Incarnation[:]) // never fails
	n.sessions.LendsInflaters = true
	n.sessions.RecordBytesMax = int(min(n.config.Limits.RecordBytesMax, math.MaxInt))
	out := new(effect.Set)
	b, err := broker.Open(n.brokerConfig(identity), engine, rec, out)
	if err != nil {
		return n.notOpened(err)
	}
	n.published.Store(b.Published())
	n.loop = newLoop(n, b)
	n.loop.set = out
	n.storage = newStorageIO(n, engine)
	n.log.Info("data recovered", zap.String("data", n.disk.Path()), zap.String("cluster_id", identity.ClusterID),
		zap.Int("partitions", len(rec.Partitions)), zap.Bool("clean_shutdown", rec.CleanShutdown),
		zap.Int("journal_entries", int(rec.ReplayedEntries)), zap.Duration("took", time.Since(begin)))
	return nil
}

// advertised is how clients are told to reach the node.
func (n *Node) advertised(identity storage.Identity) effect.Broker {
	host, port := n.config.Advertise(n.addresses.kafka)
	return effect.Broker{ID: identity.NodeID, Host: host, Port: port, Rack: n.config.Rack}
}

func (n *Node) groupsConfig() group.Config {
	g := &n.config.Groups
	c := group.DefaultConfig()
	c.InitialRebalanceDelay = model.Time(g.InitialRebalanceDelay)
	c.SessionTimeoutMsMin, c.SessionTimeoutMsMax = g.SessionTimeoutMsMin, g.SessionTimeoutMsMax
	c.MembersMax, c.MetadataBytesMax = int(g.MembersMax), int(g.MetadataBytesMax)
	c.MemoryBytesMax = g.MemoryBytesMax
	c.OffsetsRetentionMs, c.ExpiryInterval = g.OffsetsRetention.Milliseconds(), model.Time(g.OffsetsCheck)
	return c
}

func (n *Node) topicDefaults() metadata.TopicConfig {
	t := &n.config.Topics
	c := metadata.DefaultTopicConfig()
	c.Log.SegmentBytes, c.Log.SegmentMs, c.Log.IndexIntervalBytes = t.SegmentBytes, t.SegmentAge.Milliseconds(), t.IndexIntervalBytes
	c.Log.RetentionMs, c.Log.RetentionBytes = max(-1, t.Retention.Milliseconds()), max(-1, t.RetentionBytes)
	c.MessageBytesMax = t.MessageBytesMax
	c.LogAppendTime = t.TimestampType == "LogAppendTime"
	c.TimestampAfterMsMax = t.TimestampAfterMax.Milliseconds()
	c.TimestampBeforeMsMax = t.TimestampBeforeMax
	return c
}

// DataDir is the data directory as an absolute path.
func (n *Node) DataDir() string { return n.disk.Path() }

// Failed is closed when the node cannot go on; Err then says why. The process must exit with an error.
func (n *Node) Failed() <-chan struct{} { return n.failed }

// Err is why the node failed, or nil.
func (n *Node) Err() error {
	select {
	case <-n.failed:
		return n.failure
	default:
		return nil
	}
}

// fail ends the node, whose disk has failed. Connections are cut, so that no client waits for an answer that will not come.
func (n *Node) fail(err error) {
	n.failOnce.Do(func() {
		n.log.Error("the node stops: nothing more is acknowledged", zap.String("code", string(explain.DiskFailed)), zap.Error(err),
			zap.String("fix", explain.Of(explain.DiskFailed).Fix))
		n.failure = err
		close(n.failed)
		n.isStopping.Store(true)
		go n.stopAccepting()
		go n.links.close() // other nodes are to notice
		for _, c := range n.connections.all() {
			go c.close()
		}
	})
}

func (n *Node) stopping() bool { return n.isStopping.Load() }

// Close shuts down cleanly: it stops accepting and reading, lets what was asked be answered for at most
// shutdown.grace.ms, makes everything durable and marks the data directory as cleanly closed.
func (n *Node) Close() error {
	n.closeOnce.Do(func() { n.closed = n.shutDown() })
	return n.closed
}

// CloseAll shuts down all nodes of a cluster at once. None of them has the others lead what it leads: nobody will.
func CloseAll(nodes ...*Node) error {
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		n.together.Store(true)
		all.Go(func() { errs[i] = n.Close() })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (n *Node) shutDown() error {
	begin := time.Now()
	if !n.together.Load() {
		n.leave()
	}
	n.isStopping.Store(true)
	n.stopAccepting()
	open := n.connections.all()
	for _, c := range open {
		_ = c.conn.SetReadDeadline(longAgo) // a closed one needs no interruption
	}
	n.quiesce(n.config.ShutdownGrace)
	n.stopServing()
	n.links.close()
	close(n.idle)
	n.complaints.roll(true)
	close(n.loop.stop)
	<-n.loop.done
	close(n.storage.stop)
	<-n.storage.done

	var done effect.Completions
	n.loop.broker.Watermarks(n.engine.Committed)
	err := n.engine.Close(&done)
	if err != nil {
		err = fmt.Errorf("the data directory could not be closed cleanly: %w", err)
	}
	n.observe(done.Notes, effect.Marks{})
	err = errors.Join(n.Err(), err, n.disk.Close(), n.stopHTTP())
	n.log.Info("stopped", zap.Int("connections", len(open)), zap.Duration("took", time.Since(begin)), zap.Error(err))
	return err
}

// Kill ends the node as a crash of its process would: nothing is answered, synced or closed in order. Tests
// use it; what the operating system has of the files survives, as it does when a process is killed.
func (n *Node) Kill() {
	n.closeOnce.Do(func() {
		n.isStopping.Store(true)
		n.failOnce.Do(func() {
			n.failure = errors.New("killed")
			close(n.failed)
		})
		n.stopAccepting()
		n.stopServing()
		n.links.close()
		close(n.idle)
		close(n.storage.stop)
		<-n.storage.done
		close(n.loop.stop)
		<-n.loop.done
		n.closed = errors.Join(n.disk.Close(), n.stopHTTP())
	})
}

// quiesce waits until everything that was asked is answered, or the grace is over.
func (n *Node) quiesce(grace time.Duration) {
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if n.work.Load() == 0 {
			return
		}
		select {
		case <-n.failed:
			return
		default:
		}
	}
	n.log.Warn("the shutdown grace is over: what was not answered yet is cut off", zap.String("code", string(explain.ShutdownForced)),
		zap.Int64("under_way", n.work.Load()), zap.String("fix", explain.Of(explain.ShutdownForced).Fix))
}

func (n *Node) stopServing() {
	for _, c := range n.connections.all() {
		go c.close() // a TLS connection's may take seconds
	}
	n.serving.Wait()
}

// stopHTTP ends the http server, and waits for it and the janitor.
func (n *Node) stopHTTP() error {
	if n.http == nil {
		n.tasks.Wait()
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := n.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = n.http.Close()
	}
	n.tasks.Wait()
	return err
}

// abandon undoes a start that failed half-way.
func (n *Node) abandon() error {
	n.isStopping.Store(true)
	for _, l := range slices.Concat(n.listeners, n.inner) {
		_ = l.Close() // the start's own error is the one to tell
	}
	err := n.stopHTTP()
	if n.disk != nil {
		err = errors.Join(err, n.disk.Close())
	}
	return err
}

// holdings asks the machines what they hold, for a scrape.
func (n *Node) holdings() metrics.Holdings {
	const patience = 500 * time.Millisecond
	if !n.recovered.Load() {
		return metrics.Holdings{}
	}
	h := metrics.Holdings{LoopQueue: int64(n.loop.inputs.len() + n.loop.others.len()), StorageQueue: int64(n.storage.turns.len())}
	n.loop.look(func(b *broker.Broker) {
		h.Topics, h.Partitions = int64(b.TopicCount()), int64(b.PartitionCount())
		h.OfflinePartitions, h.ParkedFetches = int64(b.OfflineCount()), int64(b.ParkedFetchCount())
		h.Groups, h.GroupMemoryBytes = int64(b.GroupCount()), b.GroupMemoryBytes()
	}, patience)
	n.storage.look(func(e *storage.Engine) {
		s := e.Stats()
		h.JournalBytes, h.SinceCheckpointBytes = s.JournalBytes, s.SinceCheckpoint
		h.Segments, h.OpenFiles = int64(s.SegmentCount), int64(s.OpenFileCount)
		h.StagedAppends, h.StagedBytes = int64(s.StagedCount), s.StagedBytes
	}, patience)
	return h
}

// addresses is where the node is reached.
type addresses struct {
	kafka, quic, http net.Addr
	nodes             net.Addr
	certificate       string // the PEM file that QUIC clients trust
}
