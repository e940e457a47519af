package record

import (
	"bytes"
	"errors"
	"testing"

	"github.com/weirmq/weir/core/model"
)

// seeds are one sound batch per codec, a marker, and two batches in a row.
func seeds(f *testing.F) [][]byte {
	var out [][]byte
	for _, c := range codecs {
		out = append(out, small(f, c))
	}
	out = append(out, AppendControl(nil, Commit, 1, 2, 3, 4))
	return append(out, append(small(f, CodecNone), small(f, CodecLz4)...))
}

const fuzzLimit = 1 << 20

// known reports whether an error is one that this package promises.
func known(err error) bool {
	for _, e := range []error{ErrShort, ErrCorrupt, ErrCRC, ErrMagic, ErrCodec, ErrDecompress, ErrTooLarge, ErrInvalid, ErrNullKey, ErrTimestamp} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// FuzzValidateProduced: what is accepted has a true header and reads back record by record; what is
// refused is left alone. The CRC is made good, or nothing would get past it.
func FuzzValidateProduced(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s, false, false, int64(0), int64(0))
		f.Add(s, true, true, int64(1), int64(2000))
	}
	f.Fuzz(func(t *testing.T, b []byte, requireKeys, appendTime bool, minTS, maxTS int64) {
		if len(b) >= HeaderBytes {
			if n := Batch(b).SizeBytes(); n >= HeaderBytes && n <= len(b) {
				stampCRC(b[:n])
			}
		}
		before := bytes.Clone(b)
		var d Decompressor
		limits := Limits{
			DecompressedBytesMax: fuzzLimit, RequireKeys: requireKeys, LogAppendTime: appendTime,
			TimestampMin: model.Timestamp(minTS), TimestampMax: model.Timestamp(maxTS),
		}
		h, err := ValidateProduced(b, limits, &d)
		if cap(d.buf) > 2*fuzzLimit {
			t.Fatalf("%d bytes in make a buffer of %d", len(b), cap(d.buf))
		}
		if err != nil {
			if !known(err) || Code(err) <= 0 {
				t.Fatalf("%v has code %d", err, Code(err))
			}
			if !bytes.Equal(b, before) {
				t.Fatal("refused and changed")
			}
			return
		}
		if h.SizeBytes != len(b) || CheckCRC(b) != nil {
			t.Fatalf("accepted %d bytes of %d", h.SizeBytes, len(b))
		}
		Stamp(b, 10, 1)
		again, err := ReadHeader(b)
		if again.MinTimestamp = h.MinTimestamp; err != nil || again != h.Stamped(10, 1) {
			t.Fatalf("header %+v, returned %+v: %v", again, h, err)
		}
		least, most, n := model.NoTimestamp, model.NoTimestamp, int32(0)
		for r, err := range Records(b, &d, fuzzLimit) {
			if err != nil {
				t.Fatalf("accepted, but record %d: %v", n, err)
			}
			if r.Offset != model.Offset(10+n) || requireKeys && r.Key == nil {
				t.Fatalf("accepted record %d: %+v", n, r)
			}
			most = max(most, r.Timestamp)
			if r.Timestamp != model.NoTimestamp && (least == model.NoTimestamp || r.Timestamp < least) {
				least = r.Timestamp
			}
			n++
		}
		if n != h.RecordCount || most != h.MaxTimestamp || least != h.MinTimestamp {
			t.Fatalf("%d records up to %d, header %+v", n, most, h)
		}
	})
}

// FuzzNext: walking ends, loses no byte, and cuts batches that the accessors can read.
func FuzzNext(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rest, walked := b, 0
		for len(rest) > 0 {
			batch, next, err := Next(rest)
			if err != nil {
				if !known(err) || batch != nil || len(next) != len(rest) {
					t.Fatalf("%v with %d bytes and %d left of %d", err, len(batch), len(next), len(rest))
				}
				break
			}
			h, err := ReadHeader(batch)
			if err != nil || h.SizeBytes != len(batch) || h.NextOffset() <= h.BaseOffset || h.NextOffset() != batch.NextOffset() ||
				h.LastSequence() != batch.LastSequence() || len(batch.Payload()) != len(batch)-HeaderBytes {
				t.Fatalf("header %+v of %d bytes: %v", h, len(batch), err)
			}
			walked += len(batch)
			rest = next
		}
		if walked+len(rest) != len(b) {
			t.Fatalf("walked %d, left %d, of %d", walked, len(rest), len(b))
		}
	})
}

// FuzzDecompress: no codec panics, and none takes more than the limit and its state.
func FuzzDecompress(f *testing.F) {
	var c Compressor
	for _, src := range [][]byte{nil, []byte("x"), payload(300), payload(3000)} {
		for _, codec := range codecs {
			f.Add(uint8(codec), c.Compress(nil, src, codec, DefaultLevel), uint32(fuzzLimit))
		}
		f.Add(uint8(CodecGzip), append(stdGzip(src), stdGzip(src)...), uint32(100))
		f.Add(uint8(CodecZstd), zstdStream(f, src), uint32(fuzzLimit))
		f.Add(uint8(CodecLz4), lz4Frame(f, src), uint32(fuzzLimit))
	}
	f.Fuzz(func(t *testing.T, codec uint8, src []byte, limit uint32) {
		n := int(limit%fuzzLimit) + 1
		var d Decompressor
		out, err := d.Decompress(Codec(codec), src, n)
		if cap(d.buf) > 2*n+2*zstdSlackBytes+2*growBytesMin {
			t.Fatalf("limit %d, buffer %d", n, cap(d.buf))
		}
		if err != nil {
			if !known(err) {
				t.Fatalf("an error that is not ours: %v", err)
			}
			return
		}
		if len(out) > n {
			t.Fatalf("limit %d, output %d", n, len(out))
		}
		first := bytes.Clone(out)
		again, err := d.Decompress(Codec(codec), src, max(1, len(out)))
		if err != nil || !bytes.Equal(again, first) {
			t.Fatalf("a limit of just %d bytes gives %d: %v", len(first), len(again), err)
		}
	})
}

// FuzzRecords: Reader walks anything without a panic, within the batch, and what it reads Builder
// writes and Reader reads again.
func FuzzRecords(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Decompressor
		var builder Builder
		r := new(Reader)
		if err := r.Reset(b, &d, fuzzLimit); err != nil {
			if !known(err) {
				t.Fatalf("an error that is not ours: %v", err)
			}
			return
		}
		var seen []Record
		last := Batch(b).LastOffset()
		builder.Begin(NewOptions(CodecNone))
		for r.Next() {
			got := *r.Record()
			if got.Offset < Batch(b).BaseOffset() || got.Offset > last {
				t.Fatalf("offset %d outside [%d, %d]", got.Offset, Batch(b).BaseOffset(), last)
			}
			got.Headers = append([]RecordHeader(nil), got.Headers...)
			builder.Append(got)
			seen = append(seen, got)
		}
		if r.Err() != nil && !known(r.Err()) {
			t.Fatalf("an error that is not ours: %v", r.Err())
		}
		if len(seen) == 0 {
			return
		}
		if err := sameRecords(collect(t, builder.Finish(), nil), seen); err != nil {
			t.Fatal(err)
		}
		_, _ = ReadMarker(b)
	})
}
