package workload

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/sim/check"
	"github.com/weirmq/weir/sim/draw"
)

// findCoordinator asks where a group is coordinated, which is what makes brokers create the place for it.
func (g *group) findCoordinator(now model.Time, c *caller, name string, patience model.Time) {
	in := protocol.NewRequest(protocol.KeyFindCoordinator).(*protocol.FindCoordinatorRequest)
	in.CoordinatorKey = name
	in.CoordinatorKeys = []string{name}
	wish := versions{0, 3}
	if c.rand.Percent(50) {
		in.CoordinatorKey = ""
		wish = versions{4, 6}
	} else {
		in.CoordinatorKeys = nil
	}
	c.ask(now, in, wish, patience, func(now model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.FindCoordinatorResponse)
		if !ok {
			return
		}
		code, host, port := out.ErrorCode, out.Host, out.Port
		if wish.min == 4 {
			if len(out.Coordinators) != 1 || out.Coordinators[0].Key != name {
				g.Fail("client", fmt.Sprintf("%s: asked for the coordinator of %s, told %+v", c.name, name, out.Coordinators))
				return
			}
			code, host, port = out.Coordinators[0].ErrorCode, out.Coordinators[0].Host, out.Coordinators[0].Port
		}
		if code != 0 {
			c.found = false
			c.roam(now)
			return
		}
		addr := fmt.Sprintf("%s:%d", host, port)
		if !slices.Contains(g.spec.Addrs, addr) {
			g.Fail("client", fmt.Sprintf("%s: the coordinator of %s is at %q", c.name, name, addr))
			return
		}
		c.turn(now, addr)
		c.found = true
	})
}

// unknown is what commitOffset hands on when nobody knows what became of a commit.
const unknown int16 = -100

// commitOffset commits one offset, unique to the process and its number, and notes it in the history.
func (g *group) commitOffset(now model.Time, c *caller, process, number int64, as identity, instance protocol.NullString,
	name, topic string, partition int32, patience model.Time, then func(model.Time, int16),
) {
	value := process<<32 | number
	at := g.begin(check.Op{Process: process, F: check.Commit, Call: int64(now), Topic: name + "|" + topic, Partition: partition, Values: []int64{value}})
	in := protocol.NewRequest(protocol.KeyOffsetCommit).(*protocol.OffsetCommitRequest)
	in.GroupID, in.GenerationIDOrMemberEpoch, in.MemberID, in.GroupInstanceID = name, as.generation, as.id, instance
	t := protocol.Add(&in.Topics)
	t.Name = topic
	p := protocol.Add(&t.Partitions)
	p.PartitionIndex, p.CommittedOffset, p.CommittedMetadata = partition, value, protocol.String("by "+c.name)
	wish := versions{2, 9}
	if instance.Valid {
		wish.min = 7
	}
	c.ask(now, in, wish, patience, func(now model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.OffsetCommitResponse)
		if !ok {
			then(now, unknown)
			return
		}
		if len(out.Topics) != 1 || len(out.Topics[0].Partitions) != 1 {
			g.Fail("client", fmt.Sprintf("%s: a commit of one offset was answered with %+v", c.name, out.Topics))
			return
		}
		code := out.Topics[0].Partitions[0].ErrorCode
		definite := code == kerr.UnknownMemberID.Code || code == kerr.IllegalGeneration.Code ||
			code == kerr.FencedInstanceID.Code || code == kerr.RebalanceInProgress.Code || code == kerr.CoordinatorLoadInProgress.Code ||
			code == kerr.NotCoordinator.Code && !g.several() // a coordinator that is deposed does not know what becomes of it
		switch op := &g.History.Ops[at]; {
		case code == 0:
			g.end(at, now, client.Outcome{})
		case definite: // it happens to the best, also without faults: somebody joined
			op.Outcome, op.Return, op.Code = check.Fail, int64(now), code
		default:
			g.end(at, now, client.Outcome{Reason: client.Refused, Code: code})
		}
		then(now, code)
	})
}

// readOffset asks for one committed offset and notes it in the history.
func (g *group) readOffset(now model.Time, c *caller, process int64, name, topic string, partition int32, patience model.Time) {
	at := g.begin(check.Op{Process: process, F: check.Committed, Call: int64(now), Topic: name + "|" + topic, Partition: partition, Node: c.node()})
	in := protocol.NewRequest(protocol.KeyOffsetFetch).(*protocol.OffsetFetchRequest)
	wish := versions{1, 7}
	if c.rand.Percent(50) && c.serves(protocol.KeyOffsetFetch, versions{8, 9}) {
		wish = versions{8, 9}
		o := protocol.Add(&in.Groups)
		o.GroupID = name
		t := protocol.Add(&o.Topics)
		t.Name, t.PartitionIndexes = topic, []int32{partition}
	} else {
		in.GroupID = name
		t := protocol.Add(&in.Topics)
		t.Name, t.PartitionIndexes = topic, []int32{partition}
	}
	c.ask(now, in, wish, patience, func(now model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.OffsetFetchResponse)
		if !ok {
			return
		}
		code, offset, metadata := out.ErrorCode, int64(-1), ""
		switch {
		case len(out.Groups) == 1 && len(out.Groups[0].Topics) == 1 && len(out.Groups[0].Topics[0].Partitions) == 1:
			p := &out.Groups[0].Topics[0].Partitions[0]
			code, offset, metadata = max(out.Groups[0].ErrorCode, p.ErrorCode), p.CommittedOffset, p.Metadata.Value
		case len(out.Groups) == 1:
			code = out.Groups[0].ErrorCode
		case len(out.Topics) == 1 && len(out.Topics[0].Partitions) == 1:
			p := &out.Topics[0].Partitions[0]
			code, offset, metadata = max(code, p.ErrorCode), p.CommittedOffset, p.Metadata.Value
		}
		if code != 0 {
			g.end(at, now, client.Outcome{Reason: client.Refused, Code: code, Definite: true})
			return
		}
		op := g.end(at, now, client.Outcome{})
		if offset >= 0 {
			op.Values = []int64{offset}
			if !strings.HasPrefix(metadata, "by ") {
				g.Fail("offset-metadata", fmt.Sprintf("%s: %q is not what anybody wrote: %s", c.name, metadata, op))
			}
		}
	})
}

// solo commits and reads offsets of a group that has no members.
type solo struct {
	g       *group
	name    string
	process int64
	rand    *draw.Stream
	line    Line
	caller  *caller
	at      model.Time
	sent    int64
	settled bool
	done    bool
}

func newSolo(g *group, name string) *solo {
	s := &solo{g: g, name: name, process: g.process()}
	s.rand = g.Root.Stream("solo", uint64(s.process))
	s.caller = newCaller(g, s.Name(), s.rand, &s.line)
	s.at = model.Time(s.rand.Between(1, int64(50*millisecond)))
	return s
}

func (s *solo) Name() string            { return fmt.Sprintf("solo%d", s.process) }
func (s *solo) Lines() []*Line          { return []*Line{&s.line} }
func (s *solo) After(model.Time, *Line) {}
func (s *solo) WakeAt() model.Time      { return s.at }
func (s *solo) Settle(now model.Time)   { s.settled, s.at = true, now }

func (s *solo) Waiting() string {
	if s.done {
		return ""
	}
	return "no offset was committed since the faults"
}

func (s *solo) Wake(now model.Time) {
	s.at = now + 1 + model.Time(s.rand.Exp(int64(s.g.spec.Gap)))
	patience := model.Time(s.rand.LogUniform(int64(200*millisecond), int64(2*second)))
	if s.g.spec.Calm {
		patience = 30 * second
	}
	partition := int32(s.rand.Intn(s.g.spec.Partitions))
	switch {
	case s.done:
		s.at = 0
	case s.caller.asked() || s.g.created == 0:
	case !s.caller.knows(now):
		s.at = now + 20*millisecond
	case !s.caller.found:
		s.g.findCoordinator(now, s.caller, s.name, patience)
	case s.rand.Percent(50) || s.settled:
		s.sent++
		settled := s.settled
		s.g.commitOffset(now, s.caller, s.process, s.sent, identity{generation: -1}, protocol.NullString{}, s.name, s.g.topics[0], partition, patience,
			func(_ model.Time, code int16) {
				s.done = s.done || settled && code == 0
				s.caller.found = s.caller.found && code != kerr.NotCoordinator.Code && code != kerr.CoordinatorNotAvailable.Code
			})
	default:
		s.g.readOffset(now, s.caller, s.process, s.name, s.g.topics[0], partition, patience)
	}
}
