package record

import "strconv"

// Sizes of the fixed part of a batch.
const (
	// HeaderBytes is the length of a batch without its records.
	HeaderBytes = 61
	// FrameBytes covers base offset and batch length; the batch length counts what follows them.
	FrameBytes = 12
	// StampBytes covers the fields before the magic: what a leader rewrites lies inside them.
	StampBytes = 16
)

// MagicV2 is the only format this package speaks.
const MagicV2 = 2

// Positions of the header's fields.
const (
	posBaseOffset      = 0
	posLength          = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posRecordCount     = 57
)

// Attributes are a batch's flags.
type Attributes uint16

// Bits of Attributes. All others are zero.
const (
	CodecMask        Attributes = 0x07
	AppendTimeBit    Attributes = 1 << 3
	TransactionalBit Attributes = 1 << 4
	ControlBit       Attributes = 1 << 5
	// DeleteHorizonBit says that base timestamp holds the time after which the cleaner may drop the
	// batch's tombstones and markers (KIP-534). Only the cleaner sets it.
	DeleteHorizonBit Attributes = 1 << 6

	knownBits = CodecMask | AppendTimeBit | TransactionalBit | ControlBit | DeleteHorizonBit
)

// Codec names how a batch's records are compressed.
type Codec uint8

// The codecs, as attributes bits 0 to 2 number them.
const (
	CodecNone Codec = iota
	CodecGzip
	CodecSnappy
	CodecLz4
	CodecZstd
)

const codecCount = int(CodecZstd) + 1

var codecNames = [codecCount]string{"none", "gzip", "snappy", "lz4", "zstd"}

// Known reports whether the codec is one that Kafka defines.
func (c Codec) Known() bool { return int(c) < codecCount }

// String is the name that topic configurations use.
func (c Codec) String() string {
	if c.Known() {
		return codecNames[c]
	}
	return "codec " + strconv.Itoa(int(c))
}

// ParseCodec reads what String wrote.
func ParseCodec(name string) (Codec, bool) {
	for c, n := range codecNames {
		if n == name {
			return Codec(c), true
		}
	}
	return 0, false
}

// TimestampType says whose clock a batch's timestamps come from.
type TimestampType uint8

// Timestamp types, as attributes bit 3 numbers them.
const (
	CreateTime TimestampType = iota
	// LogAppendTime: every record's timestamp is the batch's max timestamp, written by the leader.
	LogAppendTime
)

// String is the name that topic configurations use.
func (t TimestampType) String() string {
	if t == LogAppendTime {
		return "LogAppendTime"
	}
	return "CreateTime"
}
