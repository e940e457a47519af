package record

import (
	"errors"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
)

// ErrShort says that the bytes end before the batch does. Fetch responses may end so: clients drop
// the partial batch.
var ErrShort = errors.New("record batch is cut short")

// Refusals. Errors of this package are one of these (errors.Is), often with detail wrapped around.
// Code maps them to the wire.
var (
	// ErrCorrupt: the header contradicts itself or the bytes around it. Clients resend.
	ErrCorrupt = errors.New("record batch header is corrupt")
	// ErrCRC: the bytes are not those that the producer sent. Clients resend.
	ErrCRC = errors.New("record batch fails its CRC")
	// ErrMagic: format 0 or 1, or one from the future.
	ErrMagic = errors.New("record batch format is not version 2")
	// ErrCodec: the compression type is unknown, or not allowed here.
	ErrCodec = errors.New("compression type is not supported")
	// ErrDecompress: the CRC holds but the payload does not inflate, so that resending is useless.
	ErrDecompress = errors.New("records do not decompress")
	// ErrTooLarge: the batch, or what it inflates to, exceeds the limit. Java producers split and resend.
	ErrTooLarge = errors.New("record batch is too large")
	// ErrInvalid: the batch or one of its records breaks the format or what a producer may send.
	ErrInvalid = errors.New("record batch is invalid")
	// ErrNullKey: a compacted topic got a record without key.
	ErrNullKey = errors.New("compacted topic needs a key")
	// ErrTimestamp: the timestamp, or its type, is not acceptable.
	ErrTimestamp = errors.New("timestamp is out of range")
)

// Code is the Kafka error code that says err on the wire: 0 for nil, UNKNOWN_SERVER_ERROR for an
// error that is not this package's.
//
// CORRUPT_MESSAGE is kept for damage on the way, because producers retry it. What the producer itself
// got wrong is INVALID_RECORD, which they do not.
func Code(err error) int16 {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrCRC), errors.Is(err, ErrCorrupt), errors.Is(err, ErrShort):
		return kerr.CorruptMessage.Code
	case errors.Is(err, ErrMagic):
		return kerr.UnsupportedForMessageFormat.Code
	case errors.Is(err, ErrCodec):
		return kerr.UnsupportedCompressionType.Code
	case errors.Is(err, ErrTooLarge):
		return kerr.MessageTooLarge.Code
	case errors.Is(err, ErrTimestamp):
		return kerr.InvalidTimestamp.Code
	case errors.Is(err, ErrInvalid), errors.Is(err, ErrNullKey), errors.Is(err, ErrDecompress):
		return kerr.InvalidRecord.Code
	}
	return kerr.UnknownServerError.Code
}

// RecordError says which record of a batch is at fault: record_errors of a produce response (KIP-467).
type RecordError struct {
	// Index counts the batch's records from 0.
	Index int32
	// Reason is a clause about the record.
	Reason string
	// Err is the refusal: ErrInvalid, ErrNullKey or ErrTimestamp.
	Err error
}

// Error names the record, the reason and the refusal.
func (e *RecordError) Error() string {
	s := e.Err.Error() + ": record " + strconv.Itoa(int(e.Index))
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// Unwrap is the refusal.
func (e *RecordError) Unwrap() error { return e.Err }
