package node

import (
	"sync/atomic"

	"github.com/weirmq/weir/core/protocol"
)

// costs is what responses have been taking in memory, by key, so that the room for one can be had before the
// work begins. It follows the largest at once and forgets it slowly.
type costs struct {
	bytes [protocol.KeyPlaceCount]atomic.Int64
}

func (c *costs) estimate(key protocol.Key) int64 {
	if key.Place() < 0 {
		return 0
	}
	return c.bytes[key.Place()].Load()
}

// observe takes in the size of a response. Two at a time may forget one of them, which does not matter.
func (c *costs) observe(key protocol.Key, bytes int64) {
	if key.Place() < 0 {
		return
	}
	at := &c.bytes[key.Place()]
	known := at.Load()
	switch {
	case bytes > known:
		at.Store(bytes)
	case bytes < known-known/64:
		at.Store(known - known/64)
	}
}
