package broker

import (
	"strings"
	"testing"

	"github.com/weirmq/weir/core/effect"
)

func TestABrokerByItselfTellsOtherNodesSo(t *testing.T) {
	b := newWorld().b
	for _, c := range []struct {
		ev   Event
		want string
	}{
		{&AlterPartition{}, "partitions altered: NOT_CONTROLLER"},
		{&RegisterBroker{}, "broker registered: NOT_CONTROLLER epoch -1"},
		{&BrokerHeartbeat{}, "broker heartbeat: NOT_CONTROLLER caught up false, fenced true"},
		{&AllocateProducerIDs{}, "producer ids: NOT_CONTROLLER 0 from 0"},
		{&QuorumMessages{}, "quorum messages taken: VOTER_NOT_FOUND"},
		{&FetchImage{}, "image 0-0: SNAPSHOT_NOT_FOUND 0 bytes"},
		{&Fetch{Replica: 2}, "read for 0.0: NOT_LEADER_FOR_PARTITION"},
	} {
		var out effect.Set
		b.Step(1, c.ev, &out)
		if got := out.String(); !strings.Contains(got, c.want) || len(out.Replies)+len(out.Reads) != 1 {
			t.Errorf("%T: %s", c.ev, got)
		}
	}
}
