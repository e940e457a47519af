package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/node/explain"
)

// janitorPeriod is how often the janitor looks.
const janitorPeriod = 500 * time.Millisecond

// janitor does what nobody's request makes happen: it ends the windows of the log's complaints, takes memory
// from connections that sit on it while others wait, and gives it back to the system when there is little to do.
func (n *Node) janitor() {
	tick := time.NewTicker(janitorPeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-n.idle:
			return
		}
		n.complaints.roll(false)
		for _, p := range []purse{n.clients, n.nodes} {
			n.relieve(p.requests)
			n.relieve(p.responses)
		}
		n.inflaters.quiet()
		n.advice.look(n)
		n.thrift.giveBack(n.metrics.Events.Load())
	}
}

// relieve closes connections that hold memory and have not moved for queued.stall.timeout.ms, if others have
// been waiting for it as long. The largest holders go first, until half of the budget is free.
//
// Without it a few clients that do not read, or do not finish their requests, would hold everything until
// their time-outs, which are long because they also meet honest clients on bad networks.
func (n *Node) relieve(b *budget) {
	now, patience := n.clock.now(), model.Time(n.config.Limits.StallTimeout)
	if since := b.waitingSince(); since == 0 || now-since < patience {
		return
	}
	type holder struct {
		c     *connection
		bytes int64
	}
	var holders []holder
	for _, c := range n.connections.all() {
		if c.still(now) < patience {
			continue
		}
		if bytes := c.holds(b); bytes > 0 {
			holders = append(holders, holder{c, bytes})
		}
	}
	slices.SortFunc(holders, func(x, y holder) int { return int(min(max(y.bytes-x.bytes, -1), 1)) })
	excess := b.held.Load() - b.limit/2
	for _, h := range holders {
		if excess <= 0 {
			return
		}
		excess -= h.bytes
		n.metrics.Stalled.Add(1)
		h.c.complain(explain.StalledConnection, fmt.Sprintf("it held %d bytes and nothing had moved on it for %v", h.bytes, time.Duration(h.c.still(now)).Round(time.Millisecond)), "")
		h.c.close()
	}
}

// holds is what the connection has of a budget by its client's doing: a request that began, responses that are
// not taken, fetches that wait for data. A request that waits for the disk is not the client's fault.
func (c *connection) holds(b *budget) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case b == c.purse.requests && c.in.awaits.Load():
		return 0
	case b == c.purse.requests:
		return c.in.holds.Load()
	case b != c.purse.responses:
		return 0
	}
	bytes := int64(0)
	for i := range c.requests {
		if i < c.readyCount || c.requests[i].key == protocol.KeyFetch {
			bytes += c.requests[i].reserved
		}
	}
	return bytes
}
