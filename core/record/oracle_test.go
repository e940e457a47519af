package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/model"
)

var codecs = []Codec{CodecNone, CodecGzip, CodecSnappy, CodecLz4, CodecZstd}

// kgoCompressor is franz-go's compressor for a codec, nil for none.
func kgoCompressor(t testing.TB, codec Codec) kgo.Compressor {
	t.Helper()
	of := map[Codec]kgo.CompressionCodec{
		CodecNone:   kgo.NoCompression(),
		CodecGzip:   kgo.GzipCompression(),
		CodecSnappy: kgo.SnappyCompression(),
		CodecLz4:    kgo.Lz4Compression(),
		CodecZstd:   kgo.ZstdCompression(),
	}
	c, err := kgo.DefaultCompressor(of[codec])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// kmsgBatch builds a batch with franz-go's message types and compressor only.
func kmsgBatch(t testing.TB, codec Codec, records []Record) []byte {
	t.Helper()
	var payload []byte
	maxTS := records[0].Timestamp
	for i, r := range records {
		k := kmsg.Record{
			TimestampDelta64: int64(r.Timestamp - records[0].Timestamp),
			OffsetDelta:      int32(i),
			Key:              r.Key,
			Value:            r.Value,
		}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kmsg.Header{Key: string(h.Key), Value: h.Value})
		}
		k.Length = int32(len(k.AppendTo(nil)) - 1) // the zero length takes one byte
		payload = k.AppendTo(payload)
		maxTS = max(maxTS, r.Timestamp)
	}
	if c := kgoCompressor(t, codec); c != nil {
		out, used := c.Compress(new(bytes.Buffer), payload)
		if Codec(used) != codec {
			t.Fatalf("franz-go used codec %d, want %d", used, codec)
		}
		payload = append([]byte(nil), out...)
	}
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1,
		Magic:                2,
		Attributes:           int16(codec),
		LastOffsetDelta:      int32(len(records) - 1),
		FirstTimestamp:       int64(records[0].Timestamp),
		MaxTimestamp:         int64(maxTS),
		ProducerID:           -1,
		ProducerEpoch:        -1,
		FirstSequence:        -1,
		NumRecords:           int32(len(records)),
		Records:              payload,
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	raw := b.AppendTo(nil)
	b.CRC = int32(crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}

// kmsgRecords reads a batch with franz-go's message types and decompressor only.
func kmsgRecords(t testing.TB, b []byte) (kmsg.RecordBatch, []Record) {
	t.Helper()
	var kb kmsg.RecordBatch
	if err := kb.ReadFrom(b); err != nil {
		t.Fatalf("kmsg does not read the batch: %v", err)
	}
	if int(kb.Length)+12 != len(b) {
		t.Fatalf("kmsg reads length %d in %d bytes", kb.Length, len(b))
	}
	if sum := crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)); int32(sum) != kb.CRC {
		t.Fatalf("CRC %08x, want %08x", uint32(kb.CRC), sum)
	}
	payload, err := kgo.DefaultDecompressor().Decompress(kb.Records, kgo.CompressionCodecType(kb.Attributes&7))
	if err != nil {
		t.Fatalf("franz-go does not inflate codec %d: %v", kb.Attributes&7, err)
	}
	var out []Record
	for range kb.NumRecords {
		length, n := binary.Varint(payload)
		var k kmsg.Record
		if err := k.ReadFrom(payload[:n+int(length)]); err != nil {
			t.Fatalf("kmsg does not read record %d: %v", len(out), err)
		}
		payload = payload[n+int(length):]
		r := Record{
			Key: k.Key, Value: k.Value,
			Timestamp: model.Timestamp(kb.FirstTimestamp + k.TimestampDelta64),
			Offset:    model.Offset(kb.FirstOffset + int64(k.OffsetDelta)),
		}
		for _, h := range k.Headers {
			r.Headers = append(r.Headers, RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		out = append(out, r)
	}
	if len(payload) != 0 {
		t.Fatalf("%d bytes after the last record", len(payload))
	}
	return kb, out
}

// collect reads a batch with Reader, copying what it shows.
func collect(t testing.TB, b Batch, d *Decompressor) []Record {
	t.Helper()
	var out []Record
	for r, err := range Records(b, d, 0) {
		if err != nil {
			t.Fatalf("record %d: %v", len(out), err)
		}
		r.Headers = append([]RecordHeader(nil), r.Headers...)
		out = append(out, r)
	}
	return out
}

// sameRecords compares what users see; null and empty differ.
func sameRecords(got, want []Record) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d records, want %d", len(got), len(want))
	}
	same := func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
	for i := range got {
		g, w := got[i], want[i]
		if !same(g.Key, w.Key) || !same(g.Value, w.Value) || g.Timestamp != w.Timestamp || len(g.Headers) != len(w.Headers) {
			return fmt.Errorf("record %d is %+v, want %+v", i, g, w)
		}
		for j := range g.Headers {
			if !bytes.Equal(g.Headers[j].Key, w.Headers[j].Key) || !same(g.Headers[j].Value, w.Headers[j].Value) {
				return fmt.Errorf("record %d header %d is %q, want %q", i, j, g.Headers[j], w.Headers[j])
			}
		}
	}
	return nil
}

// nullableGen draws nil, empty, short and compressible bytes.
func nullableGen() *rapid.Generator[[]byte] {
	return rapid.OneOf(
		rapid.Just([]byte(nil)),
		rapid.Just([]byte{}),
		rapid.SliceOfN(rapid.Byte(), 0, 200),
		rapid.Map(rapid.IntRange(1, 5000), func(n int) []byte { return bytes.Repeat([]byte("stream "), n)[:n] }),
	)
}

func recordsGen() *rapid.Generator[[]Record] {
	one := rapid.Custom(func(t *rapid.T) Record {
		r := Record{
			Key:       nullableGen().Draw(t, "key"),
			Value:     nullableGen().Draw(t, "value"),
			Timestamp: model.Timestamp(rapid.Int64Range(-1, 4e12).Draw(t, "timestamp")),
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			r.Headers = append(r.Headers, RecordHeader{
				Key:   []byte(rapid.String().Draw(t, "header key")),
				Value: nullableGen().Draw(t, "header value"),
			})
		}
		return r
	})
	return rapid.SliceOfN(one, 1, 40)
}

func TestFranzGoBatchesValidateAndRead(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			var d Decompressor
			rapid.Check(t, func(rt *rapid.T) {
				want := recordsGen().Draw(rt, "records")
				b := kmsgBatch(t, codec, want)
				h, err := ValidateProduced(b, Limits{}, &d)
				if err != nil {
					rt.Fatalf("ValidateProduced: %v", err)
				}
				if h.Codec() != codec || int(h.RecordCount) != len(want) || h.SizeBytes != len(b) {
					rt.Fatalf("header %+v", h)
				}
				if err := sameRecords(collect(t, b, &d), want); err != nil {
					rt.Fatal(err)
				}
			})
		})
	}
}

func TestFranzGoReadsOurBatches(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			var b Builder
			rapid.Check(t, func(rt *rapid.T) {
				want := recordsGen().Draw(rt, "records")
				opts := NewOptions(codec)
				opts.BaseOffset, opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence = 77, 5, 3, 9
				opts.Level = rapid.IntRange(-2, 22).Draw(rt, "level")
				opts.Transactional = rapid.Bool().Draw(rt, "transactional")
				b.Begin(opts)
				for _, r := range want {
					b.Append(r)
				}
				batch := b.Finish()
				kb, got := kmsgRecords(t, batch)
				if err := sameRecords(got, want); err != nil {
					rt.Fatal(err)
				}
				for i, r := range got {
					if r.Offset != 77+model.Offset(i) {
						rt.Fatalf("record %d has offset %d", i, r.Offset)
					}
				}
				if kb.ProducerID != 5 || kb.ProducerEpoch != 3 || kb.FirstSequence != 9 || kb.PartitionLeaderEpoch != -1 {
					rt.Fatalf("header %+v", kb)
				}
				if opts.Transactional != (kb.Attributes&16 != 0) {
					rt.Fatalf("attributes %#x", kb.Attributes)
				}
			})
		})
	}
}
