package group

import (
	"github.com/weirmq/weir/core/effect"
)

// rewriteBytes is how much is written anew in one batch.
const rewriteBytes = 64 << 10

// rewrite keeps the log short: when it is much larger than what is live in it, the keys whose newest records are the
// oldest are written anew, a batch at a time, and what lies before the oldest that is left then is dropped.
// Each record written pays for a few others, so no step is long, and no key is ever missing from the log.
//
// A run begins when enough was written since the last, and ends when it has come round or the log is short.
func (c *Coordinator) rewrite(out *effect.Set) {
	l := &c.log
	if l.rewriting || !c.loading.done {
		return
	}
	l.cut(l.needed())
	if !l.running {
		if l.sizeBytes <= max(c.config.LogBytesMin, 4*l.liveBytes) || l.freshBytes < c.config.LogBytesMin/4 {
			return
		}
		l.running, l.until, l.freshBytes = true, l.highWatermark, 0
	}
	if l.oldest != nil && l.oldest.at < l.until && l.sizeBytes > max(c.config.LogBytesMin/2, 2*l.liveBytes) {
		c.rewriteOldest(out)
		if l.freedBytes > c.config.LogBytesMin {
			c.dropOld(out)
		}
		return
	}
	l.running = false
	if l.freedBytes > 0 {
		c.dropOld(out)
	}
}

// dropOld asks for the log to begin where its oldest live key is.
func (c *Coordinator) dropOld(out *effect.Set) {
	c.log.freedBytes = 0
	out.Marks.Set(effect.MarkOffsetsRewritten)
	out.Retains = append(out.Retains, effect.Retain{
		Partition: c.partition, HighWatermark: c.log.highWatermark, Wall: c.wall, Below: c.log.needed(),
	})
}

// rewriteOldest writes the oldest keys anew. It stops at one that is being written anyway, which will then not
// be the oldest any more.
func (c *Coordinator) rewriteOldest(out *effect.Set) {
	d := decision{kind: decideRewritten}
	c.writer.Begin(c.wall)
	for e := c.log.oldest; e != nil && c.writer.SizeBytes() < rewriteBytes; e = e.newer {
		g := e.group
		if e.inFlight > 0 || g.writes > 0 {
			break
		}
		if e == &g.meta {
			c.key, c.value = appendGroupKey(c.key[:0], g.id), appendGroupValue(c.value[:0], g.saved)
		} else {
			c.key, c.value = appendOffsetKey(c.key[:0], g.id, e.key), appendOffsetValue(c.value[:0], &e.committed)
		}
		c.writer.Add(c.key, c.value)
		d.anew = append(d.anew, e)
	}
	if len(d.anew) > 0 {
		c.append(d, out)
	}
}
