package group

import (
	"github.com/weirmq/weir/core/model"
)

// Loading reports whether the log is still being read.
func (c *Coordinator) Loading() bool { return !c.loading.done && !c.loading.failed }

// GroupCount is how many groups there are.
func (c *Coordinator) GroupCount() int { return len(c.order) }

// Check verifies the invariants against the bounds of the partition; it walks everything.
func (c *Coordinator) Check(highWatermark, logEndOffset model.Offset) error {
	if err := c.timers.Check(); err != nil {
		return err
	}
	return c.writer.Check(highWatermark, logEndOffset)
}
