package client

import (
	"testing"

	"github.com/weirmq/weir/core/protocol"
)

// Whoever reads a description page by page comes to its end, whatever a broker answers.
func TestPagesOfADescriptionGoForward(t *testing.T) {
	from := &PartitionCursor{Topic: "b", Partition: 5}
	for _, c := range []struct {
		next    *protocol.DescribeTopicPartitionsResponseCursor
		empty   bool
		refused bool
	}{
		{next: nil, empty: true},
		{next: &protocol.DescribeTopicPartitionsResponseCursor{TopicName: "b", PartitionIndex: 6}},
		{next: &protocol.DescribeTopicPartitionsResponseCursor{TopicName: "c"}},
		{next: &protocol.DescribeTopicPartitionsResponseCursor{TopicName: "c"}, empty: true, refused: true},
		{next: &protocol.DescribeTopicPartitionsResponseCursor{TopicName: "b", PartitionIndex: 5}, refused: true},
		{next: &protocol.DescribeTopicPartitionsResponseCursor{TopicName: "a", PartitionIndex: 9}, refused: true},
	} {
		m := &protocol.DescribeTopicPartitionsResponse{NextCursor: c.next}
		if !c.empty {
			protocol.Add(&m.Topics)
		}
		var a Answer
		code, _ := takePage(&a, m, from)
		if (code != 0) != c.refused || !c.refused && (a.Next == nil) != (c.next == nil) {
			t.Errorf("%+v, empty %t: code %d, next %v", c.next, c.empty, code, a.Next)
		}
	}
}
