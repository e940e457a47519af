package session

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// nodeFrame is a request as another node would send it, without the length prefix.
func nodeFrame(m protocol.Message, version int16, correlation int32) []byte {
	var w protocol.Writer
	w.BeginRequest(&protocol.RequestHeader{Key: m.Key(), Version: version, CorrelationID: correlation})
	m.Encode(&w, version)
	w.EndFrame()
	b, err := w.AppendTo(nil)
	if err != nil {
		panic(err)
	}
	return b[4:]
}

// defaultRequest is a request of node 2 that is sound and says as little as it can.
func defaultRequest(key protocol.Key, version int16) protocol.Message {
	m := protocol.NewRequest(key)
	switch m := m.(type) {
	case *protocol.AlterPartitionRequest:
		m.BrokerID = 2
	case *protocol.BrokerRegistrationRequest:
		m.BrokerID = 2
	case *protocol.BrokerHeartbeatRequest:
		m.BrokerID = 2
	case *protocol.AllocateProducerIDsRequest:
		m.BrokerID = 2
	case *protocol.DamagedReplicasRequest:
		m.BrokerID = 2
	case *protocol.FetchSnapshotRequest:
		m.ReplicaID = 2
		topic := protocol.Add(&m.Topics)
		topic.Name = metadataTopic
		protocol.Add(&topic.Partitions)
	case *protocol.QuorumMessagesRequest:
		protocol.Add(&m.Messages).Data.Bytes = []byte("m")
	}
	return m
}

func nodeKeyCount() (n int) {
	for _, a := range apis {
		if a.Peers == Nodes {
			n++
		}
	}
	return n
}

func createTopics(names ...string) *kmsg.CreateTopicsRequest {
	r := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, 1, 1
		r.Topics = append(r.Topics, t)
	}
	return r
}

func sealed(inner []byte) *protocol.EnvelopeRequest {
	r := protocol.NewRequest(protocol.KeyEnvelope).(*protocol.EnvelopeRequest)
	r.RequestData, r.RequestPrincipal, r.ClientHostAddress = inner, []byte("User:a"), []byte{10, 0, 0, 1}
	return r
}

// answerOf is some answer to an event that has one reply, for events of nodes and what may come in an envelope.
func answerOf(ev broker.Event, code int16) (effect.RequestID, effect.Body) {
	switch ev := ev.(type) {
	case *broker.AlterPartition:
		a := &effect.PartitionsAltered{Code: code}
		for i := range ev.Ask.Parts {
			a.Parts = append(a.Parts, effect.PartitionAltered{Partition: ev.Ask.Parts[i].Partition, Code: code, ISR: []model.NodeID{1, 2}})
		}
		return ev.To, a
	case *broker.RegisterBroker:
		return ev.To, &effect.BrokerRegistered{Code: code, BrokerEpoch: 9}
	case *broker.BrokerHeartbeat:
		return ev.To, &effect.BrokerHeartbeatAnswered{Code: code, IsFenced: true}
	case *broker.AllocateProducerIDs:
		return ev.To, &effect.ProducerIDsAllocated{Code: code, First: 1000, Count: 1000}
	case *broker.ReportDamaged:
		return ev.To, &effect.DamagedReported{Code: code}
	case *broker.QuorumMessages:
		return ev.To, &effect.QuorumMessagesTaken{Code: code}
	case *broker.FetchImage:
		return ev.To, &effect.ImageFetched{Code: code, ID: ev.Ask.ID, Leader: model.NoNode, LeaderEpoch: -1, Bytes: []byte("image")}
	case *broker.CreateMissing:
		a := &effect.TopicsCreated{}
		for _, name := range ev.Ask.Names {
			a.Topics = append(a.Topics, effect.TopicCreated{Name: name, Code: code})
		}
		return ev.To, a
	case *broker.CreateTopics:
		a := &effect.TopicsCreated{}
		for i := range ev.Topics {
			a.Topics = append(a.Topics, effect.TopicCreated{Name: ev.Topics[i].Name, Code: code})
		}
		return ev.To, a
	case *broker.EnsureTopics:
		return ev.To, &effect.TopicsEnsured{}
	case *broker.DeleteTopics:
		return ev.To, &effect.TopicsDeleted{}
	case *broker.CreatePartitions:
		return ev.To, &effect.PartitionsCreated{}
	case *broker.AlterConfigs:
		return ev.To, &effect.ConfigsAltered{}
	case *broker.ReassignPartitions:
		return ev.To, &effect.PartitionsReassigned{Code: code}
	case *broker.ListReassignments:
		return ev.To, &effect.ReassignmentsListed{Code: code}
	case *broker.ElectLeaders:
		return ev.To, &effect.LeadersElected{Code: code}
	case *broker.AddVoter:
		return ev.To, &effect.VotersChanged{Code: code}
	case *broker.RemoveVoter:
		return ev.To, &effect.VotersChanged{Code: code}
	case *broker.DescribeQuorum:
		return ev.To, &effect.QuorumDescribed{Code: code}
	case *broker.UnregisterBroker:
		return ev.To, &effect.BrokerUnregistered{Code: code}
	}
	return effect.RequestID{}, nil
}

func hello(cluster string, from, to int32) *protocol.NodeHelloRequest {
	r := protocol.NewRequest(protocol.KeyNodeHello).(*protocol.NodeHelloRequest)
	r.ClusterID, r.NodeID, r.ToNodeID = cluster, from, to
	return r
}

func response[M protocol.Message](t *testing.T, f Frame, m M, version int16, correlation int32) M {
	t.Helper()
	r := protocol.NewReader(body(t, f, correlation, protocol.ResponseHeaderVersion(m.Key(), version) == 1), protocol.BudgetForClients())
	m.Decode(&r, version)
	if err := r.Finish(); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestOnlyNodesThatSaidHelloAreServedWhatNodesAre(t *testing.T) {
	for _, a := range apis {
		if a.Peers != Nodes || a.Key == protocol.KeyNodeHello {
			continue
		}
		s, out := newSession(), Out{}
		s.Receive(1000, nodeFrame(defaultRequest(a.Key, a.VersionMax), a.VersionMax, 5), &out)
		if out.Close == "" || len(out.Events)+len(out.Frames) != 0 {
			t.Errorf("%v is served to anybody", a.Key)
		}
		s, out = newSession(), Out{}
		s.Receive(1000, nodeFrame(hello("cluster", 2, 1), 0, 4), &out)
		s.Receive(1000, nodeFrame(defaultRequest(a.Key, a.VersionMax), a.VersionMax, 5), &out)
		if out.Close != "" {
			t.Errorf("%v is not served to a node: %s", a.Key, out.Close)
		}
	}
}

func TestNobodyIsANodeWhereClientsListen(t *testing.T) {
	for _, a := range apis {
		if a.Peers != Nodes {
			continue
		}
		s, out := newSession(), Out{}
		s.ForNodes = false
		var m protocol.Message = hello("cluster", 2, 1)
		if a.Key != protocol.KeyNodeHello {
			m = defaultRequest(a.Key, a.VersionMax)
		}
		s.Receive(1000, nodeFrame(m, a.VersionMax, 4), &out)
		if out.Close == "" || len(out.Events)+len(out.Frames) != 0 || s.Peer() != model.NoNode {
			t.Errorf("%v is served", a.Key)
		}
	}
}

func TestANodeIsServedNothingElse(t *testing.T) {
	for _, a := range apis {
		s, out := newSession(), Out{}
		s.peer = 2
		m := defaultRequest(a.Key, a.VersionMax)
		s.Receive(1000, nodeFrame(m, a.VersionMax, 5), &out)
		clients := a.Peers != Nodes && a.Key != protocol.KeyAPIVersions && a.Key != protocol.KeyFetch && a.Key != protocol.KeyCreateTopics
		if (out.Close != "") != clients {
			t.Errorf("%v: closed %q", a.Key, out.Close)
		}
	}
}

func TestHelloTellsWhoAnswersAndRefusesWhoMeansAnother(t *testing.T) {
	for _, c := range []struct {
		in   *protocol.NodeHelloRequest
		code int16
		why  string
	}{
		{hello("cluster", 2, 1), 0, ""},
		{hello("another", 2, 1), kerr.InconsistentClusterID.Code, `cluster "cluster"`},
		{hello("cluster", 2, 3), kerr.RebootstrapRequired.Code, "this is node 1"},
		{hello("cluster", 1, 1), kerr.DuplicateBrokerRegistration.Code, "node 1 is this node"},
		{hello("cluster", -1, 1), kerr.InvalidRequest.Code, "no node's id"},
	} {
		s, out := newSession(), Out{}
		s.Receive(1000, nodeFrame(c.in, 0, 4), &out)
		r := response(t, out.Frames[0], new(protocol.NodeHelloResponse), 0, 4)
		if r.ErrorCode != c.code || !strings.Contains(r.ErrorMessage.Value, c.why) || r.ClusterID != "cluster" || r.NodeID != 1 {
			t.Errorf("%+v: %+v", c.in, r)
		}
		if is := s.peer == 2; is != (c.code == 0) || is != (len(r.APIKeys) == nodeKeyCount()+3) {
			t.Errorf("%+v: the peer is %d, and was told %d keys", c.in, s.peer, len(r.APIKeys))
		}
	}
}

func TestANodeSpeaksForItselfOnly(t *testing.T) {
	fetch := protocol.NewRequest(protocol.KeyFetch).(*protocol.FetchRequest)
	fetch.ReplicaState.ReplicaID = 3
	registration := protocol.NewRequest(protocol.KeyBrokerRegistration).(*protocol.BrokerRegistrationRequest)
	registration.BrokerID = 3
	for _, m := range []protocol.Message{fetch, registration} {
		for peer, ok := range map[model.NodeID]bool{model.NoNode: false, 2: false, 3: true} {
			s, out := newSession(), Out{}
			s.peer = peer
			s.Receive(1000, nodeFrame(m, protocol.MaxVersion(m.Key()), 5), &out)
			if (out.Close == "") != ok || len(out.Events) == 1 != ok {
				t.Errorf("%v of node 3 by node %d: %d events, closed: %q", m.Key(), peer, len(out.Events), out.Close)
			}
		}
	}
}

func TestAReplicasFetchSaysWhoseItIs(t *testing.T) {
	r := kmsg.NewPtrFetchRequest()
	r.ReplicaState.ID, r.ReplicaState.Epoch = 2, 77
	topic := kmsg.NewFetchRequestTopic()
	topic.TopicID = [16]byte{1}
	p := kmsg.NewFetchRequestTopicPartition()
	p.LogStartOffset, p.FetchOffset, p.LastFetchedEpoch, p.CurrentLeaderEpoch = 3, 9, 4, 5
	topic.Partitions = append(topic.Partitions, p)
	r.Topics = append(r.Topics, topic)
	s, out := newSession(), Out{}
	s.peer = 2
	s.Receive(1000, frame(r, 17, 5), &out)
	ev := out.Events[0].(*broker.Fetch)
	if ev.Replica != 2 || ev.BrokerEpoch != 77 || ev.Parts[0].LogStartOffset != 3 || ev.Parts[0].LastFetchedEpoch != 4 || ev.Parts[0].HighWatermark != effect.HighWatermarkUnknown {
		t.Errorf("%+v", ev)
	}
	s, out = newSession(), Out{}
	s.Receive(1000, frame(kmsg.NewPtrFetchRequest(), 12, 5), &out)
	if ev := out.Events[0].(*broker.Fetch); ev.Replica != model.NoNode {
		t.Errorf("a client's fetch is of replica %d", ev.Replica)
	}
}

// What clients of another node ask for comes in an envelope. What the node wants for them it asks for itself, and may have
// topics of the cluster's own.
func TestTopicsThatANodeAsksForAreEnsured(t *testing.T) {
	s, out := newSession(), Out{}
	s.peer = 2
	s.Receive(1000, frame(createTopics("orders", metadata.OffsetsTopic), 7, 5), &out)
	ev, is := out.Events[0].(*broker.CreateMissing)
	if !is || !slices.Equal(ev.Ask.Names, []string{"orders", metadata.OffsetsTopic}) {
		t.Fatalf("%+v", out.Events[0])
	}
	s, out = newSession(), Out{}
	s.Receive(1000, frame(createTopics(metadata.OffsetsTopic), 7, 5), &out)
	if _, is := out.Events[0].(*broker.CreateTopics); !is {
		t.Errorf("a client's: %+v", out.Events[0])
	}
}

// It may have been decided. The client is not blamed for it, and finds out by asking again.
func TestAClientWhoseRequestTheControllerDoesNotAnswerIsLeft(t *testing.T) {
	s, out := newSession(), Out{}
	s.Receive(1000, frame(createTopics("orders"), 7, 5), &out)
	s.Replied(effect.Reply{To: out.Events[0].(*broker.CreateTopics).To, Body: &effect.Forwarded{}}, &out)
	if out.Close == "" || out.CloseKind != CloseUndecided || len(out.Frames) > 0 {
		t.Errorf("closed for %q, of kind %d", out.Close, out.CloseKind)
	}
}

func TestAnEnvelopesRequestIsAnsweredInAnEnvelope(t *testing.T) {
	s, out := newSession(), Out{}
	s.peer = 2
	s.Receive(1000, nodeFrame(sealed(frame(createTopics("orders"), 7, 41)), 0, 5), &out)
	ev := out.Events[0].(*broker.CreateTopics)
	if ev.Topics[0].Name != "orders" || !ev.Origin.Forwarded() || string(ev.Origin.Principal) != "User:a" || len(ev.Origin.ClientAddress) != 4 {
		t.Fatalf("%+v", ev)
	}
	s.Replied(effect.Reply{To: ev.To, Body: &effect.TopicsCreated{Topics: []effect.TopicCreated{{Name: "orders", Code: 36}}}}, &out)
	outer := response(t, out.Frames[0], new(protocol.EnvelopeResponse), 0, 5)
	if outer.ErrorCode != 0 || out.Frames[0].Key != protocol.KeyEnvelope {
		t.Fatalf("%+v", outer)
	}
	if got := outer.ResponseData[:5]; !bytes.Equal(got, []byte{0, 0, 0, 41, 0}) {
		t.Errorf("the inner response's header is % x", got)
	}
	inner := kmsg.NewPtrCreateTopicsResponse()
	inner.Version = 7
	if err := inner.ReadFrom(outer.ResponseData[5:]); err != nil || inner.Topics[0].ErrorCode != 36 {
		t.Errorf("%+v: %v", inner, err)
	}
}

func TestAnEnvelopeTakesOnlyWhatTheControllerDecides(t *testing.T) {
	for name, c := range map[string]struct {
		inner []byte
		code  int16
	}{
		"another envelope":         {nodeFrame(sealed(frame(createTopics("a"), 7, 1)), 0, 2), kerr.InvalidRequest.Code},
		"a produce request":        {frame(produceRequest(1, goodBatch()), 9, 2), kerr.InvalidRequest.Code},
		"a key that is not served": {nodeFrame(protocol.NewRequest(protocol.KeyDescribeLogDirs), 2, 2), kerr.InvalidRequest.Code},
		"nothing":                  {nil, kerr.InvalidRequest.Code},
		"half a request":           {frame(createTopics("orders"), 7, 2)[:20], kerr.InvalidRequest.Code},
		"a version of the future":  {slices.Concat([]byte{0, 19, 0, 99}, frame(createTopics("a"), 7, 1)[4:]), kerr.UnsupportedVersion.Code},
	} {
		s, out := newSession(), Out{}
		s.peer = 2
		s.Receive(1000, nodeFrame(sealed(c.inner), 0, 5), &out)
		if len(out.Events) != 0 || out.Close != "" || len(out.Frames) != 1 {
			t.Errorf("%s: %d events, %d responses, closed: %q", name, len(out.Events), len(out.Frames), out.Close)
			continue
		}
		if r := response(t, out.Frames[0], new(protocol.EnvelopeResponse), 0, 5); r.ErrorCode != c.code || r.ResponseData != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestTheControllersAnswerGoesToTheClientAsItCame(t *testing.T) {
	asked := frame(createTopics("orders"), 7, 41)
	s, out := newSession(), Out{}
	s.Receive(1000, slices.Clone(asked), &out)
	ev := out.Events[0].(*broker.CreateTopics)
	if !bytes.Equal(ev.Origin.Frame, asked) || ev.Origin.Forwarded() || len(out.Free) != 0 {
		t.Fatalf("the origin has %d bytes of %d, and %d frames are free", len(ev.Origin.Frame), len(asked), len(out.Free))
	}
	in := kmsg.NewPtrCreateTopicsResponse()
	in.Version = 7
	in.Topics = append(in.Topics, kmsg.CreateTopicsResponseTopic{Topic: strings.Repeat("orders", 200), ErrorCode: 36})
	answer := in.AppendTo([]byte{0, 0, 0, 41, 0})
	s.Replied(effect.Reply{To: ev.To, Body: &effect.Forwarded{Response: answer}}, &out)
	if got := body(t, out.Frames[0], 41, true); !bytes.Equal(got, answer[5:]) {
		t.Errorf("%x, want %x", got, answer[5:])
	}
	for _, bad := range [][]byte{{0, 0, 0, 42, 0}, {0, 0, 0}, nil} {
		s, out := newSession(), Out{}
		s.Receive(1000, slices.Clone(asked), &out)
		if s.Replied(effect.Reply{To: ev.To, Body: &effect.Forwarded{Response: bad}}, &out); len(out.Frames) != 0 || out.Close == "" {
			t.Errorf("an answer that begins % x went to the client", bad)
		}
	}
}
