package effect

import (
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
)

// Truncate asks for every record at or above To to be dropped: a log that parts from its leader's there, or
// entries of a raft log that were overwritten. If To lies inside a batch, the whole batch goes. A log that ends at
// or below To stays as it is; one that starts above it becomes empty and begins at To.
//
// Effects on one log keep their order. Appends that came before are written first and dropped then; of those that
// had not been reported yet, the Appended comes before the Truncated. Whoever appends behind a Truncate without
// waiting for the Truncated must know that To is where a batch ends: an append that does not begin at the new end
// is refused.
type Truncate struct {
	Partition model.TopicPartition
	To        model.Offset
}

// StartAt asks for a log to be dropped whole and begun anew at an offset: a follower whose end lies below its
// leader's log start, or a raft voter that is given an image. To ask twice does no harm.
type StartAt struct {
	Partition model.TopicPartition
	Offset    model.Offset
}

// Truncated reports that a Truncate or a StartAt is durable: what it dropped does not come back. There is one for each,
// in their order.
type Truncated struct {
	Partition model.TopicPartition
	// State is what the log amounts to now, leader epochs and producers as if what was dropped had never been
	// written: a copy. It is nil if the partition is Missing or Broken.
	State *log.State
	// NextOffset is where the log ends now, and everything below it is durable. It is below To if To lay inside a
	// batch, or if the log was shorter.
	NextOffset model.Offset
	Failure    Failure
}
