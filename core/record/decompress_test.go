package record

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"pgregory.net/rapid"
)

// stdGzip is one gzip member of the standard library's.
func stdGzip(p []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(p)
	_ = w.Close()
	return b.Bytes()
}

// lz4Frame is a frame by the library's writer.
func lz4Frame(t testing.TB, p []byte, options ...lz4.Option) []byte {
	t.Helper()
	var b bytes.Buffer
	w := lz4.NewWriter(&b)
	if err := w.Apply(options...); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zstdStream is a frame without content size, as streaming encoders write it.
func zstdStream(t testing.TB, p []byte, options ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, append([]zstd.EOption{zstd.WithEncoderConcurrency(1)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	// A flush before the end keeps the encoder from learning the size.
	if _, err := w.Write(p[:len(p)/2]); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(p[len(p)/2:]); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// noise does not compress.
func noise(n int) []byte {
	p := make([]byte, n)
	s := uint32(1)
	for i := range p {
		s = s*1664525 + 1013904223
		p[i] = byte(s >> 24)
	}
	return p
}

func payload(n int) []byte {
	p := make([]byte, 0, n+64)
	for i := 0; len(p) < n; i++ {
		p = fmt.Appendf(p, `{"id":%d,"square":%d},`, i, i*i*7919)
	}
	return p[:n]
}

func TestEveryFramingThatClientsWriteIsRead(t *testing.T) {
	big, text, one, random := payload(900_000), payload(70_000), []byte("x"), noise(200_000)
	var empty []byte
	raw := func(p []byte) []byte { return s2.EncodeSnappy(nil, p) }
	xer := func(p []byte) []byte { return xerial.Encode(nil, p) }
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "abc"...)
	var d Decompressor
	for name, c := range map[string]struct {
		codec     Codec
		src, want []byte
	}{
		"none":                        {CodecNone, text, text},
		"gzip":                        {CodecGzip, stdGzip(big), big},
		"gzip of nothing":             {CodecGzip, stdGzip(nil), empty},
		"gzip members":                {CodecGzip, concat(stdGzip(text), stdGzip(one), stdGzip(nil), stdGzip(text)), concat(text, one, text)},
		"raw snappy":                  {CodecSnappy, raw(big), big},
		"raw snappy of nothing":       {CodecSnappy, raw(nil), empty},
		"raw snappy of a byte":        {CodecSnappy, raw(one), one},
		"xerial":                      {CodecSnappy, xer(big), big},
		"xerial of nothing":           {CodecSnappy, xer(nil), empty},
		"xerial of a byte":            {CodecSnappy, xer(one), one},
		"xerial, newer version":       {CodecSnappy, concat([]byte(xerialMagic), []byte{0, 0, 0, 9, 0, 0, 0, 1}, xer(text)[16:]), text},
		"lz4 as franz-go writes it":   {CodecLz4, lz4Frame(t, big), big},
		"lz4 of nothing":              {CodecLz4, lz4Frame(t, nil), empty},
		"lz4, 64 KiB blocks":          {CodecLz4, lz4Frame(t, big, lz4.BlockSizeOption(lz4.Block64Kb)), big},
		"lz4, checksums of blocks":    {CodecLz4, lz4Frame(t, big, lz4.BlockChecksumOption(true), lz4.BlockSizeOption(lz4.Block64Kb)), big},
		"lz4 without checksum":        {CodecLz4, lz4Frame(t, big, lz4.ChecksumOption(false)), big},
		"lz4 with content size":       {CodecLz4, lz4Frame(t, big, lz4.SizeOption(uint64(len(big)))), big},
		"lz4 high":                    {CodecLz4, lz4Frame(t, text, lz4.CompressionLevelOption(lz4.Level9)), text},
		"lz4, stored blocks":          {CodecLz4, lz4Frame(t, random), random},
		"snappy of noise":             {CodecSnappy, raw(random), random},
		"zstd of noise":               {CodecZstd, enc.EncodeAll(random, nil), random},
		"zstd of noise without size":  {CodecZstd, zstdStream(t, random), random},
		"gzip of noise":               {CodecGzip, stdGzip(random), random},
		"zstd":                        {CodecZstd, enc.EncodeAll(big, nil), big},
		"zstd of a byte":              {CodecZstd, enc.EncodeAll(one, nil), one},
		"zstd without size":           {CodecZstd, zstdStream(t, big), big},
		"zstd without size, small":    {CodecZstd, zstdStream(t, text, zstd.WithWindowSize(1<<10)), text},
		"zstd without size, wide":     {CodecZstd, zstdStream(t, text, zstd.WithWindowSize(64<<20)), text},
		"zstd frames":                 {CodecZstd, concat(enc.EncodeAll(text, nil), zstdStream(t, big), enc.EncodeAll(one, nil)), concat(text, big, one)},
		"zstd between skipped frames": {CodecZstd, concat(skippable, enc.EncodeAll(text, nil), skippable), text},
		"zstd, nothing at all":        {CodecZstd, nil, empty},
	} {
		for _, limit := range []int{max(1, len(c.want)), 64 << 20} {
			got, err := d.Decompress(c.codec, c.src, limit)
			if err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("%s, limit %d: %d bytes, want %d: %v", name, limit, len(got), len(c.want), err)
			}
		}
		if len(c.want) > 1 {
			if _, err := d.Decompress(c.codec, c.src, len(c.want)-1); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s, a byte above the limit: %v, want ErrTooLarge", name, err)
			}
		}
	}
}

func TestFramingsThatOtherConsumersCannotReadAreRefused(t *testing.T) {
	text := payload(200_000)
	linked := lz4Frame(t, text)
	linked[4] &^= lz4Independent
	linked[6] = byte(xxh32(linked[4:6]) >> 8)
	frame := lz4Frame(t, text[:100])
	sized := lz4Frame(t, text[:100], lz4.SizeOption(100))
	sized[6]++
	sized[14] = byte(xxh32(sized[4:14]) >> 8)
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderDictRaw(7, text[:5000]), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	var d Decompressor
	for name, c := range map[string]struct {
		codec Codec
		src   []byte
	}{
		"linked lz4 blocks":         {CodecLz4, linked},
		"two lz4 frames":            {CodecLz4, concat(frame, frame)},
		"lz4 block without frame":   {CodecLz4, frame[11 : len(frame)-8]},
		"lz4 nothing":               {CodecLz4, nil},
		"lz4 header checksum":       {CodecLz4, func() []byte { f := bytes.Clone(frame); f[6] ^= 1; return f }()},
		"lz4 content checksum":      {CodecLz4, func() []byte { f := bytes.Clone(frame); f[len(f)-1] ^= 1; return f }()},
		"lz4 content size":          {CodecLz4, sized},
		"lz4 without end mark":      {CodecLz4, frame[:len(frame)-8]},
		"lz4 cut checksum":          {CodecLz4, frame[:len(frame)-2]},
		"zstd dictionary":           {CodecZstd, enc.EncodeAll(text, nil)},
		"zstd window above 128 MiB": {CodecZstd, zstdStream(t, text, zstd.WithWindowSize(256<<20))},
		"zstd stray bytes":          {CodecZstd, append(zstdStream(t, text), 1, 2, 3, 4, 5)},
		"gzip stray bytes":          {CodecGzip, append(stdGzip(text), 1, 2, 3)},
		"gzip cut":                  {CodecGzip, stdGzip(text)[:100]},
		"gzip checksum":             {CodecGzip, func() []byte { g := stdGzip(text); g[len(g)-6] ^= 1; return g }()},
		"gzip nothing":              {CodecGzip, nil},
		"snappy nothing":            {CodecSnappy, nil},
		"snappy length that lies":   {CodecSnappy, append(binary.AppendUvarint(nil, 1<<20), 1, 2, 3)},
		"xerial version 0":          {CodecSnappy, concat([]byte(xerialMagic), make([]byte, 8))},
		"xerial cut length":         {CodecSnappy, xerial.Encode(nil, text)[:18]},
		"xerial cut block":          {CodecSnappy, xerial.Encode(nil, text)[:1000]},
		"xerial empty block":        {CodecSnappy, append(xerial.Encode(nil, text), 0, 0, 0, 0)},
	} {
		if got, err := d.Decompress(c.codec, c.src, 64<<20); !errors.Is(err, ErrDecompress) {
			t.Errorf("%s: %d bytes, %v, want ErrDecompress", name, len(got), err)
		}
	}
	if _, err := d.Decompress(Codec(6), nil, 1); !errors.Is(err, ErrCodec) {
		t.Errorf("codec 6: %v, want ErrCodec", err)
	}
}

// zeros reads as n zero bytes.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.n)
	clear(p[:n])
	z.n -= n
	return int(n), nil
}

// bombs are small inputs that inflate to 512 MiB.
func bombs(t testing.TB) map[string]struct {
	codec Codec
	src   []byte
} {
	t.Helper()
	const size = 512 << 20
	var gz, lz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	l := lz4.NewWriter(&lz)
	z, err := zstd.NewWriter(&zs, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, l, z} {
		if _, err := io.Copy(w, &zeros{size}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	block := s2.EncodeSnappy(nil, make([]byte, 32<<10))
	xer := append([]byte(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1)
	for range size / (32 << 10) {
		xer = binary.BigEndian.AppendUint32(xer, uint32(len(block)))
		xer = append(xer, block...)
	}
	// A frame of run-length blocks: 4 bytes make 128 KiB, and no size is told.
	rle := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3}
	for i := range size / (128 << 10) {
		word := uint32(128<<10)<<3 | 1<<1
		if i == size/(128<<10)-1 {
			word |= 1
		}
		rle = append(rle, byte(word), byte(word>>8), byte(word>>16), 0)
	}
	members := bytes.Repeat(stdGzip(make([]byte, 1<<20)), size>>20)
	type bomb = struct {
		codec Codec
		src   []byte
	}
	return map[string]bomb{
		"gzip":         {CodecGzip, gz.Bytes()},
		"gzip members": {CodecGzip, members},
		"lz4":          {CodecLz4, lz.Bytes()},
		"zstd":         {CodecZstd, zs.Bytes()},
		"zstd runs":    {CodecZstd, rle},
		"zstd frames":  {CodecZstd, bytes.Repeat(zstdStream(t, make([]byte, 1<<20)), size>>20)},
		"snappy":       {CodecSnappy, append(binary.AppendUvarint(nil, size), bytes.Repeat([]byte{0xfe, 1, 0}, size/64)...)},
		"xerial":       {CodecSnappy, xer},
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestBombsAreRefusedWithinTheLimit(t *testing.T) {
	const limit = 4 << 20
	for name, b := range bombs(t) {
		var d Decompressor
		var err error
		n := allocated(func() { _, err = d.Decompress(b.codec, b.src, limit) })
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s, %d bytes for 512 MiB: %v, want ErrTooLarge", name, len(b.src), err)
		}
		// Doubling reaches the limit in steps that add up to twice as much; codecs keep state.
		if n > 2*limit+2<<20 {
			t.Errorf("%s allocates %d bytes, limit %d", name, n, limit)
		}
	}
}

func TestLengthsThatLieCostNothing(t *testing.T) {
	const limit = 64 << 20
	var warm Decompressor // the codecs' own state is not what is measured
	lz4Claim := append([]byte{0x04, 0x22, 0x4d, 0x18, lz4Version | lz4Independent, 7 << 4, 0}, 3, 0, 0, 0, 0x10, 'a', 1)
	lz4Claim[6] = byte(xxh32(lz4Claim[4:6]) >> 8)
	zstdClaim := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 3, 1, 0, 0} // content size 48 MiB, one empty block
	for name, c := range map[string]struct {
		codec Codec
		src   []byte
	}{
		"raw snappy": {CodecSnappy, append(binary.AppendUvarint(nil, 60<<20), 1, 2, 3)},
		"xerial":     {CodecSnappy, append([]byte(xerialMagic+"\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x05"), 0x80, 0x80, 0x80, 0x18, 0)},
		"lz4":        {CodecLz4, lz4Claim},
		"zstd":       {CodecZstd, zstdClaim},
		"gzip":       {CodecGzip, stdGzip(nil)},
	} {
		_, _ = warm.Decompress(c.codec, c.src, limit)
		warm.buf = nil
		n := allocated(func() { _, _ = warm.Decompress(c.codec, c.src, limit) })
		if n > 256<<10 {
			t.Errorf("%s: %d bytes in cost %d", name, len(c.src), n)
		}
	}
}

func TestABigBufferIsKeptUntilRelease(t *testing.T) {
	var d Decompressor
	big := stdGzip(make([]byte, keepBytesMax*2))
	if _, err := d.Decompress(CodecGzip, big, 64<<20); err != nil {
		t.Fatal(err)
	}
	if cap(d.buf) <= keepBytesMax {
		t.Fatal("the fixture is too small")
	}
	if n := allocated(func() { _, _ = d.Decompress(CodecGzip, big, 64<<20) }); n > 64<<10 {
		t.Errorf("a second batch of that size allocates %d bytes: the buffer should still be there", n)
	}
	if d.Release(); d.buf != nil {
		t.Error("Release keeps the buffer")
	}
}

func TestADecompressorForgetsWhatFailed(t *testing.T) {
	var d Decompressor
	var c Compressor
	rapid.Check(t, func(t *rapid.T) {
		codec := rapid.SampledFrom(codecs[1:]).Draw(t, "codec")
		want := rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "payload")
		packed := c.Compress(nil, want, codec, DefaultLevel)
		damaged := bytes.Clone(packed)
		damaged[rapid.IntRange(0, len(damaged)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		_, _ = d.Decompress(codec, damaged, 1<<20)
		got, err := d.Decompress(codec, packed, 1<<20)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s after a failure: %d bytes, want %d: %v", codec, len(got), len(want), err)
		}
	})
}

// The library's decoder is the oracle for what Snappy's own writers make, and where it is stricter so are we.
func TestOurSnappyDecoderAgreesWithTheLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var data []byte
		for range rapid.IntRange(0, 20).Draw(t, "runs") {
			if b := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes"); rapid.Bool().Draw(t, "repeat") {
				data = append(data, bytes.Repeat(b, rapid.IntRange(0, 2000).Draw(t, "times"))...)
			} else {
				data = append(data, b...)
			}
		}
		block := s2.EncodeSnappy(nil, data)
		got := make([]byte, len(data))
		if err := unsnap(got, block); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes come back otherwise: %v", len(data), err)
		}
		damaged := bytes.Clone(block)
		for range rapid.IntRange(1, 4).Draw(t, "flips") {
			damaged[rapid.IntRange(0, len(damaged)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		n, err := snappyLength(damaged)
		if err != nil {
			return
		}
		got = make([]byte, n)
		if unsnap(got, damaged) != nil {
			return // the library also reads S2, which repeats offsets
		}
		if want, err := s2.Decode(nil, damaged); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("we read what the library does not: %v", err)
		}
	})
}

func TestALargeRawSnappyBlockIsRead(t *testing.T) {
	data := bytes.Repeat([]byte("large enough for our own decoder; "), 5*snappyLibraryBytesMax/32)
	rng := rand.NewChaCha8([32]byte{})
	_, _ = rng.Read(data[len(data)/2:][:3*copyBytesMax]) // a literal of several pieces
	var d Decompressor
	got, err := d.Decompress(CodecSnappy, s2.EncodeSnappy(nil, data), 64<<20)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d of %d bytes come back: %v", len(got), len(data), err)
	}
}
