package broker

import (
	"bytes"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage/storagetest"
)

// answer is the body of the only reply of a step.
func answer[T effect.Body](t *testing.T, out *effect.Set) T {
	t.Helper()
	if len(out.Replies) != 1 {
		t.Fatalf("%d replies, want one:\n%s", len(out.Replies), out)
	}
	body, ok := out.Replies[0].Body.(T)
	if !ok {
		t.Fatalf("%T is not the answer", out.Replies[0].Body)
	}
	return body
}

func (l *life) find(id string) effect.CoordinatorFound {
	l.t.Helper()
	return answer[*effect.CoordinatorsFound](l.t, l.step(&FindCoordinator{Groups: []string{id}})).Coordinators[0]
}

// join makes a group of one member and returns its id.
func (l *life) join(id string) string {
	l.t.Helper()
	l.step(&JoinGroup{group.Join{
		Wall: 1, Group: id, ClientID: "c", SessionTimeoutMs: 10_000, RebalanceTimeoutMs: 10_000, ProtocolType: "consumer",
		Protocols: []group.Protocol{{Name: "range"}},
	}})
	joined := answer[*effect.GroupJoined](l.t, l.tick(1))
	if joined.Code != 0 || joined.Leader != joined.Member {
		l.t.Fatalf("%+v", joined)
	}
	synced := answer[*effect.GroupSynced](l.t, l.step(&SyncGroup{group.Sync{
		Wall: 1, Group: id, Generation: joined.Generation, Member: joined.Member,
		Assignments: []group.Assignment{{Member: joined.Member, Assignment: []byte("all")}},
	}}))
	if synced.Code != 0 || string(synced.Assignment) != "all" {
		l.t.Fatalf("%+v", synced)
	}
	return joined.Member
}

func (l *life) commit(id, member string, topic string, partition model.Partition, o model.Offset) int16 {
	l.t.Helper()
	generation := int32(-1)
	if member != "" {
		generation = 1
	}
	return answer[*effect.OffsetsCommitted](l.t, l.step(&CommitOffsets{group.Commit{
		Wall: 1, Group: id, Generation: generation, Member: member, RetentionMs: -1,
		Parts: []group.CommitPart{{Topic: topic, Partition: partition, Offset: o}},
	}})).Codes[0]
}

func (l *life) committed(id, topic string, partition model.Partition) effect.PartitionOffset {
	l.t.Helper()
	fetched := answer[*effect.OffsetsFetched](l.t, l.step(&FetchOffsets{Groups: []group.Fetch{{
		Group: id, Topics: []group.FetchTopic{{Name: topic, Partitions: []model.Partition{partition}}},
	}}})).Groups[0]
	if fetched.Code != 0 {
		return effect.PartitionOffset{Code: fetched.Code}
	}
	return fetched.Topics[0].Partitions[0]
}

func TestGroupsSurviveAPowerLoss(t *testing.T) {
	disk := storagetest.New()
	l := begin(t, disk, 1)
	l.create("orders")
	if f := answer[*effect.HeartbeatAnswered](t, l.step(&Heartbeat{group.Heartbeat{Group: "g"}})); f.Code != kerr.NotCoordinator.Code {
		t.Errorf("before anybody asked for a coordinator: %d", f.Code)
	}
	if f := l.find("g"); f.Code != 0 || f.Node.Port != 9092 {
		t.Fatalf("%+v", f)
	}
	member := l.join("g")
	if code := l.commit("g", member, "orders", 1, 42); code != 0 {
		t.Fatal(code)
	}
	if code := l.commit("h", "", "orders", 0, 7); code != 0 {
		t.Fatal(code)
	}
	if code := l.commit("h", "", "orders", 9, 7); code != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("a commit of a partition that is not there: %d", code)
	}

	disk.Crash(storagetest.LoseUnsynced, 1)
	l = begin(t, disk, 2)
	if at := l.committed("g", "orders", 1); at.Code != 0 || at.Offset != 42 {
		t.Errorf("%+v", at)
	}
	if at := l.committed("h", "orders", 0); at.Offset != 7 {
		t.Errorf("%+v", at)
	}
	if h := answer[*effect.HeartbeatAnswered](t, l.step(&Heartbeat{group.Heartbeat{Group: "g", Generation: 1, Member: member}})); h.Code != 0 {
		t.Errorf("the member goes on: %d", h.Code)
	}
	if l.b.GroupCount() != 2 {
		t.Errorf("%d groups", l.b.GroupCount())
	}
}

// A coordinator whose partition is damaged knows nothing: it must not say that nothing is committed, or
// consumers would begin anew.
func TestACoordinatorOfADamagedPartitionAnswersNothing(t *testing.T) {
	disk := storagetest.New()
	l := begin(t, disk, 1)
	l.create("orders")
	const hurt = "a group that is hurt"
	l.find(hurt)
	for o := range model.Offset(3) {
		if code := l.commit(hurt, "", "orders", 1, 42+o); code != 0 {
			t.Fatal(code)
		}
	}
	disk.Crash(storagetest.LoseNothing, 1)
	hits := 0
	for _, path := range disk.Paths() {
		if i := bytes.Index(disk.Bytes(path), []byte(hurt)); i >= 0 {
			disk.Flip(path, int64(i)*8)
			hits++
		}
	}
	if hits < 2 {
		t.Fatalf("%d copies were hit", hits)
	}
	for start := range byte(2) { // damage is remembered
		l = begin(t, disk, 2+start)
		l.tick(1)
		if at := l.committed(hurt, "orders", 1); at.Code != kerr.CoordinatorNotAvailable.Code {
			t.Errorf("start %d: %+v", start, at)
		}
		disk.Crash(storagetest.LoseNothing, 1)
	}
}

func TestCommitsDoNotGrowTheLogForEver(t *testing.T) {
	disk := storagetest.New()
	l := begin(t, disk, 1)
	l.create("orders")
	l.find("g")
	member := l.join("g")
	l.commit("g", "", "orders", 0, 0) // refused: the group has a member
	l.commit("g", member, "orders", 0, 11)
	const count = 2000
	for i := range model.Offset(count) {
		if code := l.commit("g", member, "orders", 1, i); code != 0 {
			t.Fatal(code)
		}
	}
	offsets := l.b.view.Named(metadata.OffsetsTopic)
	tp := model.TopicPartition{Topic: offsets.ID, Partition: model.Partition(group.PartitionOf("g", offsets.PartitionCount()))}
	bounds, _ := l.b.Bounds(tp)
	if bounds.LogStartOffset < count/2 {
		t.Errorf("after %d commits the log still begins at %d", count, bounds.LogStartOffset)
	}
	bytes := 0
	for _, path := range disk.Paths() {
		if strings.Contains(path, offsets.ID.String()) && strings.HasSuffix(path, ".log") {
			bytes += len(disk.Bytes(path))
		}
	}
	if bytes > 40<<10 {
		t.Errorf("the log takes %d bytes", bytes)
	}
	disk.Crash(storagetest.LoseUnsynced, 1)
	l = begin(t, disk, 2)
	for range 100 {
		l.tick(1)
	}
	if a, b := l.committed("g", "orders", 0), l.committed("g", "orders", 1); a.Offset != 11 || b.Offset != count-1 {
		t.Errorf("%+v, %+v", a, b)
	}
	if code := l.commit("g", member, "orders", 1, count); code != 0 {
		t.Errorf("the member was forgotten: %d", code)
	}
}

func TestTheOffsetsTopicIsTheClustersOwn(t *testing.T) {
	l := begin(t, storagetest.New(), 1)
	const name = metadata.OffsetsTopic
	create := func() int16 {
		return answer[*effect.TopicsCreated](t, l.step(&CreateTopics{Topics: []controller.CreateTopic{{Name: name, PartitionCount: 1, ReplicationFactor: 1}}})).Topics[0].Code
	}
	if code := create(); code != kerr.InvalidTopicException.Code {
		t.Errorf("a client created it: %d", code)
	}
	l.find("g")
	if topic := l.b.Published().View.Named(name); topic == nil || topic.PartitionCount() != 2 {
		t.Errorf("%+v", topic)
	}
	ref := TopicRef{Name: name}
	if p := l.produce(name, 0); p.Code != kerr.InvalidTopicException.Code {
		t.Errorf("a client wrote to it: %+v", p)
	}
	for what, code := range map[string]int16{
		"deleted": answer[*effect.TopicsDeleted](t, l.step(&DeleteTopics{Topics: []controller.DeleteTopic{{Name: name}}})).Topics[0].Code,
		"given more partitions": answer[*effect.PartitionsCreated](t, l.step(&CreatePartitions{
			Topics: []controller.AddPartitions{{Name: name, Count: 9}},
		})).Topics[0].Code,
		"configured": answer[*effect.ConfigsAltered](t, l.step(&AlterConfigs{
			Resources: []controller.AlterResource{{Type: metadata.TopicResource, Name: name, Ops: []controller.AlterOp{{Setting: metadata.ConfigSetting{Name: "retention.ms", Value: "1"}}}}},
		})).Resources[0].Code,
		"emptied": answer[*effect.RecordsDeleted](t, l.step(&DeleteRecords{
			Parts: []DeleteRecordsPart{{Topic: ref, Offset: ToHighWatermark}},
		})).Parts[0].Code,
	} {
		if code != kerr.InvalidTopicException.Code {
			t.Errorf("it was %s: %d", what, code)
		}
	}
}

func TestDeletedTopicsTakeTheirCommitsAlong(t *testing.T) {
	l := begin(t, storagetest.New(), 1)
	l.create("orders")
	l.create("returns")
	l.find("g")
	l.commit("g", "", "orders", 0, 5)
	l.commit("g", "", "returns", 0, 6)
	l.step(&DeleteTopics{Topics: []controller.DeleteTopic{{Name: "orders"}}})
	l.create("orders")
	if at := l.committed("g", "orders", 0); at.Offset != model.NoOffset {
		t.Errorf("a new topic of the same name is read from %d", at.Offset)
	}
	l.tick(1)
	l.tick(1)
	if at := l.committed("g", "returns", 0); at.Offset != 6 {
		t.Errorf("%+v", at)
	}
	all := answer[*effect.OffsetsFetched](t, l.step(&FetchOffsets{Groups: []group.Fetch{{Group: "g", All: true}}})).Groups[0]
	if len(all.Topics) != 1 || all.Topics[0].Name != "returns" {
		t.Errorf("%+v", all)
	}
}
