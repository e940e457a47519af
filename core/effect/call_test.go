package effect_test

import (
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

func TestCallsAreEffectsLikeOthers(t *testing.T) {
	var set effect.Set
	set.Calls = append(set.Calls, effect.Call{
		To: 2, ID: 7, Lane: effect.LaneFetch(1), Address: effect.Address{Host: "b", Port: 9092, Transport: effect.TransportQUIC},
		Body: &effect.HeartbeatBroker{Broker: 1, BrokerEpoch: 5, MetadataOffset: 9, WantFence: true},
	})
	if set.Empty() {
		t.Error("a set with a call is not empty")
	}
	const want = "call 7 to node 2 at quic://b:9092, fetch 1: heartbeat of broker 1 epoch 5, metadata up to 9, wants to be fenced\n"
	if got := set.String(); got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	kept := set.Calls[:1]
	if set.Reset(); !set.Empty() || kept[0].Body != nil {
		t.Error("a reset set holds on to a call")
	}
}

func TestAnswersSayWhyThereIsNone(t *testing.T) {
	for want, a := range map[string]effect.Answer{
		"answer to call 3 from node 2: lost":             {From: 2, ID: 3, Failure: effect.CallLost},
		"answer to call 3 from node 2: refused: another": {From: 2, ID: 3, Failure: effect.CallRefused, Detail: "another"},
		"answer to call 3 from node 2: fetched: NONE session 4; AAAAAAAAAAAAAAAAAAAAAQ/0 NONE log start 1, high watermark 2": {From: 2, ID: 3, Body: &effect.ReplicaFetched{
			SessionID: 4, Parts: []effect.ReplicaFetchedPart{{
				Partition: model.TopicPartition{Topic: model.MetadataTopicID}, LogStartOffset: 1, HighWatermark: 2,
				Leader: model.NoNode, Diverging: effect.DivergingEpoch{Epoch: model.NoLeaderEpoch}, Image: effect.NoImage,
			}},
		}},
	} {
		if got := a.String(); got != want {
			t.Errorf("printed %q, want %q", got, want)
		}
	}
}
