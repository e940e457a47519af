// Package workload holds the simulator's client programs: what users of a cluster would do, written as
// machines without I/O over the client machines that we ship.
//
// A load is a group of programs with topics of their own. Each program owns one or more client machines
// (Line) and is woken at times of its own choosing; the driver carries out what the machines want. Every
// operation goes into a check.History: called, and returned with what the client was told. Every value
// produced is unique, and can be verified on its own.
//
//	log        producers of all kinds, consumers that rewind, fetch sessions, a tailer that asks for ends and times; on
//	           several nodes at times somebody who moves replicas, or a surge of ten times as much
//	retention  the same on topics that remove old segments
//	keep       the same on topics whose records are deleted, whose configurations change, beside one that grows
//	admin      create, describe, delete and recreate names that several clients fight over
//	rebirth    (part of admin) one client's topic, deleted and recreated under the same name with new records
//	odd        requests in order and out of it: zombies, gaps, repeated batches, topics that nobody made
//	group      consumer groups: members that come, go, crash and fall silent, and offsets committed by all of them
//	near       a log of which readers say in which rack they are, and read from replicas there
//	unclean    a log for which a leader that lacks something is better than none, and an operator who asks for elections
//	voters     an operator who adds nodes to those that vote, and removes others
//	hostile    frames that no client should send
//
// Invariants:
//
//  1. A program asks for nothing new once it is settled and what it still needs has been answered.
//  2. An operation whose outcome is not certain is Info and never returns; its machine may go on.
package workload

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/sim/check"
	"github.com/weirmq/weir/sim/draw"
)

// Line is one machine of a program. A program that gives a machine up puts another in its place and
// counts Life up; the driver then breaks the old one's connections.
type Line struct {
	Machine client.Machine
	Out     client.Out
	Life    uint64
}

// Program is one client process.
type Program interface {
	Name() string
	Lines() []*Line
	// After looks at what a line's machine reported. It is called after every input to the machine.
	After(now model.Time, line *Line)
	// Wake does what the program wanted to do at WakeAt; 0 is never.
	Wake(now model.Time)
	WakeAt() model.Time
	// Settle says that all faults are healed: see through what is open, do a last bit, and stop.
	Settle(now model.Time)
	// Waiting says what keeps the program from being done; "" when it is.
	Waiting() string
}

// Spec is what a load is made of; see sim.Load.
type Spec struct {
	ID         int64
	Kind       string
	Clients    int
	Topics     int
	Partitions int
	ValueBytes int
	Gap        model.Time
	Records    int
	Codec      int
	Linger     model.Time
	Replicas   int // of each partition; 0: one on every node
	InSyncMin  int // min.insync.replicas; 0: as the broker has it
	// SurgeFrom and SurgeUntil are between when producers send ten times as much; 0: never.
	SurgeFrom, SurgeUntil model.Time
	// Addrs are the nodes. With several, what is not acknowledged by all that are in sync may be lost with a leader.
	Addrs []string
	// Calm promises that there are no faults: timeouts are generous, and nothing may fail.
	Calm bool
	// Silent is when producers stop writing until they are told to settle; 0: they do not stop.
	Silent model.Time
}

// World is what programs are given by the simulator.
type World struct {
	Root    draw.Seed
	History *check.History
	// Fail reports a violation that a client can see by itself.
	Fail func(oracle, detail string)
	// Excused reports whether a fault may have taken a topic's partition.
	Excused func(topic string, partition int32) bool
	// Forget says that brokers soon forget producers that are silent: then nothing is promised of retries.
	// AutoCreate says that they make topics that are asked for.
	Forget, AutoCreate bool
	// Hostile counts malformed requests that were sent, Voted changes of the voters that were carried out, and Near reads from a
	// replica that a leader sent a reader to.
	Hostile, Voted, Near func()
	// Surged counts bursts that came in a surge.
	Surged func()
	// Wall is the time of day at a simulated time, right as clients' clocks are not.
	Wall func(now model.Time) model.Timestamp
	// processes counts them all, so that every program has its own numbers.
	processes int64
}

// group is what the programs of a load share.
type group struct {
	*World
	spec    Spec
	topics  []string
	configs []client.TopicConfig
	created int // topics known to exist
	// keep is false when retention may remove records.
	keep      bool
	ends      map[check.Key]int64 // after the last acknowledged record
	moved     bool                // somebody moves replicas: a leader may go that nothing has happened to
	producers []*producer
	// Lookups are answers to questions for times, to be compared with the final state.
	lookups []Lookup
}

// Lookup is an answer to which record is the first at or after a time, or where the partition ends. The end
// is asked for before and after the times.
type Lookup struct {
	Key       check.Key
	Timestamp model.Timestamp
	Offset    model.Offset
	Found     model.Timestamp
}

// Load is one workload.
type Load struct {
	Programs []Program
	group    *group
}

// Topics lists the topics whose final state is to be judged by their records.
func (l *Load) Topics() []string {
	if l.group.spec.Kind == "admin" {
		return nil
	}
	return l.group.topics
}

// Moved reports whether an operator has others lead the load's partitions.
func (l *Load) Moved() bool { return l.group.moved }

// Partitions is how many each topic has.
func (l *Load) Partitions() int { return l.group.spec.Partitions }

// Lookups are the answers about times that nothing was written after.
func (l *Load) Lookups() []Lookup { return l.group.lookups }

// New makes the programs of a load.
func New(w *World, spec Spec) (*Load, error) {
	g := &group{World: w, spec: spec, ends: map[check.Key]int64{}, keep: true}
	l := &Load{group: g}
	switch spec.Kind {
	case "log", "retention", "keep", "near", "unclean":
		for t := range spec.Topics {
			g.topics = append(g.topics, fmt.Sprintf("%s%d-%d", spec.Kind, spec.ID, t))
		}
		r := w.Root.Stream("load.topics", uint64(spec.ID))
		if spec.Kind == "retention" {
			g.keep = false
			g.configs = []client.TopicConfig{
				{Name: "segment.bytes", Value: fmt.Sprint(r.LogUniform(1024, 16384))},
				{Name: "retention.bytes", Value: fmt.Sprint(r.LogUniform(1, 65536))},
			}
			if r.Percent(30) {
				g.configs[1] = client.TopicConfig{Name: "retention.ms", Value: fmt.Sprint(r.LogUniform(50, 5000))}
			}
		}
		if spec.Kind == "unclean" {
			g.keep = false // where uncleanly elected leaders begin again
			// Half of them leave it to an operator.
			if r.Percent(50) {
				g.configs = append(g.configs, client.TopicConfig{Name: "unclean.leader.election.enable", Value: "true"})
			}
			g.moved = true
			l.Programs = append(l.Programs, newElector(g))
		}
		if spec.Kind == "keep" {
			g.keep = false
			l.Programs = append(l.Programs, newKeeper(g), newKeeper(g))
		}
		if r.Percent(25) {
			g.configs = append(g.configs, client.TopicConfig{Name: "message.timestamp.type", Value: "LogAppendTime"})
		}
		if spec.InSyncMin > 0 {
			g.configs = append(g.configs, client.TopicConfig{Name: "min.insync.replicas", Value: fmt.Sprint(spec.InSyncMin)})
		}
		l.Programs = append(l.Programs, newSetup(g))
		for range spec.Clients {
			p := newProducer(g)
			g.producers = append(g.producers, p)
			l.Programs = append(l.Programs, p)
		}
		for range max(1, spec.Clients/2) {
			l.Programs = append(l.Programs, newConsumer(g))
		}
		l.Programs = append(l.Programs, newTailer(g))
		if spec.Kind == "log" && len(spec.Addrs) == 1 && r.Percent(60) { // it asks one node only
			l.Programs = append(l.Programs, newPoller(g))
		}
		if spec.Kind == "near" {
			l.Programs = append(l.Programs, newNeighbour(g), newNeighbour(g))
		}
		if spec.Kind == "log" && g.several() && w.Root.Stream("load.moves", uint64(spec.ID)).Percent(40) {
			g.moved = true
			l.Programs = append(l.Programs, newMover(g))
		}
	case "admin":
		for t := range max(2, spec.Topics) {
			g.topics = append(g.topics, fmt.Sprintf("admin%d-%d", spec.ID, t))
		}
		for range spec.Clients {
			l.Programs = append(l.Programs, newAdmin(g))
		}
		l.Programs = append(l.Programs, newRebirth(g))
	case "odd":
		g.topics = []string{fmt.Sprintf("odd%d-0", spec.ID)}
		l.Programs = append(l.Programs, newSetup(g))
		for range spec.Clients {
			l.Programs = append(l.Programs, newOdd(g))
		}
		l.Programs = append(l.Programs, newInventor(g))
	case "group":
		g.topics = []string{fmt.Sprintf("group%d-0", spec.ID)}
		l.Programs = append(l.Programs, newSetup(g))
		for n := range max(1, spec.Topics) {
			c := newCrew(g, n)
			for range spec.Clients {
				l.Programs = append(l.Programs, newMember(g, c))
			}
		}
		if !spec.Calm {
			l.Programs = append(l.Programs, newCrowd(g))
		}
		for range 2 {
			l.Programs = append(l.Programs, newSolo(g, fmt.Sprintf("solo%d", spec.ID)))
		}
	case "voters":
		l.Programs = append(l.Programs, newRegistrar(g))
	case "hostile":
		g.topics = []string{fmt.Sprintf("hostile%d-0", spec.ID)}
		g.spec.Partitions = 1 // a turned bit must not send a good batch where nobody expects it
		l.Programs = append(l.Programs, newSetup(g))
		for range spec.Clients {
			l.Programs = append(l.Programs, newHostile(g))
		}
	default:
		return nil, fmt.Errorf("there is no workload %q", spec.Kind)
	}
	return l, nil
}

// replicas is how many each partition has.
func (g *group) replicas() int16 {
	if g.spec.Replicas > 0 {
		return int16(g.spec.Replicas)
	}
	return int16(len(g.spec.Addrs))
}

// several reports whether there are several nodes: what one tells of the metadata may be behind what another did.
func (g *group) several() bool { return len(g.spec.Addrs) > 1 }

// process hands out a number.
func (w *World) process() int64 {
	w.processes++
	return w.processes
}

// begin records that an operation was called. It returns the operation's place in the history.
func (g *group) begin(op check.Op) int {
	op.Outcome, op.Return, op.Offset = check.Info, check.Never, max(op.Offset, -1)
	g.History.Ops = append(g.History.Ops, op)
	return len(g.History.Ops) - 1
}

// end records how an operation returned. An operation of unknown outcome does not return.
func (g *group) end(at int, now model.Time, how client.Outcome) *check.Op {
	op := &g.History.Ops[at]
	op.Code = how.Code
	switch {
	case how.OK():
		op.Outcome, op.Return = check.OK, int64(now)
	case how.Definite:
		op.Outcome, op.Return = check.Fail, int64(now)
	}
	if g.spec.Calm && !how.OK() {
		g.Fail("calm", fmt.Sprintf("without any fault: %s: %v code %d %s", op, how.Reason, how.Code, how.Message))
	}
	return op
}

// timeouts draws a client's patience.
func (g *group) timeouts(c *client.Config, r *draw.Stream) {
	c.ClientID = "simulated"
	c.Seed = r.Uint64()
	c.MetadataAgeMax = 5 * second
	if g.spec.Calm {
		return
	}
	c.RequestTimeout = model.Time(r.LogUniform(int64(200*millisecond), int64(5*second)))
	c.DialTimeout = model.Time(r.LogUniform(int64(100*millisecond), int64(2*second)))
	c.RetryBackoff = model.Time(r.LogUniform(int64(5*millisecond), int64(100*millisecond)))
	c.RetryBackoffMax = max(c.RetryBackoff, 500*millisecond)
}

const (
	millisecond = model.Time(1_000_000)
	second      = 1000 * millisecond
)

// valueMin is the size of a value's number and checksum.
const valueMin = 16

// fillValue is the value of a number: the number, a checksum and a filling that the number determines,
// so that whoever reads it can tell whether it is whole.
func fillValue(number int64, bytesMax int) []byte {
	s := draw.Seed(number).Stream("value", 0)
	b := make([]byte, valueMin+int(s.LogUniform(1, int64(max(1, bytesMax))))-1)
	if s.Percent(50) {
		s.Fill(b[valueMin:])
	} else {
		for i := valueMin; i < len(b); i++ {
			b[i] = byte('a' + (i+int(number))%7) // compresses well
		}
	}
	binary.BigEndian.PutUint64(b, uint64(number))
	binary.BigEndian.PutUint64(b[8:], xxhash.Sum64(b[valueMin:])^uint64(number))
	return b
}

// readValue is the number of a value; false if the value is not what was written.
func readValue(b []byte) (int64, bool) {
	if len(b) < valueMin {
		return 0, false
	}
	number := binary.BigEndian.Uint64(b)
	return int64(number), binary.BigEndian.Uint64(b[8:]) == xxhash.Sum64(b[valueMin:])^number
}

// ReadValue is readValue for the final comparison.
func ReadValue(b []byte) (number int64, ok bool) { return readValue(b) }
