package session

import (
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// converse lets another make of client ask, looks at the event, and gives back the answer as that client reads it.
func converse(t *testing.T, in kmsg.Request, version int16, want broker.Event, answer effect.Body, r kmsg.Response) {
	t.Helper()
	s, out := newSession(), Out{}
	s.Receive(1000, frame(in, version, 5), &out)
	if len(out.Events) != 1 || out.Close != "" {
		t.Fatalf("%T version %d: %d events, closed: %q", in, version, len(out.Events), out.Close)
	}
	to := effect.RequestID{Conn: 7}
	reflect.ValueOf(out.Events[0]).Elem().FieldByName("Origin").SetZero() // of the test's own frame
	if !reflect.DeepEqual(out.Events[0], want) {
		t.Errorf("%T version %d:\n%+v, want\n%+v", in, version, out.Events[0], want)
	}
	s.Replied(effect.Reply{To: to, Body: answer}, &out)
	r.SetVersion(version)
	if err := r.ReadFrom(body(t, out.Frames[0], 5, r.IsFlexible())); err != nil {
		t.Fatalf("%T version %d: %v", in, version, err)
	}
}

func TestReplicasAreMovedAndMovesCancelled(t *testing.T) {
	for version := range int16(2) {
		in := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		in.AllowReplicationFactorChange = version == 0 // which version 0 cannot say: it is allowed there
		topic := kmsg.NewAlterPartitionAssignmentsRequestTopic()
		topic.Topic = "orders"
		topic.Partitions = append(topic.Partitions,
			kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: 3, Replicas: []int32{4, 5}},
			kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: 1})
		in.Topics = append(in.Topics, topic)
		r := kmsg.NewPtrAlterPartitionAssignmentsResponse()
		converse(t, in, version, &broker.ReassignPartitions{
			To: effect.RequestID{Conn: 7}, FactorMayChange: version == 0,
			Topics: []controller.ReassignTopic{{Name: "orders", Parts: []controller.ReassignPart{
				{Partition: 3, Replicas: []model.NodeID{4, 5}}, {Partition: 1, Cancel: true},
			}}},
		}, &effect.PartitionsReassigned{Topics: []effect.TopicParts{{Name: "orders", Parts: []effect.PartOutcome{
			{Partition: 3}, {Partition: 1, Code: 85, Message: "no"},
		}}}}, r)
		p := r.Topics[0].Partitions
		if r.ErrorCode != 0 || r.ErrorMessage != nil || p[0].ErrorCode != 0 || p[0].ErrorMessage != nil || p[1].ErrorCode != 85 || *p[1].ErrorMessage != "no" {
			t.Errorf("version %d: %+v", version, r)
		}
	}
}

func TestMovesAreListed(t *testing.T) {
	for _, all := range []bool{true, false} {
		in := kmsg.NewPtrListPartitionReassignmentsRequest()
		want := &broker.ListReassignments{To: effect.RequestID{Conn: 7}, All: all}
		if !all {
			in.Topics = append(in.Topics, kmsg.ListPartitionReassignmentsRequestTopic{Topic: "orders", Partitions: []int32{0, 7}})
			want.Topics = []controller.AskTopic{{Name: "orders", Partitions: []model.Partition{0, 7}}}
		}
		r := kmsg.NewPtrListPartitionReassignmentsResponse()
		converse(t, in, 0, want, &effect.ReassignmentsListed{Topics: []effect.TopicMoving{{Name: "orders", Parts: []effect.PartMoving{
			{Partition: 7, Replicas: []model.NodeID{4, 2, 1}, Adding: []model.NodeID{4}, Removing: []model.NodeID{1}},
		}}}}, r)
		p := r.Topics[0].Partitions[0]
		if p.Partition != 7 || !reflect.DeepEqual([][]int32{p.Replicas, p.AddingReplicas, p.RemovingReplicas}, [][]int32{{4, 2, 1}, {4}, {1}}) {
			t.Errorf("%+v", p)
		}
	}
}

func TestElectionsAreAskedForInEveryVersion(t *testing.T) {
	for version := range int16(3) {
		for _, all := range []bool{true, false} {
			in := kmsg.NewPtrElectLeadersRequest()
			in.ElectionType = 1 // which version 0 cannot say
			want := &broker.ElectLeaders{To: effect.RequestID{Conn: 7}, All: all, Unclean: version > 0}
			if !all {
				in.Topics = append(in.Topics, kmsg.ElectLeadersRequestTopic{Topic: "orders", Partitions: []int32{2}})
				want.Topics = []controller.AskTopic{{Name: "orders", Partitions: []model.Partition{2}}}
			}
			r := kmsg.NewPtrElectLeadersResponse()
			converse(t, in, version, want, &effect.LeadersElected{Code: 41, Topics: []effect.TopicParts{
				{Name: "orders", Parts: []effect.PartOutcome{{Partition: 2, Code: 41, Message: "why"}}},
			}}, r)
			if p := r.Topics[0].Partitions[0]; p.Partition != 2 || p.ErrorCode != 41 || *p.ErrorMessage != "why" || version > 0 != (r.ErrorCode == 41) {
				t.Errorf("version %d: %+v", version, r)
			}
		}
	}
	s, out := newSession(), Out{}
	in := kmsg.NewPtrElectLeadersRequest()
	in.ElectionType = 9
	s.Receive(1000, frame(in, 2, 5), &out)
	r := kmsg.NewPtrElectLeadersResponse()
	r.Version = 2
	if err := r.ReadFrom(body(t, out.Frames[0], 5, true)); err != nil || r.ErrorCode != 42 {
		t.Errorf("an election of no kind: %+v %v", r, err)
	}
}

func TestABrokerIsUnregistered(t *testing.T) {
	in := kmsg.NewPtrUnregisterBrokerRequest()
	in.BrokerID = 4
	r := kmsg.NewPtrUnregisterBrokerResponse()
	converse(t, in, 0, &broker.UnregisterBroker{To: effect.RequestID{Conn: 7}, Node: 4}, &effect.BrokerUnregistered{Code: 102, Message: "who?"}, r)
	if r.ErrorCode != 102 || *r.ErrorMessage != "who?" {
		t.Errorf("%+v", r)
	}
}

func TestTheQuorumIsDescribedInEveryVersion(t *testing.T) {
	for version := range int16(3) {
		in := kmsg.NewPtrDescribeQuorumRequest()
		topic := kmsg.NewDescribeQuorumRequestTopic()
		topic.Topic = "__cluster_metadata"
		topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
		in.Topics = append(in.Topics, topic)
		r := kmsg.NewPtrDescribeQuorumResponse()
		converse(t, in, version, &broker.DescribeQuorum{To: effect.RequestID{Conn: 7}, Wall: 1000}, &effect.QuorumDescribed{
			Leader: 2, LeaderEpoch: 5, HighWatermark: 77,
			Voters:    []effect.QuorumMember{{Node: 2, Directory: model.DirectoryID{9}, LogEndOffset: 77, HeardAt: 900, CaughtUpAt: 900}},
			Observers: []effect.QuorumMember{{Node: 4, LogEndOffset: 70, HeardAt: 800, CaughtUpAt: model.NoTimestamp}},
			Nodes:     []effect.QuorumNode{{Node: 2, Address: effect.Address{Host: "h", Port: 9}}},
		}, r)
		p := r.Topics[0].Partitions[0]
		if p.LeaderID != 2 || p.LeaderEpoch != 5 || p.HighWatermark != 77 || p.CurrentVoters[0].LogEndOffset != 77 || p.Observers[0].ReplicaID != 4 {
			t.Errorf("version %d: %+v", version, p)
		}
		if version >= 1 && (p.CurrentVoters[0].LastFetchTimestamp != 900 || p.Observers[0].LastCaughtUpTimestamp != -1) {
			t.Errorf("version %d: %+v", version, p)
		}
		if version >= 2 && (p.CurrentVoters[0].ReplicaDirectoryID != [16]byte{9} || len(r.Nodes) != 1 || r.Nodes[0].Listeners[0].Port != 9) {
			t.Errorf("version %d: %+v", version, r)
		}
	}
	for name, topic := range map[string]string{"another topic": "orders", "no topic": ""} {
		in := kmsg.NewPtrDescribeQuorumRequest()
		if topic != "" {
			t := kmsg.NewDescribeQuorumRequestTopic()
			t.Topic, t.Partitions = topic, append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
			in.Topics = append(in.Topics, t)
		}
		s, out := newSession(), Out{}
		s.Receive(1000, frame(in, 2, 5), &out)
		r := kmsg.NewPtrDescribeQuorumResponse()
		r.Version = 2
		if len(out.Events) != 0 || r.ReadFrom(body(t, out.Frames[0], 5, true)) != nil || r.ErrorCode == 0 && r.Topics[0].Partitions[0].ErrorCode == 0 {
			t.Errorf("%s: %d events, %+v", name, len(out.Events), r)
		}
	}
}

func TestClientsAreToldOfTheControllerIfTheyCanReachIt(t *testing.T) {
	s := newSession()
	p := *published()
	for _, c := range []struct{ controller, want model.NodeID }{{model.NoNode, 1}, {1, 1}, {99, 1}} {
		p.Controller = c.controller
		s.See(&p)
		if got := s.controllerID(); got != c.want {
			t.Errorf("controller %d: told %d", c.controller, got)
		}
	}
}

func TestVotersAreAddedAndRemoved(t *testing.T) {
	for version := range int16(2) {
		in := kmsg.NewPtrAddRaftVoterRequest()
		cluster := "cluster"
		in.ClusterID, in.TimeoutMillis, in.VoterID, in.VoterDirectoryID = &cluster, 5000, 4, [16]byte{7}
		r := kmsg.NewPtrAddRaftVoterResponse()
		converse(t, in, version, &broker.AddVoter{
			To: effect.RequestID{Conn: 7}, ClusterID: "cluster", Node: 4, Directory: model.DirectoryID{7}, Wait: 5e9,
		}, &effect.VotersChanged{Code: 126, Message: "why"}, r)
		if r.ErrorCode != 126 || *r.ErrorMessage != "why" {
			t.Errorf("version %d: %+v", version, r)
		}
	}
	in := kmsg.NewPtrRemoveRaftVoterRequest()
	in.VoterID, in.VoterDirectoryID = 4, [16]byte{7}
	r := kmsg.NewPtrRemoveRaftVoterResponse()
	converse(t, in, 0, &broker.RemoveVoter{To: effect.RequestID{Conn: 7}, Node: 4, Directory: model.DirectoryID{7}}, &effect.VotersChanged{Code: 127}, r)
	if r.ErrorCode != 127 || r.ErrorMessage != nil {
		t.Errorf("%+v", r)
	}
}
