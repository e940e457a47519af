package record

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
)

func TestWhatIsBuiltReadsBack(t *testing.T) {
	var b Builder
	var d Decompressor
	var r Reader
	rapid.Check(t, func(t *rapid.T) {
		want := recordsGen().Draw(t, "records")
		opts := NewOptions(rapid.SampledFrom(codecs).Draw(t, "codec"))
		opts.Level = rapid.IntRange(0, 17).Draw(t, "level")
		opts.BaseOffset = model.Offset(rapid.Int64Range(0, 1<<60).Draw(t, "base offset"))
		opts.LeaderEpoch = model.LeaderEpoch(rapid.Int32Min(-1).Draw(t, "leader epoch"))
		opts.Transactional = rapid.Bool().Draw(t, "transactional")
		if opts.Transactional || rapid.Bool().Draw(t, "idempotent") {
			opts.ProducerID = model.ProducerID(rapid.Int64Min(0).Draw(t, "producer id"))
			opts.ProducerEpoch = model.ProducerEpoch(rapid.Int16Min(0).Draw(t, "producer epoch"))
			opts.BaseSequence = model.Sequence(rapid.Int32Min(0).Draw(t, "sequence"))
		}
		b.Begin(opts)
		most := model.NoTimestamp
		for i := range want {
			before := b.SizeBytes()
			b.Append(want[i])
			if grown := b.SizeBytes() - before; grown > RecordBytesMax(&want[i]) {
				t.Fatalf("record %d takes %d bytes, promised %d", i, grown, RecordBytesMax(&want[i]))
			}
			most = max(most, want[i].Timestamp)
		}
		if b.RecordCount() != len(want) {
			t.Fatalf("%d records counted, want %d", b.RecordCount(), len(want))
		}
		raw := b.SizeBytes()
		batch := b.Finish()
		if len(batch) > raw {
			t.Fatalf("%d bytes raw are %d finished", raw, len(batch))
		}
		untouched := bytes.Clone(batch)
		h, err := ValidateProduced(batch, Limits{}, &d)
		if err != nil {
			t.Fatalf("what Builder makes does not validate: %v", err)
		}
		if !bytes.Equal(batch, untouched) {
			t.Fatal("the header needed a correction")
		}
		wantHeader := Header{
			BaseOffset: opts.BaseOffset, LeaderEpoch: opts.LeaderEpoch, ProducerID: opts.ProducerID,
			ProducerEpoch: opts.ProducerEpoch, BaseSequence: opts.BaseSequence, SizeBytes: len(batch),
			BaseTimestamp: want[0].Timestamp, MaxTimestamp: most, RecordCount: int32(len(want)),
			LastOffsetDelta: int32(len(want) - 1), CRC: batch.CRC(), Attributes: Attributes(batch.Codec()),
		}
		if opts.Transactional {
			wantHeader.Attributes |= TransactionalBit
		}
		wantHeader.MinTimestamp = h.MinTimestamp // it is not in the batch
		if h != wantHeader {
			t.Fatalf("header %+v, want %+v", h, wantHeader)
		}
		if c := batch.Codec(); c != opts.Codec && c != CodecNone {
			t.Fatalf("codec %s, asked for %s", c, opts.Codec)
		}
		if err := r.Reset(batch, &d, 0); err != nil {
			t.Fatal(err)
		}
		var got []Record
		for r.Next() {
			rec := *r.Record()
			rec.Headers = append([]RecordHeader(nil), rec.Headers...)
			if rec.Offset != opts.BaseOffset+model.Offset(len(got)) {
				t.Fatalf("record %d has offset %d", len(got), rec.Offset)
			}
			got = append(got, rec)
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
		if err := sameRecords(got, want); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPayloadsThatDoNotShrinkStayUncompressed(t *testing.T) {
	var b Builder
	for _, codec := range codecs {
		b.Begin(NewOptions(codec))
		b.Append(Record{Value: []byte("x")})
		if got := b.Finish().Codec(); got != CodecNone {
			t.Errorf("one byte by %s is stored as %s", codec, got)
		}
		b.Begin(NewOptions(codec))
		b.Append(Record{Value: payload(5000)})
		if got := b.Finish().Codec(); got != codec {
			t.Errorf("text by %s is stored as %s", codec, got)
		}
	}
}

func TestACleanersBatchKeepsItsOffsetsAndSequences(t *testing.T) {
	opts := NewOptions(CodecNone)
	opts.BaseOffset, opts.LeaderEpoch, opts.ExplicitOffsets = 100, 4, true
	opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence = 1, 2, 30
	opts.DeleteHorizon = 77_000
	var b Builder
	b.Begin(opts)
	b.Append(Record{Key: []byte("a"), Value: []byte("1"), Offset: 103, Timestamp: 50_000})
	b.Append(Record{Key: []byte("b"), Offset: 110, Timestamp: 49_000})
	b.ExtendTo(119)
	batch := b.Finish()
	h, err := ReadHeader(batch)
	if err != nil {
		t.Fatal(err)
	}
	if h.BaseOffset != 100 || h.LastOffset() != 119 || h.RecordCount != 2 || h.LastSequence() != 49 || !h.HasDeleteHorizon() ||
		h.BaseTimestamp != 77_000 || h.MaxTimestamp != 50_000 {
		t.Errorf("header %+v", h)
	}
	got := collect(t, batch, nil)
	if len(got) != 2 || got[0].Offset != 103 || got[1].Offset != 110 || got[0].Timestamp != 50_000 || got[1].Timestamp != 49_000 {
		t.Errorf("records %+v", got)
	}

	opts.AppendTime, opts.DeleteHorizon, opts.Control, opts.Transactional = 88_000, 0, true, true
	b.Begin(opts)
	b.ExtendTo(119)
	empty := b.Finish()
	if h, err = ReadHeader(empty); err != nil {
		t.Fatal(err)
	}
	if len(empty) != HeaderBytes || h.RecordCount != 0 || h.LastOffset() != 119 || !h.IsControl() || !h.IsTransactional() ||
		h.TimestampType() != LogAppendTime || h.MaxTimestamp != 88_000 {
		t.Errorf("empty header %+v of %d bytes", h, len(empty))
	}
	if n := len(collect(t, empty, nil)); n != 0 {
		t.Errorf("an empty batch has %d records", n)
	}
}

func TestABuilderLearnsHowWellItCompresses(t *testing.T) {
	var b Builder
	fill := func() {
		b.Begin(NewOptions(CodecZstd))
		b.Append(Record{Value: payload(60_000)})
	}
	fill()
	if b.EstimatedSizeBytes() != b.SizeBytes() {
		t.Error("the first batch is estimated without experience")
	}
	real := len(b.Finish())
	fill()
	if got := b.EstimatedSizeBytes(); got < real*9/10 || got > real*11/10 {
		t.Errorf("estimated %d, will be %d", got, real)
	}
	b.Begin(NewOptions(CodecNone))
	b.Append(Record{Value: payload(60_000)})
	if b.EstimatedSizeBytes() != b.SizeBytes() {
		t.Error("uncompressed batches are estimated at another size than theirs")
	}
}

func TestMisuseOfABuilderIsOurBug(t *testing.T) {
	for name, f := range map[string]func(b *Builder){
		"no offset spanned": func(b *Builder) { b.Begin(NewOptions(CodecNone)); b.Finish() },
		"offsets descend": func(b *Builder) {
			o := NewOptions(0)
			o.ExplicitOffsets = true
			b.Begin(o)
			b.Append(Record{Offset: 5})
			b.Append(Record{Offset: 5})
		},
		"offset below base": func(b *Builder) {
			o := NewOptions(0)
			o.ExplicitOffsets = true
			o.BaseOffset = 9
			b.Begin(o)
			b.Append(Record{Offset: 8})
		},
		"offset out of reach": func(b *Builder) {
			o := NewOptions(0)
			o.ExplicitOffsets = true
			b.Begin(o)
			b.Append(Record{Offset: 1 << 31})
		},
		"shrunk":  func(b *Builder) { b.Begin(NewOptions(0)); b.Append(Record{}); b.Append(Record{}); b.ExtendTo(0) },
		"codec 5": func(b *Builder) { b.Begin(NewOptions(5)) },
	} {
		func() {
			defer func() {
				if _, ok := recover().(invariant.Violation); !ok {
					t.Errorf("%s: no broken invariant", name)
				}
			}()
			f(new(Builder))
		}()
	}
}
