// Package effect is everything that the core can ask of the world, and everything the world reports back.
//
// A machine is stepped with an input and a Set; it appends what it wants done to the Set and returns.
// The driver (node in production, sim in simulation) carries the Set out, then resets and reuses it.
// What takes time comes back as Completions in a later event.
//
// Invariants:
//
//  1. Effects are independent. Only effects on one log, and calls of one lane to one node, are carried out in
//     the order emitted; the simulator shuffles the rest. A reply that must wait for a write is emitted when the write's
//     completion has come back, never beside the write.
//  2. Bytes in an effect are immutable from the moment they are emitted. The only exception is the
//     storage engine, which stamps a batch's offset and leader epoch (and, on log-append-time topics,
//     its time) once, on the way to the disk.
//  3. Nothing in a Set points at a machine's own mutable state.
//
// Deliberately absent: timers (a machine states its Deadline), logging (machines emit Notes), and
// anything that names a socket or a file.
package effect

import (
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
)

// Set collects the effects of one step. The zero value is ready to use.
type Set struct {
	Truncates []Truncate // drop the end of a log; reported by Truncated
	StartAts  []StartAt  // drop a whole log; reported by Truncated
	Appends   []Append   // write these batches, behind what the set truncates; reported by Appended
	Reads     []Read     // resolve these ranges and reply with them
	Lookups   []Lookup   // find an offset by time; reported by LookedUp
	Scans     []Scan     // read a piece of a log for a machine; reported by Scanned
	Opens     []Open     // a partition exists here from now on, with this configuration
	Deletes   []Delete   // a partition is gone; reported by Deleted
	Retains   []Retain   // apply a partition's retention; reported by Retained
	Produced  []Produced // one partition's outcome of a produce request
	Replies   []Reply    // whole replies of every other kind
	Closes    []Close    // connections to be closed
	Calls     []Call     // ask other nodes; each is reported by one Answer
	Notes     []Note     // facts, for logs, metrics and traces
	Marks     Marks      // rare paths that this step took
}

// Reset empties the set and keeps its memory.
func (s *Set) Reset() {
	clear(s.Appends)
	clear(s.Reads)
	clear(s.Replies)
	clear(s.Closes)
	clear(s.Calls)
	clear(s.Opens)
	clear(s.Notes)
	s.Appends, s.Reads, s.Lookups = s.Appends[:0], s.Reads[:0], s.Lookups[:0]
	s.Truncates, s.StartAts, s.Scans = s.Truncates[:0], s.StartAts[:0], s.Scans[:0]
	s.Opens, s.Deletes, s.Retains = s.Opens[:0], s.Deletes[:0], s.Retains[:0]
	s.Produced, s.Replies, s.Notes = s.Produced[:0], s.Replies[:0], s.Notes[:0]
	s.Closes, s.Calls, s.Marks = s.Closes[:0], s.Calls[:0], Marks{}
}

// Empty reports whether nothing was asked for. Notes and marks do not count: they ask for nothing.
func (s *Set) Empty() bool {
	return len(s.Truncates)+len(s.StartAts)+len(s.Appends)+len(s.Reads)+len(s.Lookups)+len(s.Scans)+len(s.Opens)+len(s.Deletes)+
		len(s.Retains)+len(s.Produced)+len(s.Replies)+len(s.Closes)+len(s.Calls) == 0
}

// RequestID names one request of one connection: where a reply goes.
type RequestID struct {
	Conn    ConnID
	Request uint64 // counts a connection's requests from 0
}

// ConnID names a connection to this node, unique for the life of the process.
type ConnID uint64

// Append asks for one batch to be written and made durable. A follower appends what its leader has stamped, with
// the batch's own base offset and leader epoch: stamping changes nothing then. Batches may be pieces of one buffer.
type Append struct {
	Partition   model.TopicPartition
	BaseOffset  model.Offset
	LeaderEpoch model.LeaderEpoch
	// AppendTime, unless NoTimestamp, is stamped as the batch's time (message.timestamp.type=LogAppendTime).
	AppendTime model.Timestamp
	// HighWatermark is how far the log is known to be committed: the engine remembers it, as a lower bound for the next life.
	HighWatermark model.Offset
	// Attempt is echoed in a failed Appended: the machine counts it up whenever it has learnt of a
	// failure, so that it can tell the failures of appends that it had already given up.
	Attempt uint32
	// Batch is one record batch as the client sent it; the engine stamps it in place.
	Batch []byte
}

// Appended reports that everything of a partition below NextOffset is durable here, or that an append
// was refused. One successful Appended may stand for many Appends; every refused Append has its own.
//
// An append is refused, too, when its base offset is not the log's end: what was sent behind a refused
// append can never be written in its place.
type Appended struct {
	Partition  model.TopicPartition
	NextOffset model.Offset
	Failure    Failure
	Attempt    uint32 // of a refused Append
	// State is what the log really holds, staged appends included: a copy, with the first refusal of an attempt for
	// lack of space. Who asked learns of no other: it counts its attempts up then.
	State *log.State
}

// Read asks for ranges of logs to be resolved and sent as the reply to a fetch.
//
// A part's To may lie above what is durable, up to what the machine has asked to be appended: a leader serves its
// followers what it is making durable itself, and both sync at the same time. Such a batch is served once it is
// written, while its sync is under way, and exactly as it was written. Before that it could still be refused for
// lack of space, and another be given its offset: a read that finds nothing else waits for it.
type Read struct {
	To    RequestID
	Fetch *FetchReply
}

// FetchReply is the outcome of a fetch request. The broker fills everything but Records; the storage
// engine fills Records for the parts that have something to read.
type FetchReply struct {
	Code int16 // a top-level error; Parts is then empty
	// SessionID is the session that the reply belongs to or begins, 0 for none. An Incremental reply has only the
	// partitions about which there is something to tell, by name (KIP-227).
	SessionID   int32
	Incremental bool
	// BytesMax bounds the records of all parts together, filled in the order of Parts. It is soft: the first
	// batch of the whole reply is returned even if it is larger (KIP-74).
	BytesMax int32
	Parts    []FetchPart
}

// FetchPart is one partition's share of a FetchReply.
type FetchPart struct {
	Index int32 // which of the request's partitions this answers; -1 in an incremental reply
	Code  int16
	// TopicName is set in incremental replies if the session's requests name topics by name.
	TopicName string
	// OnlyRecords says that there is nothing to tell about the part but records: without any it is left out.
	OnlyRecords bool
	Partition   model.TopicPartition
	Leader      *Leader   // who leads, if the client was refused for not knowing
	Diverging   *EpochEnd // where the client's log parts from this one; nil if it does not
	Image       *ImageID  // to be fetched instead, by a replica whose records are gone; else nil
	// ReadReplica is a replica near the client, which it shall read from instead (KIP-392); nil: it is answered here.
	ReadReplica      *model.NodeID
	HighWatermark    model.Offset
	LastStableOffset model.Offset
	LogStartOffset   model.Offset
	// From and To bound the read: whole batches from the one that holds From, none that starts at or
	// after To. Equal bounds read nothing.
	From, To model.Offset
	// BytesMax bounds this part's records, softly as FetchReply's does.
	BytesMax int32
	Records  Records
}

// Leader is who leads a partition, and in which epoch (KIP-951).
type Leader struct {
	Broker Broker
	Epoch  model.LeaderEpoch
}

// Records is what a read found: bytes in memory, or runs of bytes in files, never both.
type Records struct {
	Bytes   []byte
	Regions []Region
}

// LenBytes is the records' size.
func (r Records) LenBytes() int {
	n := len(r.Bytes)
	for _, region := range r.Regions {
		n += region.Len()
	}
	return n
}

// Region is a run of bytes in a file that the transport sends by itself. The holder must Release it once.
type Region interface {
	Len() int
	// ReadAt copies from the region; off counts from its start.
	ReadAt(p []byte, off int64) (int, error)
	Release()
}

// Lookup asks for the first offset whose record is at or after a time, or for the record with the
// greatest time.
type Lookup struct {
	To        RequestID
	Index     int32
	Partition model.TopicPartition
	Timestamp model.Timestamp // MaxTimestamp asks for the greatest
	Limit     model.Offset    // ignore records at or after this offset: the high watermark
}

// MaxTimestamp in a Lookup asks for the record with the greatest timestamp (KIP-734).
const MaxTimestamp model.Timestamp = -3

// LookedUp answers a Lookup. Offset is NoOffset when no record qualifies.
type LookedUp struct {
	To        RequestID
	Index     int32
	Partition model.TopicPartition
	Offset    model.Offset
	Timestamp model.Timestamp
	Failure   Failure
}

// Scan asks for whole batches of a log from an offset on, for a machine that loads its state from them.
type Scan struct {
	Partition model.TopicPartition
	From      model.Offset
	// BytesMax bounds what one answer holds. It is soft: one batch is returned even if it is larger.
	BytesMax int32
}

// Scanned answers a Scan.
type Scanned struct {
	Partition model.TopicPartition
	From      model.Offset
	// Batches are whole batches, verified, the first of which holds From. It is empty at the end of the log.
	Batches []byte
	// Next is where the next Scan goes on: From if nothing was found.
	Next    model.Offset
	Failure Failure
}

// Open tells the storage engine that a partition exists here, or that its configuration changed.
// Opening what is open only changes the configuration.
type Open struct {
	Partition model.TopicPartition
	Config    LogConfig
}

// LogConfig is what storage needs to know of a topic's configuration. Kafka's names and meanings.
type LogConfig struct {
	SegmentBytes       int32
	SegmentMs          int64
	SegmentJitterMs    int64 // a segment's SegmentMs is less by up to this
	IndexIntervalBytes int32
	IndexBytesMax      int32 // of one index file of a segment; 0: unlimited
	RetentionMs        int64 // -1: for ever
	RetentionBytes     int64 // -1: unlimited
	// FlushMessages above 1 relaxes durability (flush.messages): an append is reported when it is written, and a
	// sync begins at the latest after so many messages, or FlushMs after the first of them (flush.ms). 0 or 1,
	// the default, and FlushMs 0 are a sync before every acknowledgement. See docs/GUARANTEES.md.
	FlushMessages, FlushMs int64
}

// Delete removes a partition's files for good.
type Delete struct{ Partition model.TopicPartition }

// Deleted reports that a partition's files are gone. If the disk was full they are not, and the log goes on from where it was
// last said to end: what was asked of it since, and Missing, has not happened.
type Deleted struct {
	Partition model.TopicPartition
	Failure   Failure
}

// Retain asks for a partition's old segments to be removed by its retention configuration. No record
// at or above HighWatermark is removed, and the engine remembers it as it does an Append's.
type Retain struct {
	Partition     model.TopicPartition
	HighWatermark model.Offset
	Wall          model.Timestamp
	// ProducerExpirationMs forgets producers that have not written for this long (producer.id.expiration.ms).
	ProducerExpirationMs int64
	// Below, unless 0, removes every record below it, whatever the configuration says (DeleteRecords). It is
	// at most HighWatermark.
	Below model.Offset
}

// Retained reports where a partition's log starts after a Retain: there is one for each. LogStartOffset is NoOffset
// when another Retain is under way and this one demanded no certain start.
type Retained struct {
	Partition      model.TopicPartition
	LogStartOffset model.Offset
	FreedBytes     int64
	Failure        Failure
}

// Damaged reports that bytes which had been made durable no longer check out. The partition is
// unusable here until it is deleted and filled anew from a peer, or an operator repairs it; they are never served.
type Damaged struct {
	Partition model.TopicPartition
	Detail    string
}

// Failure says why an operation did not happen. It is a value, not an error: machines compare it.
type Failure uint8

// The failures that a machine can tell apart.
const (
	OK       Failure = iota
	DiskFull         // refused before anything was written; may succeed later
	Broken           // the partition is damaged or its files cannot be used
	Missing          // the partition is not open here
)

// String names the failure.
func (f Failure) String() string {
	return [...]string{"ok", "disk full", "broken", "missing"}[f]
}

// Completions is what a turn of the storage engine reports. The zero value is ready to use.
type Completions struct {
	Appended  []Appended
	Truncated []Truncated // behind the Appended of the same log
	LookedUp  []LookedUp
	Scanned   []Scanned
	Deleted   []Deleted
	Retained  []Retained
	Damaged   []Damaged
	Notes     []Note
}

// Reset empties the completions and keeps their memory.
func (c *Completions) Reset() {
	clear(c.Notes)
	clear(c.Scanned)
	clear(c.Truncated)
	c.Scanned, c.Truncated = c.Scanned[:0], c.Truncated[:0]
	c.Appended, c.LookedUp, c.Deleted = c.Appended[:0], c.LookedUp[:0], c.Deleted[:0]
	c.Retained, c.Damaged, c.Notes = c.Retained[:0], c.Damaged[:0], c.Notes[:0]
}

// Empty reports whether there is nothing to deliver to the broker. Notes alone are nothing.
func (c *Completions) Empty() bool {
	return len(c.Appended)+len(c.Truncated)+len(c.LookedUp)+len(c.Scanned)+len(c.Deleted)+len(c.Retained)+len(c.Damaged) == 0
}

// Produced is one partition's outcome of a produce request.
type Produced struct {
	To             RequestID
	Index          int32 // which of the request's partitions this answers
	Code           int16
	BaseOffset     model.Offset
	AppendTime     model.Timestamp // NoTimestamp unless the topic stamps append times
	LogStartOffset model.Offset
	Message        string  // why it was refused, for people
	Leader         *Leader // who leads, if the client was refused for not knowing
}

// Reply answers a request that has one answer.
type Reply struct {
	To   RequestID
	Body Body
}

// Close ends a connection: the only way to tell a client that asked for no answers (Produce with acks=0)
// that something it sent was not taken. Answers on their way to it may be lost.
type Close struct {
	Conn  ConnID
	Cause string // for the log line
}

// Close asks for a connection to be closed. It is asked once, however many causes there are in a row.
func (s *Set) Close(conn ConnID, cause string) {
	if n := len(s.Closes); n > 0 && s.Closes[n-1].Conn == conn {
		return
	}
	s.Closes = append(s.Closes, Close{Conn: conn, Cause: cause})
}

// Body is the closed sum of reply bodies; reply.go lists them.
type Body interface{ body() }
