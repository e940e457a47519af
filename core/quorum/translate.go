package quorum

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/weirmq/weir/core/invariant"
)

func entryOf(e *raftpb.Entry) Entry {
	return Entry{Index: Index(e.GetIndex()), Term: Term(e.GetTerm()), Kind: EntryKind(e.GetType()), Data: e.GetData()}
}

func entriesOf(in []*raftpb.Entry) []Entry {
	var out []Entry
	for _, e := range in {
		out = append(out, entryOf(e))
	}
	return out
}

func votersOf(c *raftpb.ConfState) Voters {
	return Voters{
		Now: ids(c.GetVoters()), Before: ids(c.GetVotersOutgoing()), Learners: ids(c.GetLearners()),
		Joining: ids(c.GetLearnersNext()), Leaves: c.GetAutoLeave(),
	}
}

// check refuses voters that there cannot be.
func (v *Voters) check() error {
	for _, list := range [][]VoterID{v.Now, v.Before, v.Learners, v.Joining} {
		for i, id := range list {
			if id == 0 || i > 0 && id <= list[i-1] {
				return fmt.Errorf("voter %d stands among the voters where it cannot", id)
			}
		}
	}
	if len(v.Now) == 0 {
		return errors.New("nobody votes")
	}
	for _, id := range v.Learners {
		if slices.Contains(v.Now, id) || slices.Contains(v.Before, id) {
			return fmt.Errorf("voter %d votes and learns", id)
		}
	}
	for _, id := range v.Joining {
		if slices.Contains(v.Now, id) || !slices.Contains(v.Before, id) || slices.Contains(v.Learners, id) {
			return fmt.Errorf("voter %d is to learn and does not vote until then", id)
		}
	}
	if v.Leaves && len(v.Before) == 0 {
		return errors.New("a change of the voters is said to end, and there is none")
	}
	return nil
}

func ids(in []uint64) []VoterID {
	var out []VoterID
	for _, id := range in {
		out = append(out, VoterID(id))
	}
	slices.Sort(out)
	return out
}

func confState(v Voters) *raftpb.ConfState {
	plain := func(in []VoterID) (out []uint64) {
		for _, id := range in {
			out = append(out, uint64(id))
		}
		return out
	}
	return &raftpb.ConfState{
		Voters: plain(v.Now), VotersOutgoing: plain(v.Before), Learners: plain(v.Learners),
		LearnersNext: plain(v.Joining), AutoLeave: new(v.Leaves),
	}
}

// silent is the library's logger: what it would tell is in State and Progress. What it takes for fatal is a broken
// invariant.
type silent struct{}

var _ raft.Logger = silent{}

func (silent) Debug(...any)            {}
func (silent) Debugf(string, ...any)   {}
func (silent) Info(...any)             {}
func (silent) Infof(string, ...any)    {}
func (silent) Warning(...any)          {}
func (silent) Warningf(string, ...any) {}
func (silent) Error(...any)            {}
func (silent) Errorf(string, ...any)   {}

func (silent) Fatal(v ...any)                 { invariant.Checkf(false, "raft: %s", fmt.Sprint(v...)) }
func (silent) Fatalf(format string, v ...any) { invariant.Checkf(false, "raft: "+format, v...) }
func (silent) Panic(v ...any)                 { invariant.Checkf(false, "raft: %s", fmt.Sprint(v...)) }
func (silent) Panicf(format string, v ...any) { invariant.Checkf(false, "raft: "+format, v...) }
