package broker

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// epochEnds answers where leader epochs end (KIP-320): a client that finds that its position lies beyond the
// end of the epoch it read has been reading what was truncated.
func (b *Broker) epochEnds(ev *EpochEnds, out *effect.Set) {
	answer := &effect.EpochEndsFound{Parts: make([]effect.EpochEnd, len(ev.Parts))}
	for i := range ev.Parts {
		part, to := &ev.Parts[i], &answer.Parts[i]
		*to = effect.EpochEnd{Index: part.Index, LeaderEpoch: model.NoLeaderEpoch, EndOffset: model.NoOffset}
		p, code := b.find(part.Topic, part.Partition)
		if code == 0 {
			code = b.checkServes(p, part.CurrentLeaderEpoch)
		}
		if to.Code = code; code == 0 {
			to.LeaderEpoch, to.EndOffset = p.replica.EpochEnd(part.LeaderEpoch)
		}
	}
	out.Replies = append(out.Replies, effect.Reply{To: ev.To, Body: answer})
}
