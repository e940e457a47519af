package group

import (
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// FuzzLoadNeverPanics gives a coordinator a log of whatever records, as another program might have written them. It
// loads what can be understood, and its invariants hold from then on; the groups live, expire and are written anew.
func FuzzLoadNeverPanics(f *testing.F) {
	v := committed{offset: 5, metadata: "m", commitTimestamp: 1, expireTimestamp: model.NoTimestamp, topicID: model.TopicID{1}}
	offset, offsetValue := appendOffsetKey(nil, "g", offsetKey{"t", 0}), appendOffsetValue(nil, &v)
	saved := &protocol.GroupMetadataValue{ProtocolType: "consumer", Generation: 3, Protocol: protocol.String("range"), Leader: protocol.String("m1")}
	for _, id := range []string{"m1", "m2"} {
		m := protocol.Add(&saved.Members)
		m.MemberID, m.SessionTimeout, m.GroupInstanceID = id, 10_000, protocol.String("i"+id)
		m.Subscription = protocol.AppendVersioned(nil, &protocol.ConsumerProtocolSubscription{Topics: []string{"t"}}, 3)
	}
	members, membersValue := appendGroupKey(nil, "g"), appendGroupValue(nil, saved)
	f.Add(offset, offsetValue, members, membersValue, false)
	f.Add(members, membersValue, members, []byte{}, true)
	f.Add(offset, offsetValue, offset, []byte(nil), true)
	f.Add(protocol.AppendCoordinatorKey(nil, &protocol.ConsumerGroupMemberMetadataKey{GroupID: "g", MemberID: "m"}), []byte{0, 0}, offset, []byte{0, 9, 1}, false)
	f.Add([]byte{0, 0, 0, 1, 'g', 0, 1, 't', 0, 0, 0, 0}, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, members, membersValue, false)
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 []byte, tombstone bool) {
		w := newWorld(t)
		if tombstone {
			v2 = nil
		}
		for _, r := range []record.Record{{Key: k1, Value: v1}, {Key: k2, Value: v2}} {
			var b record.Builder
			b.Begin(record.NewOptions(record.CodecNone))
			b.Append(r)
			batch := append(record.Batch(nil), b.Finish()...)
			h, err := record.ReadHeader(batch)
			if err != nil {
				t.Fatal(err)
			}
			if _, code := w.log.Append(h, batch, nil); code != 0 {
				t.Fatal(code)
			}
		}
		w.log.highWatermark = w.log.end
		w.config.LogBytesMin = 1
		var out effect.Set
		w.start(&out)
		scan(w.c, w.log, w.time(), &out)
		w.run("tick by=1 durable")
		w.run("join a version=1 group=g")
		w.run("commit t/0=1 group=g")
		w.run("durable")
		w.run("tick by=2000000 durable")
		w.run("durable")
		w.run("reload")
		w.run("delete g")
		w.run("durable")
	})
}
