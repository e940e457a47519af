package client

import (
	"slices"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// traffic separates requests that may wait long (fetch, produce) from those that must not wait behind
// it: responses come in order on a connection.
type traffic uint8

const (
	control traffic = iota
	data
	coordination // JoinGroup and SyncGroup wait for other members
	trafficCount
)

// connState is how far a connection is.
//
//	dialing ──Connected──► negotiating ──ApiVersions──► ready
//	   └───────────────────────┴── Disconnected, deadline ──┴──► gone
type connState uint8

const (
	dialing connState = iota
	negotiating
	ready
	gone
)

// conn is one connection.
type conn struct {
	id       ConnID
	endpoint *endpoint
	traffic  traffic
	state    connState
	since    model.Time // when it was dialled
	deadline model.Time // of dialing and negotiating
	doubtAt  model.Time // when those have taken so long that we ask whether anybody else leads
	// versions are what the broker speaks, by key; empty until ready.
	versions []versionRange
	// pending are the requests that were sent and not answered, in the order of their answers.
	pending     []pending
	correlation int32
	slow        bool       // the oldest request's answer is late
	mutedUntil  model.Time // the broker wants no request before (KIP-219)
}

type versionRange struct {
	key      protocol.Key
	min, max int16
}

type pending struct {
	correlation int32
	key         protocol.Key
	version     int16
	at          model.Time // when it was sent
	deadline    model.Time
	slowAt      model.Time // when the answer is so late that we ask whether anybody else leads
	call        call
	writer      *protocol.Writer
	unanswered  bool // no answer will come: it ends when it is written
}

// shift takes the oldest request off.
func (k *conn) shift() pending {
	p := k.pending[0]
	k.slow = false
	copy(k.pending, k.pending[1:])
	k.pending[len(k.pending)-1] = pending{}
	k.pending = k.pending[:len(k.pending)-1]
	return p
}

// misplaced reports whether the oldest request that is not abandoned is.
func (k *conn) misplaced() bool {
	for i := range k.pending {
		if _, given := k.pending[i].call.(abandoned); !given {
			return k.pending[i].call.misplaced()
		}
	}
	return false
}

// version is the newest version of a key that both sides speak.
func (k *conn) version(q call) (int16, bool) {
	key := q.key()
	i, found := slices.BinarySearchFunc(k.versions, key, func(v versionRange, key protocol.Key) int { return int(v.key) - int(key) })
	if !found {
		return 0, false
	}
	low, high := q.versions()
	v := min(k.versions[i].max, protocol.MaxVersion(key), high)
	return v, v >= max(k.versions[i].min, protocol.MinVersion(key), low)
}

// isDoubtful reports whether the broker may not be there: it was dialled, and has not said what it speaks.
func (k *conn) isDoubtful() bool { return k.state == dialing || k.state == negotiating }

// expiry is when the connection is given up; 0 is never.
func (k *conn) expiry() model.Time {
	d := k.deadline
	for i := range k.pending {
		d = soonest(d, k.pending[i].deadline)
	}
	return d
}
