package workload

import (
	"fmt"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/sim/draw"
)

// crew is one consumer group as its members see it, and what can be said of them together.
type crew struct {
	name    string
	topic   string
	count   int32 // partitions
	members []*member
	// newest is the latest generation that somebody was given an assignment of: what it took to get there is durable.
	newest int32
	// owners says who was given a partition in a generation.
	owners map[ownership]string
	// instances says which member id a static member had last.
	instances map[string]string
}

type ownership struct {
	generation, partition int32
}

func newCrew(g *group, number int) *crew {
	return &crew{
		name: fmt.Sprintf("crew%d-%d", g.spec.ID, number), topic: g.topics[0], count: int32(g.spec.Partitions),
		newest: -1, owners: map[ownership]string{}, instances: map[string]string{},
	}
}

// settled reports whether all members are in, in one generation, and have every partition between them.
func (c *crew) settled() bool {
	owned := map[int32]bool{}
	for _, m := range c.members {
		if !m.in || !m.beaten || !m.committed || m.identity.generation != c.members[0].identity.generation {
			return false
		}
		for _, p := range m.owned {
			owned[p] = true
		}
	}
	return len(owned) == int(c.count)
}

// crowd joins one group with more members than it may have, at once and over one connection, and hangs up.
type crowd struct {
	g       *group
	process int64
	rand    *draw.Stream
	line    Line
	caller  *caller
	at      model.Time
	settled bool
	isVast  bool // it has tried to take all the memory
}

// GroupMembersMax is how many members simulated groups may have, and GroupMemoryBytesMax what all of them may hold.
const (
	GroupMembersMax     = 14
	GroupMemoryBytesMax = 400 << 10
)

func newCrowd(g *group) *crowd {
	c := &crowd{g: g, process: g.process()}
	c.rand = g.Root.Stream("crowd", uint64(c.process))
	c.caller = newCaller(g, c.Name(), c.rand, &c.line)
	c.at = model.Time(c.rand.Between(1, int64(second)))
	return c
}

func (c *crowd) Name() string            { return fmt.Sprintf("crowd%d", c.process) }
func (c *crowd) Lines() []*Line          { return []*Line{&c.line} }
func (c *crowd) After(model.Time, *Line) {}
func (c *crowd) WakeAt() model.Time      { return c.at }
func (c *crowd) Settle(model.Time)       { c.settled = true }
func (c *crowd) Waiting() string         { return "" }

func (c *crowd) Wake(now model.Time) {
	c.at = now + 20*millisecond
	name := fmt.Sprintf("crowd%d", c.process)
	switch {
	case c.settled:
		c.at = 0
	case c.caller.asked():
	case !c.caller.knows(now):
	case !c.caller.found:
		c.g.findCoordinator(now, c.caller, name, 2*second)
	case !c.isVast:
		// One alone that would take all the memory there is for groups is refused, and leaves room for the others.
		c.isVast = true
		in := protocol.NewRequest(protocol.KeyJoinGroup).(*protocol.JoinGroupRequest)
		in.GroupID, in.ProtocolType = name+"-vast", "consumer"
		in.SessionTimeoutMs, in.RebalanceTimeoutMs = int32(GroupSessionMin/millisecond), int32(GroupSessionMin/millisecond)
		p := protocol.Add(&in.Protocols)
		p.Name, p.Metadata = "none", make([]byte, GroupMemoryBytesMax)
		c.caller.ask(now, in, versions{0, 3}, 2*second, func(_ model.Time, answer protocol.Message) {
			if out, ok := answer.(*protocol.JoinGroupResponse); ok && out.ErrorCode == 0 {
				c.g.Fail("group-memory", "a member was taken in that takes more than all groups may")
			}
		})
	default:
		// By generation and its leader: who came late may have found room again, and a group that was forgotten counts anew.
		type generation struct {
			id     int32
			leader string
		}
		joined := map[generation]int{}
		for range GroupMembersMax + 2 {
			in := protocol.NewRequest(protocol.KeyJoinGroup).(*protocol.JoinGroupRequest)
			in.GroupID, in.ProtocolType = name, "consumer"
			in.SessionTimeoutMs, in.RebalanceTimeoutMs = int32(GroupSessionMin/millisecond), int32(GroupSessionMin/millisecond)
			protocol.Add(&in.Protocols).Name = "none"
			c.caller.ask(now, in, versions{0, 3}, 2*second, func(now model.Time, answer protocol.Message) {
				out, ok := answer.(*protocol.JoinGroupResponse)
				if !ok || out.ErrorCode != 0 {
					return
				}
				of := generation{out.GenerationID, out.Leader}
				if joined[of]++; joined[of] > GroupMembersMax {
					c.g.Fail("group-full", fmt.Sprintf("%s: a group has more than %d members", name, GroupMembersMax))
				}
			})
		}
		c.at = now + model.Time(c.rand.Between(int64(GroupSessionMin), int64(2*second)))
	}
}
