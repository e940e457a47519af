package group

import (
	"github.com/weirmq/weir/core/effect"
)

// rewriteBytes is how much is written anew in one batch.
const rewriteBytes = 64 << 10

// rewrite keeps the log short: when it is much larger than what is live in it, the keys whose newest records are the
// oldest are written anew, a batch at a time, and what lies before the oldest that is left then is dropped.
// Each record written pays for a few others, so no step is long, and no key is ever missing from the log.
func (c *Coordinator) rewrite(out *effect.Set) {
	l := &c.log
	if l.rewriting || !c.loading.done {
		return
	}
	l.cut(l.needed())
	live := l.liveBytes
	due := l.sizeBytes > max(c.config.LogBytesMin, 4*live)
	goesOn := l.freedBytes > 0 && l.sizeBytes > max(c.config.LogBytesMin/2, 2*live)
	if due || goesOn {
		if c.rewriteOldest(out) {
			return
		}
	}
	if l.freedBytes >= c.config.LogBytesMin/2 {
		l.freedBytes = 0
		out.Marks.Set(effect.MarkOffsetsRewritten)
		out.Retains = append(out.Retains, effect.Retain{
			Partition: c.partition, HighWatermark: l.highWatermark, Wall: c.wall, Below: l.needed(),
		})
	}
}

// rewriteOldest writes the oldest keys anew. It stops at one that is being written anyway, which will then not
// be the oldest any more.
func (c *Coordinator) rewriteOldest(out *effect.Set) bool {
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
	return len(d.anew) > 0 && c.append(d, out)
}
