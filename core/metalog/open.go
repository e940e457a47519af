package metalog

import (
	"fmt"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
	"github.com/weirmq/weir/core/record"
)

// Store is where the partitions are read from at the start.
type Store interface {
	// ReadAll walks a partition's batches in order. They are the caller's only during the call.
	ReadAll(tp model.TopicPartition, fn func(record.Batch) error) error
}

// Found is what recovery found of a voter's partitions: nil for one that is not there.
type Found struct{ Entries, Hard, Images *log.State }

// Saved is a voter as its disk has it.
type Saved struct {
	quorum  quorum.Saved
	next    model.Offset // behind the image
	ends    []model.Offset
	startAt bool // the entries must be made to begin behind the image
	founds  bool // the image is not on the disk
	bytes   int64

	found Found
}

// IsEmpty reports whether this disk was never a voter's.
func (s *Saved) IsEmpty() bool { return s.quorum.Image.Index == 0 }

// Image is the newest image, for the state machine to begin with: batches, of everything below next.
func (s *Saved) Image() (batches []byte, next model.Offset) {
	_, batches, _ = splitImage(s.quorum.Image.Data)
	return batches, s.next
}

// Load reads what a voter saved. An error says that it cannot go on with this disk.
func Load(store Store, found Found) (*Saved, error) {
	s := &Saved{found: found}
	if err := s.loadImage(store); err != nil {
		return nil, fmt.Errorf("images of the metadata log: %w", err)
	}
	if err := s.loadEntries(store); err != nil {
		return nil, fmt.Errorf("the metadata log: %w", err)
	}
	if err := s.loadHard(store); err != nil {
		return nil, fmt.Errorf("a voter's state: %w", err)
	}
	return s, nil
}

func (s *Saved) loadImage(store Store) error {
	var data []byte
	var about quorum.Image
	var next model.Offset
	open := false
	return store.ReadAll(ImagesPartition, func(b record.Batch) error {
		if !b.IsControl() {
			if open {
				data = append(data, b...)
			}
			return nil
		}
		kind, value, err := readControl(b)
		if err != nil {
			return err
		}
		image, n, err := readAbout(value)
		switch {
		case err != nil:
			return err
		case kind == snapshotHeader:
			about, next, data, open = image, n, nil, true
		case kind == snapshotFooter && open && image.Index == about.Index && n == next:
			about.Data = imageData(next, data)
			if _, _, err := splitImage(about.Data); err != nil {
				return err
			}
			s.quorum.Image, s.next, open = about, next, false
		default:
			return fmt.Errorf("a control batch of kind %d where none should be", kind)
		}
		return nil
	})
}

// loadEntries reads what follows the image.
func (s *Saved) loadEntries(store Store) error {
	s.ends = []model.Offset{s.next}
	e := s.found.Entries
	switch {
	case s.IsEmpty() && (e == nil || e.EndOffset() == 0):
		return nil
	case e != nil && e.StartOffset() > s.next:
		return fmt.Errorf("it begins at offset %d, and the newest image ends at %d", e.StartOffset(), s.next)
	case e == nil || e.EndOffset() < s.next || e.StartOffset() < s.next && e.EpochOf(s.next-1) != epochOf(s.quorum.Image.Term):
		// A crash came between another voter's image and the cut: the log is shorter, or another than the image is of.
		s.startAt = true
		return nil
	}
	index := s.quorum.Image.Index
	return store.ReadAll(EntriesPartition, func(b record.Batch) error {
		if b.NextOffset() <= s.next {
			return nil
		}
		if at := s.ends[len(s.ends)-1]; b.BaseOffset() != at {
			return fmt.Errorf("a batch at offset %d where one at %d should be", b.BaseOffset(), at)
		}
		if s.IsEmpty() {
			return fmt.Errorf("it has entries, and there is no image that says who votes")
		}
		index++
		kind, data, err := entryOf(b)
		if err != nil {
			return fmt.Errorf("at offset %d: %w", b.BaseOffset(), err)
		}
		e := quorum.Entry{Index: index, Term: quorum.Term(b.LeaderEpoch()), Kind: kind, Data: data}
		if n := b.NextOffset() - b.BaseOffset(); n != offsetsOf(&e) {
			return fmt.Errorf("at offset %d: a control batch of %d offsets", b.BaseOffset(), n)
		}
		s.quorum.Entries = append(s.quorum.Entries, e)
		s.ends = append(s.ends, b.NextOffset())
		s.bytes += int64(len(b))
		return nil
	})
}

func (s *Saved) loadHard(store Store) error {
	h := &s.quorum.Hard
	err := store.ReadAll(HardPartition, func(b record.Batch) error {
		var d record.Decompressor
		r := record.NewReader(b, &d)
		for r.Next() {
			read, err := readHard(r.Record().Value)
			if err != nil {
				return err
			}
			*h = read
		}
		return r.Err()
	})
	// An entry may be durable whose write was not, as a whole. Nothing was promised by it: the term counts, and no vote
	// was given in it.
	last := s.quorum.Image.Term
	if n := len(s.quorum.Entries); n > 0 {
		last = s.quorum.Entries[n-1].Term
	}
	if h.Term < last {
		h.Term, h.Vote = last, 0
	}
	end := s.quorum.Image.Index + quorum.Index(len(s.quorum.Entries))
	h.Commit = min(max(h.Commit, s.quorum.Image.Index), end)
	return err
}

// Found makes a disk that was never a voter's the first of a new cluster: its log begins with an image that says who
// votes.
func (s *Saved) Found(voters []quorum.VoterID, batches []byte) {
	s.next = foundingNext
	s.quorum = quorum.Found(voters, imageData(s.next, batches))
	s.ends, s.startAt, s.founds = []model.Offset{s.next}, true, true
}

// foundingNext is where the log of a new cluster begins: behind the image of its first entry.
const foundingNext = 1

// Open starts a voter. What it asks of storage must be carried out, in order, before anything else. An error says that the
// machine cannot go on with what was saved.
//
// A founding image is not durable when Open returns. Nothing else is written before it is; and if it never is, the disk
// is no voter's.
func Open(config Config, s *Saved, machine Machine, now model.Time, set *effect.Set) (*Log, error) {
	l := &Log{config: config, machine: machine, base: s.quorum.Image.Index, ends: s.ends, committed: s.quorum.Image.Index, next: s.next, sinceImageBytes: s.bytes}
	for _, p := range []struct {
		place *place
		state *log.State
	}{{&l.entries, s.found.Entries}, {&l.hard, s.found.Hard}, {&l.images, s.found.Images}} {
		if p.state != nil {
			p.place.end, p.place.durable = p.state.EndOffset(), p.state.EndOffset()
		}
	}
	if s.found.Hard != nil {
		l.hardFrom = s.found.Hard.StartOffset()
	}
	for i := range s.quorum.Entries {
		e := &s.quorum.Entries[i]
		if e.Kind != quorum.EntryData || len(e.Data) == 0 {
			continue
		}
		if err := machine.CheckBatch(e.Data); err != nil {
			return nil, fmt.Errorf("entry %d of the metadata log: %w", e.Index, err)
		}
	}
	config.Quorum.CheckEntry = func(data []byte) error { return checkEntry(data, machine) }
	config.Quorum.CheckOffer = func(about []byte) error { _, err := readOffer(about); return err }
	config.Quorum.CheckImage = func(data []byte) error { return checkImage(data, machine) }
	q, err := quorum.New(config.Quorum, s.quorum, imager{l}, now)
	if err != nil {
		return nil, err
	}
	l.q = q
	if s.IsEmpty() {
		return l, nil
	}
	l.imageBefore, l.imageBeforeNext, l.start = s.quorum.Image.Index, s.next, s.next
	if e := s.found.Entries; e != nil && !s.startAt {
		l.start = e.StartOffset()
	}
	if s.startAt {
		p := pendingWrite{write: quorum.Write{Image: &s.quorum.Image}, image: imageDurable}
		if s.founds {
			p.image = imageNone
		}
		l.put(&p, set)
		l.unwritten = append(l.unwritten, p)
	}
	return l, nil
}
