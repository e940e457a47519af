package storage

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

func sampleEntries() []entry {
	tp := model.TopicPartition{Topic: model.TopicID{1, 2, 3}, Partition: 7}
	return []entry{
		{Kind: entryBatch, Partition: tp, BaseOffset: 5, NextOffset: 9, SegmentBase: 2, Position: 300, SizeBytes: 4, Payload: []byte("data")},
		{Kind: entryInPlace, Partition: tp, BaseOffset: 9, NextOffset: 10, SegmentBase: 2, Position: 304, SizeBytes: 1 << 20, Payload: make([]byte, 61)},
		{Kind: entryLogStart, Partition: tp, BaseOffset: 3, NextOffset: 3},
		{Kind: entryDelete, Partition: tp},
		{Kind: entryTruncate, Partition: tp, BaseOffset: 7, NextOffset: 7, SegmentBase: 2, Position: 300, Payload: make([]byte, truncatePayloadBytes)},
		{Kind: entryStartAt, Partition: tp, BaseOffset: 70, NextOffset: 70, SegmentBase: 70},
	}
}

// encodeEntries is the body of a group, without its header.
func encodeEntries(lsn LSN, entries []entry) []byte {
	var b []byte
	for i := range entries {
		e := entries[i]
		e.LSN, e.Index = lsn, uint32(i)
		var head [entryHeaderBytes]byte
		putEntryHeader(head[:], &e)
		b = append(append(b, head[:]...), e.Payload...)
	}
	return b
}

func TestJournalEntriesSurviveARoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var entries []entry
		for range rapid.IntRange(0, 5).Draw(t, "entries") {
			e := entry{
				Kind:       entryKind(rapid.IntRange(1, int(entryKindCount)-1).Draw(t, "kind")),
				BaseOffset: model.Offset(rapid.Int64Range(0, 1<<62).Draw(t, "base")),
				Position:   rapid.Int64Range(0, segmentBytesMax).Draw(t, "position"),
				Payload:    rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "payload"),
			}
			e.NextOffset = e.BaseOffset + model.Offset(rapid.Int64Range(0, 1<<31).Draw(t, "span"))
			e.SegmentBase = model.Offset(rapid.Int64Range(0, 1<<62).Draw(t, "segment"))
			e.Partition.Partition = model.Partition(rapid.Int32Range(0, 1<<30).Draw(t, "partition"))
			copy(e.Partition.Topic[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "topic"))
			e.SizeBytes = int64(len(e.Payload))
			entries = append(entries, e)
		}
		lsn := LSN(rapid.Uint64().Draw(t, "lsn"))
		rest := encodeEntries(lsn, entries)
		for i, want := range entries {
			var got entry
			var err error
			if got, rest, err = readEntry(rest, lsn, uint32(i)); err != nil {
				t.Fatal(err)
			}
			if !got.payloadOK(got.Payload) || !bytes.Equal(got.Payload, want.Payload) {
				t.Fatal("payload differs")
			}
			got.Payload, want.Payload = nil, nil
			got.LSN, got.Index, got.PayloadHash = 0, 0, 0
			if got.Kind != want.Kind || got.Partition != want.Partition || got.BaseOffset != want.BaseOffset ||
				got.NextOffset != want.NextOffset || got.SegmentBase != want.SegmentBase ||
				got.Position != want.Position || got.SizeBytes != want.SizeBytes {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		}
		if len(rest) > 0 {
			t.Fatalf("%d bytes left", len(rest))
		}
	})
}

// No bit of a group can change without being noticed.
func TestEveryBitOfAGroupIsCovered(t *testing.T) {
	entries := sampleEntries()
	const lsn = LSN(3<<lsnCountBits + 9)
	head := make([]byte, groupHeaderBytes)
	putGroupHeader(head, &groupHeader{LSN: lsn, File: 2, Bytes: 48 + 6*88 + 81, Padded: 1024, Count: 6})
	for bit := range len(head) * 8 {
		head[bit/8] ^= 1 << (bit % 8)
		if h, err := readGroupHeader(head); err == nil {
			t.Fatalf("header bit %d: %+v", bit, h)
		}
		head[bit/8] ^= 1 << (bit % 8)
	}
	body := encodeEntries(lsn, entries)
	for bit := range len(body) * 8 {
		body[bit/8] ^= 1 << (bit % 8)
		noticed := false
		rest := body
		for i := range entries {
			var e entry
			var err error
			if e, rest, err = readEntry(rest, lsn, uint32(i)); err != nil || !e.payloadOK(e.Payload) {
				noticed = true
				break
			}
		}
		if !noticed {
			t.Fatalf("body bit %d", bit)
		}
		body[bit/8] ^= 1 << (bit % 8)
	}
	if _, _, err := readEntry(body, lsn+1, 0); err == nil {
		t.Fatal("an entry of another group was taken")
	}
	if _, _, err := readEntry(body, lsn, 1); err == nil {
		t.Fatal("an entry of another place was taken")
	}
}

func FuzzReadGroup(f *testing.F) {
	head := make([]byte, groupHeaderBytes)
	putGroupHeader(head, &groupHeader{LSN: 9, File: 2, Bytes: 48 + 6*88 + 81, Padded: 1024, Count: 6})
	f.Add(append(head, encodeEntries(9, sampleEntries())...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readGroupHeader(b)
		if err != nil {
			return
		}
		if h.Bytes < groupHeaderBytes || h.Padded < h.Bytes {
			t.Fatalf("accepted %+v", h)
		}
		rest := b[groupHeaderBytes:]
		for i := range h.Count {
			var e entry
			if e, rest, err = readEntry(rest, h.LSN, i); err != nil {
				return
			}
			if len(e.Payload)+entryHeaderBytes > len(b) || e.NextOffset < e.BaseOffset {
				t.Fatalf("accepted %+v", e)
			}
		}
	})
}

func FuzzReadEntry(f *testing.F) {
	f.Add(encodeEntries(9, sampleEntries()))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Fuzzing does not guess a hash: give it one.
		if len(b) >= entryHeaderBytes {
			e, _, err := readEntry(b, 9, 0)
			if err != nil {
				return
			}
			again := make([]byte, entryHeaderBytes)
			e2 := e
			putEntryHeader(again, &e2)
			if e.payloadOK(e.Payload) && e.PayloadHash != e2.PayloadHash {
				t.Fatal("hashes differ")
			}
			if _, at, ok := e.greatest(); ok && (at < e.SegmentBase || at >= e.BaseOffset) {
				t.Fatalf("a time at %d in a segment [%d,%d)", at, e.SegmentBase, e.BaseOffset)
			}
		}
	})
}

func sampleManifest() *manifest {
	return &manifest{
		Generation: 4, Epoch: 3, LSN: firstLSN(3) + 8, JournalFile: 12, JournalPos: 4096,
		Partitions: []manifestPartition{
			{
				Partition: model.TopicPartition{Topic: model.TopicID{1}}, StartOffset: 5, EndOffset: 90, StateOffset: 80, HighWatermark: 70,
				Segments: []manifestSegment{{0, 1000, 1, 9, 40}, {50, 10, 3, 3, 60}},
			},
			{
				Partition: model.TopicPartition{Topic: model.TopicID{1}, Partition: 3}, StateOffset: model.NoOffset,
				Damage: "what happened",
			},
		},
	}
}

func FuzzDecodeManifest(f *testing.F) {
	f.Add(sampleManifest().appendTo(nil), false)
	f.Add((&manifest{Clean: true}).appendTo(nil), true)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal {
			// What a checksum vouches for is checked all the same.
			b = endFrame(append(beginFrame(nil, manifestMagic, FormatVersion), b...))
		}
		m, err := decodeManifest(b)
		if err != nil {
			return
		}
		again, err := decodeManifest(m.appendTo(nil))
		if err != nil {
			t.Fatalf("%+v was accepted, and not again: %v", m, err)
		}
		if !bytes.Equal(again.appendTo(nil), m.appendTo(nil)) {
			t.Fatal("a manifest changes by being written")
		}
	})
}

func FuzzDecodeMeta(f *testing.F) {
	f.Add(encodeMeta(Identity{ClusterID: "abc", NodeID: 3, DirectoryID: model.TopicID{9}}), false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal {
			b = endFrame(append(beginFrame(nil, metaMagic, FormatVersion), b...))
		}
		id, err := decodeMeta(b)
		if err != nil {
			return
		}
		if again, err := decodeMeta(encodeMeta(id)); err != nil || again != id {
			t.Fatalf("%+v became %+v, %v", id, again, err)
		}
	})
}

func FuzzDecodeIndex(f *testing.F) {
	x := &index{offsets: []offsetEntry{{3, 400}, {9, 900}}, times: []timeEntry{{5, 3}, {7, 9}}}
	o, ts := x.encodeUnsaved()
	f.Add(o, ts, int64(2000))
	f.Fuzz(func(t *testing.T, offsets, times []byte, size int64) {
		x := decodeIndex(offsets, times, size)
		for i, e := range x.offsets {
			if e.relative < 0 || int64(e.position) >= size || i > 0 && (x.offsets[i-1].relative >= e.relative || x.offsets[i-1].position >= e.position) {
				t.Fatalf("accepted %+v", x.offsets)
			}
		}
		for i, e := range x.times {
			if i > 0 && x.times[i-1].timestamp >= e.timestamp {
				t.Fatalf("accepted %+v", x.times)
			}
		}
	})
}

func TestManifestSurvivesARoundTrip(t *testing.T) {
	want := sampleManifest()
	got, err := decodeManifest(want.appendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.appendTo(nil), want.appendTo(nil)) || got.Partitions[0].Segments[1] != want.Partitions[0].Segments[1] {
		t.Fatalf("got %+v", got)
	}
	b := want.appendTo(nil)
	for bit := range len(b) * 8 {
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := decodeManifest(b); err == nil {
			t.Fatalf("bit %d is not covered", bit)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func TestDirectoryNamesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tp model.TopicPartition
		copy(tp.Topic[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "topic"))
		tp.Partition = model.Partition(rapid.Int32Range(0, 1<<31-1).Draw(t, "partition"))
		got, ok := parsePartitionDir(partitionDir(tp)[len(partitionsDir)+1:])
		if !ok || got != tp {
			t.Fatalf("%v became %v", tp, got)
		}
		seq := rapid.Uint64().Draw(t, "seq")
		if got, ok := parseJournalName(journalName(seq)); !ok || got != seq {
			t.Fatalf("%d became %d", seq, got)
		}
	})
	for _, name := range []string{"", "x", "AAAAAAAAAAAAAAAAAAAAAQ", "AAAAAAAAAAAAAAAAAAAAAQ-", "AAAAAAAAAAAAAAAAAAAAAQ-01", "AAAAAAAAAAAAAAAAAAAAAQ--1"} {
		if tp, ok := parsePartitionDir(name); ok {
			t.Fatalf("%q is %v", name, tp)
		}
	}
}

func TestCheckedSpansRemember(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 200
		s := &segment{trustFrom: int64(rapid.IntRange(0, size).Draw(t, "trust"))}
		var known [size]bool
		for i := range known {
			known[i] = int64(i) >= s.trustFrom
		}
		for range rapid.IntRange(0, 40).Draw(t, "reads") {
			from := int64(rapid.IntRange(0, size).Draw(t, "from"))
			to := int64(rapid.IntRange(int(from), size).Draw(t, "to"))
			if rapid.Bool().Draw(t, "mark") {
				s.markChecked(from, to)
				for i := from; i < to; i++ {
					known[i] = true
				}
				continue
			}
			got, must := s.unchecked(from, to)
			first := from
			for first < to && known[first] {
				first++
			}
			if must != (first < to) || must && got.from != first {
				t.Fatalf("[%d,%d): unchecked %v %v, want from %d; checked %v", from, to, got, must, first, s.checked)
			}
		}
	})
}

// Config must make something usable of anything.
func TestConfigDefaultsAreUsable(t *testing.T) {
	for _, c := range []Config{{}, {JournalBlockBytes: 700, JournalFileBytes: 1}, {JournalBlockBytes: 1 << 20, JournalFileBytes: 5}} {
		c = c.withDefaults()
		j := journal{cfg: &c}
		if c.JournalBlockBytes&(c.JournalBlockBytes-1) != 0 || c.JournalFileBytes%int64(c.JournalBlockBytes) != 0 ||
			j.capacityBytes() < 2*int64(c.JournalBlockBytes) {
			t.Fatalf("%+v", c)
		}
		if l := logBounds(effect.LogConfig{SegmentBytes: -1}); l.SegmentBytes <= 0 {
			t.Fatalf("%+v", l)
		}
	}
}
