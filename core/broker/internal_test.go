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

func TestAControllerTakesItsOwnWordAsFarAsAMajorityWasHeard(t *testing.T) {
	v := &voter{id: 1, termAt: 5, heard: map[model.VoterID]heard{2: {at: 50}, 3: {at: 30}, 4: {at: 40}}}
	for _, tc := range []struct {
		voters []model.VoterID
		want   model.Time
	}{
		{[]model.VoterID{1}, 100},
		{[]model.VoterID{1, 2}, 50},
		{[]model.VoterID{1, 2, 3}, 50},
		{[]model.VoterID{1, 2, 3, 4}, 40},
		{[]model.VoterID{1, 2, 3, 4, 5}, 40},
		{[]model.VoterID{1, 5, 6}, 5},  // they were heard when they elected it
		{[]model.VoterID{2, 3, 4}, 40}, // it does not vote any more
	} {
		if got := v.majorityOf(tc.voters, 100); got != tc.want {
			t.Errorf("of %v a majority was heard at %d, not %d", tc.voters, got, tc.want)
		}
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
	j := newJoining(t)
	j.learn()
	b, other := j.w.b, j.b.voter.id
	j.change([]model.VoterID{other}, nil)
	b.config.Quorum.Log.Quorum.ElectionTicks, b.config.Quorum.Log.Quorum.TickInterval = 10, 50
	counts := func(after model.Time) bool {
		t.Helper()
		j.now += after
		j.requests++
		return j.step(b, &BrokerHeartbeat{
			To:  effect.RequestID{Conn: 9, Request: j.requests},
			Ask: effect.HeartbeatBroker{Broker: 1, BrokerEpoch: b.self.epoch, MetadataOffset: b.view.Version() - 1},
		}).(*effect.BrokerHeartbeatAnswered).IsCaughtUp
	}
	hear := func() { b.voter.hearVoter(other, j.now) }
	counts(0)
	for range 3 { // what stood still before is over
		counts(400)
	}
	hear()
	if !counts(400) || counts(101) {
		t.Error("its word counts until others may have elected another, and no longer")
	}
	if hear(); !counts(0) {
		t.Error("it was heard")
	}
	j.now += 501
	if hear(); counts(0) {
		t.Error("it stood still, and what it hears was said before")
	}
	for range 2 {
		hear()
		if counts(400) {
			t.Error("nobody can have told it yet")
		}
	}
	hear()
	if !counts(200) {
		t.Error("it would know by now that another leads")
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

func TestWhoStartsDidNotStandStill(t *testing.T) {
	config := newWorld().b.config
	config.Quorum.Log.Quorum.ElectionTicks, config.Quorum.Log.Quorum.TickInterval = 10, 50
	config.Quorum.Voters = append(config.Quorum.Voters, VoterAddress{Node: 2})
	b := newBroker(config, metadata.NewView(metadata.NewImage(), 1, config.Controller.Node))
	if b.advance(1e9); b.self.lease.doubtUntil != 0 {
		t.Error("it has just begun")
	}
	if b.advance(1e9 + 501); b.self.lease.doubtUntil == 0 {
		t.Error("it stood still")
	}
}
