package storage_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// The files are Kafka's: the index names the last offset and the position of a batch, the first batch
// past each interval; the time index the greatest time so far.
func TestIndexFilesAreKafkas(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog()) // interval 256
	stored := r.fill(tp, 0, 12, 1000)
	r.close()
	second := r.segments(tp)[1]
	size := int64(len(r.disk.Bytes(r.logPath(tp, 0))))
	var offsets, times []byte
	since, at, o := 0, 0, uint32(0)
	for b := stored[:size]; len(b) > 0; o++ {
		batch, rest, err := record.Next(b)
		if err != nil {
			t.Fatal(err)
		}
		if since > 256 {
			offsets = binary.BigEndian.AppendUint32(offsets, o)
			offsets = binary.BigEndian.AppendUint32(offsets, uint32(at))
			times = binary.BigEndian.AppendUint64(times, uint64(1000+o))
			times = binary.BigEndian.AppendUint32(times, o)
			since = 0
		}
		since, at, b = since+len(batch), at+len(batch), rest
	}
	base := strings.TrimSuffix(r.logPath(tp, 0), ".log")
	if got := r.disk.Bytes(base + ".index"); !bytes.Equal(got, offsets) {
		t.Fatalf("index\n%x, want\n%x", got, offsets)
	}
	if got := r.disk.Bytes(base + ".timeindex"); !bytes.Equal(got, times) {
		t.Fatalf("time index\n%x, want\n%x", got, times)
	}
	if got := r.disk.Bytes(second); !bytes.Equal(got, stored[size:size+int64(len(got))]) {
		t.Fatal("the second segment does not go on where the first ended")
	}
}

func TestRottenIndexNeverLeadsAstray(t *testing.T) {
	r := newRig(t, smallConfig())
	tp := topic(1)
	r.create(tp, smallLog())
	want := r.fill(tp, 0, 25, 500)
	r.close()
	each := len(want) / 25
	base := strings.TrimSuffix(r.logPath(tp, 0), ".log")
	for _, suffix := range []string{".index", ".timeindex"} {
		bits := int64(len(r.disk.Bytes(base+suffix))) * 8
		for bit := range bits {
			r.disk.Flip(base+suffix, bit)
			r.open()
			for o := range model.Offset(25) {
				got, code := r.read(tp, o, o+1, 1<<20)
				if code != 0 || !bytes.Equal(got, want[int(o)*each:int(o+1)*each]) {
					t.Fatalf("%s bit %d: offset %d: code %d, %d bytes", suffix, bit, o, code, len(got))
				}
				r.done.Reset()
				r.perform(effect.Set{Lookups: []effect.Lookup{{Partition: tp, Timestamp: model.Timestamp(1000 + o), Limit: 25}}})
				if l := r.done.LookedUp[0]; l.Offset != o || l.Failure != effect.OK {
					t.Fatalf("%s bit %d: time %d found %+v", suffix, bit, 1000+o, l)
				}
			}
			r.close()
			// Put back what the engine may have repaired.
			f, err := r.disk.Open(base + suffix)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			if n := int64(len(r.disk.Bytes(base + suffix))); n*8 != bits {
				t.Fatalf("%s: %d bytes, were %d", suffix, n, bits/8)
			}
			r.disk.Flip(base+suffix, bit)
		}
	}
}

// An index that is read anew may get entries that it did not have when its segment was closed: the interval may have been
// altered since. Each still says how late the batches up to it are.
func TestEntriesOfALaterReadingKnowTheGreatestTime(t *testing.T) {
	r := newRig(t, smallConfig())
	tp, lc := topic(1), smallLog()
	lc.IndexIntervalBytes = 4000
	r.create(tp, lc)
	for base := range model.Offset(25) { // of which 14 are in the first segment, and the 8th has the only entry
		ts := model.Timestamp(1000)
		switch base {
		case 9:
			ts = 2000
		case 13:
			ts = 3000
		}
		r.append(tp, base, batch(uint64(base), 1, 500, ts))
		r.sync()
	}
	r.close()
	r.open()
	lc.IndexIntervalBytes = 256
	r.create(tp, lc)
	r.read(tp, 0, 1, 1) // has the index read
	r.truncate(tp, 12)
	r.sync()
	if got := r.truncated(); got.Failure != effect.OK {
		t.Fatalf("%+v", got)
	}
	if err := r.e.Check(); err != nil {
		t.Error(err)
	}
}
