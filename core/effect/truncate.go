package effect

import (
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
)

// Truncate asks for every record at or above To to be dropped.
type Truncate struct {
	Partition model.TopicPartition
	To        model.Offset
}

// StartAt asks for a log to be dropped whole and begun anew at an offset.
type StartAt struct {
	Partition model.TopicPartition
	Offset    model.Offset
}

// Truncated reports that a Truncate or a StartAt is durable.
type Truncated struct {
	Partition model.TopicPartition
	// State is what the log amounts to now: a copy.
	State      *log.State
	NextOffset model.Offset
	Failure    Failure
}
