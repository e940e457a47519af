package group

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/coord"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// Commit takes in an OffsetCommit request.
func (c *Coordinator) Commit(now model.Time, in *Commit, out *effect.Set) {
	c.advance(now, in.Wall)
	code := c.refusal()
	if !validID(in.Group, true) {
		code = kerr.InvalidGroupID.Code
	}
	if code != 0 {
		refuseCommit(in, code, out)
		return
	}
	c.submit(in, out)
}

func refuseCommit(in *Commit, code int16, out *effect.Set) {
	codes := make([]int16, len(in.Parts))
	for i := range codes {
		if codes[i] = in.Parts[i].Code; codes[i] == 0 {
			codes[i] = code
		}
	}
	reply(in.To, &effect.OffsetsCommitted{Codes: codes}, out)
}

func (c *Coordinator) commit(in *Commit, out *effect.Set) {
	if code := c.commitCode(in); code != 0 {
		if code != kerr.RebalanceInProgress.Code {
			out.Marks.Set(effect.MarkCommitFenced)
		}
		refuseCommit(in, code, out)
		return
	}
	d := decision{kind: decideCommitted, commit: in, codes: make([]int16, len(in.Parts))}
	c.writer.Begin(c.wall)
	count, grows := 0, 0
	for i := range in.Parts {
		p := &in.Parts[i]
		switch d.codes[i] = p.Code; {
		case p.Code != 0:
			continue
		case len(p.Metadata) > c.config.MetadataBytesMax:
			d.codes[i] = kerr.OffsetMetadataTooLarge.Code
			continue
		}
		v := c.commitValue(in, p)
		c.key = appendOffsetKey(c.key[:0], in.Group, p.key())
		c.value = appendOffsetValue(c.value[:0], &v)
		c.writer.Add(c.key, c.value)
		if g := c.groups[in.Group]; g == nil || g.offsets.get(p.key()) == nil {
			grows += entryBytes + recordBytes + len(in.Group) + len(p.Topic) + len(p.Metadata)
		}
		if count++; c.writer.SizeBytes() > coord.BatchBytesMax {
			refuseCommit(in, kerr.InvalidCommitOffsetSize.Code, out)
			return
		}
	}
	if count == 0 {
		reply(in.To, &effect.OffsetsCommitted{Codes: d.codes}, out)
		return
	}
	if grows > 0 && !c.memory.room(grows) {
		out.Marks.Set(effect.MarkGroupMemoryFull)
		refuseCommit(in, kerr.CoordinatorNotAvailable.Code, out)
		return
	}
	d.group = c.group(in.Group, true)
	c.append(d, out)
}

func (p *CommitPart) key() offsetKey { return offsetKey{p.Topic, p.Partition} }

func (c *Coordinator) commitValue(in *Commit, p *CommitPart) committed {
	v := committed{
		offset: p.Offset, leaderEpoch: p.LeaderEpoch, metadata: p.Metadata,
		commitTimestamp: in.Wall, expireTimestamp: model.NoTimestamp, topicID: p.TopicID,
	}
	if in.RetentionMs >= 0 {
		v.expireTimestamp = in.Wall + model.Timestamp(min(in.RetentionMs, 1<<50))
		v.leaderEpoch, v.topicID = model.NoLeaderEpoch, model.TopicID{} // the record that can say so lacks these
	}
	return v
}

// commitCode decides whether a commit may be taken. Who is a member says so, and must be one of the generation in
// hand; who is not may commit while the group has no members.
func (c *Coordinator) commitCode(in *Commit) int16 {
	g := c.groups[in.Group]
	switch {
	case g == nil && in.Generation < 0:
		return 0
	case g == nil:
		return kerr.IllegalGeneration.Code
	case in.Generation < 0 && g.state == Empty:
		return 0
	}
	m, code := g.check(in.Member, in.Instance)
	switch {
	case code != 0:
		return code
	case in.Generation != g.generation:
		return kerr.IllegalGeneration.Code
	case g.state == CompletingRebalance:
		// It knows of the generation and has no assignment in it, so it cannot have consumed anything.
		return kerr.RebalanceInProgress.Code
	}
	c.touch(m)
	return 0
}

// committed applies a durable commit and reports how many records it was.
func (c *Coordinator) committed(d *decision, base model.Offset, out *effect.Set) model.Offset {
	g := d.group
	at := base
	for i := range d.commit.Parts {
		if d.codes[i] != 0 {
			continue
		}
		p := &d.commit.Parts[i]
		v := c.commitValue(d.commit, p)
		c.applyCommitted(g, p.key(), &v, at)
		c.scheduleCommitted(g, &v)
		at++
	}
	reply(d.commit.To, &effect.OffsetsCommitted{Codes: d.codes}, out)
	return at - base
}

// notCommitted answers a commit that the log refused.
func (c *Coordinator) notCommitted(d *decision, code int16, out *effect.Set) {
	for i := range d.commit.Parts {
		if d.codes[i] != 0 {
			continue
		}
		d.codes[i] = code
		e := d.group.offsets.get(d.commit.Parts[i].key())
		if e != nil && e.inFlight == 0 && e.at == model.NoOffset {
			d.group.offsets.remove(e)
		}
	}
	reply(d.commit.To, &effect.OffsetsCommitted{Codes: d.codes}, out)
}
