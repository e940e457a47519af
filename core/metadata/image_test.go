package metadata

import (
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// batchOf is a batch of the metadata log.
func batchOf(base model.Offset, records ...protocol.Record) record.Batch {
	var b record.Builder
	options := record.NewOptions(record.CodecNone)
	options.BaseOffset = base
	b.Begin(options)
	for _, r := range records {
		_, version := r.Versions()
		b.Append(record.Record{Value: protocol.AppendMetadataRecord(nil, r, version), Timestamp: model.NoTimestamp})
	}
	return b.Finish()
}

// after is an image after some records.
func after(t interface{ Fatal(args ...any) }, image *Image, records ...protocol.Record) (*Image, *Changes) {
	next, changes, err := image.Apply(batchOf(image.Version(), records...))
	if err != nil {
		t.Fatal(err)
	}
	return next, changes
}

// A batch is refused for what it says, and not for what was before it.
func TestABatchIsCheckedWithoutAnImage(t *testing.T) {
	for kind := range int16(100) {
		rec := protocol.NewMetadataRecord(kind)
		if rec == nil {
			continue
		}
		d, _ := rec.(interface{ Default() })
		if d != nil {
			d.Default()
		}
		err := NewImage().Edit().Record(rec)
		taken := err == nil || !strings.Contains(err.Error(), "does not know")
		if err := CheckBatch(batchOf(0, rec)); (err == nil) != taken {
			t.Errorf("a record of kind %d: drafts take it in: %t; it is checked: %v", kind, taken, err)
		}
	}
	whole := batchOf(0, &protocol.NoOpRecord{})
	whole[len(whole)-2] ^= 0xff
	if CheckBatch(whole) == nil {
		t.Error("a record that cannot be read is taken")
	}
}

// restored is what becomes of an image that is written out and read.
func restored(t interface{ Fatal(args ...any) }, image *Image) *Image {
	d, next := NewImage().Edit(), model.Offset(7)
	for b := range image.Records(7, 3) {
		if b.BaseOffset() != next || b.LeaderEpoch() != 3 {
			t.Fatal("a batch at", b.BaseOffset(), "of epoch", b.LeaderEpoch(), "follows what ends at", next)
		}
		next = b.NextOffset()
		if err := d.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	again, _ := d.Seal(image.Version())
	return again
}

func ascending(n int32) (out []int32) {
	for i := range n {
		out = append(out, i)
	}
	return out
}

func topicRecord(name string, id byte) *protocol.TopicRecord {
	return &protocol.TopicRecord{Name: name, TopicID: [16]byte{id}}
}

func partitionRecord(id byte, index int32, replicas ...int32) *protocol.PartitionRecord {
	p := new(protocol.PartitionRecord)
	p.Default()
	p.TopicID, p.PartitionID, p.Replicas, p.Isr, p.Leader = [16]byte{id}, index, replicas, replicas, replicas[0]
	p.LeaderEpoch, p.PartitionEpoch = 0, 0
	return p
}

func partitionChange(id byte, index int32, change func(*protocol.PartitionChangeRecord)) *protocol.PartitionChangeRecord {
	p := new(protocol.PartitionChangeRecord)
	p.Default()
	p.TopicID, p.PartitionID = [16]byte{id}, index
	change(p)
	return p
}

func brokerRecord(id int32, epoch int64) *protocol.RegisterBrokerRecord {
	b := new(protocol.RegisterBrokerRecord)
	b.Default()
	b.BrokerID, b.BrokerEpoch = id, epoch
	return b
}

func brokerChange(id int32, epoch int64, fenced, shutdown int8) *protocol.BrokerRegistrationChangeRecord {
	return &protocol.BrokerRegistrationChangeRecord{BrokerID: id, BrokerEpoch: epoch, Fenced: fenced, InControlledShutdown: shutdown}
}

func TestWhatTheMetadataLogCannotSayIsAnError(t *testing.T) {
	type change = protocol.PartitionChangeRecord
	topic, first := topicRecord("a", 1), partitionRecord(1, 0, 1, 2, 3)
	config := &protocol.ConfigRecord{ResourceType: TopicResource, ResourceName: "nobody", Name: "retention.ms"}
	ids := func(next int64) protocol.Record { return &protocol.ProducerIDsRecord{NextProducerID: next} }
	with := func(f func(*protocol.PartitionRecord)) protocol.Record {
		p := partitionRecord(1, 0, 1, 2, 3)
		f(p)
		return p
	}
	changed := func(f func(*change)) []protocol.Record {
		return []protocol.Record{topic, first, partitionChange(1, 0, f)}
	}
	for _, c := range []struct {
		rule    string
		records []protocol.Record
	}{
		{"a topic exists once", []protocol.Record{topic, topic}},
		{"a name has one topic", []protocol.Record{topic, topicRecord("a", 2)}},
		{"an id has one topic", []protocol.Record{topic, topicRecord("b", 1)}},
		{"an id does not come back", []protocol.Record{topic, &protocol.RemoveTopicRecord{TopicID: [16]byte{1}}, topicRecord("b", 1)}},
		{"a topic has an id", []protocol.Record{topicRecord("a", 0)}},
		{"a topic has a topic's name", []protocol.Record{topicRecord("a/b", 1)}},
		{"partitions are numbered without gaps", []protocol.Record{topic, partitionRecord(1, 1, 1)}},
		{"a partition exists once", []protocol.Record{topic, first, first}},
		{"a partition has a topic", []protocol.Record{partitionRecord(9, 0, 1)}},
		{"a partition has replicas", []protocol.Record{topic, with(func(p *protocol.PartitionRecord) { p.Replicas, p.Isr, p.Leader = nil, nil, -1 })}},
		{"a partition is not everywhere", []protocol.Record{topic, partitionRecord(1, 0, ascending(ReplicasMax+1)...)}},
		{"a replica is named once", []protocol.Record{topic, partitionRecord(1, 0, 1, 1)}},
		{"a replica is a node", []protocol.Record{topic, partitionRecord(1, 0, 1, -1)}},
		{"the ISR are replicas", []protocol.Record{topic, with(func(p *protocol.PartitionRecord) { p.Isr = []int32{1, 4} })}},
		{"a leader is in sync", []protocol.Record{topic, with(func(p *protocol.PartitionRecord) { p.Isr = []int32{2} })}},
		{"there is no leader of another number", []protocol.Record{topic, with(func(p *protocol.PartitionRecord) { p.Leader = -2 })}},
		{"a leader has an epoch", []protocol.Record{topic, with(func(p *protocol.PartitionRecord) { p.LeaderEpoch = -1 })}},
		{"a partition has an epoch", []protocol.Record{topic, with(func(p *protocol.PartitionRecord) { p.PartitionEpoch = -1 })}},
		{"the ELR is not in sync", []protocol.Record{topic, with(func(p *protocol.PartitionRecord) { p.EligibleLeaderReplicas = []int32{2} })}},
		{"the ELR are replicas", []protocol.Record{topic, with(func(p *protocol.PartitionRecord) { p.EligibleLeaderReplicas = []int32{4} })}},
		{"who is added is a replica", []protocol.Record{topic, with(func(p *protocol.PartitionRecord) { p.AddingReplicas = []int32{4} })}},
		{"who is removed is a replica", []protocol.Record{topic, with(func(p *protocol.PartitionRecord) { p.RemovingReplicas = []int32{4} })}},
		{"each replica has a directory", []protocol.Record{topic, with(func(p *protocol.PartitionRecord) { p.Directories = make([]protocol.UUID, 2) })}},
		{"a recovery is under way or not", []protocol.Record{topic, with(func(p *protocol.PartitionRecord) { p.LeaderRecoveryState = 2 })}},
		{"a change has a topic", []protocol.Record{partitionChange(1, 0, func(*change) {})}},
		{"a change has a partition", []protocol.Record{topic, first, partitionChange(1, 1, func(*change) {})}},
		{"the number of a partition is none", []protocol.Record{topic, first, partitionChange(1, -1, func(*change) {})}},
		{"a new leader is in sync", changed(func(p *change) { p.Leader, p.Isr = 1, []int32{2} })},
		{"the ISR does not leave the leader", changed(func(p *change) { p.Isr = []int32{2} })},
		{"replicas do not leave the ISR", changed(func(p *change) { p.Replicas = []int32{1, 2} })},
		{"no other recovery", changed(func(p *change) { p.LeaderRecoveryState = 5 })},
		{"a configuration has a topic", []protocol.Record{config}},
		{"a configuration has a name", []protocol.Record{topic, &protocol.ConfigRecord{ResourceType: TopicResource, ResourceName: "a", Name: "no.such", Value: protocol.String("1")}}},
		{"a configuration has a value of its kind", []protocol.Record{topic, &protocol.ConfigRecord{ResourceType: TopicResource, ResourceName: "a", Name: "retention.ms", Value: protocol.String("x")}}},
		{"a node's configuration has a node", []protocol.Record{&protocol.ConfigRecord{ResourceType: NodeResource, ResourceName: "01", Name: "num.partitions", Value: protocol.String("1")}}},
		{"a resource has a kind", []protocol.Record{&protocol.ConfigRecord{ResourceType: 3, ResourceName: "a", Name: "retention.ms"}}},
		{"only what exists is removed", []protocol.Record{&protocol.RemoveTopicRecord{TopicID: [16]byte{1}}}},
		{"producer ids do not go back", []protocol.Record{ids(2000), ids(1000)}},
		{"a feature has a level", []protocol.Record{&protocol.FeatureLevelRecord{Name: "x", FeatureLevel: -1}}},
		{"a broker's epochs ascend", []protocol.Record{brokerRecord(1, 5), brokerRecord(1, 5)}},
		{"a broker is a node", []protocol.Record{brokerRecord(-1, 5)}},
		{"a registered broker changes", []protocol.Record{brokerChange(1, 5, 1, 0)}},
		{"a registration changes in its epoch", []protocol.Record{brokerRecord(1, 5), brokerChange(1, 4, 1, 0)}},
		{"a broker is fenced or not", []protocol.Record{brokerRecord(1, 5), brokerChange(1, 5, 2, 0)}},
		{"a shutdown is not taken back", []protocol.Record{brokerRecord(1, 5), brokerChange(1, 5, 0, -1)}},
		{"a registered broker leaves", []protocol.Record{&protocol.UnregisterBrokerRecord{BrokerID: 1, BrokerEpoch: 5}}},
		{"a broker leaves in its epoch", []protocol.Record{brokerRecord(1, 5), &protocol.UnregisterBrokerRecord{BrokerID: 1, BrokerEpoch: 4}}},
		{"a record of another kind is not passed over", []protocol.Record{&protocol.ClientQuotaRecord{}}},
	} {
		image := NewImage()
		if next, changes, err := image.Apply(batchOf(0, c.records...)); err == nil || next != nil || changes != nil {
			t.Errorf("%s: accepted", c.rule)
		}
		if !image.Equal(NewImage()) {
			t.Errorf("%s: the image before was changed", c.rule)
		}
	}
}

func TestABatchFollowsTheVersion(t *testing.T) {
	image, _ := after(t, NewImage(), topicRecord("a", 1), partitionRecord(1, 0, 1))
	if image.Version() != 2 {
		t.Fatalf("version %d", image.Version())
	}
	for _, base := range []model.Offset{0, 1, 3} {
		if _, _, err := image.Apply(batchOf(base, topicRecord("b", 2))); err == nil {
			t.Errorf("a batch at %d is taken in", base)
		}
	}
	control := record.Batch(record.AppendControl(nil, record.Commit, 0, 1, 0, 0))
	image, changes, err := NewImage().Apply(control)
	if err != nil || image.Version() != 1 || len(changes.Topics) != 0 {
		t.Errorf("a control batch: version %d, %+v, %v", image.Version(), changes, err)
	}
}

// What Kafka's PartitionRegistration makes of a change.
func TestAPartitionAfterAChange(t *testing.T) {
	type change = protocol.PartitionChangeRecord
	begin := partitionRecord(1, 0, 1, 2, 3)
	begin.LeaderEpoch, begin.PartitionEpoch = 4, 9
	begin.Directories = []protocol.UUID{{1}, {2}, {3}}
	three := []model.NodeID{1, 2, 3}
	dirs := []model.DirectoryID{{1}, {2}, {3}}
	for _, c := range []struct {
		rule string
		in   func(*change)
		want Partition
	}{
		{
			"nothing but the partition epoch, if nothing is said", func(*change) {},
			Partition{Leader: 1, LeaderEpoch: 4, PartitionEpoch: 10, Replicas: three, ISR: three, Directories: dirs},
		},
		{
			"a leader that is named is a new one, even if it is the same", func(p *change) { p.Leader = 1 },
			Partition{Leader: 1, LeaderEpoch: 5, PartitionEpoch: 10, Replicas: three, ISR: three, Directories: dirs},
		},
		{
			"another leader", func(p *change) { p.Leader = 2 },
			Partition{Leader: 2, LeaderEpoch: 5, PartitionEpoch: 10, Replicas: three, ISR: three, Directories: dirs},
		},
		{
			"no leader is a leader's change, too", func(p *change) { p.Leader = -1 },
			Partition{Leader: -1, LeaderEpoch: 5, PartitionEpoch: 10, Replicas: three, ISR: three, Directories: dirs},
		},
		{
			"an ISR alone leaves the leader's epoch", func(p *change) { p.Isr = []int32{1, 3} },
			Partition{Leader: 1, LeaderEpoch: 4, PartitionEpoch: 10, Replicas: three, ISR: []model.NodeID{1, 3}, Directories: dirs},
		},
		{
			"who left the ISR is eligible", func(p *change) { p.Isr, p.EligibleLeaderReplicas, p.LastKnownElr = []int32{1}, []int32{2}, []int32{3} },
			Partition{
				Leader: 1, LeaderEpoch: 4, PartitionEpoch: 10, Replicas: three, ISR: []model.NodeID{1},
				ELR: []model.NodeID{2}, LastKnownELR: []model.NodeID{3}, Directories: dirs,
			},
		},
		{
			"nobody is in sync", func(p *change) { p.Leader, p.Isr = -1, []int32{} },
			Partition{Leader: -1, LeaderEpoch: 5, PartitionEpoch: 10, Replicas: three, Directories: dirs},
		},
		{
			"a reassignment", func(p *change) {
				p.Replicas, p.AddingReplicas, p.RemovingReplicas = []int32{1, 2, 3, 4}, []int32{4}, []int32{3}
			},
			Partition{
				Leader: 1, LeaderEpoch: 4, PartitionEpoch: 10, Replicas: []model.NodeID{1, 2, 3, 4}, ISR: three,
				Adding: []model.NodeID{4}, Removing: []model.NodeID{3},
			},
		},
		{
			"an unclean election", func(p *change) { p.Leader, p.Isr, p.LeaderRecoveryState = 2, []int32{2}, 1 },
			Partition{Leader: 2, LeaderEpoch: 5, PartitionEpoch: 10, Replicas: three, ISR: []model.NodeID{2}, Directories: dirs, Recovering: true},
		},
	} {
		image, _ := after(t, NewImage(), topicRecord("a", 1), begin)
		before := image.Named("a").Partition(0)
		image, changes := after(t, image, partitionChange(1, 0, c.in))
		got := image.Named("a").Partition(0)
		if !got.equal(&c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.rule, *got, c.want)
		}
		if len(changes.Topics) != 1 || !slices.Equal(changes.Topics[0].Partitions, []PartitionChange{{Before: before, After: got}}) {
			t.Errorf("%s: told as %+v", c.rule, changes.Topics)
		}
		if again := restored(t, image); !again.Equal(image) {
			t.Errorf("%s: came back as %+v", c.rule, *again.Named("a").Partition(0))
		}
	}
}

func TestABrokerAfterAChange(t *testing.T) {
	register := brokerRecord(3, 7)
	register.IncarnationID, register.Rack, register.InControlledShutdown = [16]byte{9}, protocol.String("r1"), false
	register.EndPoints = []protocol.RegisterBrokerRecordEndpoint{{Name: "PLAINTEXT", Host: "h", Port: 65535, SecurityProtocol: 0}}
	register.LogDirs, register.CordonedLogDirs = []protocol.UUID{{1}, {2}}, []protocol.UUID{{2}}
	image, changes := after(t, NewImage(), register)
	b := image.Broker(3)
	if !b.Fenced || b.Rack != "r1" || b.Epoch != 7 || b.Listeners[0].Port != 65535 || len(b.Cordoned) != 1 || changes.Brokers[0] != (BrokerChange{After: b}) {
		t.Fatalf("%+v, %+v", b, changes)
	}
	if again := restored(t, image); !again.Equal(image) {
		t.Errorf("came back as %+v", again.Broker(3))
	}
	image, changes = after(t, image, brokerChange(3, 7, -1, 0))
	if up := image.Broker(3); up.Fenced || !up.Active() || changes.Brokers[0] != (BrokerChange{Before: b, After: up}) || !b.Fenced {
		t.Errorf("unfenced: %+v", up)
	}
	image, _ = after(t, image, brokerChange(3, 7, 0, 1))
	if down := image.Broker(3); !down.InControlledShutdown || down.Fenced || down.Active() {
		t.Errorf("shutting down: %+v", down)
	}
	image, _ = after(t, image, brokerChange(3, 7, 1, 0))
	if !image.Broker(3).Fenced {
		t.Error("not fenced")
	}
	image, changes = after(t, image, &protocol.UnregisterBrokerRecord{BrokerID: 3, BrokerEpoch: 7})
	if image.Broker(3) != nil || image.BrokerCount() != 0 || changes.Brokers[0].After != nil {
		t.Errorf("left: %+v", changes)
	}
	image, changes = after(t, image, brokerRecord(4, 9), &protocol.UnregisterBrokerRecord{BrokerID: 4, BrokerEpoch: 9})
	if len(changes.Brokers) != 0 || image.BrokerCount() != 0 {
		t.Errorf("came and went: %+v", changes)
	}
}

func TestWhatIsMadeAndRemovedInOneBatchIsNoChange(t *testing.T) {
	image, changes := after(t, NewImage(), topicRecord("a", 1), partitionRecord(1, 0, 1), &protocol.RemoveTopicRecord{TopicID: [16]byte{1}})
	if len(changes.Topics) != 0 || image.TopicCount() != 0 || image.PartitionCount() != 0 {
		t.Errorf("%+v", changes)
	}
	image, _ = after(t, image, topicRecord("a", 2), partitionRecord(2, 0, 1))
	old := image.Named("a")
	image, changes = after(t, image, partitionChange(2, 0, func(p *protocol.PartitionChangeRecord) { p.Leader = -1 }),
		&protocol.RemoveTopicRecord{TopicID: [16]byte{2}}, topicRecord("a", 3), partitionRecord(3, 0, 1))
	if len(changes.Topics) != 2 || changes.Topics[0].Before != old || changes.Topics[0].After != nil || len(changes.Topics[0].Partitions) != 0 ||
		changes.Topics[1].Before != nil || changes.Topics[1].After != image.Named("a") || image.Named("a").ID != (model.TopicID{3}) {
		t.Errorf("recreated: %+v", changes)
	}
}

// history draws records that an image can take in.
type history struct {
	r      *rapid.T
	lastID byte
	epoch  int64
}

func (h *history) next(image *Image) protocol.Record {
	r := h.r
	var topics []*Topic
	image.Topics(func(t *Topic) bool { topics = append(topics, t); return true })
	var brokers []*Broker
	image.Brokers(func(b *Broker) bool { brokers = append(brokers, b); return true })
	for {
		switch rapid.IntRange(0, 12).Draw(r, "what") {
		case 0:
			name := rapid.SampledFrom([]string{"a", "b", "a.c", "a_c", "a.c.d", "b_", "z"}).Draw(r, "name")
			if image.Named(name) == nil {
				h.lastID++
				return topicRecord(name, h.lastID)
			}
		case 1:
			if len(topics) > 0 && rapid.IntRange(0, 3).Draw(r, "really") == 0 {
				return &protocol.RemoveTopicRecord{TopicID: [16]byte(rapid.SampledFrom(topics).Draw(r, "topic").ID)}
			}
		case 2, 3, 4:
			if len(topics) > 0 {
				t := rapid.SampledFrom(topics).Draw(r, "topic")
				p := partitionRecord(t.ID[0], int32(t.PartitionCount()), h.replicas()...)
				p.LeaderEpoch, p.PartitionEpoch = rapid.Int32Range(0, 1<<30).Draw(r, "epoch"), rapid.Int32Range(0, 1<<30).Draw(r, "epoch")
				p.LeaderRecoveryState = rapid.SampledFrom([]int8{0, 1}).Draw(r, "recovery")
				if rapid.Bool().Draw(r, "directories") {
					p.Directories = make([]protocol.UUID, len(p.Replicas))
				}
				return p
			}
		case 5, 6, 7:
			if len(topics) > 0 {
				t := rapid.SampledFrom(topics).Draw(r, "topic")
				if t.PartitionCount() > 0 {
					index := rapid.IntRange(0, t.PartitionCount()-1).Draw(r, "partition")
					return h.change(t, model.Partition(index))
				}
			}
		case 8:
			c := &protocol.ConfigRecord{ResourceType: NodeResource, ResourceName: rapid.SampledFrom([]string{"", "1", "2"}).Draw(r, "node")}
			c.Name, c.Value.Value = "num.partitions", strconv.Itoa(rapid.IntRange(1, 5).Draw(r, "value"))
			c.Value.Valid = rapid.Bool().Draw(r, "set")
			return c
		case 9:
			if len(topics) > 0 {
				c := &protocol.ConfigRecord{ResourceType: TopicResource, ResourceName: rapid.SampledFrom(topics).Draw(r, "topic").Name}
				c.Name = rapid.SampledFrom([]string{"retention.ms", "segment.ms"}).Draw(r, "name")
				c.Value.Value, c.Value.Valid = strconv.Itoa(rapid.IntRange(1, 5).Draw(r, "value")), rapid.Bool().Draw(r, "set")
				return c
			}
		case 10:
			h.epoch++
			b := brokerRecord(rapid.Int32Range(0, 4).Draw(r, "broker"), h.epoch)
			b.Fenced, b.InControlledShutdown = rapid.Bool().Draw(r, "fenced"), rapid.Bool().Draw(r, "shutdown")
			b.Rack = protocol.NullString{Value: "r", Valid: true}
			b.Features = []protocol.RegisterBrokerRecordFeature{{Name: "f", MaxSupportedVersion: 3}}
			return b
		case 11:
			if len(brokers) > 0 {
				b := rapid.SampledFrom(brokers).Draw(r, "broker")
				if rapid.IntRange(0, 3).Draw(r, "leaves") == 0 {
					return &protocol.UnregisterBrokerRecord{BrokerID: int32(b.ID), BrokerEpoch: int64(b.Epoch)}
				}
				c := brokerChange(int32(b.ID), int64(b.Epoch), rapid.Int8Range(-1, 1).Draw(r, "fence"), rapid.Int8Range(0, 1).Draw(r, "shutdown"))
				c.LogDirs = make([]protocol.UUID, rapid.IntRange(0, 2).Draw(r, "directories"))
				return c
			}
		case 12:
			if rapid.Bool().Draw(r, "ids") {
				return &protocol.ProducerIDsRecord{NextProducerID: int64(image.NextProducerID()) + rapid.Int64Range(0, 5).Draw(r, "more")}
			}
			return &protocol.FeatureLevelRecord{Name: rapid.SampledFrom([]string{"f", "g"}).Draw(r, "name"), FeatureLevel: rapid.Int16Range(0, 3).Draw(r, "level")}
		}
	}
}

func (h *history) replicas() []int32 {
	return rapid.SliceOfNDistinct(rapid.Int32Range(0, 5), 1, 4, rapid.ID[int32]).Draw(h.r, "replicas")
}

func (h *history) change(t *Topic, index model.Partition) protocol.Record {
	r, old := h.r, t.Partition(index)
	return partitionChange(t.ID[0], int32(index), func(p *protocol.PartitionChangeRecord) {
		replicas := numbers(old.Replicas)
		if rapid.Bool().Draw(r, "reassigned") {
			replicas = h.replicas()
			p.Replicas = replicas
			p.AddingReplicas, p.RemovingReplicas = replicas[:1], replicas[1:]
		} else if rapid.Bool().Draw(r, "done") {
			p.AddingReplicas, p.RemovingReplicas = []int32{}, []int32{}
		}
		cut := rapid.IntRange(0, len(replicas)).Draw(r, "cut")
		if p.Replicas == nil && rapid.Bool().Draw(r, "elected") && slices.Contains(old.ISR, model.NodeID(replicas[0])) {
			p.Leader = replicas[0]
			return
		}
		p.Isr, p.Leader = replicas[:cut], -1
		if cut > 0 {
			p.Leader = replicas[0]
		}
		p.EligibleLeaderReplicas, p.LastKnownElr = replicas[cut:], replicas[:min(1, cut)]
		p.LeaderRecoveryState = rapid.Int8Range(-1, 1).Draw(r, "recovery")
	})
}

// Whatever is applied: what was stays as it was; what changed is told, and nothing else changed; one batch is the
// same as many; and an image that is written out comes back.
func TestAnyHistoryOfImages(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		h := &history{r: r}
		image, single := NewImage(), NewImage()
		images, hashes := []*Image{image}, []uint64{image.Hash()}
		for range rapid.IntRange(1, 12).Draw(r, "batches") {
			draft := image.Edit()
			var records []protocol.Record
			for range rapid.IntRange(1, 12).Draw(r, "records") {
				rec := h.next(draft.Image())
				records = append(records, rec)
				if err := draft.Record(rec); err != nil {
					r.Fatal(err)
				}
				single, _ = after(r, single, rec)
			}
			next, changes := after(r, image, records...)
			if !next.Equal(single) || next.Hash() != single.Hash() {
				r.Fatal("a batch is not what its records are")
			}
			if err := next.Check(); err != nil {
				r.Fatal(err)
			}
			checkChanges(r, image, next, changes)
			again := restored(r, next)
			if !again.Equal(next) || again.Hash() != next.Hash() || again.Version() != next.Version() {
				r.Fatal("an image that was written out came back as another")
			}
			image = next
			images, hashes = append(images, image), append(hashes, image.Hash())
		}
		for i, old := range images {
			if old.Hash() != hashes[i] || old.Check() != nil {
				r.Fatalf("image %d is not what it was", i)
			}
			if i > 0 && old.Equal(images[i-1]) {
				r.Fatalf("images %d and %d are equal, versions and all", i, i-1)
			}
		}
	})
}

// checkChanges holds what is told of two images against what can be seen of them.
func checkChanges(r *rapid.T, before, after *Image, changes *Changes) {
	told := make(map[model.TopicID]*TopicChange)
	for i := range changes.Topics {
		ch := &changes.Topics[i]
		id := ch.Topic().ID
		if told[id] != nil || ch.Before != before.Identified(id) || ch.After != after.Identified(id) {
			r.Fatalf("%+v is told of topic %v", ch, id)
		}
		told[id] = ch
	}
	for _, image := range []*Image{before, after} {
		for t := range image.Topics {
			was, is, ch := before.Identified(t.ID), after.Identified(t.ID), told[t.ID]
			if ch == nil && was != is {
				r.Fatalf("of a change of topic %q nothing is told", t.Name)
			}
			if ch == nil || is == nil {
				continue
			}
			if was != nil && ch.Configured != !slices.Equal(was.Settings, is.Settings) && !ch.Configured {
				r.Fatalf("of new settings of topic %q nothing is told", t.Name)
			}
			seen := make(map[model.Partition]PartitionChange)
			for _, p := range ch.Partitions {
				if _, twice := seen[p.Partition]; twice {
					r.Fatal("told twice")
				}
				seen[p.Partition] = p
			}
			want := make(map[model.Partition]PartitionChange)
			for index, p := range is.Partitions {
				var old *Partition
				if was != nil {
					old = was.Partition(index)
				}
				if old != p {
					want[index] = PartitionChange{Partition: index, Before: old, After: p}
				}
			}
			if !maps.Equal(seen, want) {
				r.Fatalf("told %+v, want %+v", seen, want)
			}
		}
	}
	brokers := make(map[model.NodeID]BrokerChange)
	for _, ch := range changes.Brokers {
		brokers[max(idOf(ch.Before), idOf(ch.After))] = ch
	}
	want := make(map[model.NodeID]BrokerChange)
	for id := range model.NodeID(6) {
		if was, is := before.Broker(id), after.Broker(id); was != is {
			want[id] = BrokerChange{Before: was, After: is}
		}
	}
	if !maps.Equal(brokers, want) {
		r.Fatalf("told %+v, want %+v", brokers, want)
	}
	for _, name := range []string{"", "1", "2"} {
		if slices.Equal(before.NodeSettings(name), after.NodeSettings(name)) == slices.Contains(changes.Nodes, name) {
			r.Fatalf("told of node %q: %v", name, changes.Nodes)
		}
	}
	for _, name := range []string{"f", "g"} {
		if (before.FeatureLevel(name) == after.FeatureLevel(name)) == slices.Contains(changes.Features, name) {
			r.Fatalf("told of feature %q: %v", name, changes.Features)
		}
	}
}

func idOf(b *Broker) model.NodeID {
	if b == nil {
		return -1
	}
	return b.ID
}

// Equal must look at every field, or the property above proves little.
func TestEqualSeesEveryField(t *testing.T) {
	for _, c := range []struct {
		of    any
		equal func(a, b any) bool
	}{
		{Partition{}, func(a, b any) bool { return a.(*Partition).equal(b.(*Partition)) }},
		{Broker{}, func(a, b any) bool { return a.(*Broker).equal(b.(*Broker)) }},
	} {
		kind := reflect.TypeOf(c.of)
		for i := range kind.NumField() {
			a, b := reflect.New(kind), reflect.New(kind)
			switch f := b.Elem().Field(i); f.Kind() {
			case reflect.Slice:
				f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			case reflect.Bool:
				f.SetBool(true)
			case reflect.String:
				f.SetString("x")
			case reflect.Array:
				f.Index(0).SetUint(1)
			default:
				f.SetInt(1)
			}
			if !c.equal(a.Interface(), a.Interface()) || c.equal(a.Interface(), b.Interface()) {
				t.Errorf("%v: %s is not looked at", kind, kind.Field(i).Name)
			}
		}
	}
}

// large is an image of some topics of some partitions.
func large(t testing.TB, topicCount, partitionCount int) *Image {
	d := NewImage().Edit()
	for i := range topicCount {
		id := [16]byte{byte(i >> 16), byte(i >> 8), byte(i), 1}
		err := d.Record(&protocol.TopicRecord{Name: fmt.Sprintf("topic-%06d", i), TopicID: id})
		for p := range partitionCount {
			rec := partitionRecord(0, int32(p), 1, 2, 3)
			rec.TopicID = id
			if err == nil {
				err = d.Record(rec)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	image, _ := d.Seal(1)
	return image
}

// allocated is how many bytes f takes from the heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func leaderless(id [16]byte, index int) *protocol.PartitionChangeRecord {
	rec := partitionChange(0, int32(index), func(p *protocol.PartitionChangeRecord) { p.Leader = -1 })
	rec.TopicID = id
	return rec
}

func TestAChangeCostsWhatItChangesAndNotTheCluster(t *testing.T) {
	wide := large(t, 1, 10_000)
	id := [16]byte(wide.Named("topic-000000").ID)
	all := make([]protocol.Record, 10_000)
	for i := range all {
		all[i] = leaderless(id, i)
	}
	batch := batchOf(wide.Version(), all...)
	bytes := allocated(func() { _, _, _ = wide.Apply(batch) })
	if bytes > 20<<20 {
		t.Errorf("a change of each of 10,000 partitions takes %d bytes", bytes)
	}
	one := batchOf(wide.Version(), all[5000])
	if bytes := allocated(func() { _, _, _ = wide.Apply(one) }); bytes > 32<<10 {
		t.Errorf("a change of one of 10,000 partitions takes %d bytes", bytes)
	}
	many := large(t, 20_000, 1)
	one = batchOf(many.Version(), leaderless([16]byte(many.Named("topic-012345").ID), 0))
	if bytes := allocated(func() { _, _, _ = many.Apply(one) }); bytes > 32<<10 {
		t.Errorf("a change of one of 20,000 topics takes %d bytes", bytes)
	}
}

func TestLookingSomethingUpAllocatesNothing(t *testing.T) {
	image := large(t, 1000, 1)
	id := image.Named("topic-000500").ID
	if n := testing.AllocsPerRun(100, func() {
		if image.Identified(id) == nil || image.Named("topic-000500") == nil || image.Partition(model.TopicPartition{Topic: id}) == nil {
			t.Fatal("not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// With the race detector this says that nobody who reads an image is in the way of who makes the next.
func TestImagesAreReadWhileOthersAreMade(t *testing.T) {
	image := large(t, 300, 3)
	var readers sync.WaitGroup
	for i := range 300 {
		if i%20 == 0 {
			readers.Add(1)
			go func(image *Image) {
				defer readers.Done()
				hash := image.Hash()
				for range 5 {
					if image.Hash() != hash || image.Named("topic-000001") == nil || image.Check() != nil {
						t.Error("an image changed")
					}
				}
			}(image)
		}
		name := fmt.Sprintf("topic-%06d", i)
		id := [16]byte(image.Named(name).ID)
		more := []protocol.Record{leaderless(id, 1), topicRecord(fmt.Sprintf("more-%d", i), 255)}
		more[1].(*protocol.TopicRecord).TopicID[5] = byte(i) + 1
		more[1].(*protocol.TopicRecord).TopicID[6] = byte(i >> 8)
		if i%3 == 0 && i > 1 {
			more = append(more, &protocol.RemoveTopicRecord{TopicID: id})
		}
		image, _ = after(t, image, more...)
	}
	readers.Wait()
}

// Whatever stands in a log, it is refused or gives an image that holds together.
func FuzzDraft(f *testing.F) {
	for _, r := range []protocol.Record{topicRecord("a", 1), partitionRecord(1, 0, 1, 2), leaderless([16]byte{1}, 0), brokerRecord(1, 1), brokerChange(1, 1, -1, 0)} {
		_, version := r.Versions()
		f.Add(protocol.AppendMetadataRecord(nil, r, version))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		image, _ := after(t, NewImage(), topicRecord("a", 1), partitionRecord(1, 0, 1, 2), brokerRecord(1, 1))
		d := image.Edit()
		if d.value(value) != nil {
			return
		}
		next, _ := d.Seal(image.Version())
		if err := next.Check(); err != nil {
			t.Fatal(err)
		}
		if !restored(t, next).Equal(next) {
			t.Fatal("it does not come back")
		}
	})
}

func BenchmarkApplyOneChange(b *testing.B) {
	image := large(b, 10_000, 3)
	batch := batchOf(image.Version(), leaderless([16]byte(image.Named("topic-005000").ID), 1))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := image.Apply(batch); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNamed(b *testing.B) {
	image := large(b, 10_000, 1)
	b.ReportAllocs()
	for b.Loop() {
		if image.Named("topic-005000") == nil {
			b.Fatal("not found")
		}
	}
}

func BenchmarkIdentified(b *testing.B) {
	image := large(b, 10_000, 1)
	id := image.Named("topic-005000").ID
	b.ReportAllocs()
	for b.Loop() {
		if image.Identified(id) == nil {
			b.Fatal("not found")
		}
	}
}
