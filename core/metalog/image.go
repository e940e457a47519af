package metalog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum"
	"github.com/weirmq/weir/core/record"
)

// imageData is an image as the quorum carries it: where the log goes on, and the batches.
func imageData(next model.Offset, batches []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(batches)), uint64(next)), batches...)
}

func splitImage(data []byte) (next model.Offset, batches []byte, err error) {
	if len(data) < 8 {
		return 0, nil, errors.New("an image has at least 8 bytes")
	}
	next = model.Offset(binary.BigEndian.Uint64(data))
	if next < 0 {
		return 0, nil, fmt.Errorf("an image of the log up to %d", next)
	}
	for rest := data[8:]; len(rest) > 0; {
		b, more, err := record.Next(rest)
		if err != nil {
			return 0, nil, fmt.Errorf("an image: %w", err)
		}
		if b.IsControl() {
			return 0, nil, errors.New("an image with a control batch in it")
		}
		rest = more
	}
	return next, data[8:], nil
}

// checkImage refuses what the machine could not begin with.
func checkImage(data []byte, machine Machine) error {
	next, batches, err := splitImage(data)
	if err != nil {
		return err
	}
	return machine.CheckImage(batches, next)
}

// putImage writes an image and returns where it ends.
func (l *Log) putImage(image *quorum.Image, next model.Offset, batches []byte, set *effect.Set) model.Offset {
	add := func(b record.Batch) {
		set.Appends = append(set.Appends, effect.Append{
			Partition: ImagesPartition, BaseOffset: l.images.end, AppendTime: model.NoTimestamp, Attempt: l.images.attempt, Batch: b,
		})
		l.images.end += model.Offset(b.LastOffsetDelta()) + 1
	}
	about := control(snapshotHeader, aboutImage(image, next))
	add(about)
	for len(batches) > 0 {
		b, rest, err := record.Next(batches)
		if err != nil {
			break // it was checked when it came
		}
		add(append(record.Batch(nil), b...))
		batches = rest
	}
	add(control(snapshotFooter, aboutImage(image, next)))
	return l.images.end
}

// makeImage writes an image of what is committed, once enough was committed since the last, and lets go of what it
// stands for when it is durable.
func (l *Log) makeImage(set *effect.Set) {
	if l.sinceImageBytes < max(l.config.ImageBytesMin, l.imageBytes) || l.making != nil || l.retryAt != 0 || l.broken != "" ||
		l.barred != barNone || l.committed < l.base || l.q.TermOf(l.committed) == 0 || l.machine.Applied() != l.Next() {
		return
	}
	batches := l.machine.Image()
	// An image larger than what it stands for would cost more than it saves.
	if l.imageBytes = int64(len(batches)); l.sinceImageBytes < l.imageBytes {
		return
	}
	l.sinceImageBytes = 0
	m := &imageMade{index: l.committed, from: l.images.end, next: l.Next()}
	m.end = l.putImage(&quorum.Image{Index: l.committed, Term: l.q.TermOf(l.committed), Voters: l.q.Voters()}, m.next, batches, set)
	l.making = m
	set.Marks.Set(effect.MarkMetadataImage)
}

// imageWritten forgets the entries that a durable image stands for. Those behind the image before it stay, in memory for
// voters and in storage for brokers that are a little behind.
func (l *Log) imageWritten(set *effect.Set) {
	m := l.making
	if m == nil || m.end > l.images.durable || m.next > l.entries.durable {
		return
	}
	l.making = nil
	set.Retains = append(set.Retains,
		effect.Retain{Partition: ImagesPartition, HighWatermark: l.images.durable, Below: m.from},
		effect.Retain{Partition: EntriesPartition, HighWatermark: l.entries.durable, Below: l.imageBeforeNext})
	l.compact(l.imageBefore)
	l.start = max(l.start, l.imageBeforeNext)
	l.imageBefore, l.imageBeforeNext = m.index, m.next
}

// compact forgets entries up to an index.
func (l *Log) compact(to quorum.Index) {
	if to <= l.base {
		return
	}
	l.q.Compact(to)
	l.ends = append([]model.Offset(nil), l.ends[to-l.base:]...)
	l.base = to
}

// aboutImage is what the batches around an image say of it.
func aboutImage(image *quorum.Image, next model.Offset) []byte {
	v := binary.BigEndian.AppendUint64(nil, uint64(image.Index))
	v = binary.BigEndian.AppendUint64(v, uint64(image.Term))
	v = binary.BigEndian.AppendUint64(v, uint64(next))
	for _, ids := range [][]quorum.VoterID{image.Voters.Now, image.Voters.Before, image.Voters.Learners, image.Voters.Joining} {
		v = binary.BigEndian.AppendUint32(v, uint32(len(ids)))
		for _, id := range ids {
			v = binary.BigEndian.AppendUint64(v, uint64(id))
		}
	}
	if image.Voters.Leaves {
		return append(v, 1)
	}
	return append(v, 0)
}

// readAbout is aboutImage's inverse.
func readAbout(v []byte) (image quorum.Image, next model.Offset, err error) {
	short := errors.New("what is said about an image is cut short")
	number := func() (n uint64) {
		if len(v) < 8 {
			err = short
			return 0
		}
		n, v = binary.BigEndian.Uint64(v), v[8:]
		return n
	}
	image.Index, image.Term, next = quorum.Index(number()), quorum.Term(number()), model.Offset(number())
	for _, ids := range []*[]quorum.VoterID{&image.Voters.Now, &image.Voters.Before, &image.Voters.Learners, &image.Voters.Joining} {
		if len(v) < 4 {
			return image, 0, short
		}
		n := int64(binary.BigEndian.Uint32(v))
		if v = v[4:]; n > int64(len(v)/8) {
			return image, 0, short
		}
		for range n {
			*ids = append(*ids, quorum.VoterID(number()))
		}
	}
	if err != nil || len(v) != 1 || next < 0 {
		return image, 0, short
	}
	image.Voters.Leaves = v[0] == 1
	return image, next, nil
}
