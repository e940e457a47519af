package client

import (
	"errors"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	machine "github.com/weirmq/weir/core/client"
)

// How an operation failed. Errors of these clients unwrap to one of them.
var (
	// ErrRefused: a broker said no. The error also unwraps to the Kafka error that it gave as the reason.
	ErrRefused = errors.New("refused by the broker")
	// ErrTimedOut: time was up before a broker could be made to answer. The Kafka error seen last, if
	// any, says what was in the way.
	ErrTimedOut = errors.New("timed out")
	// ErrConnectionLost: the connection was lost, and trying again was not allowed.
	ErrConnectionLost = errors.New("connection lost")
	// ErrClosed: the client was closed.
	ErrClosed = machine.ErrClosed
	// ErrUnsupported: the broker is too old, or too new, for the request.
	ErrUnsupported = errors.New("no version of the request that both sides know")
	// ErrMalformed: the broker answered with bytes that do not follow the protocol.
	ErrMalformed = errors.New("malformed answer")
	// ErrBufferFull: the producer's buffer has no room, and waiting was not asked for.
	ErrBufferFull = machine.ErrBufferFull
	// ErrRecordTooLarge: the record does not fit a request.
	ErrRecordTooLarge = machine.ErrRecordTooLarge
	// ErrNoPartition: the partition number is impossible.
	ErrNoPartition = machine.ErrPartition
)

// Error is how an operation failed.
type Error struct {
	Op        string // "produce", "create topic" and so on
	Topic     string // empty if the failure is not about one
	Partition int32  // -1 if the failure is not about one
	// Definite: it certainly had no effect and never will. Otherwise it may have happened, or may still.
	Definite bool
	Code     int16  // Kafka's error code, 0 if there is none
	Message  string // the broker's own words, often empty
	reason   error
}

// NewError makes an Error of a machine's outcome; nil if that is success. It is for the packages beside
// this one.
func NewError(op, topic string, partition int32, o machine.Outcome) error {
	if o.OK() {
		return nil
	}
	e := &Error{Op: op, Topic: topic, Partition: partition, Definite: o.Definite, Code: o.Code, Message: o.Message}
	switch o.Reason {
	case machine.Refused:
		e.reason = ErrRefused
	case machine.TimedOut:
		e.reason = ErrTimedOut
	case machine.Lost:
		e.reason = ErrConnectionLost
	case machine.Closed:
		e.reason = ErrClosed
	case machine.Unsupported:
		e.reason = ErrUnsupported
	default:
		e.reason = ErrMalformed
	}
	return e
}

// Error says what failed, how, and why.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Topic != "" {
		b.WriteString(" " + e.Topic)
		if e.Partition >= 0 {
			b.WriteString("/" + strconv.Itoa(int(e.Partition)))
		}
	}
	b.WriteString(": " + e.reason.Error())
	k := kerr.ErrorForCode(e.Code)
	if named, ok := errors.AsType[*kerr.Error](k); ok && e.Message != "" {
		b.WriteString(": " + named.Message) // its name: the broker says more than its description
	} else if k != nil {
		b.WriteString(": " + strings.TrimSuffix(k.Error(), "."))
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if !e.Definite && (e.Op == "produce" || e.changes()) {
		b.WriteString(" (it may have happened all the same)")
	}
	return b.String()
}

func (e *Error) changes() bool {
	for _, verb := range []string{"create", "delete", "alter", "add", "commit"} {
		if strings.HasPrefix(e.Op, verb) {
			return true
		}
	}
	return false
}

// Unwrap gives the sentinel and the Kafka error.
func (e *Error) Unwrap() []error {
	if k := kerr.ErrorForCode(e.Code); k != nil {
		return []error{e.reason, k}
	}
	return []error{e.reason}
}

// Definite reports whether an operation that failed with err certainly had no effect. It is false for
// errors of other packages, a context's among them: who stops waiting does not know.
func Definite(err error) bool {
	if errors.Is(err, ErrBufferFull) || errors.Is(err, ErrRecordTooLarge) || errors.Is(err, ErrNoPartition) {
		return true
	}
	e, ok := errors.AsType[*Error](err)
	return ok && e.Definite
}

// Code is the Kafka error code behind err, 0 if there is none.
func Code(err error) int16 {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return 0
}

// Retriable reports whether the same operation may succeed later without anyone changing it. Clients
// retry such errors themselves until their timeouts: this is for what to do after that.
func Retriable(err error) bool {
	return errors.Is(err, ErrTimedOut) || errors.Is(err, ErrConnectionLost) || errors.Is(err, ErrBufferFull) ||
		machine.Retriable(Code(err))
}
