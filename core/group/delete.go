package group

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// Delete deletes one group of a DeleteGroups; its outcome goes to d.Answer.Results[index].
func (c *Coordinator) Delete(now model.Time, wall model.Timestamp, id string, d *Deletions, index int, out *effect.Set) {
	c.advance(now, wall)
	in := &deletion{group: id, wall: wall, of: d, index: index}
	code := c.refusal()
	if !validID(id, true) {
		code = kerr.InvalidGroupID.Code
	}
	if code != 0 {
		in.removed(code, out)
		return
	}
	c.submit(in, out)
}

// removed answers for one group.
func (in *deletion) removed(code int16, out *effect.Set) {
	to := &in.of.Answer.Results[in.index]
	to.Code = code
	switch code {
	case kerr.NonEmptyGroup.Code:
		to.Message = "the group has members; stop them first"
	case kerr.GroupIDNotFound.Code:
		to.Message = "there is no such group"
	case 0:
		out.Notes = append(out.Notes, effect.Note{Kind: effect.NoteGroupDeleted, Group: in.group, Detail: "deleted by a client"})
	}
	in.of.Done(out)
}

func (c *Coordinator) deleteGroup(in *deletion, out *effect.Set) {
	g := c.groups[in.group]
	switch {
	case g == nil:
		in.removed(kerr.GroupIDNotFound.Code, out)
	case g.state != Empty:
		in.removed(kerr.NonEmptyGroup.Code, out)
	default:
		for _, p := range g.pending { //determ:allow all of them go, in whatever order
			c.dropPending(g, p)
		}
		c.removeKeys(g, g.offsets.ordered, true, in, out)
	}
}

// tombstonesMax is how many keys one batch removes.
const tombstonesMax = 1000

// removeKeys writes that keys are gone, and the group's record with them if it is all. tell hears of the end.
func (c *Coordinator) removeKeys(g *group, gone []*entry, all bool, tell teller, out *effect.Set) {
	if len(gone) == 0 && (!all || g.saved == nil) {
		tell.removed(0, out)
		return
	}
	gone = append([]*entry(nil), gone...)
	for {
		d := decision{kind: decideRemoved, group: g, gone: gone[:min(len(gone), tombstonesMax)], tell: tell}
		gone = gone[len(d.gone):]
		d.last = len(gone) == 0
		d.all = d.last && all && g.saved != nil
		c.writer.Begin(c.wall)
		for _, e := range d.gone {
			c.key = appendOffsetKey(c.key[:0], g.id, e.key)
			c.writer.Add(c.key, nil)
		}
		if d.all {
			c.key = appendGroupKey(c.key[:0], g.id)
			c.writer.Add(c.key, nil)
		}
		ok := c.append(d, out)
		if d.last {
			return
		}
		if !ok {
			tell.removed(kerr.CoordinatorNotAvailable.Code, out)
			return
		}
	}
}

// DeleteOffsets takes in an OffsetDelete request.
func (c *Coordinator) DeleteOffsets(now model.Time, in *DeleteOffsets, out *effect.Set) {
	c.advance(now, in.Wall)
	code := c.refusal()
	if !validID(in.Group, false) {
		code = kerr.InvalidGroupID.Code
	}
	if code != 0 {
		reply(in.To, &effect.OffsetsDeleted{Code: code}, out)
		return
	}
	c.submit(in, out)
}

func (c *Coordinator) deleteOffsets(in *DeleteOffsets, out *effect.Set) {
	g := c.groups[in.Group]
	switch {
	case g == nil:
		reply(in.To, &effect.OffsetsDeleted{Code: kerr.GroupIDNotFound.Code}, out)
		return
	case g.state != Empty && g.protocolType != consumerType:
		reply(in.To, &effect.OffsetsDeleted{Code: kerr.NonEmptyGroup.Code}, out)
		return
	}
	answer := &effect.OffsetsDeleted{Codes: make([]int16, len(in.Parts))}
	var gone []*entry
	named := map[offsetKey]bool{}
	for i := range in.Parts {
		p := &in.Parts[i]
		k := offsetKey{p.Topic, p.Partition}
		switch answer.Codes[i] = p.Code; {
		case p.Code != 0:
		case g.state != Empty && g.subscribed.to(p.Topic):
			answer.Codes[i] = kerr.GroupSubscribedToTopic.Code
		case !named[k]:
			named[k] = true
			if e := g.offsets.get(k); e != nil {
				gone = append(gone, e)
			}
		}
	}
	c.removeKeys(g, gone, false, &offsetsGone{in: in, answer: answer}, out)
}

// offsetsGone answers an OffsetDelete.
type offsetsGone struct {
	in     *DeleteOffsets
	answer *effect.OffsetsDeleted
}

func (o *offsetsGone) removed(code int16, out *effect.Set) {
	if code != 0 {
		o.answer = &effect.OffsetsDeleted{Code: code}
	}
	reply(o.in.To, o.answer, out)
}
