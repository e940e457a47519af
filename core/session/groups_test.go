package session

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// exchange sends a request as another client would, gives the broker's answer, and reads the response as that client
// would. The event that the broker got comes back, too.
func exchange(t *testing.T, rq kmsg.Request, version int16, in effect.Body) (broker.Event, kmsg.Response) {
	t.Helper()
	s, out := newSession(), Out{}
	s.ClientHost = "/192.0.2.1"
	s.Receive(1000, frame(rq, version, 5), &out)
	if out.Close != "" {
		t.Fatal(out.Close)
	}
	var ev broker.Event
	if len(out.Events) > 0 {
		ev = out.Events[0]
		s.Replied(effect.Reply{To: effect.RequestID{Conn: 7}, Body: in}, &out)
	}
	resp := rq.ResponseKind()
	resp.SetVersion(version)
	if err := resp.ReadFrom(body(t, out.Frames[0], 5, resp.IsFlexible())); err != nil {
		t.Fatal(err)
	}
	return ev, resp
}

func TestFindCoordinatorSpeaksBothShapes(t *testing.T) {
	node := effect.Broker{ID: 1, Host: "h", Port: 9}
	found := &effect.CoordinatorsFound{Coordinators: []effect.CoordinatorFound{{Key: "g", Node: node}, {Key: "h", Code: 15, Message: "no", Node: effect.Broker{ID: -1}}}}
	rq := kmsg.NewPtrFindCoordinatorRequest()
	rq.CoordinatorKey = "g"
	ev, resp := exchange(t, rq, 3, found)
	if e := ev.(*broker.FindCoordinator); len(e.Groups) != 1 || e.Groups[0] != "g" {
		t.Errorf("%+v", e)
	}
	if r := resp.(*kmsg.FindCoordinatorResponse); r.NodeID != 1 || r.Port != 9 || len(r.Coordinators) != 0 {
		t.Errorf("version 3: %+v", r)
	}
	rq = kmsg.NewPtrFindCoordinatorRequest()
	rq.CoordinatorKeys = []string{"g", "h", "g"}
	ev, resp = exchange(t, rq, 4, found)
	if e := ev.(*broker.FindCoordinator); len(e.Groups) != 2 {
		t.Errorf("a key that is asked for twice is asked for once: %+v", e)
	}
	if r := resp.(*kmsg.FindCoordinatorResponse); len(r.Coordinators) != 2 || r.Coordinators[1].ErrorCode != 15 || *r.Coordinators[1].ErrorMessage != "no" {
		t.Errorf("version 4: %+v", r)
	}
	rq.CoordinatorType = 1
	ev, resp = exchange(t, rq, 4, nil)
	if r := resp.(*kmsg.FindCoordinatorResponse); ev != nil || r.Coordinators[0].ErrorCode != kerr.CoordinatorNotAvailable.Code {
		t.Errorf("a coordinator of transactions: %+v", r)
	}
}

func TestJoinGroupTellsWhatTheVersionKnows(t *testing.T) {
	rq := kmsg.NewPtrJoinGroupRequest()
	rq.Group, rq.MemberID, rq.ProtocolType, rq.SessionTimeoutMillis, rq.RebalanceTimeoutMillis = "g", "m", "consumer", 7000, 9000
	rq.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("what it wants")}}
	joined := &effect.GroupJoined{
		Generation: 3, ProtocolType: "consumer", Protocol: "range", Leader: "m", Member: "m", SkipAssignment: true,
		Members: []effect.GroupMember{{Member: "m", Instance: "i", Metadata: []byte("x")}},
	}
	for version := int16(0); version <= 9; version++ {
		ev, resp := exchange(t, rq, version, joined)
		e := ev.(*broker.JoinGroup)
		if e.ClientHost != "/192.0.2.1" || e.ClientID != "tester" || string(e.Protocols[0].Metadata) != "what it wants" || e.MemberIDRequired != (version >= 4) || e.CanSkipAssignment != (version >= 9) {
			t.Errorf("version %d: %+v", version, e)
		}
		if want := map[bool]int32{true: 9000, false: 7000}[version >= 1]; e.RebalanceTimeoutMs != want {
			t.Errorf("version %d: rebalance timeout %d", version, e.RebalanceTimeoutMs)
		}
		r := resp.(*kmsg.JoinGroupResponse)
		if r.Generation != 3 || *r.Protocol != "range" || len(r.Members) != 1 || r.SkipAssignment != (version >= 9) {
			t.Errorf("version %d: %+v", version, r)
		}
	}
	for version := int16(0); version <= 9; version++ {
		_, resp := exchange(t, rq, version, &effect.GroupJoined{Code: 79, Generation: -1, Member: "new"})
		if r := resp.(*kmsg.JoinGroupResponse); r.ErrorCode != 79 || r.MemberID != "new" || version < 7 && *r.Protocol != "" || version >= 7 && r.Protocol != nil {
			t.Errorf("version %d: %+v", version, r)
		}
	}
}

func TestLeaveGroupAnswersOneOrMany(t *testing.T) {
	left := &effect.GroupLeft{Members: []effect.MemberLeft{{Member: "m", Code: 25}}}
	rq := kmsg.NewPtrLeaveGroupRequest()
	rq.Group, rq.MemberID = "g", "m"
	if ev, resp := exchange(t, rq, 2, left); ev.(*broker.LeaveGroup).Members[0].Member != "m" || resp.(*kmsg.LeaveGroupResponse).ErrorCode != 25 {
		t.Errorf("version 2: %+v", resp)
	}
	instance := "i"
	rq = kmsg.NewPtrLeaveGroupRequest()
	rq.Members = []kmsg.LeaveGroupRequestMember{{MemberID: "m", InstanceID: &instance}}
	ev, resp := exchange(t, rq, 5, left)
	if m := ev.(*broker.LeaveGroup).Members[0]; m.Member != "m" || m.Instance != "i" {
		t.Errorf("%+v", m)
	}
	if r := resp.(*kmsg.LeaveGroupResponse); r.ErrorCode != 0 || r.Members[0].ErrorCode != 25 {
		t.Errorf("version 5: %+v", r)
	}
}

func TestOffsetCommitAnswersInTheOrderOfTheRequest(t *testing.T) {
	for version := int16(2); version <= 10; version++ {
		rq := kmsg.NewPtrOffsetCommitRequest()
		rq.Group, rq.Generation, rq.RetentionTimeMillis = "g", 3, 5000
		for i, topic := range []string{"a", "b"} {
			rt := kmsg.NewOffsetCommitRequestTopic()
			rt.Topic, rt.TopicID = topic, [16]byte{byte(i + 1)}
			for p := range int32(2) {
				rp := kmsg.NewOffsetCommitRequestTopicPartition()
				rp.Partition, rp.Offset, rp.LeaderEpoch = p, int64(p)*10, 4
				rt.Partitions = append(rt.Partitions, rp)
			}
			rq.Topics = append(rq.Topics, rt)
		}
		ev, resp := exchange(t, rq, version, &effect.OffsetsCommitted{Codes: []int16{0, 1, 2, 3}})
		e := ev.(*broker.CommitOffsets)
		if len(e.Parts) != 4 || e.Parts[3].Offset != 10 || e.Parts[3].Partition != 1 || e.Generation != 3 {
			t.Fatalf("version %d: %+v", version, e)
		}
		if byID := !e.Parts[3].TopicID.IsZero(); byID != (version >= 10) || (e.Parts[3].Topic == "b") == byID {
			t.Errorf("version %d: %+v", version, e.Parts[3])
		}
		if (e.RetentionMs == 5000) != (version <= 4) || (e.Parts[0].LeaderEpoch == 4) != (version >= 6) {
			t.Errorf("version %d: retention %d, epoch %d", version, e.RetentionMs, e.Parts[0].LeaderEpoch)
		}
		r := resp.(*kmsg.OffsetCommitResponse)
		if len(r.Topics) != 2 || r.Topics[1].Partitions[0].ErrorCode != 2 || r.Topics[1].Partitions[1].ErrorCode != 3 {
			t.Errorf("version %d: %+v", version, r)
		}
	}
}

func TestOffsetFetchSpeaksAllItsShapes(t *testing.T) {
	found := &effect.OffsetsFetched{Groups: []effect.GroupOffsets{{Group: "g", Topics: []effect.TopicOffsets{{
		Name: "t", ID: model.TopicID{1}, Partitions: []effect.PartitionOffset{{Partition: 2, Offset: 9, LeaderEpoch: 4, Metadata: "m"}},
	}}}}}
	loading := &effect.OffsetsFetched{Groups: []effect.GroupOffsets{{Group: "g", Code: 14}}}
	for version := int16(1); version <= 10; version++ {
		rq := kmsg.NewPtrOffsetFetchRequest()
		rq.Group = "g"
		rq.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{2}}}
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = "g"
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", TopicID: [16]byte{1}, Partitions: []int32{2}}}
		all := kmsg.NewOffsetFetchRequestGroup()
		all.Group = "h"
		rq.Groups = []kmsg.OffsetFetchRequestGroup{g, all, all}
		ev, resp := exchange(t, rq, version, found)
		e := ev.(*broker.FetchOffsets)
		if want := map[bool]int{true: 2, false: 1}[version >= 8]; len(e.Groups) != want || e.ByID != (version >= 10) || e.Groups[0].All {
			t.Errorf("version %d: %+v", version, e)
		}
		if version >= 8 && !e.Groups[1].All {
			t.Errorf("version %d: a group without topics asks for all: %+v", version, e.Groups[1])
		}
		r := resp.(*kmsg.OffsetFetchResponse)
		if version < 8 && r.Topics[0].Partitions[0].Offset != 9 || version >= 8 && r.Groups[0].Topics[0].Partitions[0].Offset != 9 {
			t.Errorf("version %d: %+v", version, r)
		}
		_, resp = exchange(t, rq, version, loading)
		r = resp.(*kmsg.OffsetFetchResponse)
		switch {
		case version == 1 && r.Topics[0].Partitions[0].ErrorCode != 14:
			t.Errorf("version 1 has errors of partitions only: %+v", r)
		case version >= 2 && version < 8 && r.ErrorCode != 14, version >= 8 && r.Groups[0].ErrorCode != 14:
			t.Errorf("version %d: %+v", version, r)
		}
	}
	rq := kmsg.NewPtrOffsetFetchRequest()
	rq.Group = "g"
	if ev, _ := exchange(t, rq, 5, found); !ev.(*broker.FetchOffsets).Groups[0].All {
		t.Error("no topics asks for all from version 2 on")
	}
}

func TestDescribeGroupsSaysWhenAGroupIsNotThere(t *testing.T) {
	rq := kmsg.NewPtrDescribeGroupsRequest()
	rq.Groups, rq.IncludeAuthorizedOperations = []string{"g", "g"}, true
	gone := &effect.GroupsDescribed{Groups: []effect.GroupDescribed{{Group: "g", State: "Dead"}}}
	ev, resp := exchange(t, rq, 5, gone)
	if len(ev.(*broker.DescribeGroups).Groups) != 1 {
		t.Errorf("%+v", ev)
	}
	if g := resp.(*kmsg.DescribeGroupsResponse).Groups[0]; g.ErrorCode != 0 || g.State != "Dead" || g.AuthorizedOperations != groupOperations {
		t.Errorf("version 5: %+v", g)
	}
	_, resp = exchange(t, rq, 6, gone)
	if g := resp.(*kmsg.DescribeGroupsResponse).Groups[0]; g.ErrorCode != kerr.GroupIDNotFound.Code || g.ErrorMessage == nil {
		t.Errorf("version 6: %+v", g)
	}
}
