package metalog

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
	"github.com/weirmq/weir/core/record"
)

func drawImage(t *rapid.T) (quorum.Image, model.Offset) {
	ids := func(name string) (out []quorum.VoterID) {
		for _, id := range rapid.SliceOfN(rapid.Uint64(), 0, 4).Draw(t, name) {
			out = append(out, quorum.VoterID(id))
		}
		return out
	}
	return quorum.Image{
		Index: quorum.Index(rapid.Uint64().Draw(t, "index")), Term: quorum.Term(rapid.Uint64().Draw(t, "term")),
		Voters: quorum.Voters{
			Now: ids("now"), Before: ids("before"), Learners: ids("learners"), Joining: ids("joining"), Leaves: rapid.Bool().Draw(t, "leaves"),
		},
	}, model.Offset(rapid.Int64Min(0).Draw(t, "next"))
}

func TestWhatIsSaidOfAnImageReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		image, next := drawImage(t)
		b := aboutImage(&image, next)
		got, at, err := readAbout(b)
		if err != nil || at != next || !reflect.DeepEqual(got, image) {
			t.Fatalf("%+v up to %d, %v, want %+v up to %d", got, at, err, image, next)
		}
		if _, _, err := readAbout(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); err == nil {
			t.Fatal("what is cut short can be read")
		}
		if _, _, err := readAbout(append(b, 0)); err == nil {
			t.Fatal("what has a byte too many can be read")
		}
	})
}

func TestAHardStateReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := quorum.HardState{
			Term: quorum.Term(rapid.Uint64().Draw(t, "term")), Vote: quorum.VoterID(rapid.Uint64().Draw(t, "vote")), Commit: quorum.Index(rapid.Uint64().Draw(t, "commit")),
		}
		var l Log
		var set effect.Set
		l.putHard(h, &set)
		var d record.Decompressor
		r := record.NewReader(record.Batch(set.Appends[0].Batch), &d)
		if !r.Next() {
			t.Fatal(r.Err())
		}
		value := r.Record().Value
		if got, err := readHard(value); err != nil || got != h {
			t.Fatalf("%+v, %v, want %+v", got, err, h)
		}
		for _, other := range [][]byte{value[:rapid.IntRange(0, 23).Draw(t, "cut")], append(value[:24:24], 0)} {
			if _, err := readHard(other); err == nil {
				t.Fatalf("%d bytes can be read", len(other))
			}
		}
	})
}

func TestEntriesAreBatchesAndBatchesEntries(t *testing.T) {
	for name, e := range map[string]quorum.Entry{
		"proposed":           {Kind: quorum.EntryData, Data: batch([]byte("a"), []byte("b"))},
		"a leader's first":   {Kind: quorum.EntryData},
		"a change of voters": {Kind: quorum.EntryChange, Data: []byte{1, 2, 3}},
		"an empty change":    {Kind: quorum.EntryChange},
	} {
		b := batchOf(&e)
		before := bytes.Clone(e.Data)
		record.Stamp(b, 1000, 7)
		if !bytes.Equal(e.Data, before) {
			t.Errorf("%s: storage stamps the quorum's own bytes", name)
		}
		if model.Offset(b.LastOffsetDelta())+1 != offsetsOf(&e) {
			t.Errorf("%s: %d offsets, accounted for %d", name, b.LastOffsetDelta()+1, offsetsOf(&e))
		}
		kind, data, err := entryOf(b)
		if len(e.Data) > 0 && e.Kind == quorum.EntryData {
			e.Data = b // but for the stamp
		}
		if err != nil || kind != e.Kind || !bytes.Equal(data, e.Data) {
			t.Errorf("%s: %d %x, %v", name, kind, data, err)
		}
	}
}

func TestForeignControlBatchesAreNoEntries(t *testing.T) {
	var b record.Builder
	o := record.NewOptions(record.CodecNone)
	o.Control = true
	b.Begin(o)
	b.Append(record.Record{Key: []byte{0, 0, 2}, Timestamp: model.NoTimestamp})
	for want, c := range map[string]record.Batch{
		"of kind 3":        control(snapshotHeader, nil),
		"a key of 3 bytes": append(record.Batch(nil), b.Finish()...),
		"of kind 101":      control(101, []byte("later")),
	} {
		if _, _, err := entryOf(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// shelf is a Store in memory.
type shelf map[model.TopicPartition][]record.Batch

func (s shelf) ReadAll(tp model.TopicPartition, fn func(record.Batch) error) error {
	for _, b := range s[tp] {
		if err := fn(b); err != nil {
			return err
		}
	}
	return nil
}

// put adds batches behind what is there.
func (s shelf) put(tp model.TopicPartition, from model.Offset, epoch model.LeaderEpoch, batches ...record.Batch) {
	if n := len(s[tp]); n > 0 {
		from = s[tp][n-1].NextOffset()
	}
	for _, b := range batches {
		b = bytes.Clone(b)
		record.Stamp(b, from, epoch)
		s[tp] = append(s[tp], b)
		from = b.NextOffset()
	}
}

// found is what recovery says of the partitions.
func (s shelf) found(t testing.TB) Found {
	t.Helper()
	state := func(tp model.TopicPartition) *log.State {
		if len(s[tp]) == 0 {
			return nil
		}
		state := log.New(s[tp][0].BaseOffset())
		for _, b := range s[tp] {
			h, err := record.ReadHeader(b)
			if err != nil {
				t.Fatal(err)
			}
			state.Apply(h)
		}
		return state
	}
	return Found{Entries: state(EntriesPartition), Hard: state(HardPartition), Images: state(ImagesPartition)}
}

// putImage adds an image of everything below next.
func (s shelf) putImage(index quorum.Index, term quorum.Term, next model.Offset, whole bool) {
	about := aboutImage(&quorum.Image{Index: index, Term: term, Voters: quorum.Voters{Now: []quorum.VoterID{1, 2}}}, next)
	s.put(ImagesPartition, 0, 0, control(snapshotHeader, about), batch([]byte("state")))
	if whole {
		s.put(ImagesPartition, 0, 0, control(snapshotFooter, about))
	}
}

func TestALoadSaysWhatIsWrong(t *testing.T) {
	one := batch([]byte("a"))
	for want, fill := range map[string]func(s shelf){
		"no image that says who votes": func(s shelf) { s.put(EntriesPartition, 0, 1, one) },
		"it begins at offset 7, and the newest image ends at 5": func(s shelf) {
			s.putImage(4, 2, 5, true)
			s.put(EntriesPartition, 7, 2, one)
		},
		"a batch at offset 6 where one at 5 should be": func(s shelf) {
			s.putImage(4, 2, 5, true)
			s.put(EntriesPartition, 5, 2, one, one)
			record.Stamp(s[EntriesPartition][0], 4, 2)
		},
		"at offset 5: a control batch of kind 3": func(s shelf) {
			s.putImage(4, 2, 5, true)
			s.put(EntriesPartition, 5, 2, control(snapshotHeader, nil))
		},
		"a control batch of kind 4 where none should be": func(s shelf) {
			s.put(ImagesPartition, 0, 0, control(snapshotFooter, aboutImage(&quorum.Image{}, 0)))
		},
		"is cut short":                  func(s shelf) { s.put(ImagesPartition, 0, 0, control(snapshotHeader, []byte{1})) },
		"a voter's state: a hard state": func(s shelf) { s.put(HardPartition, 0, 0, one) },
	} {
		s := shelf{}
		fill(s)
		if _, err := Load(s, s.found(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestAnImageThatWasNotFinishedIsSkipped(t *testing.T) {
	s := shelf{}
	s.putImage(4, 2, 5, true)
	s.putImage(6, 2, 7, false)
	s.put(EntriesPartition, 4, 2, batch([]byte("in the image")), batch([]byte("a")), batch([]byte("b")))
	saved, err := Load(s, s.found(t))
	if err != nil || saved.quorum.Image.Index != 4 || len(saved.quorum.Entries) != 2 || saved.startAt {
		t.Fatalf("%+v, %v", saved, err)
	}
	if e := saved.quorum.Entries[1]; e.Index != 6 || e.Term != 2 || saved.ends[2] != 7 || saved.quorum.Hard.Term != 2 {
		t.Fatalf("%+v", saved)
	}
}

// What an older version finds on a disk that a newer one has written to is no reason to panic when it is committed.
func TestAVoterDoesNotOpenWhatItsMachineCannotTakeIn(t *testing.T) {
	s := shelf{}
	s.putImage(4, 2, 5, true)
	s.put(EntriesPartition, 5, 2, control(leaderChange, nil), batch([]byte("a")))
	saved, err := Load(s, s.found(t))
	if err != nil {
		t.Fatal(err)
	}
	var set effect.Set
	_, err = Open(DefaultConfig(1, 1), saved, &voter{w: &world{marks: map[string]int{}}, old: true}, 1, &set)
	if !errors.Is(err, errOld) || !strings.Contains(err.Error(), "entry 6") {
		t.Fatalf("it opens: %v", err)
	}
}

// After a crash between another voter's image and the cut, what the image is not of is dropped.
func TestALogThatTheImageIsNotOfIsDropped(t *testing.T) {
	two := batch([]byte("a"), []byte("b"))
	for name, c := range map[string]struct {
		epoch   model.LeaderEpoch
		entries int
		dropped bool
	}{
		"of the same leader, longer": {5, 5, false},
		"of the same leader, as far": {5, 2, false},
		"shorter":                    {5, 1, true},
		"of another leader, longer":  {4, 5, true},
		"of another leader, as far":  {4, 2, true},
	} {
		s := shelf{}
		s.putImage(9, 5, 14, true)
		for range c.entries {
			s.put(EntriesPartition, 10, c.epoch, two)
		}
		saved, err := Load(s, s.found(t))
		if err != nil || saved.startAt != c.dropped {
			t.Errorf("%s: dropped %t, %v", name, saved.startAt, err)
			continue
		}
		if c.dropped != (len(saved.quorum.Entries) == 0) && c.entries > 2 {
			t.Errorf("%s: %d entries", name, len(saved.quorum.Entries))
		}
	}
}

// FuzzLoad: bytes from a disk never panic, whatever partition they are found in.
func FuzzLoad(f *testing.F) {
	s := shelf{}
	s.putImage(4, 2, 5, true)
	s.put(EntriesPartition, 5, 2, batch([]byte("a")), control(leaderChange, nil), control(voterChange, []byte{1}))
	s.put(HardPartition, 0, 0, batch(make([]byte, 24)))
	for _, tp := range []model.TopicPartition{EntriesPartition, HardPartition, ImagesPartition} {
		f.Add(uint8(tp.Partition), bytes.Join(raw(s[tp]), nil))
	}
	f.Fuzz(func(t *testing.T, where uint8, data []byte) {
		s := shelf{}
		s.putImage(4, 2, 5, true)
		tp := [...]model.TopicPartition{EntriesPartition, HardPartition, ImagesPartition}[where%3]
		for len(data) > 0 {
			b, rest, err := record.Next(data)
			if err != nil {
				break
			}
			s.put(tp, 5, 2, b)
			data = rest
		}
		found := s.found(t)
		saved, err := Load(s, found)
		if err != nil {
			return
		}
		_, _ = saved.Image()
		var set effect.Set
		if l, err := Open(DefaultConfig(1, 1), saved, &voter{w: &world{}}, 1, &set); err == nil {
			if err := l.Check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func raw(batches []record.Batch) (out [][]byte) {
	for _, b := range batches {
		out = append(out, b)
	}
	return out
}
