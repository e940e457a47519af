package node_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Who is told that a topic was made, changed or deleted finds it so on any connection, at once: sessions answer without
// asking the loop, from what it has published.
func TestWhatWasAnsweredIsSoOnEveryConnection(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	makes, looks := dial(t, n), dial(t, n)
	ask := func(w *wire, r kmsg.Request, answer kmsg.Response) {
		t.Helper()
		if _, err := w.Write(w.frame(r)); err != nil {
			t.Fatal(err)
		}
		_, body := w.receive()
		answer.SetVersion(r.GetVersion())
		if answer.IsFlexible() {
			body = body[1:]
		}
		if err := answer.ReadFrom(body); err != nil {
			t.Fatal(err)
		}
	}
	look := func(name string) kmsg.MetadataResponseTopic {
		t.Helper()
		r, answer := kmsg.NewPtrMetadataRequest(), kmsg.NewPtrMetadataResponse()
		r.SetVersion(9)
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		r.Topics = append(r.Topics, topic)
		ask(looks, r, answer)
		return answer.Topics[0]
	}
	for i := range 100 {
		name := fmt.Sprintf("t%d", i)
		create := kmsg.NewPtrCreateTopicsRequest()
		create.SetVersion(5)
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 2, 1
		create.Topics = append(create.Topics, topic)
		created := kmsg.NewPtrCreateTopicsResponse()
		ask(makes, create, created)
		if seen := look(name); created.Topics[0].ErrorCode != 0 || seen.ErrorCode != 0 || len(seen.Partitions) != 2 {
			t.Fatalf("%s was created with code %d, and is seen as %+v", name, created.Topics[0].ErrorCode, seen)
		}
		more := kmsg.NewPtrCreatePartitionsRequest()
		more.SetVersion(2)
		more.Topics = append(more.Topics, kmsg.CreatePartitionsRequestTopic{Topic: name, Count: 3})
		ask(makes, more, kmsg.NewPtrCreatePartitionsResponse())
		if seen := look(name); len(seen.Partitions) != 3 {
			t.Fatalf("%s was given a third partition, and is seen with %d", name, len(seen.Partitions))
		}
		remove := kmsg.NewPtrDeleteTopicsRequest()
		remove.SetVersion(4)
		remove.TopicNames = []string{name}
		ask(makes, remove, kmsg.NewPtrDeleteTopicsResponse())
		if seen := look(name); seen.ErrorCode != kerr.UnknownTopicOrPartition.Code {
			t.Fatalf("%s was deleted, and is seen as %+v", name, seen)
		}
	}
}
