package quorum

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/weirmq/weir/core/invariant"
)

// entryLog is the durable part of the log, for the library to read: what was saved, and what was written since.
//
//	image ──┐ base
//	        ▼
//	... gone │ entries: base+1 ... last │ with the library until their write is durable
type entryLog struct {
	hard     *raftpb.HardState
	voters   *raftpb.ConfState // as of the last committed entry that was given out
	base     uint64
	baseTerm uint64
	entries  []*raftpb.Entry
	snapshot func() *raftpb.Snapshot
}

var _ raft.Storage = (*entryLog)(nil)

// newEntryLog validates what was saved: it comes from a disk.
func newEntryLog(saved Saved) (*entryLog, error) {
	l := &entryLog{
		hard: &raftpb.HardState{Term: new(uint64(saved.Hard.Term)), Vote: new(uint64(saved.Hard.Vote)), Commit: new(uint64(saved.Hard.Commit))},
		base: uint64(saved.Image.Index), baseTerm: uint64(saved.Image.Term), voters: confState(saved.Image.Voters),
	}
	if (saved.Image.Index == 0) != (len(saved.Image.Voters.Now) == 0) {
		return nil, errors.New("quorum: an image has voters, and only an image has")
	}
	if saved.Image.Index != 0 {
		if err := saved.Image.Voters.check(); err != nil {
			return nil, fmt.Errorf("quorum: an image: %w", err)
		}
	}
	index, term := saved.Image.Index, saved.Image.Term
	for i := range saved.Entries {
		e := &saved.Entries[i]
		switch {
		case e.Index != index+1:
			return nil, fmt.Errorf("quorum: entry %d follows entry %d", e.Index, index)
		case e.Term < term || e.Term == 0:
			return nil, fmt.Errorf("quorum: entry %d of term %d follows term %d", e.Index, e.Term, term)
		case e.Kind != EntryData && e.Kind != EntryChange:
			return nil, fmt.Errorf("quorum: entry %d is of an unknown kind, %d", e.Index, e.Kind)
		}
		index, term = e.Index, e.Term
		l.entries = append(l.entries, &raftpb.Entry{
			Index: new(uint64(e.Index)), Term: new(uint64(e.Term)), Type: raftpb.EntryType(e.Kind).Enum(), Data: e.Data,
		})
	}
	if saved.Hard.Term < term {
		return nil, fmt.Errorf("quorum: term %d was saved, and an entry of term %d", saved.Hard.Term, term)
	}
	// The commit index is written along with other things: it may be behind the image.
	commit := max(saved.Hard.Commit, saved.Image.Index)
	if commit > index {
		return nil, fmt.Errorf("quorum: entry %d was committed, and the log ends at %d", commit, index)
	}
	l.hard.Commit = new(uint64(commit))
	return l, nil
}

// InitialState is part of raft.Storage.
func (l *entryLog) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return l.hard, l.voters, nil
}

// Entries is part of raft.Storage.
func (l *entryLog) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	if lo <= l.base {
		return nil, raft.ErrCompacted
	}
	if hi > l.base+uint64(len(l.entries))+1 {
		return nil, raft.ErrUnavailable
	}
	from, to := lo-l.base-1, hi-l.base-1
	size := uint64(0)
	for i := from; i < to; i++ {
		if size += uint64(len(l.entries[i].GetData())) + entryBytes; size > maxSize && i > from {
			to = i
			break
		}
	}
	return slices.Clone(l.entries[from:to]), nil
}

// entryBytes is about what an entry takes besides its data.
const entryBytes = 16

// Term is part of raft.Storage.
func (l *entryLog) Term(i uint64) (uint64, error) {
	switch {
	case i < l.base:
		return 0, raft.ErrCompacted
	case i == l.base:
		return l.baseTerm, nil
	case i > l.base+uint64(len(l.entries)):
		return 0, raft.ErrUnavailable
	}
	return l.entries[i-l.base-1].GetTerm(), nil
}

// LastIndex is part of raft.Storage.
func (l *entryLog) LastIndex() (uint64, error) { return l.base + uint64(len(l.entries)), nil }

// FirstIndex is part of raft.Storage.
func (l *entryLog) FirstIndex() (uint64, error) { return l.base + 1, nil }

// Snapshot is part of raft.Storage.
func (l *entryLog) Snapshot() (*raftpb.Snapshot, error) {
	if s := l.snapshot(); s != nil {
		return s, nil
	}
	return nil, raft.ErrSnapshotTemporarilyUnavailable
}

// append takes in entries that are durable. What stood in their place and behind is gone.
func (l *entryLog) append(entries []*raftpb.Entry) {
	for len(entries) > 0 && entries[0].GetIndex() <= l.base {
		entries = entries[1:] // an image came meanwhile
	}
	if len(entries) == 0 {
		return
	}
	at := entries[0].GetIndex() - l.base - 1
	invariant.Check(at <= uint64(len(l.entries)), "entries are written without a gap")
	l.entries = append(l.entries[:at], entries...) // Entries gives out copies
}

// restore begins anew behind an image.
func (l *entryLog) restore(s *raftpb.Snapshot) {
	meta := s.GetMetadata()
	l.base, l.baseTerm, l.voters, l.entries = meta.GetIndex(), meta.GetTerm(), meta.GetConfState(), nil
}

// compact forgets entries.
func (l *entryLog) compact(to uint64) {
	if to <= l.base {
		return
	}
	term, err := l.Term(to)
	if errors.Is(err, raft.ErrUnavailable) {
		return // committed elsewhere and not durable here yet
	}
	l.entries = slices.Clone(l.entries[to-l.base:])
	l.base, l.baseTerm = to, term
}

// between are the entries behind one index and up to another, as far as they are here.
func (l *entryLog) between(after, to uint64) []*raftpb.Entry {
	at := func(i uint64) uint64 { return min(max(i, l.base)-l.base, uint64(len(l.entries))) }
	return l.entries[at(after):max(at(after), at(to))]
}

// pendingChange reports whether a change of the voters stands in the log that is not committed.
func (l *entryLog) pendingChange(commit uint64) bool {
	for _, e := range l.entries {
		if e.GetIndex() > commit && e.GetType() != raftpb.EntryNormal {
			return true
		}
	}
	return false
}
