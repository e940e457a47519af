package node_test

import (
	"io"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/node/explain"
)

func TestAnUnansweredBatchThatIsRefusedClosesItsConnection(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	w := dial(t, n)
	r := kmsg.NewPtrProduceRequest()
	r.SetVersion(9)
	r.Acks, r.TimeoutMillis = 0, 1000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "nowhere"
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Records = oneRecord()
	topic.Partitions = append(topic.Partitions, partition)
	r.Topics = append(r.Topics, topic)
	if _, err := w.Write(w.frame(r)); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(w); err != nil || len(b) != 0 {
		t.Errorf("read %d bytes, %v; want the end of the connection", len(b), err)
	}
	line := n.logged(t, explain.Of(explain.RefusedUnanswered).Title)
	if !strings.Contains(line, "acks=0") || !strings.Contains(line, "UNKNOWN_TOPIC_OR_PARTITION") || !strings.Contains(line, "nowhere/0") {
		t.Errorf("the log says %s", line)
	}
}

// oneRecord is a batch that any topic takes.
func oneRecord() []byte {
	var b record.Builder
	b.Begin(record.NewOptions(record.CodecNone))
	b.Append(record.Record{Value: []byte("v"), Timestamp: 1000})
	return append([]byte(nil), b.Finish()...)
}
