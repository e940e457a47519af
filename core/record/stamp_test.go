package record

import (
	"bytes"
	"errors"
	"testing"
)

func TestStampTouchesOnlyOffsetAndEpochAndKeepsTheCRC(t *testing.T) {
	b := small(t, CodecZstd)
	before := append(Batch(nil), b...)
	h, _ := ReadHeader(b)
	Stamp(b, 1<<40, 77)
	if err := CheckCRC(b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b[posMagic:], before[posMagic:]) || !bytes.Equal(b[posLength:posLeaderEpoch], before[posLength:posLeaderEpoch]) {
		t.Error("bytes beyond base offset and leader epoch changed")
	}
	after, err := ReadHeader(b)
	if err != nil || after != h.Stamped(1<<40, 77) {
		t.Errorf("header %+v (%v), want %+v", after, err, h.Stamped(1<<40, 77))
	}
}

func TestEveryByteFromAttributesOnIsUnderTheCRC(t *testing.T) {
	b := small(t, CodecNone)
	for i := range b {
		b[i] ^= 0x40
		err := CheckCRC(b)
		if inside := i >= posCRC; inside != errors.Is(err, ErrCRC) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		b[i] ^= 0x40
	}
}

func TestAppendTimeReplacesEveryTimestamp(t *testing.T) {
	for _, codec := range codecs {
		b := small(t, codec)
		StampAppendTime(b, 999_999)
		if err := CheckCRC(b); err != nil {
			t.Fatal(err)
		}
		if b.TimestampType() != LogAppendTime || b.MaxTimestamp() != 999_999 || b.Codec() != codec {
			t.Errorf("%s: type %s, max %d, codec %s", codec, b.TimestampType(), b.MaxTimestamp(), b.Codec())
		}
		for i, r := range collect(t, b, new(Decompressor)) {
			if r.Timestamp != 999_999 {
				t.Errorf("%s: record %d has timestamp %d", codec, i, r.Timestamp)
			}
		}
	}
}

func TestPatchProducerMakesASoundBatchOfTheNewProducer(t *testing.T) {
	b := small(t, CodecSnappy)
	records := collect(t, b, new(Decompressor))
	PatchProducer(b, 1234567890123, 31, 0)
	h, err := ValidateProduced(b, Limits{}, new(Decompressor))
	if err != nil {
		t.Fatal(err)
	}
	if h.ProducerID != 1234567890123 || h.ProducerEpoch != 31 || h.BaseSequence != 0 || h.LastSequence() != 2 {
		t.Errorf("header %+v", h)
	}
	if err := sameRecords(collect(t, b, new(Decompressor)), records); err != nil {
		t.Error(err)
	}
}
