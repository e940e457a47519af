package node

import (
	"runtime/debug"
	"runtime/metrics"
)

// A collector that is not busy does not collect: after a burst, or after a recovery, a node would hold twice what
// it needs until the next one. So when it has become quiet its memory goes back to the system, once.
const (
	quietEventsMax = 100      // events in a janitor's period, below which a node is quiet
	quietPeriods   = 5        // for so long
	burstBytes     = 32 << 20 // what must have been allocated to be worth a collection
)

// thrift watches for the quiet after a burst.
type thrift struct {
	events    int64  // at the last look
	collected uint64 // bytes that had been allocated when memory was last given back
	periods   int    // that were quiet
}

// look is called each period, with how many events and how many allocated bytes there were so far, and says
// whether memory is to be given back.
func (t *thrift) look(events int64, allocatedBytes uint64) bool {
	if events-t.events >= quietEventsMax {
		t.periods = 0
	} else {
		t.periods++
	}
	t.events = events
	if t.periods < quietPeriods || allocatedBytes-t.collected < burstBytes {
		return false
	}
	t.collected = allocatedBytes
	return true
}

func (t *thrift) giveBack(events int64) {
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(allocated)
	if t.look(events, allocated[0].Value.Uint64()) {
		debug.FreeOSMemory()
	}
}
