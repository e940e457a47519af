package clienttest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// Group is a classic group's state. Members are removed by LeaveGroup, by a test (Expire), and when they do
// not join a rebalance in Patience looks of those who did.
type Group struct {
	ID         string
	Generation int32
	State      string // Empty, PreparingRebalance, CompletingRebalance, Stable
	Strategy   string
	Leader     string
	Members    []*Member // in the order in which they came
	Offsets    map[Place]Committed
	Commits    int // that were taken
	Fenced     int // requests that were refused because the group went on
	looks      int
	last       int      // names given to members
	named      []string // given to who has not come back with them yet
}

// Patience is how often members that joined look before the others are given up.
const Patience = 100

// Place is a partition.
type Place struct {
	Topic     string
	Partition int32
}

// Committed is an offset with its metadata.
type Committed struct {
	Offset   int64
	Metadata string
}

// Member is one member of a group.
type Member struct {
	ID         string
	InstanceID string
	protocols  []protocol.JoinGroupRequestProtocol
	joined     bool // this rebalance
	answered   bool // and was told so
	assignment []byte
}

// Group finds or makes a group.
func (c *Cluster) Group(id string) *Group {
	for _, g := range c.Groups {
		if g.ID == id {
			return g
		}
	}
	g := &Group{ID: id, State: "Empty", Offsets: map[Place]Committed{}}
	c.Groups = append(c.Groups, g)
	return g
}

// Expire removes a member as if its session had ended.
func (g *Group) Expire(id string) {
	g.Members = slices.DeleteFunc(g.Members, func(m *Member) bool { return m.ID == id })
	g.prepare()
}

func (g *Group) find(id string) *Member {
	for _, m := range g.Members {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// prepare begins a rebalance.
func (g *Group) prepare() {
	g.looks = 0
	if len(g.Members) == 0 {
		g.State, g.Generation = "Empty", g.Generation+1
		return
	}
	if g.State != "PreparingRebalance" {
		for _, m := range g.Members {
			m.joined = false
		}
	}
	g.State = "PreparingRebalance"
}

// check refuses whoever does not belong to the generation.
func (g *Group) check(member string, generation int32) int16 {
	switch {
	case g.find(member) == nil:
		g.Fenced++
		return kerr.UnknownMemberID.Code
	case generation != g.Generation:
		g.Fenced++
		return kerr.IllegalGeneration.Code
	}
	return 0
}

// handleGroup answers the requests that are about groups. empty and waitMs are as for Handle.
func (c *Cluster) handleGroup(at model.NodeID, h *protocol.RequestHeader, r *protocol.Reader) (body protocol.Message, empty bool, waitMs int32) {
	const lookForMs = 1 << 30
	decode := func(m protocol.Message) {
		m.Decode(r, h.Version)
		must(r.Finish())
	}
	switch h.Key {
	case protocol.KeyFindCoordinator:
		var m protocol.FindCoordinatorRequest
		decode(&m)
		body = c.findCoordinator(at, &m, h.Version)
	case protocol.KeyJoinGroup:
		var m protocol.JoinGroupRequest
		decode(&m)
		body, empty = c.join(at, &m, h.Version)
	case protocol.KeySyncGroup:
		var m protocol.SyncGroupRequest
		decode(&m)
		body, empty = c.sync(at, &m, h.Version)
	case protocol.KeyHeartbeat:
		var m protocol.HeartbeatRequest
		decode(&m)
		body = c.heartbeat(at, &m)
	case protocol.KeyLeaveGroup:
		var m protocol.LeaveGroupRequest
		decode(&m)
		body = c.leave(at, &m, h.Version)
	case protocol.KeyOffsetCommit:
		var m protocol.OffsetCommitRequest
		decode(&m)
		body = c.offsetCommit(at, &m)
	case protocol.KeyOffsetFetch:
		var m protocol.OffsetFetchRequest
		decode(&m)
		body = c.offsetFetch(at, &m, h.Version)
	default:
		panic("clienttest: no handler for " + h.Key.String())
	}
	return body, empty, lookForMs
}

// coordinates reports whether a broker coordinates groups; the script may have another say.
func (c *Cluster) coordinates(at model.NodeID, key protocol.Key, group string) int16 {
	if v := c.script(at, key, group, -1); v.Code != 0 {
		return v.Code
	}
	if at != c.Controller {
		return kerr.NotCoordinator.Code
	}
	return 0
}

func (c *Cluster) findCoordinator(at model.NodeID, m *protocol.FindCoordinatorRequest, version int16) *protocol.FindCoordinatorResponse {
	var a protocol.FindCoordinatorResponse
	a.Default()
	keys := m.CoordinatorKeys
	if version < 4 {
		keys = []string{m.CoordinatorKey}
	}
	who := c.Controller
	if slices.Contains(c.Behind, at) {
		who = at
	}
	for _, key := range keys {
		x := protocol.Add(&a.Coordinators)
		x.Key, x.NodeID = key, int32(who)
		x.Host, x.Port = c.hostPort(who)
		x.ErrorCode = c.script(at, protocol.KeyFindCoordinator, key, -1).Code
	}
	if version < 4 {
		x := a.Coordinators[0]
		a.Coordinators = nil
		a.NodeID, a.Host, a.Port, a.ErrorCode = x.NodeID, x.Host, x.Port, x.ErrorCode
	}
	return &a
}

// join answers JoinGroup; waiting is true until all members have joined.
func (c *Cluster) join(at model.NodeID, m *protocol.JoinGroupRequest, version int16) (a *protocol.JoinGroupResponse, waiting bool) {
	a = new(protocol.JoinGroupResponse)
	a.Default()
	if version >= 7 {
		a.ProtocolName = protocol.String("")
	}
	a.MemberID = m.MemberID
	if a.ErrorCode = c.coordinates(at, protocol.KeyJoinGroup, m.GroupID); a.ErrorCode != 0 {
		return a, false
	}
	g := c.Group(m.GroupID)
	who := g.find(m.MemberID)
	if who == nil && m.GroupInstanceID.Valid {
		if i := slices.IndexFunc(g.Members, func(x *Member) bool { return x.InstanceID == m.GroupInstanceID.Value }); i >= 0 {
			who = g.Members[i] // a new name in an old place
			g.last++
			who.ID = fmt.Sprintf("%s-%d", m.GroupInstanceID.Value, g.last)
		}
	}
	if who == nil {
		switch {
		case m.MemberID == "" && version >= 4 && !m.GroupInstanceID.Valid:
			g.last++
			a.MemberID, a.ErrorCode = fmt.Sprintf("member-%d", g.last), kerr.MemberIDRequired.Code
			g.named = append(g.named, a.MemberID)
			return a, false
		case m.MemberID != "" && !slices.Contains(g.named, m.MemberID):
			a.ErrorCode = kerr.UnknownMemberID.Code
			return a, false
		}
		id := m.MemberID
		if id == "" {
			g.last++
			id = fmt.Sprintf("member-%d", g.last)
		}
		g.named = slices.DeleteFunc(g.named, func(n string) bool { return n == id })
		who = &Member{ID: id, InstanceID: m.GroupInstanceID.Value}
		g.Members = append(g.Members, who)
	}
	a.MemberID = who.ID
	if g.State != "PreparingRebalance" {
		if who.joined && !who.answered {
			return g.complete(a, who), false
		}
		g.prepare()
	}
	if !who.joined {
		who.joined, who.protocols = true, cloneProtocols(m.Protocols)
	}
	g.looks++
	all := !slices.ContainsFunc(g.Members, func(x *Member) bool { return !x.joined })
	if !all && g.looks < Patience {
		return a, true
	}
	g.Members = slices.DeleteFunc(g.Members, func(x *Member) bool { return !x.joined })
	g.Generation++
	g.State, g.Strategy = "CompletingRebalance", g.common()
	if g.Strategy == "" {
		a.ErrorCode = kerr.InconsistentGroupProtocol.Code
		g.Members = slices.DeleteFunc(g.Members, func(x *Member) bool { return x == who })
		g.prepare()
		return a, false
	}
	for _, x := range g.Members {
		x.answered, x.assignment = false, nil
	}
	if g.find(g.Leader) == nil {
		g.Leader = g.Members[0].ID
	}
	return g.complete(a, who), false
}

func (g *Group) complete(a *protocol.JoinGroupResponse, who *Member) *protocol.JoinGroupResponse {
	who.answered = true
	a.GenerationID, a.Leader, a.ProtocolName = g.Generation, g.Leader, protocol.String(g.Strategy)
	if who.ID != g.Leader {
		return a
	}
	for _, x := range g.Members {
		y := protocol.Add(&a.Members)
		y.MemberID = x.ID
		for _, p := range x.protocols {
			if p.Name == g.Strategy {
				y.Metadata = p.Metadata
			}
		}
	}
	return a
}

// common is the first strategy of the first member that all have.
func (g *Group) common() string {
	for _, p := range g.Members[0].protocols {
		if !slices.ContainsFunc(g.Members, func(m *Member) bool {
			return !slices.ContainsFunc(m.protocols, func(q protocol.JoinGroupRequestProtocol) bool { return q.Name == p.Name })
		}) {
			return p.Name
		}
	}
	return ""
}

func cloneProtocols(list []protocol.JoinGroupRequestProtocol) []protocol.JoinGroupRequestProtocol {
	list = slices.Clone(list)
	for i := range list {
		list[i].Metadata = slices.Clone(list[i].Metadata)
	}
	return list
}

// sync answers SyncGroup; waiting is true until the leader has sent the assignments.
func (c *Cluster) sync(at model.NodeID, m *protocol.SyncGroupRequest, version int16) (a *protocol.SyncGroupResponse, waiting bool) {
	a = new(protocol.SyncGroupResponse)
	a.Default()
	if a.ErrorCode = c.coordinates(at, protocol.KeySyncGroup, m.GroupID); a.ErrorCode != 0 {
		return a, false
	}
	g := c.Group(m.GroupID)
	if a.ErrorCode = g.check(m.MemberID, m.GenerationID); a.ErrorCode != 0 {
		return a, false
	}
	if g.State == "PreparingRebalance" {
		a.ErrorCode = kerr.RebalanceInProgress.Code
		return a, false
	}
	if m.MemberID == g.Leader && g.State == "CompletingRebalance" {
		for _, x := range m.Assignments {
			if who := g.find(x.MemberID); who != nil {
				who.assignment = slices.Clone(x.Assignment)
			}
		}
		g.State = "Stable"
	}
	if g.State != "Stable" {
		return a, true
	}
	a.Assignment = g.find(m.MemberID).assignment
	if version >= 5 {
		a.ProtocolType, a.ProtocolName = protocol.String("consumer"), protocol.String(g.Strategy)
	}
	return a, false
}

func (c *Cluster) heartbeat(at model.NodeID, m *protocol.HeartbeatRequest) *protocol.HeartbeatResponse {
	var a protocol.HeartbeatResponse
	a.Default()
	if a.ErrorCode = c.coordinates(at, protocol.KeyHeartbeat, m.GroupID); a.ErrorCode != 0 {
		return &a
	}
	g := c.Group(m.GroupID)
	if a.ErrorCode = g.check(m.MemberID, m.GenerationID); a.ErrorCode == 0 && g.State == "PreparingRebalance" {
		a.ErrorCode = kerr.RebalanceInProgress.Code
	}
	return &a
}

func (c *Cluster) leave(at model.NodeID, m *protocol.LeaveGroupRequest, version int16) *protocol.LeaveGroupResponse {
	var a protocol.LeaveGroupResponse
	a.Default()
	if a.ErrorCode = c.coordinates(at, protocol.KeyLeaveGroup, m.GroupID); a.ErrorCode != 0 {
		return &a
	}
	ids := []string{m.MemberID}
	if version >= 3 {
		ids = nil
		for _, x := range m.Members {
			ids = append(ids, x.MemberID)
			protocol.Add(&a.Members).MemberID = x.MemberID
		}
	}
	g := c.Group(m.GroupID)
	for _, id := range ids {
		if g.find(id) != nil {
			g.Expire(id)
		}
	}
	return &a
}

func (c *Cluster) offsetCommit(at model.NodeID, m *protocol.OffsetCommitRequest) *protocol.OffsetCommitResponse {
	var a protocol.OffsetCommitResponse
	a.Default()
	code := c.coordinates(at, protocol.KeyOffsetCommit, m.GroupID)
	g := c.Group(m.GroupID)
	if code == 0 && (m.GenerationIDOrMemberEpoch >= 0 || m.MemberID != "") {
		if code = g.check(m.MemberID, m.GenerationIDOrMemberEpoch); code == 0 && g.State == "CompletingRebalance" {
			code = kerr.RebalanceInProgress.Code
		}
	} else if code == 0 && len(g.Members) > 0 {
		code = kerr.UnknownMemberID.Code
	}
	for i := range m.Topics {
		t := protocol.Add(&a.Topics)
		t.Name = m.Topics[i].Name
		for _, p := range m.Topics[i].Partitions {
			x := protocol.Add(&t.Partitions)
			x.PartitionIndex, x.ErrorCode = p.PartitionIndex, code
			if code == 0 {
				g.Offsets[Place{t.Name, p.PartitionIndex}] = Committed{p.CommittedOffset, p.CommittedMetadata.Value}
				g.Commits++
			}
		}
	}
	return &a
}

func (c *Cluster) offsetFetch(at model.NodeID, m *protocol.OffsetFetchRequest, version int16) *protocol.OffsetFetchResponse {
	var a protocol.OffsetFetchResponse
	a.Default()
	if version < 8 {
		if a.ErrorCode = c.coordinates(at, protocol.KeyOffsetFetch, m.GroupID); a.ErrorCode != 0 && version >= 2 {
			return &a
		}
		g := c.Group(m.GroupID)
		for i := range m.Topics {
			t := protocol.Add(&a.Topics)
			t.Name = m.Topics[i].Name
			for _, p := range m.Topics[i].PartitionIndexes {
				x := protocol.Add(&t.Partitions)
				x.PartitionIndex, x.CommittedOffset, x.Metadata, x.ErrorCode = p, g.offset(t.Name, p), protocol.String(""), a.ErrorCode
			}
		}
		if version < 2 {
			a.ErrorCode = 0
		}
		return &a
	}
	for n := range m.Groups {
		y := protocol.Add(&a.Groups)
		y.GroupID = m.Groups[n].GroupID
		if y.ErrorCode = c.coordinates(at, protocol.KeyOffsetFetch, y.GroupID); y.ErrorCode != 0 {
			continue
		}
		g := c.Group(y.GroupID)
		if m.Groups[n].Topics == nil { // all that there are
			for _, at := range g.places() {
				if len(y.Topics) == 0 || y.Topics[len(y.Topics)-1].Name != at.Topic {
					protocol.Add(&y.Topics).Name = at.Topic
				}
				x := protocol.Add(&y.Topics[len(y.Topics)-1].Partitions)
				x.PartitionIndex, x.CommittedOffset, x.Metadata = at.Partition, g.Offsets[at].Offset, protocol.String(g.Offsets[at].Metadata)
			}
			continue
		}
		for i := range m.Groups[n].Topics {
			t := protocol.Add(&y.Topics)
			t.Name = m.Groups[n].Topics[i].Name
			for _, p := range m.Groups[n].Topics[i].PartitionIndexes {
				x := protocol.Add(&t.Partitions)
				x.PartitionIndex, x.CommittedOffset, x.Metadata = p, g.offset(t.Name, p), protocol.String("")
			}
		}
	}
	return &a
}

// places are those with a committed offset, ordered.
func (g *Group) places() []Place {
	places := make([]Place, 0, len(g.Offsets))
	for at := range g.Offsets {
		places = append(places, at)
	}
	slices.SortFunc(places, func(a, b Place) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), int(a.Partition)-int(b.Partition))
	})
	return places
}

func (g *Group) offset(topic string, partition int32) int64 {
	if o, ok := g.Offsets[Place{topic, partition}]; ok {
		return o.Offset
	}
	return -1
}
