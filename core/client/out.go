package client

import (
	"github.com/weirmq/weir/core/model"
)

// ConnID names a connection of one machine. A machine never uses a number twice.
type ConnID uint64

// Out collects what a machine asks for and what it reports in one step. The zero value is ready to use;
// a driver resets and reuses it. Slices inside it are valid until the machine's next input.
type Out struct {
	Dials  []Dial   // connect; answered by Connected or Disconnected
	Sends  []Send   // write one whole request
	Closes []ConnID // close a connection; no Disconnected is expected, one does no harm
	Acks   []Ack    // outcomes of produced records
	Chunks []Chunk  // records that Poll took
	Events []Event  // what happened to a consumer's partitions
	// Answers are the outcomes of admin requests.
	Answers []Answer
	Notes   []Note // facts, for logs and traces

	handles []uint64 // what Acks' Handles are slices of
}

// Reset empties the set and keeps its memory.
func (o *Out) Reset() {
	clear(o.Sends)
	clear(o.Acks)
	clear(o.Chunks)
	clear(o.Answers)
	clear(o.Notes)
	o.Dials, o.Sends, o.Closes = o.Dials[:0], o.Sends[:0], o.Closes[:0]
	o.Acks, o.Chunks, o.Events = o.Acks[:0], o.Chunks[:0], o.Events[:0]
	o.Answers, o.Notes, o.handles = o.Answers[:0], o.Notes[:0], o.handles[:0]
}

// Dial asks for a connection. The driver answers with Connected, or with Disconnected when it cannot.
type Dial struct {
	Conn ConnID
	Addr string // "host:port", as a user or a broker wrote it
}

// Send asks for one request frame to be written, length prefix included. The bytes stay as they are until
// the request is answered or, on a connection that was lost or closed, for ever: the machine never
// reuses what a dead connection may still be writing.
type Send struct {
	Conn   ConnID
	Pieces [][]byte
	// Report asks for Written when the frame has been written: it gets no answer (AcksNone).
	Report bool
}

// SizeBytes is how long the frame is.
func (s *Send) SizeBytes() int {
	n := 0
	for _, p := range s.Pieces {
		n += len(p)
	}
	return n
}

// Reason says how something ended.
type Reason uint8

// The reasons. Only Refused comes with a code that a broker sent for this very request; the others
// carry the last code that was seen, if any, as a hint to the cause.
const (
	Done        Reason = iota // it succeeded
	Refused                   // a broker said no: see the code
	TimedOut                  // time was up before a broker could be made to answer
	Lost                      // the connection was lost and retrying was not allowed
	Closed                    // the client was closed first
	Unsupported               // the broker knows no version of the request that we know
	Malformed                 // the broker sent what does not follow the protocol
)

var reasonNames = [...]string{"done", "refused", "timed out", "connection lost", "closed", "unsupported", "malformed answer"}

// String names the reason.
func (r Reason) String() string { return reasonNames[r] }

// Outcome is how an operation ended. The zero value is success.
type Outcome struct {
	Reason Reason
	Code   int16 // Kafka's error code, 0 if none is known
	// Definite, on a failure, means that the operation certainly had no effect and never will. Without
	// it the effect may be there, or may still appear.
	Definite bool
	Message  string // a broker's own words, often empty
}

// OK reports success.
func (o Outcome) OK() bool { return o.Reason == Done }

// Note is a fact for people: logs, traces, metrics. No machine reads one.
type Note struct {
	Kind   NoteKind
	Conn   ConnID
	Node   model.NodeID
	Topic  string
	Code   int16
	Count  int64
	Detail string
}

// NoteKind says what happened.
type NoteKind uint8

// The kinds of notes.
const (
	NoteConnected       NoteKind = iota + 1 // a connection is ready; Detail: address
	NoteConnectionLost                      // Detail: why
	NoteMetadataUpdated                     // Count: topics
	NoteProducerID                          // Count: the producer id
	NoteBatchRetried                        // Code: why; Count: records
	NoteBatchFailed                         // Code: why; Count: records
	NoteBatchSplit                          // Count: records
	NoteEpochBumped                         // a partition's sequences begin anew; Count: the epoch
	NoteOffsetReset                         // a consumer's position was out of range; Count: the new one
	NoteTopicRecreated                      // a name has a new id
	noteKindCount
)

var noteNames = [noteKindCount]string{
	NoteConnected: "connected", NoteConnectionLost: "connection_lost", NoteMetadataUpdated: "metadata_updated",
	NoteProducerID: "producer_id", NoteBatchRetried: "batch_retried", NoteBatchFailed: "batch_failed",
	NoteBatchSplit: "batch_split", NoteEpochBumped: "epoch_bumped", NoteOffsetReset: "offset_reset",
	NoteTopicRecreated: "topic_recreated",
}

// String is the note's name in logs and traces.
func (k NoteKind) String() string {
	if k == 0 || k >= noteKindCount {
		return "unknown"
	}
	return noteNames[k]
}
