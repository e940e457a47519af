package record

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestRecompressedBatchesHoldTheSameRecords(t *testing.T) {
	var d Decompressor
	rapid.Check(t, func(rt *rapid.T) {
		want := recordsGen().Draw(rt, "records")
		from := Codec(rapid.IntRange(0, codecCount-1).Draw(rt, "from"))
		to := Codec(rapid.IntRange(0, codecCount-1).Draw(rt, "to"))
		b := kmsgBatch(t, from, want)
		before, err := ValidateProduced(b, Limits{}, &d)
		if err != nil {
			rt.Fatal(err)
		}
		again, err := d.Recompress(b, to, 64<<20)
		if err != nil {
			rt.Fatal(err)
		}
		after, err := ValidateProduced(again, Limits{}, &d)
		if err != nil {
			rt.Fatalf("what was made does not validate: %v", err)
		}
		if after.Codec() != to {
			rt.Fatalf("codec %s, want %s", after.Codec(), to)
		}
		if err := sameRecords(collect(t, again, &d), want); err != nil {
			rt.Fatal(err)
		}
		before.SizeBytes, before.CRC, before.Attributes = after.SizeBytes, after.CRC, after.Attributes
		if before != after {
			rt.Fatalf("header %+v, was %+v", after, before)
		}
	})
}

func TestRecompressionIsBounded(t *testing.T) {
	var d Decompressor
	b := small(t, CodecGzip)
	if _, err := d.Recompress(b, CodecNone, 10); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
	if _, err := d.Recompress(b, 7, 1000); !errors.Is(err, ErrCodec) {
		t.Errorf("%v", err)
	}
}
