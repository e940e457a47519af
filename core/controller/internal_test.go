package controller

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
)

func TestTheOffsetsTopicHasItsOwnReplicationFactor(t *testing.T) {
	for _, c := range []struct {
		brokers int
		factor  int16
		want    int // replicas; 0: it is not made
	}{{1, 0, 1}, {2, 0, 2}, {5, 0, 3}, {5, 5, 5}, {2, 1, 1}, {2, 3, 0}} {
		l := newLife(t, c.brokers)
		l.c.config.OffsetsPartitionCount, l.c.config.OffsetsSegmentBytes, l.c.config.OffsetsReplicationFactor = 2, 1<<20, c.factor
		l.c.config.ReplicationFactorDefault = 1 // which is for other topics
		answer := l.ask(t, func(to effect.RequestID, out *effect.Set) {
			l.c.Ensure(to, []string{metadata.OffsetsTopic}, out)
		}).(*effect.TopicsCreated).Topics[0]
		if c.want == 0 {
			if answer.Code != kerr.InvalidReplicationFactor.Code {
				t.Errorf("%+v: code %d", c, answer.Code)
			}
			continue
		}
		if p := l.partition(metadata.OffsetsTopic, 0); answer.Code != 0 || len(p.Replicas) != c.want {
			t.Errorf("%+v: code %d, %+v", c, answer.Code, p)
		}
	}
}
