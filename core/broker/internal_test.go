package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

func TestTheClustersOwnTopicsAreLeftAlone(t *testing.T) {
	w := newWorld()
	w.step(t, &EnsureTopics{Names: []string{metadata.OffsetsTopic}})
	w.durableAll(t)
	name := metadata.OffsetsTopic
	if w.b.view.Named(name) == nil {
		t.Fatal("the topic is not there")
	}
	produced := w.step(t, &Produce{Acks: -1, Parts: []ProducePart{{Topic: TopicRef{Name: name}}}}).Produced[0]
	if produced.Code != kerr.InvalidTopicException.Code {
		t.Errorf("produce: %s", effect.CodeName(produced.Code))
	}
	deleted := w.step(t, &DeleteRecords{Parts: []DeleteRecordsPart{{Topic: TopicRef{Name: name}}}}).Replies[0].Body.(*effect.RecordsDeleted).Parts[0]
	if deleted.Code != kerr.InvalidTopicException.Code {
		t.Errorf("delete records: %s", effect.CodeName(deleted.Code))
	}
	extended := w.step(t, &CreatePartitions{Topics: []controller.AddPartitions{{Name: name, Count: 9}}}).Replies[0].Body.(*effect.PartitionsCreated).Topics[0]
	if extended.Code != kerr.InvalidTopicException.Code {
		t.Errorf("create partitions: %s", effect.CodeName(extended.Code))
	}
	altered := w.step(t, &AlterConfigs{Resources: []controller.AlterResource{{
		Type: metadata.TopicResource, Name: name, Ops: []controller.AlterOp{{Setting: metadata.ConfigSetting{Name: "retention.ms", Value: "1"}}},
	}}}).Replies[0].Body.(*effect.ConfigsAltered).Resources[0]
	if altered.Code != kerr.InvalidTopicException.Code {
		t.Errorf("alter: %s", effect.CodeName(altered.Code))
	}
}

// Who founds a cluster alone is configured as its only voter for ever. Others may vote since, who can do without it.
func TestAFounderThatIsNotAloneAnyMoreHasALease(t *testing.T) {
	j := newJoining(t)
	founder := j.w.b
	cutOff := func() bool {
		alike := *founder
		alike.config.Quorum.Voters = alike.config.Quorum.Voters[:1]
		alike.now, alike.self.lease.heardAt = alike.leaseMax()+2, 1
		return alike.cutOff()
	}
	if cutOff() {
		t.Error("it is alone, and cut off from nobody")
	}
	j.learn()
	if cutOff() {
		t.Error("who does not vote yet elects nobody")
	}
	j.change([]model.VoterID{j.b.voter.id}, nil)
	if voters := founder.voter.log.Voters(); len(voters.Now) != 2 || !cutOff() {
		t.Errorf("%+v vote, and it serves whether they can be reached or not", voters)
	}
	j.change(nil, nil)
	if voters := founder.voter.log.Voters(); len(voters.Now) != 1 || cutOff() {
		t.Errorf("%+v votes, alone, and does not serve", voters)
	}
}

// A controller that was cut off, or stood still, believes in itself longest. It does not keep others serving.
func TestAControllerThatMayBeNoneLetsLeasesEnd(t *testing.T) {
	j := newJoiningTicking(t, 50)
	j.learn()
	leader := j.w.b
	j.change([]model.VoterID{j.b.voter.id}, nil)
	counts := func() bool {
		t.Helper()
		j.requests++
		return j.step(leader, &BrokerHeartbeat{
			To:  effect.RequestID{Conn: 9, Request: j.requests},
			Ask: effect.HeartbeatBroker{Broker: 1, BrokerEpoch: leader.self.epoch, MetadataOffset: leader.view.Version() - 1},
		}).(*effect.BrokerHeartbeatAnswered).IsCaughtUp
	}
	pass := func(b *Broker, by model.Time) {
		for range by / 50 {
			j.now += 50
			j.tick(b)
		}
	}
	if pass(leader, 200); !counts() {
		t.Fatal("its heartbeats are answered")
	}
	j.holds = true
	pass(leader, 350)
	if !counts() {
		t.Error("its word counts until others may have elected another")
	}
	if pass(leader, 200); counts() {
		t.Error("its word counts although others may have elected another")
	}
	j.deliver(1) // of the first round since
	if counts() {
		t.Error("what it hears answers what it sent long ago, however long that was under way")
	}
	if j.deliver(len(j.held)); !counts() {
		t.Error("what it sent just now was answered")
	}
	j.holds = false
	pass(leader, 100)
	if j.now += 450; counts() {
		t.Error("it stood still")
	}
	if pass(leader, 100); !counts() {
		t.Error("it goes on, and its heartbeats are answered")
	}
}

// The metadata may say that a broker is counted on, and be the last that it hears.
func TestALeaseBeginsWithTheRegistrationAtLatest(t *testing.T) {
	b := newWorld().b
	epoch, own := b.self.epoch, b.view.Broker(1)
	b.self = membership{epoch: model.NoBrokerEpoch, lease: lease{askedAt: 7}}
	var out effect.Set
	b.registered(&effect.Answer{Body: &effect.BrokerRegistered{BrokerEpoch: epoch}}, &out)
	if b.self.lease.heardAt != 0 {
		t.Error("it is registered, and not counted on yet")
	}
	b.brokersChanged([]metadata.BrokerChange{{After: own}}, &out)
	if b.self.lease.heardAt != 7 {
		t.Errorf("it leads, and its lease counts from %d", b.self.lease.heardAt)
	}
}
