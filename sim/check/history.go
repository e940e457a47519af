// Package check judges histories: what clients asked, what they were told, and what was found in the end.
//
// It knows nothing of how a history came about. The simulator hands over its own; the black-box harness
// reads its processes' from JSON lines. A history is a list of operations with the times they were called
// and returned on one clock, all values unique. The checks:
//
//	Log     every partition, by offsets: lost, duplicated, changed, reordered, invented records
//	Places  linearizability of appends and of reads of the log's end, by the place each names
//	Window  the same by porcupine, on short histories: a second opinion on Places
//	Topics  linearizability of create, delete and describe, by porcupine
//	Offsets linearizability of committed offsets, by porcupine
//
// Each returns anomalies; none means that nothing was found. Inconclusive results are anomalies of the kind
// Undecided, never a pass.
//
// Who owns which partition when is judged where it is seen, by the members of workload. Deliberately absent:
// transactions, until there are some.
package check

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
)

// Outcome is how an operation ended.
type Outcome string

// The outcomes, in Jepsen's words.
const (
	OK   Outcome = "ok"
	Fail Outcome = "fail" // it certainly had no effect and never will
	Info Outcome = "info" // it may have had its effect, or may still have it
)

// Never is the return time of what did not return.
const Never int64 = math.MaxInt64

// The functions of operations.
const (
	Send     = "send"     // produce Values, in order, to one partition
	Poll     = "poll"     // fetch from a partition: Values at Offsets, and its high watermark as Tail
	Tail     = "tail"     // ask for the end of a partition
	Create   = "create"   // create a topic; Found says that it existed
	Delete   = "delete"   // delete a topic; !Found says that there was none
	Describe = "describe" // look a topic up
)

// Op is one operation of one process.
type Op struct {
	Process int64   `json:"proc"`
	F       string  `json:"f"`
	Call    int64   `json:"call"`
	Return  int64   `json:"return"` // Never if it did not
	Outcome Outcome `json:"type"`
	Code    int16   `json:"err,omitempty"`

	Topic     string `json:"topic"`
	TopicID   string `json:"id,omitempty"`
	Partition int32  `json:"partition"`

	// Values of a send are unique over the whole history. A producer's values grow in the order it sent them.
	Values []int64 `json:"values,omitempty"`
	// Producer, of a send, names who promised that its values stand once and in order; 0 if nobody did.
	Producer int64 `json:"producer,omitempty"`
	// Offset, of a send that is OK, is its first record's; -1 if unknown (acks=0).
	Offset int64 `json:"offset"`
	// From, of a poll, is the offset asked for; Offsets are those of Values.
	From    int64   `json:"from,omitempty"`
	Offsets []int64 `json:"offsets,omitempty"`
	Tail    int64   `json:"tail,omitempty"`
	// Node, of a question for a committed offset or a configuration, is who answered; 0 is unknown.
	Node int `json:"node,omitempty"`
	// Epoch, of a question for the end, is the leader's who answered; 0 and below are unknown or the first.
	Epoch int32 `json:"epoch,omitempty"`
	// Start, of a poll, is the log start offset that came with it.
	Start int64 `json:"start,omitempty"`

	Found      bool  `json:"found,omitempty"`
	Partitions int32 `json:"partitions,omitempty"`
}

// String is one line for reports.
func (o *Op) String() string {
	ret := "never"
	if o.Return != Never {
		ret = fmt.Sprint(o.Return)
	}
	s := fmt.Sprintf("proc %d %s %s/%d %s [%d, %s]", o.Process, o.F, o.Topic, o.Partition, o.Outcome, o.Call, ret)
	switch o.F {
	case Send:
		s += fmt.Sprintf(" values %v at %d", brief(o.Values), o.Offset)
	case Poll:
		s += fmt.Sprintf(" from %d offsets %v values %v tail %d start %d", o.From, brief(o.Offsets), brief(o.Values), o.Tail, o.Start)
	case Tail:
		s += fmt.Sprintf(" tail %d", o.Tail)
	case Commit, Committed:
		s += fmt.Sprintf(" offset %v", o.Values)
	default:
		s += fmt.Sprintf(" found %v id %s", o.Found, o.TopicID)
	}
	if o.Code != 0 {
		s += fmt.Sprintf(" code %d", o.Code)
	}
	return s
}

func brief(v []int64) string {
	if len(v) <= 6 {
		return fmt.Sprint(v)
	}
	return fmt.Sprintf("[%d %d .. %d] (%d)", v[0], v[1], v[len(v)-1], len(v))
}

// Key names a partition as clients see it.
type Key struct {
	Topic     string
	Partition int32
}

func (k Key) String() string { return fmt.Sprintf("%s/%d", k.Topic, k.Partition) }

// Final is what a partition held when everything had come to rest: every record from the log start
// offset to the high watermark. Damaged partitions could not be read, and said so; for them only what was
// read is judged.
type Final struct {
	Key     Key     `json:"key"`
	Start   int64   `json:"start"`
	End     int64   `json:"end"`
	Offsets []int64 `json:"offsets"`
	Values  []int64 `json:"values"`
	Damaged bool    `json:"damaged,omitempty"`
	// BeganAnew is the greatest offset at which a replica began with an empty log. It does not know whose records are gone before
	// it: should it lead, it may take the retry of one of those for new.
	BeganAnew int64 `json:"began_anew,omitempty"`
}

// History is what a run did and what it left.
type History struct {
	Ops    []Op
	Finals []Final
	// Leaderships are those that have ended, if that is known, and StaleMax says for how long a leader whose time is over
	// may still tell readers what it knows.
	Leaderships []Leadership
	StaleMax    int64
	// Unclean are the partitions that somebody has come to lead who may have lacked what was acknowledged, because that was asked
	// for: of those it is only judged that nothing was made up, and that offsets are dense in the end.
	Unclean map[Key]bool
	// Lags says that nodes describe topics from what they know, which may be behind.
	Lags bool
}

// Leadership is one epoch of a partition, and when it was over: the leader may not have known.
type Leadership struct {
	Key   Key
	Node  int
	Epoch int32
	Until int64
}

// Anomaly is one broken promise.
type Anomaly struct {
	Kind   string
	Detail string
}

// Undecided is the kind of an anomaly that is none: a check that ran out of time.
const Undecided = "undecided"

func (a Anomaly) String() string { return a.Kind + ": " + a.Detail }

type line struct {
	Op    *Op    `json:"op,omitempty"`
	Final *Final `json:"final,omitempty"`
}

// Write writes the history as JSON lines.
func (h *History) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	for i := range h.Ops {
		if err := e.Encode(line{Op: &h.Ops[i]}); err != nil {
			return err
		}
	}
	for i := range h.Finals {
		if err := e.Encode(line{Final: &h.Finals[i]}); err != nil {
			return err
		}
	}
	return nil
}

// Read reads what Write wrote.
func Read(r io.Reader) (*History, error) {
	h := &History{}
	d := json.NewDecoder(bufio.NewReader(r))
	for n := 1; ; n++ {
		var l line
		if err := d.Decode(&l); err == io.EOF {
			return h, nil
		} else if err != nil {
			return nil, fmt.Errorf("history: entry %d: %w", n, err)
		}
		switch {
		case l.Op != nil && l.Op.F == Poll && len(l.Op.Offsets) != len(l.Op.Values),
			l.Final != nil && len(l.Final.Offsets) != len(l.Final.Values):
			return nil, fmt.Errorf("history: entry %d has not as many values as offsets", n)
		case l.Op != nil:
			h.Ops = append(h.Ops, *l.Op)
		case l.Final != nil:
			h.Finals = append(h.Finals, *l.Final)
		default:
			return nil, fmt.Errorf("history: entry %d is neither an operation nor a final state", n)
		}
	}
}
