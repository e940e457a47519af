package record

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/klauspost/compress/snappy/xerial"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

func TestWhatIsCompressedInflatesAgain(t *testing.T) {
	var c Compressor
	var d Decompressor
	rapid.Check(t, func(t *rapid.T) {
		codec := rapid.SampledFrom(codecs).Draw(t, "codec")
		level := rapid.IntRange(-200_000, 30).Draw(t, "level")
		unit := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "unit")
		src := bytes.Repeat(unit, rapid.IntRange(0, 900).Draw(t, "times"))
		prefix := rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "prefix")
		out := c.Compress(bytes.Clone(prefix), src, codec, level)
		if !bytes.HasPrefix(out, prefix) {
			t.Fatalf("%s overwrites what it appends to", codec)
		}
		packed := out[len(prefix):]
		got, err := d.Decompress(codec, packed, max(1, len(src)))
		if err != nil || !bytes.Equal(got, src) {
			t.Fatalf("%s level %d: %d bytes come back as %d: %v", codec, level, len(src), len(got), err)
		}
		other, err := kgo.DefaultDecompressor().Decompress(packed, kgo.CompressionCodecType(codec))
		if err != nil || !bytes.Equal(other, src) {
			t.Fatalf("%s level %d: franz-go reads %d bytes of %d: %v", codec, level, len(other), len(src), err)
		}
	})
}

// TestOutputDependsOnInputAlone: replicas and replayed simulations must make the same bytes.
func TestOutputDependsOnInputAlone(t *testing.T) {
	inputs := [][]byte{payload(1_100_000), payload(40_000), nil, payload(70_000), bytes.Repeat([]byte("ab"), 300_000)}
	for _, codec := range codecs {
		for _, level := range []int{DefaultLevel, 7, 12} {
			var used Compressor
			for _, first := range inputs {
				used.Compress(nil, first, codec, level)
			}
			for i, src := range inputs {
				var fresh Compressor
				if !bytes.Equal(used.Compress(nil, src, codec, level), fresh.Compress(nil, src, codec, level)) {
					t.Errorf("%s level %d, input %d: the bytes depend on what was compressed before", codec, level, i)
				}
			}
		}
	}
}

func TestHigherLevelsCompressMore(t *testing.T) {
	src := fixture(t, CodecNone, 1<<20, 1000).Payload()
	var c Compressor
	size := func(codec Codec, level int) int { return len(c.Compress(nil, src, codec, level)) }
	for _, x := range []struct {
		codec     Codec
		low, high int
	}{{CodecGzip, 1, 9}, {CodecLz4, 1, 12}, {CodecLz4, 3, 17}, {CodecZstd, 1, 12}, {CodecZstd, -5, 22}} {
		if low, high := size(x.codec, x.low), size(x.codec, x.high); low <= high {
			t.Errorf("%s: level %d makes %d bytes, level %d makes %d", x.codec, x.low, low, x.high, high)
		}
	}
	for codec, level := range map[Codec]int{CodecGzip: 6, CodecLz4: 9, CodecZstd: 3} {
		if size(codec, DefaultLevel) != size(codec, level) {
			t.Errorf("%s: the default is not level %d", codec, level)
		}
	}
}

func TestSnappyIsWrittenInXerialsFraming(t *testing.T) {
	var c Compressor
	src := payload(100_000)
	out := c.Compress(nil, src, CodecSnappy, DefaultLevel)
	if want := []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"); !bytes.HasPrefix(out, want) {
		t.Fatalf("begins with % x", out[:16])
	}
	if back, err := xerial.Decode(out); err != nil || !bytes.Equal(back, src) {
		t.Errorf("another reader: %d bytes, %v", len(back), err)
	}
}

func TestLz4IsWrittenAsAFrameThatTheLibraryReads(t *testing.T) {
	var c Compressor
	for name, src := range map[string][]byte{"text": payload(300_000), "noise": noise(150_000), "nothing": nil, "one block": payload(lz4BlockBytes)} {
		for _, level := range []int{DefaultLevel, 1, 12} {
			out := c.Compress(nil, src, CodecLz4, level)
			back, err := io.ReadAll(lz4.NewReader(bytes.NewReader(out)))
			if err != nil || !bytes.Equal(back, src) {
				t.Errorf("%s, level %d: %d bytes, %v", name, level, len(back), err)
			}
			if bound := len(src) + 11 + 4*(len(src)/lz4BlockBytes+1); len(out) > bound {
				t.Errorf("%s, level %d: %d bytes grow to %d", name, level, len(src), len(out))
			}
		}
	}
}

func TestXXH32KnownAnswers(t *testing.T) {
	for _, c := range []struct {
		in   string
		want uint32
	}{
		{"", 0x02cc5d05},
		{"a", 0x550d7456},
		{"abc", 0x32d153ff},
		{"Nobody inspects the spammish repetition", 0xe2293b2f},
	} {
		if got := xxh32([]byte(c.in)); got != c.want {
			t.Errorf("%q: %08x, want %08x", c.in, got, c.want)
		}
	}
}

func TestCodecNames(t *testing.T) {
	for _, c := range codecs {
		if back, ok := ParseCodec(c.String()); !ok || back != c || !c.Known() {
			t.Errorf("%d is %q, which reads as %d", c, c, back)
		}
	}
	if _, ok := ParseCodec("brotli"); ok || Codec(5).Known() || fmt.Sprint(Codec(5)) != "codec 5" {
		t.Error("unknown codecs pass for known")
	}
}

func TestCodecsStartNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	src := payload(1_100_000)
	var c Compressor
	var d Decompressor
	for _, codec := range codecs {
		for _, level := range []int{DefaultLevel, 7, 12} {
			if _, err := d.Decompress(codec, c.Compress(nil, src, codec, level), 2<<20); err != nil {
				t.Fatal(err)
			}
		}
		if now := runtime.NumGoroutine(); now > before {
			t.Errorf("%s: %d goroutines, %d before", codec, now, before)
		}
	}
}
