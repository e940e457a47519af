package record

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/weirmq/weir/core/model"
)

// small is a sound batch of three records, with a producer.
func small(tb testing.TB, codec Codec) Batch {
	tb.Helper()
	var b Builder
	opts := NewOptions(codec)
	opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence = 9, 2, 40
	b.Begin(opts)
	for i := range 3 {
		b.Append(Record{
			Key:       []byte("key"),
			Value:     []byte("the same value again and again, the same value again and again"),
			Headers:   []RecordHeader{{Key: []byte("h")}, {Key: []byte("k"), Value: []byte("v")}},
			Timestamp: model.Timestamp(1000 + i),
		})
	}
	return append(Batch(nil), b.Finish()...)
}

// put16, put32 and put64 overwrite a field and leave the CRC stale.
func put16(b []byte, at int, v uint16) { binary.BigEndian.PutUint16(b[at:], v) }
func put32(b []byte, at int, v uint32) { binary.BigEndian.PutUint32(b[at:], v) }
func put64(b []byte, at int, v uint64) { binary.BigEndian.PutUint64(b[at:], v) }

func TestHeaderSaysWhatTheBatchSays(t *testing.T) {
	b := small(t, CodecLz4)
	Stamp(b, 5000, 7)
	h, err := ReadHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	want := Header{
		BaseOffset: 5000, BaseTimestamp: 1000, MaxTimestamp: 1002, ProducerID: 9, SizeBytes: len(b),
		LeaderEpoch: 7, CRC: b.CRC(), LastOffsetDelta: 2, BaseSequence: 40, RecordCount: 3, ProducerEpoch: 2,
		Attributes: Attributes(CodecLz4),
	}
	if h != want {
		t.Fatalf("header %+v, want %+v", h, want)
	}
	fromBatch := Header{
		BaseOffset: b.BaseOffset(), BaseTimestamp: b.BaseTimestamp(), MaxTimestamp: b.MaxTimestamp(),
		ProducerID: b.ProducerID(), SizeBytes: b.SizeBytes(), LeaderEpoch: b.LeaderEpoch(), CRC: b.CRC(),
		LastOffsetDelta: b.LastOffsetDelta(), BaseSequence: b.BaseSequence(), RecordCount: b.RecordCount(),
		ProducerEpoch: b.ProducerEpoch(), Attributes: b.Attributes(),
	}
	if fromBatch != want {
		t.Fatalf("accessors say %+v, want %+v", fromBatch, want)
	}
	if h.LastOffset() != 5002 || h.NextOffset() != 5003 || h.LastSequence() != 42 || h.Codec() != CodecLz4 || !h.HasProducer() {
		t.Errorf("derived: %d %d %d %s", h.LastOffset(), h.NextOffset(), h.LastSequence(), h.Codec())
	}
	if b.LastOffset() != 5002 || b.NextOffset() != 5003 || b.LastSequence() != 42 || b.Codec() != CodecLz4 || b.Magic() != 2 {
		t.Errorf("derived from bytes: %d %d %d %s", b.LastOffset(), b.NextOffset(), b.LastSequence(), b.Codec())
	}
}

func TestAttributeBitsAreRead(t *testing.T) {
	b := small(t, CodecNone)
	for bit, read := range map[Attributes]func(*Header) bool{
		AppendTimeBit:    func(h *Header) bool { return h.TimestampType() == LogAppendTime },
		TransactionalBit: (*Header).IsTransactional,
		ControlBit:       (*Header).IsControl,
		DeleteHorizonBit: (*Header).HasDeleteHorizon,
	} {
		for _, set := range []bool{false, true} {
			put16(b, posAttributes, 0)
			if set {
				put16(b, posAttributes, uint16(bit))
			}
			h, err := ReadHeader(b)
			if err != nil || read(&h) != set {
				t.Errorf("bit %#x set %v: header %v, %v", bit, set, read(&h), err)
			}
		}
	}
	put16(b, posAttributes, uint16(AppendTimeBit|TransactionalBit|ControlBit|DeleteHorizonBit))
	if b.TimestampType() != LogAppendTime || !b.IsTransactional() || !b.IsControl() || !b.HasDeleteHorizon() {
		t.Error("the batch's accessors miss a bit")
	}
}

func TestLastSequenceWraps(t *testing.T) {
	b := small(t, CodecNone)
	put32(b, posBaseSequence, math.MaxInt32-1)
	if got := b.LastSequence(); got != 0 {
		t.Errorf("2^31-2 and two more is %d, want 0", got)
	}
	put32(b, posBaseSequence, math.MaxUint32)
	if got := b.LastSequence(); got != model.NoSequence {
		t.Errorf("no sequence and two more is %d, want none", got)
	}
}

func TestReadHeaderRefusesWhatCannotBe(t *testing.T) {
	minus := uint64(math.MaxUint64)
	for name, c := range map[string]struct {
		damage func(b []byte)
		want   error
	}{
		"sound":                         {func([]byte) {}, nil},
		"magic 0":                       {func(b []byte) { b[posMagic] = 0 }, ErrMagic},
		"magic 1":                       {func(b []byte) { b[posMagic] = 1 }, ErrMagic},
		"magic 3":                       {func(b []byte) { b[posMagic] = 3 }, ErrMagic},
		"length 0":                      {func(b []byte) { put32(b, posLength, 0) }, ErrCorrupt},
		"length below the header":       {func(b []byte) { put32(b, posLength, 48) }, ErrCorrupt},
		"length of a bare header":       {func(b []byte) { put32(b, posLength, 49) }, nil},
		"length negative":               {func(b []byte) { put32(b, posLength, 1<<31) }, ErrCorrupt},
		"length greatest":               {func(b []byte) { put32(b, posLength, math.MaxInt32) }, nil},
		"last offset delta negative":    {func(b []byte) { put32(b, posLastOffsetDelta, math.MaxUint32) }, ErrCorrupt},
		"count negative":                {func(b []byte) { put32(b, posRecordCount, math.MaxUint32) }, ErrCorrupt},
		"count above offsets":           {func(b []byte) { put32(b, posRecordCount, 4) }, ErrCorrupt},
		"count below offsets":           {func(b []byte) { put32(b, posRecordCount, 1) }, nil},
		"count 0":                       {func(b []byte) { put32(b, posRecordCount, 0) }, nil},
		"base offset negative":          {func(b []byte) { put64(b, posBaseOffset, minus) }, ErrCorrupt},
		"next offset overflows":         {func(b []byte) { put64(b, posBaseOffset, math.MaxInt64-2) }, ErrCorrupt},
		"next offset greatest":          {func(b []byte) { put64(b, posBaseOffset, math.MaxInt64-3) }, nil},
		"producer id -2":                {func(b []byte) { put64(b, posProducerID, minus-1) }, ErrCorrupt},
		"producer epoch absent":         {func(b []byte) { put16(b, posProducerEpoch, math.MaxUint16) }, ErrCorrupt},
		"producer id absent, not epoch": {func(b []byte) { put64(b, posProducerID, minus); put32(b, posBaseSequence, math.MaxUint32) }, nil},
		"producer id absent, not sequence": {func(b []byte) {
			put64(b, posProducerID, minus)
			put16(b, posProducerEpoch, math.MaxUint16)
		}, nil},
		"producer absent": {func(b []byte) {
			put64(b, posProducerID, minus)
			put16(b, posProducerEpoch, math.MaxUint16)
			put32(b, posBaseSequence, math.MaxUint32)
		}, nil},
		"sequence absent, as in markers": {func(b []byte) { put32(b, posBaseSequence, math.MaxUint32) }, nil},
		"sequence -2":                    {func(b []byte) { put32(b, posBaseSequence, math.MaxUint32-1) }, ErrCorrupt},
	} {
		b := small(t, CodecNone)
		c.damage(b)
		if _, err := ReadHeader(b[:HeaderBytes]); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestReadHeaderTellsShortFromCorrupt(t *testing.T) {
	b := small(t, CodecNone)
	for n := range HeaderBytes {
		if _, err := ReadHeader(b[:n]); !errors.Is(err, ErrShort) {
			t.Fatalf("%d bytes: %v, want ErrShort", n, err)
		}
	}
	old := append([]byte(nil), b...)
	old[posMagic] = 1
	if _, err := ReadHeader(old[:posMagic+1]); !errors.Is(err, ErrMagic) {
		t.Errorf("the magic of a short header: %v, want ErrMagic", err)
	}
	put32(b, posLength, 3)
	if _, err := ReadHeader(b[:FrameBytes]); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the length of a short header: %v, want ErrCorrupt", err)
	}
}

func TestNextWalksConcatenatedBatches(t *testing.T) {
	var all []byte
	var sizes []int
	for i, codec := range codecs {
		b := small(t, codec)
		Stamp(b, model.Offset(3*i), 1)
		all = append(all, b...)
		sizes = append(sizes, len(b))
	}
	rest := all
	for i, size := range sizes {
		b, r, err := Next(rest)
		if err != nil || len(b) != size || cap(b) != size || b.BaseOffset() != model.Offset(3*i) {
			t.Fatalf("batch %d: %d bytes at %d, %v", i, len(b), b.BaseOffset(), err)
		}
		rest = r
	}
	if len(rest) != 0 {
		t.Fatalf("%d bytes left", len(rest))
	}
	if _, _, err := Next(rest); !errors.Is(err, ErrShort) {
		t.Errorf("nothing left: %v, want ErrShort", err)
	}
	for cut := 1; cut < sizes[0]; cut++ {
		b, r, err := Next(all[:cut])
		if !errors.Is(err, ErrShort) || b != nil || len(r) != cut {
			t.Fatalf("cut at %d: %d bytes, %d left, %v, want ErrShort and all left", cut, len(b), len(r), err)
		}
	}
	put32(all, posLength, 7)
	if _, r, err := Next(all); !errors.Is(err, ErrCorrupt) || len(r) != len(all) {
		t.Errorf("bad length: %v with %d left", err, len(r))
	}
}
