package broker

import (
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/record"
)

// A broker beside a voter that does not hear its leader learns what is committed as brokers do that do not vote, and may be ahead
// of the voter's own log. The log goes by the metadata as they are where it is committed: it makes its images of them, and if it
// comes to lead it must have one for who is behind its entries. Without, nobody could be given one until more is committed, and
// nothing could be committed as long as those who are needed for it wait for an image.

// logged is the metadata as of where the voter's log is committed; what the broker knows if it does not vote.
func (b *Broker) logged() *metadata.Image {
	if v := b.voter; v != nil && v.behind != nil {
		return v.behind
	}
	return b.view.Image
}

// keepLogged keeps what is logged before the broker goes on by another way than the log.
func (b *Broker) keepLogged() {
	if v := b.voter; v != nil && v.log != nil && v.behind == nil && b.view.Version() == v.log.Next() {
		v.behind = b.view.Image
	}
}

// restoreLogged begins anew with an image that the broker is past.
func (b *Broker) restoreLogged(r *metalog.Restored) {
	image, err := b.config.Memo.Read(r.Batches, r.Next, imageFrom)
	if err != nil {
		invariant.Checkf(false, "an image of the metadata was checked when it came: %v", err)
	}
	b.voter.behind = image
}

// logOn goes on by a batch of the log that the broker has observed, until they are at the same place.
func (b *Broker) logOn(batch record.Batch) {
	v := b.voter
	image, _, _, err := b.config.Memo.Apply(v.behind, batch)
	if err != nil {
		invariant.Checkf(false, "metadata was committed that cannot be applied: %v", err)
	}
	if v.behind = image; image.Version() >= b.view.Version() {
		v.behind = nil
	}
}
