package record

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
)

// handmade assembles an uncompressed batch around a payload that may be malformed; the header is that of
// a plain producer with count records, and the CRC holds.
func handmade(count int32, payload []byte) Batch {
	b := append(make(Batch, HeaderBytes), payload...)
	putHeader(b, &Header{
		LeaderEpoch: -1, LastOffsetDelta: count - 1, RecordCount: count, BaseTimestamp: 1000, MaxTimestamp: 1000,
		ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1,
	})
	return b
}

// rec prefixes a record's body with its length.
func rec(body ...byte) []byte { return append(appendVarint(nil, int64(len(body))), body...) }

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// zz is the one-byte zig-zag varint of a small number.
func zz(v int8) byte { return byte(v<<1) ^ byte(v>>7) }

func TestProducedBatchesAreRefusedByRule(t *testing.T) {
	plain := Limits{}
	header := func(damage func(Batch)) []byte {
		b := small(t, CodecNone)
		damage(b)
		stampCRC(b)
		return b
	}
	ok := rec(0, zz(0), zz(0), zz(-1), zz(1), 'v', 0)
	cases := []struct {
		name   string
		b      []byte
		limits Limits
		want   error
		code   int16
	}{
		{"sound", small(t, CodecNone), plain, nil, 0},
		{"smallest", handmade(1, rec(0, 0, 0, zz(-1), zz(-1), 0)), plain, nil, 0},

		{"empty", nil, plain, ErrShort, kerr.CorruptMessage.Code},
		{"cut in the header", small(t, CodecNone)[:60], plain, ErrShort, kerr.CorruptMessage.Code},
		{"cut in the records", small(t, CodecNone)[:80], plain, ErrShort, kerr.CorruptMessage.Code},
		{"length below header", header(func(b Batch) { put32(b, posLength, 10) }), plain, ErrCorrupt, kerr.CorruptMessage.Code},
		{"bit flipped", func() []byte { b := small(t, CodecNone); b[70] ^= 1; return b }(), plain, ErrCRC, kerr.CorruptMessage.Code},
		{"magic 1", header(func(b Batch) { b[posMagic] = 1 }), plain, ErrMagic, kerr.UnsupportedForMessageFormat.Code},

		{"two batches", concat(small(t, CodecNone), small(t, CodecNone)), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"stray byte", append(small(t, CodecNone), 0), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"reserved attribute bit 7", header(func(b Batch) { put16(b, posAttributes, 1<<7) }), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"reserved attribute bit 15", header(func(b Batch) { put16(b, posAttributes, 1<<15) }), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"codec 5", header(func(b Batch) { put16(b, posAttributes, 5) }), plain, ErrCodec, kerr.UnsupportedCompressionType.Code},
		{"codec 7", header(func(b Batch) { put16(b, posAttributes, 7) }), plain, ErrCodec, kerr.UnsupportedCompressionType.Code},
		{"zstd where not allowed", small(t, CodecZstd), Limits{NoZstd: true}, ErrCodec, kerr.UnsupportedCompressionType.Code},
		{"lz4 where zstd is not allowed", small(t, CodecLz4), Limits{NoZstd: true}, nil, 0},
		{"control batch", header(func(b Batch) { put16(b, posAttributes, uint16(ControlBit|TransactionalBit)) }), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"delete horizon", header(func(b Batch) { put16(b, posAttributes, uint16(DeleteHorizonBit)) }), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"append time", header(func(b Batch) { put16(b, posAttributes, uint16(AppendTimeBit)) }), plain, ErrTimestamp, kerr.InvalidTimestamp.Code},
		{"transactional", header(func(b Batch) { put16(b, posAttributes, uint16(TransactionalBit)) }), plain, nil, 0},
		{"transactional without producer", func() []byte {
			b := handmade(1, ok)
			put16(b, posAttributes, uint16(TransactionalBit))
			stampCRC(b)
			return b
		}(), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"no records", handmade(1, nil)[:HeaderBytes:HeaderBytes], plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"count 0", header(func(b Batch) { put32(b, posRecordCount, 0) }), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"count below offsets", header(func(b Batch) { put32(b, posRecordCount, 2) }), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"count above offsets", header(func(b Batch) { put32(b, posRecordCount, 4) }), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"count negative", header(func(b Batch) { put32(b, posRecordCount, math.MaxUint32) }), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"count and offsets above records", header(func(b Batch) { put32(b, posRecordCount, 4); put32(b, posLastOffsetDelta, 3) }), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"count and offsets below records", header(func(b Batch) { put32(b, posRecordCount, 2); put32(b, posLastOffsetDelta, 1) }), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"count and offsets greatest", header(func(b Batch) {
			put32(b, posRecordCount, math.MaxInt32)
			put32(b, posLastOffsetDelta, math.MaxInt32-1)
		}), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"producer without sequence", header(func(b Batch) { put32(b, posBaseSequence, math.MaxUint32) }), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"producer without epoch", header(func(b Batch) { put16(b, posProducerEpoch, math.MaxUint16) }), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"producer below none", header(func(b Batch) { put64(b, posProducerID, math.MaxUint64-1) }), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"sequence without producer, as franz-go and Sarama write it", header(func(b Batch) {
			put64(b, posProducerID, math.MaxUint64)
			put16(b, posProducerEpoch, math.MaxUint16)
			put32(b, posBaseSequence, 0)
		}), plain, nil, 0},
		{"sequence and epoch without producer", header(func(b Batch) { put64(b, posProducerID, math.MaxUint64) }), plain, nil, 0},
		{"any base offset and epoch", header(func(b Batch) { Stamp(b, -77, 1<<30) }), plain, nil, 0},

		{"at the size limit", small(t, CodecNone), Limits{BatchBytesMax: len(small(t, CodecNone))}, nil, 0},
		{"above the size limit", small(t, CodecNone), Limits{BatchBytesMax: len(small(t, CodecNone)) - 1}, ErrTooLarge, kerr.MessageTooLarge.Code},
		{"above the inflated limit", small(t, CodecGzip), Limits{DecompressedBytesMax: 100}, ErrTooLarge, kerr.MessageTooLarge.Code},

		{"record length negative", handmade(1, []byte{zz(-1)}), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"record length below the least", handmade(1, rec(0, 0, 0, 0, 0)), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"record length past the end", handmade(1, append([]byte{zz(20)}, ok[1:]...)), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"record length unfinished", handmade(1, []byte{0x80, 0x80}), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"stray byte in a record", handmade(1, rec(0, 0, 0, zz(-1), zz(1), 'v', 0, 0)), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"stray byte after the records", handmade(1, append(append([]byte(nil), ok...), 0)), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"a record more", handmade(1, concat(ok, ok)), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"a record less", handmade(2, ok), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"offset delta 1 first", handmade(1, rec(0, 0, zz(1), zz(-1), zz(1), 'v', 0)), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"offset delta negative", handmade(1, rec(0, 0, zz(-1), zz(-1), zz(1), 'v', 0)), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"offset delta twice", handmade(2, concat(ok, ok)), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"key length -2", handmade(1, rec(0, 0, 0, zz(-2), zz(1), 'v', 0)), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"key past the record", handmade(1, rec(0, 0, 0, zz(9), zz(1), 'v', 0)), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"value length -2", handmade(1, rec(0, 0, 0, zz(-1), zz(-2), 0)), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"value past the record", handmade(1, rec(0, 0, 0, zz(-1), zz(9), 'v', 0)), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"value takes the headers' count", handmade(1, rec(0, 0, 0, zz(-1), zz(2), 'v', 0)), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"header count negative", handmade(1, rec(0, 0, 0, zz(-1), zz(-1), zz(-1))), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"header count above bytes", handmade(1, rec(0, 0, 0, zz(-1), zz(-1), zz(1), zz(0))), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"header key null", handmade(1, rec(0, 0, 0, zz(-1), zz(-1), zz(1), zz(-1), zz(-1))), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"header key null, then one more", handmade(1, rec(0, 0, 0, zz(-1), zz(-1), zz(2), zz(-1), zz(1), 'k', zz(0))), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"header key past the record", handmade(1, rec(0, 0, 0, zz(-1), zz(-1), zz(1), zz(5), zz(-1))), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"header value -2", handmade(1, rec(0, 0, 0, zz(-1), zz(-1), zz(1), zz(0), zz(-2))), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"header value past the record", handmade(1, rec(0, 0, 0, zz(-1), zz(-1), zz(1), zz(0), zz(5))), plain, ErrInvalid, kerr.InvalidRecord.Code},
		{"header with empty key and null value", handmade(1, rec(0, 0, 0, zz(-1), zz(-1), zz(1), zz(0), zz(-1))), plain, nil, 0},
		{"record attributes set", handmade(1, rec(0x7f, 0, 0, zz(-1), zz(-1), 0)), plain, nil, 0},

		{"null key allowed", handmade(1, ok), plain, nil, 0},
		{"null key on a compacted topic", handmade(1, ok), Limits{RequireKeys: true}, ErrNullKey, kerr.InvalidRecord.Code},
		{"empty key on a compacted topic", handmade(1, rec(0, 0, 0, zz(0), zz(-1), 0)), Limits{RequireKeys: true}, nil, 0},

		{"timestamp below the range", small(t, CodecNone), Limits{TimestampMin: 1001, TimestampMax: 2000}, ErrTimestamp, kerr.InvalidTimestamp.Code},
		{"timestamp above the range", small(t, CodecNone), Limits{TimestampMin: 1, TimestampMax: 1001}, ErrTimestamp, kerr.InvalidTimestamp.Code},
		{"timestamps at the bounds", small(t, CodecNone), Limits{TimestampMin: 1000, TimestampMax: 1002}, nil, 0},
		{"timestamp out of range but replaced", small(t, CodecNone), Limits{TimestampMin: 1, TimestampMax: 2, LogAppendTime: true}, nil, 0},
		{"no timestamp passes the range", func() []byte {
			b := handmade(1, ok)
			put64(b, posBaseTimestamp, math.MaxUint64)
			put64(b, posMaxTimestamp, math.MaxUint64)
			stampCRC(b)
			return b
		}(), Limits{TimestampMin: 1, TimestampMax: 2}, nil, 0},
		{"timestamp overflows", func() []byte {
			b := handmade(1, rec(0, zz(1), 0, zz(-1), zz(1), 'v', 0))
			put64(b, posBaseTimestamp, math.MaxInt64)
			stampCRC(b)
			return b
		}(), plain, ErrTimestamp, kerr.InvalidTimestamp.Code},
	}
	var d Decompressor
	for _, c := range cases {
		before := append([]byte(nil), c.b...)
		h, err := ValidateProduced(c.b, c.limits, &d)
		if (err == nil) != (c.want == nil) || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
			continue
		}
		if got := Code(err); got != c.code {
			t.Errorf("%s: code %d, want %d", c.name, got, c.code)
		}
		if err != nil && (h != Header{} || !bytes.Equal(before, c.b)) {
			t.Errorf("%s: refused, but header %+v, bytes changed %v", c.name, h, !bytes.Equal(before, c.b))
		}
	}
}

func TestDeepRulesHoldInsideCompression(t *testing.T) {
	sound := rec(0, 0, 0, zz(-1), zz(1), 'v', 0)
	for name, payload := range map[string][]byte{
		"":             sound,
		"stray byte":   append(append([]byte(nil), sound...), 0),
		"offset delta": rec(0, 0, zz(3), zz(-1), zz(1), 'v', 0),
		"nothing":      {},
	} {
		for _, codec := range codecs {
			var c Compressor
			b := handmade(1, c.Compress(nil, payload, codec, DefaultLevel))
			put16(b, posAttributes, uint16(codec))
			stampCRC(b)
			_, err := ValidateProduced(b, Limits{}, new(Decompressor))
			if name == "" && err != nil || name != "" && !errors.Is(err, ErrInvalid) {
				t.Errorf("%s, %s: %v", codec, name, err)
			}
		}
	}
	for _, codec := range codecs[1:] {
		b := handmade(1, []byte("not compressed at all"))
		put16(b, posAttributes, uint16(codec))
		stampCRC(b)
		_, err := ValidateProduced(b, Limits{}, new(Decompressor))
		if !errors.Is(err, ErrDecompress) || Code(err) != kerr.InvalidRecord.Code {
			t.Errorf("%s of garbage: %v, code %d", codec, err, Code(err))
		}
	}
}

func TestTheRecordAtFaultIsNamed(t *testing.T) {
	good := func(i int8) []byte { return rec(0, 0, zz(i), zz(1), 'k', zz(1), 'v', 0) }
	b := handmade(3, concat(good(0), good(1), rec(0, 0, zz(2), zz(-1), zz(1), 'v', 0)))
	_, err := ValidateProduced(b, Limits{RequireKeys: true}, nil)
	var at *RecordError
	if !errors.As(err, &at) || at.Index != 2 || at.Err != ErrNullKey {
		t.Fatalf("%v, want record 2 named", err)
	}
	if !strings.Contains(err.Error(), "record 2") {
		t.Errorf("message %q does not name the record", err)
	}
}

func TestAWrongMaxTimestampIsCorrectedInPlace(t *testing.T) {
	for _, codec := range codecs {
		b := small(t, codec)
		sound := append(Batch(nil), b...)
		for _, wrong := range []uint64{0, 1001, math.MaxInt64, math.MaxUint64} {
			put64(b, posMaxTimestamp, wrong)
			stampCRC(b)
			h, err := ValidateProduced(b, Limits{}, new(Decompressor))
			if err != nil {
				t.Fatal(err)
			}
			if h.MaxTimestamp != 1002 || !bytes.Equal(b, sound) {
				t.Errorf("%s, max %d: header says %d, batch repaired %v", codec, int64(wrong), h.MaxTimestamp, bytes.Equal(b, sound))
			}
			again, err := ReadHeader(b)
			if again.MinTimestamp = h.MinTimestamp; err != nil || again != h {
				t.Errorf("%s: the returned header is not the batch's", codec)
			}
		}
	}
}

func TestMaxTimestampIsOverAllRecordsAndNeverBelowNone(t *testing.T) {
	times := func(deltas ...int8) []byte {
		var p []byte
		for i, d := range deltas {
			p = append(p, rec(0, zz(d), zz(int8(i)), zz(-1), zz(-1), 0)...)
		}
		return p
	}
	for _, c := range []struct {
		base   int64
		deltas []int8
		want   model.Timestamp
	}{
		{1000, []int8{0}, 1000},
		{1000, []int8{0, 5, -5}, 1005},
		{1000, []int8{-3, -9}, 997},
		{-1, []int8{0}, model.NoTimestamp},
		{-50, []int8{0, 1}, model.NoTimestamp},
		{-50, []int8{0, 60}, 10},
	} {
		b := handmade(int32(len(c.deltas)), times(c.deltas...))
		put64(b, posBaseTimestamp, uint64(c.base))
		stampCRC(b)
		h, err := ValidateProduced(b, Limits{}, nil)
		if err != nil || h.MaxTimestamp != c.want {
			t.Errorf("%+v: max %d, %v", c, h.MaxTimestamp, err)
		}
	}
}

func TestCodesOfOtherErrors(t *testing.T) {
	if got := Code(nil); got != 0 {
		t.Errorf("nil is %d", got)
	}
	if got := Code(errors.New("disk on fire")); got != kerr.UnknownServerError.Code {
		t.Errorf("a stranger is %d", got)
	}
}

func TestValidationOfUncompressedBatchesAllocatesNothing(t *testing.T) {
	batch := fixture(t, CodecNone, 16<<10, 100)
	header := batch[:HeaderBytes]
	var builder Builder
	records := collect(t, batch, nil)
	records[0].Headers = []RecordHeader{{Key: []byte("k"), Value: []byte("v")}}
	var r Reader
	var d Decompressor
	packed := fixture(t, CodecLz4, 16<<10, 100)
	zstd := fixture(t, CodecZstd, 16<<10, 100)
	snappy := fixture(t, CodecSnappy, 16<<10, 100)
	control := make([]byte, 0, 100)
	for name, f := range map[string]func(){
		"ReadHeader":             func() { _, _ = ReadHeader(header) },
		"Next":                   func() { _, _, _ = Next(batch) },
		"CheckCRC":               func() { _ = CheckCRC(batch) },
		"ValidateProduced":       func() { _, _ = ValidateProduced(batch, Limits{TimestampMin: 1, TimestampMax: math.MaxInt64}, nil) },
		"ValidateProduced lz4":   func() { _, _ = ValidateProduced(packed, Limits{}, &d) },
		"ValidateProduced zstd":  func() { _, _ = ValidateProduced(zstd, Limits{}, &d) },
		"ValidateProduced snapp": func() { _, _ = ValidateProduced(snappy, Limits{}, &d) },
		"Stamp":                  func() { Stamp(batch, 1, 2) },
		"StampAppendTime":        func() { StampAppendTime(control[:HeaderBytes], 5) },
		"AppendControl":          func() { control = AppendControl(control[:0], Commit, 1, 2, 3, 4) },
		"Builder": func() {
			builder.Begin(NewOptions(CodecNone))
			for i := range records {
				builder.Append(records[i])
			}
			builder.Finish()
		},
		"Reader": func() {
			_ = r.Reset(batch, nil, 0)
			for r.Next() {
			}
		},
	} {
		f() // buffers grow once
		if n := testing.AllocsPerRun(20, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}
