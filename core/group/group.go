package group

import (
	"slices"
	"strings"

	"github.com/weirmq/weir/core/coord"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// group is one consumer group: what the log says of it, and the round of the classic protocol that it is in.
type group struct {
	id     string
	place  int // in Coordinator.order
	memory *Memory

	// What the log says, changed by Apply only.
	saved   *protocol.GroupMetadataValue // nil: nothing was ever written of its members
	meta    entry                        // of saved, in the log's order of keys
	offsets offsets

	// writes is how many records of the group's members, or of its deletion, wait to be durable: what would
	// decide about members waits in queue meanwhile.
	writes          int
	commitsInFlight int
	queue           []operation

	// The round that the group is in. It is lost with the coordinator, but for what saved says.
	state          State
	generation     int32
	protocolType   string
	protocol       string // chosen for this generation
	leader         string
	stateTimestamp model.Timestamp // when it last came to rest
	emptySince     model.Timestamp // when its last member went
	subscribed     subscriptions

	members      map[string]*member
	ordered      []*member // the same, in an order that depends on nothing but history
	instances    map[string]*member
	pending      map[string]*pending
	offered      map[string]int // how many members offer each protocol
	sizeBytes    int            // of what the members say of themselves
	joiningCount int            // members that wait for the round of joins to end
	syncOwed     int            // members that have not asked for their assignment

	joinTimer, syncTimer coord.Timer[owner]
	// The first round of an empty group waits for others to come: until initialLeft is used up, a delay at a time.
	initial     bool
	initialLeft model.Time
	memberAdded bool

	due coord.Timer[*group] // when something of it may expire, in Coordinator.expiry
}

// member is one member of a group.
type member struct {
	id, instance         string
	clientID, clientHost string
	sessionTimeoutMs     int32
	rebalanceTimeoutMs   int32
	protocols            []Protocol
	assignment           []byte
	sizeBytes            int // about what it takes in memory
	place                int // in group.ordered
	isNew                bool
	syncOwed             bool
	joining, syncing     parked
	session              coord.Timer[owner]
}

// parked is a request that waits for the others of its round.
type parked struct {
	to    effect.RequestID
	waits bool
}

// pending is a member id that was given out (KIP-394) and has not joined yet.
type pending struct {
	id    string
	timer coord.Timer[owner]
}

// blocks reports whether an operation has to wait for what is being written.
func (g *group) blocks(op operation) bool {
	_, deletes := op.(*deletion)
	_, deletesOffsets := op.(*DeleteOffsets)
	return g.writes > 0 || (deletes || deletesOffsets) && g.commitsInFlight > 0
}

func (g *group) add(m *member) {
	if g.members == nil {
		g.members, g.instances, g.offered = map[string]*member{}, map[string]*member{}, map[string]int{}
	}
	invariant.Check(g.members[m.id] == nil, "a member id is given to one member")
	if len(g.members) == 0 {
		g.leader = ""
	}
	if g.leader == "" {
		g.leader = m.id
	}
	m.session.Owner = owner{kind: sessionTimer, group: g, member: m}
	m.place = len(g.ordered)
	g.ordered = append(g.ordered, m)
	g.members[m.id] = m
	g.grow(m.sizeBytes)
	if m.instance != "" {
		g.instances[m.instance] = m
	}
	g.offer(m.protocols, 1)
}

// remove takes a member out. Nobody is told: its parked requests must have been answered.
func (g *group) remove(m *member) {
	invariant.Check(!m.joining.waits && !m.syncing.waits, "a member that goes is told so first")
	g.owes(m, false)
	g.grow(-m.sizeBytes)
	g.offer(m.protocols, -1)
	delete(g.members, m.id)
	if m.instance != "" && g.instances[m.instance] == m {
		delete(g.instances, m.instance)
	}
	last := len(g.ordered) - 1
	g.ordered[m.place] = g.ordered[last]
	g.ordered[m.place].place = m.place
	g.ordered[last] = nil
	g.ordered = g.ordered[:last]
	if g.leader == m.id {
		g.leader = ""
		if last > 0 {
			g.leader = g.ordered[0].id
		}
	}
}

// grow counts what members take.
func (g *group) grow(bytes int) {
	g.sizeBytes += bytes
	g.memory.usedBytes += int64(bytes)
}

// rename gives a static member the id of its new process.
func (g *group) rename(m *member, id string) {
	delete(g.members, m.id)
	if g.leader == m.id {
		g.leader = id
	}
	m.id = id
	g.members[id] = m
}

func (g *group) offer(protocols []Protocol, n int) {
	for i := range protocols {
		if g.offered[protocols[i].Name] += n; g.offered[protocols[i].Name] == 0 {
			delete(g.offered, protocols[i].Name)
		}
	}
}

// update takes in what a member says of itself when it joins again.
func (g *group) update(m *member, in *Join) {
	g.offer(m.protocols, -1)
	m.protocols = in.Protocols
	g.offer(m.protocols, 1)
	size := joinBytes(in)
	g.grow(size - m.sizeBytes)
	m.sizeBytes = size
	m.sessionTimeoutMs, m.rebalanceTimeoutMs = in.SessionTimeoutMs, in.RebalanceTimeoutMs
	m.clientID, m.clientHost = in.ClientID, in.ClientHost
}

// supports reports whether somebody with these protocols can be a member beside those who are.
func (g *group) supports(protocolType string, protocols []Protocol) bool {
	if len(g.members) == 0 {
		return protocolType != "" && len(protocols) > 0
	}
	return protocolType == g.protocolType && slices.ContainsFunc(protocols, func(p Protocol) bool {
		return g.offered[p.Name] == len(g.members)
	})
}

// choose is the protocol of the next generation: of those that all members offer, the one that most members like
// best. Between equals the first in order of names wins, so that the choice depends on the members alone.
func (g *group) choose() string {
	votes := map[string]int{}
	best := ""
	for _, m := range g.ordered {
		for i := range m.protocols {
			name := m.protocols[i].Name
			if g.offered[name] != len(g.ordered) {
				continue
			}
			votes[name]++
			if v, b := votes[name], votes[best]; best == "" || v > b || v == b && strings.Compare(name, best) < 0 {
				best = name
			}
			break
		}
	}
	return best
}

// metadata is what a member says to the leader in the group's protocol.
func (g *group) metadata(m *member) []byte { return offered(m.protocols, g.protocol) }

// offered is what is said in one of some protocols.
func offered(protocols []Protocol, name string) []byte {
	for i := range protocols {
		if protocols[i].Name == name {
			return protocols[i].Metadata
		}
	}
	return nil
}

// roster is the members as the leader is told of them.
func (g *group) roster() []effect.GroupMember {
	out := make([]effect.GroupMember, 0, len(g.ordered))
	for _, m := range g.ordered {
		out = append(out, effect.GroupMember{Member: m.id, Instance: m.instance, Metadata: g.metadata(m)})
	}
	return out
}

// rebalanceTimeout is how long a round of joins may take: as long as the most patient member allows.
func (g *group) rebalanceTimeout() model.Time {
	longest := int32(0)
	for _, m := range g.ordered {
		longest = max(longest, m.rebalanceTimeoutMs)
	}
	return model.Time(longest) * millisecond
}

// owes notes whether a member still has to ask for its assignment.
func (g *group) owes(m *member, owed bool) {
	switch {
	case owed && !m.syncOwed:
		g.syncOwed++
	case !owed && m.syncOwed:
		g.syncOwed--
	}
	m.syncOwed = owed
}

// park lets a member's join wait for the others; a request that waited already is told that the round goes on.
func (g *group) parkJoin(m *member, to effect.RequestID) {
	if !m.joining.waits {
		g.joiningCount++
	}
	m.joining = parked{to: to, waits: true}
}

// sameProtocols reports whether a member offers what it has offered before.
func sameProtocols(a, b []Protocol) bool {
	return slices.EqualFunc(a, b, func(x, y Protocol) bool {
		return x.Name == y.Name && string(x.Metadata) == string(y.Metadata)
	})
}
