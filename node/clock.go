package node

import (
	"time"

	"github.com/weirmq/weir/core/model"
)

// clock is the node's time: nanoseconds since it was started, plus one so that no time is 0. Go's monotonic
// reading never goes back, so neither does this.
type clock struct{ start time.Time }

func newClock() clock { return clock{start: time.Now()} }

func (c clock) now() model.Time { return model.Time(time.Since(c.start)) + 1 }

func wallNow() model.Timestamp { return model.Timestamp(time.Now().UnixMilli()) }
