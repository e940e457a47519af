package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// Plan is everything about a run that chance decides beforehand: sizes, knobs, clients and every fault
// with its time. It is data: print it with String, edit it, read it back with ParsePlan. What chance decides
// during the run is drawn from Seed per site and entity (package draw), so a plan with one fault less
// leaves the rest as it was.
type Plan struct {
	Seed  uint64
	Mode  Mode
	Until model.Time // the fault phase ends and everything heals
	// Settle is how long after Until all that was asked may take to complete.
	Settle    model.Time
	EventsMax int64
	// Silent is when producers stop writing until all replicas agree once more, which they must without anything new being
	// written: what is only made up for by the next record would be hidden by it. 0: they do not stop.
	Silent model.Time

	Knobs   Knobs
	Net     NetPlan
	Disk    DiskPlan
	Nodes   []NodePlan
	Loads   []Load
	Strikes []Strike
}

// Mode names a size and an intensity of plan.
type Mode string

// The modes.
const (
	Lite  Mode = "lite"  // one node, seconds of simulated time, thousands of seeds
	Swarm Mode = "swarm" // longer, more clients, more of everything; one node, or a cluster
	Calm  Mode = "calm"  // lite without any fault: then nothing may fail or be retried
	// Cluster is one to seven nodes, each a broker and most of them voters, and what happens between them.
	Cluster Mode = "cluster"
)

// Modes lists the modes.
func Modes() []Mode { return []Mode{Lite, Swarm, Calm, Cluster} }

// seedsMany are enough for what happens in one of a hundred.
const seedsMany = 300

// MarksOf lists the rare paths that a fleet of so many seeds of a mode must take.
func MarksOf(mode Mode, seeds int) []effect.Mark {
	switch mode {
	case Calm:
		return []effect.Mark{effect.MarkFetchParked, effect.MarkFetchWoken, effect.MarkFetchTimedOut}
	case Cluster:
		often := []effect.Mark{
			effect.MarkProduceDuplicate, effect.MarkProduceOutOfOrder, effect.MarkProduceEpochBumped, effect.MarkProduceUnknownProducer,
			effect.MarkProduceParkedTwice, effect.MarkProduceTimedOut, effect.MarkFetchParked, effect.MarkFetchWoken, effect.MarkFetchTimedOut,
			effect.MarkDiskFullRefused, effect.MarkRetentionAdvanced, effect.MarkRebalance, effect.MarkGroupsLoaded,
			effect.MarkMetadataImage, effect.MarkFollowerTruncated, effect.MarkBrokerFenced, effect.MarkLeaseOver, effect.MarkInternalEnsured,
		}
		if seeds >= seedsMany {
			often = append(often, effect.MarkFollowerStartedAnew, effect.MarkMetadataTruncated, effect.MarkIneligibleReplica,
				effect.MarkCoordinatorRefused, effect.MarkCommitFenced, effect.MarkGroupFull, effect.MarkMemberExpired, effect.MarkStaticRejoin,
				effect.MarkObserverImaged, effect.MarkVoterImaged, effect.MarkDiskReplaced, effect.MarkVoterJoins, effect.MarkVoterReplaced,
				effect.MarkReassigned, effect.MarkUncleanElection, effect.MarkReplicaDropped)
		}
		return often
	case Lite, Swarm:
	}
	all := make([]effect.Mark, 0, effect.MarkCount)
	for m := range effect.MarkCount {
		if !slices.Contains(amongNodes, m) || mode == Swarm && seeds >= seedsMany && slices.Contains(MarksOf(Cluster, seeds), m) {
			all = append(all, m)
		}
	}
	return all
}

// amongNodes are the marks of what happens between nodes only, which modes of one node have not.
var amongNodes = []effect.Mark{
	effect.MarkFollowerTruncated, effect.MarkFollowerStartedAnew, effect.MarkTruncatedBelowWatermark, effect.MarkMetadataTruncated,
	effect.MarkBrokerFenced, effect.MarkDiskReplaced, effect.MarkControlledShutdown, effect.MarkIneligibleReplica, effect.MarkReassigned,
	effect.MarkUncleanElection, effect.MarkVoterJoins, effect.MarkVoterReplaced, effect.MarkLeaseOver, effect.MarkObserverImaged,
	effect.MarkReplicaGivenUp, effect.MarkReplicaAlone, effect.MarkReplicaDropped, effect.MarkVoterImaged, effect.MarkInternalEnsured,
}

// Knobs are the product's settings, small enough that everything rolls over within seconds.
type Knobs struct {
	JournalFileBytes   int64
	JournalBlockBytes  int64
	CheckpointBytes    int64
	InPlaceBytesMin    int64 // 0: never
	Regions            bool  // fetches are answered with file regions
	OpenFilesMax       int64
	SegmentBytes       int64
	IndexIntervalBytes int64
	RetentionCheck     model.Time
	ProducerExpiryMs   int64
	DefaultPartitions  int64
	AutoCreate         bool
	GroupDelay         model.Time // group.initial.rebalance.delay.ms
	GroupLogBytes      int64      // how large a coordinator's log may grow before it is rewritten
	ImagePieceBytes    int64      // how much of an image of the metadata is moved in a call; 0: as much as the product does
	// A node's loop and its I/O turn start so long after there is something to do, on average: other
	// interleavings of the same inputs.
	LoopDelay model.Time
	IODelay   model.Time
}

// NetPlan is the network's everyday behaviour; faults come on top.
type NetPlan struct {
	DelayMin       model.Time
	DelayMean      model.Time // added, exponentially distributed
	SegmentPercent int64      // of writes, which arrive in pieces
	BytesPerSecond int64      // of one direction of one connection; 0: unlimited
	// Between nodes, what is added to all delays, and how many bytes a second a connection carries at most; 0: as many as others.
	NodeDelay          model.Time
	NodeBytesPerSecond int64
}

// DiskPlan is a disk's everyday behaviour.
type DiskPlan struct {
	OpMean   model.Time
	SyncMin  model.Time
	SyncMean model.Time
}

// NodePlan is what sets one machine apart: its clocks.
type NodePlan struct {
	ID            int64
	WallOffset    model.Time
	WallDriftPPM  int64
	ClockDriftPPM int64
	Observer      int64 // 1: it does not vote
	Rack          int64 // 0: none
}

// Load is one workload with its own topics.
type Load struct {
	ID         int64
	Kind       string // a workload's name: see package workload
	Clients    int64
	Topics     int64
	Partitions int64
	ValueBytes int64      // greatest size of a record's value
	Gap        model.Time // mean time between a client's operations
	Records    int64      // greatest number of records in a batch
	Codec      int64      // 0 to 4 as on the wire, or -1: each batch draws one
	Linger     model.Time
	Replicas   int64 // of each partition; 0: one on every node
	InSyncMin  int64 // min.insync.replicas; 0: as the broker has it
	// From Surge on, for SurgeFor, producers send ten times as much; 0: never.
	Surge, SurgeFor model.Time
}

// Strike is one fault at one time. Which fields matter depends on the kind.
type Strike struct {
	ID   int64
	Kind Fault
	At   model.Time
	For  model.Time // how long it lasts; how long a node stays down
	Node int64      // 0: all

	Ops     int64      // crash, power: strike inside the n-th disk operation from At on; 0: at once
	Again   int64      // crash, power: kill recovery inside its n-th disk operation; 0: do not
	Flips   int64      // crash, power: bits that flip while the node is down
	Zeroed  int64      // crash, power: places in files that are zeros after it
	Short   int64      // crash, power: files that are cut short while the node is down
	Removed int64      // crash, power: files that are removed while the node is down
	Percent int64      // reset, blackhole, clog: of connections; partition: of those that kept something, lost at its end
	Late    model.Time // reset: how late the dead connection's bytes may still arrive
	Room    int64      // disk-full: bytes left
	Mean    model.Time // disk-slow: mean of an operation
	By      model.Time // wall-step: how far
	Times   int64      // slow-node: how many times as long everything takes
	Whole   bool       // wipe: not before every replica is in sync again, and not at all if that is never so
	Evict   bool       // sync-error: failed pages are read back after a restart
	Cuts    string     // partition: the directions in which nothing arrives, such as 1>2,2>1; 0 is where clients are
}

// harmsMax bounds how often one strike damages a disk.
const harmsMax = 1000

// harms are the kinds of damage that a strike does to a disk, one for each time.
func (s *Strike) harms() (all []Fault) {
	for _, h := range []struct {
		kind  Fault
		count int64
	}{{FaultBitFlip, s.Flips}, {FaultZeroed, s.Zeroed}, {FaultShortened, s.Short}, {FaultRemoved, s.Removed}} {
		for range h.count {
			all = append(all, h.kind)
		}
	}
	return all
}

// Has reports whether the plan can make a fault happen at all, so that a fleet knows what to expect.
func (p *Plan) Has(f Fault) bool {
	for _, s := range p.Strikes {
		switch {
		case s.Kind == f:
			return true
		case slices.Contains(s.harms(), f), f == FaultCrashInOp && s.Ops > 0, f == FaultCrashAgain && s.Again > 0:
			return true
		case f == FaultOneWay && s.Kind == FaultPartition:
			ds, _ := parseDirections(s.Cuts)
			return slices.ContainsFunc(ds, func(d direction) bool { return !slices.Contains(ds, direction{d.to, d.from}) })
		case f == FaultWipeMore && s.Kind == FaultWipe && s.Whole:
			return true
		case f == FaultLateDelivery && s.Late > 0, s.Kind == FaultPower && (f == FaultTornPage || f == FaultNameLost):
			return true
		}
	}
	switch f {
	case FaultSegment:
		return p.Net.SegmentPercent > 0
	case FaultBandwidth:
		return p.Net.BytesPerSecond > 0 || p.Net.NodeBytesPerSecond > 0 && p.clustered()
	case FaultFar:
		return p.Net.NodeDelay > 0 && p.clustered()
	case FaultVoters:
		return p.has("voters")
	case FaultNear:
		return p.has("near")
	case FaultSurge:
		return slices.ContainsFunc(p.Loads, func(l Load) bool { return l.SurgeFor > 0 })
	case FaultUnclean:
		return p.has("unclean")
	case FaultClockRate:
		return slices.ContainsFunc(p.Nodes, func(n NodePlan) bool { return n.WallDriftPPM != 0 || n.ClockDriftPPM != 0 })
	case FaultHostile:
		return p.has("hostile")
	default: // a strike or a part of one: none asks for it
		return false
	}
}

// has reports whether there is a workload.
func (p *Plan) has(kind string) bool {
	return slices.ContainsFunc(p.Loads, func(l Load) bool { return l.Kind == kind })
}

// clustered reports whether there are several nodes: then there are replicas, somebody can be cut off, and others go on.
func (p *Plan) clustered() bool { return len(p.Nodes) > 1 }

// nodesMax bounds a cluster.
const nodesMax = 7

func ascending(nodes []NodePlan) bool {
	for i, n := range nodes {
		if n.ID < 1 || n.ID > nodesMax || i > 0 && n.ID <= nodes[i-1].ID {
			return false
		}
	}
	return true
}

// validate refuses plans that make no sense, wherever they came from.
func (p *Plan) validate() error {
	switch {
	case !slices.Contains(Modes(), p.Mode):
		return fmt.Errorf("plan: unknown mode %q", p.Mode)
	case p.Until <= 0 || p.Settle <= 0 || p.EventsMax <= 0:
		return fmt.Errorf("plan: until, settle and events_max must be positive")
	case p.Silent < 0 || p.Silent > p.Until:
		return fmt.Errorf("plan: silent is within the fault phase")
	case p.Until > model.Time(24*time.Hour) || p.Settle > model.Time(24*time.Hour):
		return fmt.Errorf("plan: until and settle are a day at most")
	case p.Mode != Cluster && p.Mode != Swarm && p.clustered():
		return fmt.Errorf("plan: mode %s is of one node, not %d", p.Mode, len(p.Nodes))
	case len(p.Nodes) < 1 || len(p.Nodes) > nodesMax || !ascending(p.Nodes):
		return fmt.Errorf("plan: 1 to %d nodes, by ascending id from 1 to %d", nodesMax, nodesMax)
	case p.Nodes[0].Observer != 0:
		return fmt.Errorf("plan: the first node votes")
	case p.Knobs.JournalFileBytes < 4096 || p.Knobs.JournalBlockBytes < 512 || p.Knobs.OpenFilesMax < 1 || p.Knobs.RetentionCheck < ms || p.Knobs.ProducerExpiryMs < 1 || p.Knobs.SegmentBytes < 128 || p.Knobs.IndexIntervalBytes < 1 || p.Knobs.CheckpointBytes < 1:
		return fmt.Errorf("plan: a knob is too small")
	case p.Knobs.SegmentBytes > 1<<30 || p.Knobs.JournalFileBytes > 1<<30:
		return fmt.Errorf("plan: a knob is too large")
	case p.Knobs.DefaultPartitions < 1 || p.Knobs.DefaultPartitions > 100:
		return fmt.Errorf("plan: default_partitions is 1 to 100")
	case p.Knobs.GroupDelay < 0 || p.Knobs.GroupDelay > sc*60 || p.Knobs.GroupLogBytes < 0 || p.Knobs.ImagePieceBytes < 0 || p.Knobs.ImagePieceBytes > 1<<30:
		return fmt.Errorf("plan: group_delay is up to a minute, and group_log_bytes and image_piece_bytes not negative")
	case p.Knobs.LoopDelay < 0 || p.Knobs.IODelay < 0 || p.Net.DelayMin < 0 || p.Net.DelayMean < 0 || p.Disk.OpMean < 0 ||
		p.Disk.SyncMin < 0 || p.Disk.SyncMean < 0 || p.Net.BytesPerSecond < 0 || p.Net.NodeDelay < 0 || p.Net.NodeBytesPerSecond < 0:
		return fmt.Errorf("plan: a delay or a rate is negative")
	}
	for _, l := range p.Loads {
		if l.Clients < 1 || l.Clients > 1000 || l.Topics < 1 || l.Topics > 1000 || l.Partitions < 1 || l.Partitions > 1000 ||
			l.ValueBytes < 0 || l.ValueBytes > 1<<26 || l.Records < 1 || l.Records > 1<<20 || l.Gap <= 0 || l.Codec < -1 || l.Codec > 4 || l.Linger < 0 ||
			l.Replicas < 0 || l.Replicas > int64(len(p.Nodes)) || l.InSyncMin < 0 || l.InSyncMin > int64(len(p.Nodes)) || l.Surge < 0 || l.SurgeFor < 0 {
			return fmt.Errorf("plan: load %d is out of bounds", l.ID)
		}
	}
	for _, s := range p.Strikes {
		if !s.Kind.strikes() {
			return fmt.Errorf("plan: strike %d: %s is not a fault that strikes at a time", s.ID, s.Kind)
		}
		if s.At < 0 || s.For < 0 || s.Ops < 0 || s.Again < 0 || s.Flips < 0 || s.Zeroed < 0 || s.Short < 0 || s.Removed < 0 || s.Flips+s.Zeroed+s.Short+s.Removed > harmsMax || s.Percent < 0 || s.Percent > 100 || s.Late < 0 || s.Room < 0 || s.Mean < 0 || s.Times < 0 || s.Times > 1_000_000 {
			return fmt.Errorf("plan: strike %d is out of bounds", s.ID)
		}
		if s.Kind == FaultPartition {
			if _, err := parseDirections(s.Cuts); err != nil {
				return fmt.Errorf("plan: strike %d: %w", s.ID, err)
			}
		}
	}
	return nil
}
