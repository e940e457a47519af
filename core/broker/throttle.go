package broker

import (
	"strconv"
	"strings"

	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// throttle keeps what this node copies for moved replicas below follower.replication.throttled.rate (decision 15). What
// has come is owed, and is paid for by time; while something is owed nothing more is asked for.
type throttle struct {
	owedBytes int64
	at        model.Time // as of when
}

// take notes that bytes have come.
func (t *throttle) take(bytes int, rate int64, now model.Time) {
	t.owedBytes = t.owed(rate, now) + int64(bytes)
	t.at = now
}

// owed is what is not paid for yet.
func (t *throttle) owed(rate int64, now model.Time) int64 {
	seconds, rest := int64((now-t.at)/1e9), int64((now-t.at)%1e9)
	if t.owedBytes == 0 || seconds > t.owedBytes/rate {
		return 0
	}
	// Neither product is more than what is owed, and a second's worth.
	return max(0, t.owedBytes-rate*seconds-(rate/1e9*rest+rate%1e9*rest/1e9))
}

// until is when everything is paid for; 0: now.
func (t *throttle) until(rate int64, now model.Time) model.Time {
	owed := t.owed(rate, now)
	if owed == 0 {
		return 0
	}
	// In microseconds: what is owed is at most some tens of MiB.
	return now + model.Time(owed/rate)*1e9 + model.Time(owed%rate*1e6/rate)*1e3 + 1e3
}

// throttled reports whether a partition that this node follows is one whose copying is bounded: it is not in sync, and a
// reassignment brings it here, or the topic names it.
func (fo *following) throttled() bool {
	b := fo.fetcher.b
	if rate := b.view.Node().ReplicationRateMax; rate <= 0 || rate == metadata.NoRate {
		return false
	}
	self := b.config.Advertised.ID
	state := fo.p.topic.Partition(fo.p.index())
	if state == nil || state.InSync(self) {
		return false
	}
	for _, n := range state.Adding {
		if n == self {
			return true
		}
	}
	return throttledBy(fo.p.topic.Config.ThrottledReplicas, fo.p.index(), self)
}

// throttledBy reports whether follower.replication.throttled.replicas names a replica: PARTITION:NODE,... or *.
func throttledBy(list string, partition model.Partition, node model.NodeID) bool {
	if list == "" || list == "*" {
		return list == "*"
	}
	this := strconv.Itoa(int(partition)) + ":" + strconv.Itoa(int(node))
	for one := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(one) == this {
			return true
		}
	}
	return false
}

// throttledUntil is when more may be asked for; 0: now.
func (fo *following) throttledUntil(now model.Time) model.Time {
	if !fo.throttled() {
		return 0
	}
	b := fo.fetcher.b
	return b.throttle.until(b.view.Node().ReplicationRateMax, now)
}

// throttledBytes bounds what is asked for at a time: about a tenth of a second's worth, all partitions together being
// bounded by what is owed.
func (fo *following) throttledBytes() int32 {
	if !fo.throttled() {
		return fetchPartBytes
	}
	return int32(max(fetchBytesThrottledMin, min(fetchPartBytes, fo.fetcher.b.view.Node().ReplicationRateMax/10)))
}

const fetchBytesThrottledMin = 16 << 10
