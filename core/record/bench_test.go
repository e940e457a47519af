package record

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weirmq/weir/core/model"
)

// fixture is an uncompressed or compressed batch of about batchBytes with values of valueBytes.
func fixture(tb testing.TB, codec Codec, batchBytes, valueBytes int) Batch {
	tb.Helper()
	var b Builder
	b.Begin(NewOptions(codec))
	rng := rand.New(rand.NewPCG(1, 2))
	for i := 0; ; i++ {
		var value []byte
		for len(value) < valueBytes {
			value = fmt.Appendf(value, `{"id":%d,"user":"%s-%x","amount":%d.%02d},`, i,
				[]string{"ann", "bob", "carol", "dave"}[rng.IntN(4)], rng.Uint32(), rng.IntN(10000), rng.IntN(100))
		}
		r := Record{Value: value[:valueBytes], Timestamp: model.Timestamp(1_700_000_000_000 + i/4)}
		if b.RecordCount() > 0 && b.SizeBytes()+RecordBytesMax(&r) > batchBytes {
			break
		}
		b.Append(r)
	}
	return append(Batch(nil), b.Finish()...)
}

var shapes = []struct {
	name              string
	batchBytes, value int
}{
	{"16KiB_100B", 16 << 10, 100},
	{"16KiB_1KiB", 16 << 10, 1 << 10},
	{"1MiB_100B", 1 << 20, 100},
	{"1MiB_1KiB", 1 << 20, 1 << 10},
}

func perRecord(b *testing.B, count int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(count), "ns/record")
}

func BenchmarkValidateProduced(b *testing.B) {
	for _, codec := range codecs {
		for _, s := range shapes {
			b.Run(codec.String()+"/"+s.name, func(b *testing.B) {
				batch := fixture(b, codec, s.batchBytes, s.value)
				var d Decompressor
				var payload int
				if p, err := d.Decompress(batch.Codec(), batch.Payload(), 1<<30); err == nil {
					payload = len(p)
				}
				b.SetBytes(int64(HeaderBytes + payload))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := ValidateProduced(batch, Limits{}, &d); err != nil {
						b.Fatal(err)
					}
				}
				perRecord(b, int(batch.RecordCount()))
			})
		}
	}
}

func BenchmarkCheckRecords(b *testing.B) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			batch := fixture(b, CodecNone, s.batchBytes, s.value)
			h, _ := ReadHeader(batch)
			limits := Limits{}
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := checkRecords(batch.Payload(), &h, &limits); err != nil {
					b.Fatal(err)
				}
			}
			perRecord(b, int(batch.RecordCount()))
		})
	}
}

func BenchmarkCheckCRC(b *testing.B) {
	batch := fixture(b, CodecNone, 1<<20, 100)
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		if err := CheckCRC(batch); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadHeader(b *testing.B) {
	batch := fixture(b, CodecNone, 16<<10, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadHeader(batch); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStamp(b *testing.B) {
	batch := fixture(b, CodecNone, 16<<10, 100)
	b.ReportAllocs()
	for b.Loop() {
		Stamp(batch, 12345, 6)
	}
}

func BenchmarkReader(b *testing.B) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			batch := fixture(b, CodecNone, s.batchBytes, s.value)
			var r Reader
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Reset(batch, nil, 0); err != nil {
					b.Fatal(err)
				}
				for r.Next() {
				}
				if r.Err() != nil {
					b.Fatal(r.Err())
				}
			}
			perRecord(b, int(batch.RecordCount()))
		})
	}
}

func BenchmarkBuilder(b *testing.B) {
	for _, codec := range codecs {
		for _, s := range shapes[:2] {
			b.Run(codec.String()+"/"+s.name, func(b *testing.B) {
				records := collect(b, fixture(b, CodecNone, s.batchBytes, s.value), nil)
				var builder Builder
				opts := NewOptions(codec)
				b.SetBytes(int64(s.batchBytes))
				b.ReportAllocs()
				for b.Loop() {
					builder.Begin(opts)
					for i := range records {
						builder.Append(records[i])
					}
					builder.Finish()
				}
				perRecord(b, len(records))
			})
		}
	}
}

func BenchmarkDecompress(b *testing.B) {
	for _, codec := range codecs[1:] {
		b.Run(codec.String(), func(b *testing.B) {
			src := fixture(b, CodecNone, 1<<20, 100).Payload()
			var c Compressor
			packed := c.Compress(nil, src, codec, DefaultLevel)
			var d Decompressor
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Decompress(codec, packed, 2<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
