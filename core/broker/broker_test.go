package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/group"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// world drives one broker by script and plays its storage: appends stay in flight until "durable".
type world struct {
	b        *Broker
	now      model.Time
	requests uint64
	inFlight []effect.Append
	held     map[model.TopicPartition]*log.State // what storage holds
	names    []string                            // script names by topic id, in order of creation
	ids      []model.TopicID
}

func newWorld() *world { return newWorldOf(100) }

func newWorldOf(partitionsMax int) *world { return newWorldTicking(partitionsMax, 1<<60) }

// newWorldTicking has a quorum whose clock goes.
func newWorldTicking(partitionsMax int, interval model.Time) *world {
	config := Config{
		Advertised:             effect.Broker{ID: 1, Host: "localhost", Port: 9092},
		RetentionCheckInterval: 1000, FetchSessionsMax: 3,
		Controller: controller.Config{
			NodeID: 1, PartitionCountMax: partitionsMax, Node: metadata.DefaultNodeConfig(),
			OffsetsPartitionCount: 2, OffsetsSegmentBytes: 1 << 20,
		},
		Groups: group.DefaultConfig(),
	}
	config.Controller.Node.ProducerExpirationMs = 1000
	beAlone(&config)
	config.Quorum.Log.Quorum.TickInterval = interval
	w := &world{held: make(map[model.TopicPartition]*log.State)}
	var out effect.Set
	w.b = newBroker(config, metadata.NewView(metadata.NewImage(), 1, config.Controller.Node))
	saved, err := w.b.openVoter(noStore{}, metalog.Found{})
	if err == nil {
		err = w.b.startVoter(saved, &out)
	}
	if err != nil {
		panic(err)
	}
	w.b.settle(&out)
	w.settle(&out)
	return w
}

// beAlone makes the only voter and broker of a cluster.
func beAlone(c *Config) {
	c.LagTimeMax = 1000
	c.Controller.ClusterID, c.Controller.SessionTimeout = c.ClusterID, 1<<60
	c.Quorum = QuorumConfig{Voters: []VoterAddress{{Node: 1}}, Log: metalog.DefaultConfig(0, 1)}
	c.Quorum.Log.Quorum.TickInterval = 1 << 60
	c.Membership = MembershipConfig{
		HeartbeatInterval: 1 << 60, Directory: model.DirectoryID{1},
		Listeners: []effect.BrokerListener{{Name: ClientListener, Host: "localhost", Port: 9092}},
	}
}

// noStore is an empty disk.
type noStore struct{}

func (noStore) ReadAll(model.TopicPartition, func(record.Batch) error) error { return nil }

// settle makes everything durable until the broker serves, and forgets what it cost.
func (w *world) settle(out *effect.Set) {
	for range 20 {
		w.inFlight = append(w.inFlight, out.Appends...)
		done := &Completed{effect.Completions{Appended: w.durable(len(w.inFlight))}}
		for _, t := range out.StartAts {
			done.Truncated = append(done.Truncated, effect.Truncated{Partition: t.Partition, State: log.New(t.Offset), NextOffset: t.Offset})
		}
		out.Reset()
		w.b.Step(w.now, done, out)
		var ticked effect.Set
		w.b.Tick(w.now, 0, &ticked)
		out.Appends = append(out.Appends, ticked.Appends...)
		if w.b.Active() && len(out.Appends) == 0 {
			return
		}
		w.b.self.nextAt = w.now
	}
	panic("the broker does not come to serve")
}

// TestScenarios runs testdata: each file is one broker's life. Time stands still but for "tick to=N".
//
//	create NAME [partitions=N] [config=(k,v)] | delete NAME | ensure NAME | extend NAME to=N
//	alter NAME|node config=(k,v)
//	published [config=KEY]    what sessions go by, with a configuration of the node and of every topic
//	produce NAME/P [count=N] [bytes=N] [acks=N] [time=N] | fetch NAME/P from=N [min=N] [wait=N] [conn=N]
//	list NAME/P time=N | init-producer | disconnect conn=N
//	delete-records NAME/P below=N [wait=N] | epoch-end NAME/P epoch=N [current=N]
//	retained NAME/P start=N [disk-full]    storage says where the log starts
//	durable [count=N]    storage makes the oldest N appends durable, by default all
//	refuse               storage refuses every append in flight for lack of space
//	damage NAME/P        storage finds damage
//	looked-up offset=N time=N    storage answers the last lookup
//	tick to=N
//	elsewhere session=N  from now on node 2 is the controller, and an election takes as long as a session
//	heard [fenced behind]  it answers the heartbeat under way
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		w := newWorld()
		var lookup effect.Lookup
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "published" {
				var config string
				d.MaybeScanArgs(t, "config", &config)
				return published(w.b.Published(), config)
			}
			if d.Cmd == "elsewhere" {
				w.elsewhere(t, d)
				return ""
			}
			var out effect.Set
			if d.Cmd == "tick" {
				var to int
				d.ScanArgs(t, "to", &to)
				w.now = model.Time(to)
				w.b.Tick(w.now, model.Timestamp(to), &out)
			} else {
				w.b.Step(w.now, w.event(t, d, lookup), &out)
			}
			if len(out.Lookups) > 0 {
				lookup = out.Lookups[0]
			}
			w.inFlight = append(w.inFlight, out.Appends...)
			w.nameTopics()
			if err := w.b.Check(); err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			return w.readable(out.String()) + fmt.Sprintf("deadline %d\n", w.deadline())
		})
	})
}

// published prints what sessions go by.
func published(p *Published, config string) string {
	var b strings.Builder
	value := func(entries []effect.ConfigEntry) {
		for _, e := range entries {
			if e.Name == config || e.Name == "log."+config {
				fmt.Fprintf(&b, " %s=%s from %d", e.Name, e.Value, e.Source)
			}
		}
	}
	b.WriteString("node")
	value(p.View.DescribeNode(nil))
	fmt.Fprintf(&b, ", %d of %d partitions offline\n", p.OfflineCount(), p.View.PartitionCount())
	for topic := range p.View.Topics {
		fmt.Fprintf(&b, "topic %s: %d partitions", topic.Name, topic.PartitionCount())
		for index := range topic.Partitions {
			if p.Offline(model.TopicPartition{Topic: topic.ID, Partition: index}) {
				fmt.Fprintf(&b, ", %d offline", index)
			}
		}
		if kept, ok := p.Codecs.Named(topic.Name); ok {
			fmt.Fprintf(&b, ", kept as %v", kept.Codec)
		}
		value(p.View.DescribeTopic(topic))
		b.WriteByte('\n')
	}
	return b.String()
}

func (w *world) event(t *testing.T, d *datadriven.TestData, lookup effect.Lookup) Event {
	conn := 1
	d.MaybeScanArgs(t, "conn", &conn)
	to := effect.RequestID{Conn: effect.ConnID(conn), Request: w.requests}
	w.requests++
	switch d.Cmd {
	case "create":
		partitions := -1
		d.MaybeScanArgs(t, "partitions", &partitions)
		c := controller.CreateTopic{Name: d.CmdArgs[0].Key, PartitionCount: int32(partitions), ReplicationFactor: -1}
		if d.HasArg("config") {
			var name, value string
			d.ScanArgs(t, "config", &name, &value)
			c.Settings = append(c.Settings, metadata.ConfigSetting{Name: name, Value: value})
		}
		return &CreateTopics{To: to, Topics: []controller.CreateTopic{c}, ValidateOnly: d.HasArg("validate-only")}
	case "delete":
		return &DeleteTopics{To: to, Topics: []controller.DeleteTopic{{Name: d.CmdArgs[0].Key}}}
	case "ensure":
		return &EnsureTopics{To: to, Names: []string{d.CmdArgs[0].Key}}
	case "extend":
		var count int
		d.ScanArgs(t, "to", &count)
		return &CreatePartitions{To: to, Topics: []controller.AddPartitions{{Name: d.CmdArgs[0].Key, Count: int32(count)}}}
	case "alter":
		r := controller.AlterResource{Type: metadata.TopicResource, Name: d.CmdArgs[0].Key}
		if r.Name == "node" {
			r.Type, r.Name = metadata.NodeResource, ""
		}
		var name, value string
		d.ScanArgs(t, "config", &name, &value)
		r.Ops = []controller.AlterOp{{Setting: metadata.ConfigSetting{Name: name, Value: value}}}
		return &AlterConfigs{To: to, Resources: []controller.AlterResource{r}}
	case "delete-records":
		var below, wait int
		d.ScanArgs(t, "below", &below)
		d.MaybeScanArgs(t, "wait", &wait)
		name, partition := target(t, d)
		return &DeleteRecords{To: to, Wait: model.Time(wait), Wall: 1000, Parts: []DeleteRecordsPart{
			{Topic: TopicRef{Name: name}, Partition: partition, Offset: model.Offset(below)},
		}}
	case "retained":
		name, partition := target(t, d)
		var start int
		d.ScanArgs(t, "start", &start)
		r := effect.Retained{
			Partition:      model.TopicPartition{Topic: w.b.view.Named(name).ID, Partition: partition},
			LogStartOffset: model.Offset(start),
		}
		if d.HasArg("disk-full") {
			r.Failure = effect.DiskFull
		}
		return &Completed{effect.Completions{Retained: []effect.Retained{r}}}
	case "epoch-end":
		current, epoch := -1, 0
		d.ScanArgs(t, "epoch", &epoch)
		d.MaybeScanArgs(t, "current", &current)
		name, partition := target(t, d)
		return &EpochEnds{To: to, Parts: []EpochEndsPart{{
			Topic: TopicRef{Name: name}, Partition: partition, CurrentLeaderEpoch: model.LeaderEpoch(current), LeaderEpoch: model.LeaderEpoch(epoch),
		}}}
	case "produce":
		count, bytes, acks := 1, 100, -1
		d.MaybeScanArgs(t, "count", &count)
		d.MaybeScanArgs(t, "bytes", &bytes)
		d.MaybeScanArgs(t, "acks", &acks)
		at := 1000
		d.MaybeScanArgs(t, "time", &at)
		id, epoch, seq := model.NoProducerID, model.NoProducerEpoch, int(model.NoSequence)
		if d.MaybeScanArgs(t, "seq", &seq) {
			id, epoch = 7, 0
		}
		name, partition := target(t, d)
		return &Produce{To: to, Acks: int16(acks), Wall: 1000, Parts: []ProducePart{{
			Topic: TopicRef{Name: name}, Partition: partition, Batch: make([]byte, bytes),
			Header: record.Header{
				RecordCount: int32(count), LastOffsetDelta: int32(count - 1), SizeBytes: bytes,
				MinTimestamp: model.Timestamp(at), MaxTimestamp: model.Timestamp(at),
				ProducerID: id, ProducerEpoch: epoch, BaseSequence: model.Sequence(seq),
			},
		}}}
	case "fetch":
		from, least, wait := 0, 1, 500
		d.ScanArgs(t, "from", &from)
		d.MaybeScanArgs(t, "min", &least)
		d.MaybeScanArgs(t, "wait", &wait)
		name, partition := target(t, d)
		return &Fetch{Replica: model.NoNode, To: to, Wait: model.Time(wait), BytesMin: int32(least), BytesMax: 1 << 20, SessionEpoch: -1, Parts: []FetchPart{{
			Topic: TopicRef{Name: name}, Partition: partition, CurrentLeaderEpoch: model.NoLeaderEpoch,
			LastFetchedEpoch: model.NoLeaderEpoch, Offset: model.Offset(from), BytesMax: 1 << 20,
		}}}
	case "list":
		var at int
		d.ScanArgs(t, "time", &at)
		name, partition := target(t, d)
		return &ListOffsets{To: to, Parts: []ListOffsetsPart{{
			Topic: TopicRef{Name: name}, Partition: partition, CurrentLeaderEpoch: model.NoLeaderEpoch, Timestamp: model.Timestamp(at),
		}}}
	case "init-producer":
		return &InitProducerID{To: to, ID: model.NoProducerID, Epoch: model.NoProducerEpoch}
	case "disconnect":
		return &Disconnected{Conn: effect.ConnID(conn)}
	case "durable":
		count := len(w.inFlight)
		d.MaybeScanArgs(t, "count", &count)
		return &Completed{effect.Completions{Appended: w.durable(count)}}
	case "refuse":
		ev := &Completed{}
		for _, a := range w.inFlight {
			ev.Appended = append(ev.Appended, effect.Appended{
				Partition: a.Partition, Failure: effect.DiskFull, Attempt: a.Attempt, State: w.state(a.Partition).Clone(),
			})
		}
		w.inFlight = nil
		return ev
	case "damage":
		name, partition := target(t, d)
		topic := w.b.view.Named(name)
		return &Completed{effect.Completions{Damaged: []effect.Damaged{{
			Partition: model.TopicPartition{Topic: topic.ID, Partition: partition}, Detail: "a bit flipped",
		}}}}
	case "heard":
		return &Answered{effect.Answer{From: 2, ID: w.b.self.call, Body: &effect.BrokerHeartbeatAnswered{IsFenced: d.HasArg("fenced"), IsCaughtUp: !d.HasArg("behind")}}}
	case "looked-up":
		var offset, at int
		d.ScanArgs(t, "offset", &offset)
		d.ScanArgs(t, "time", &at)
		return &Completed{effect.Completions{LookedUp: []effect.LookedUp{{
			To: lookup.To, Index: lookup.Index, Partition: lookup.Partition, Offset: model.Offset(offset), Timestamp: model.Timestamp(at),
		}}}}
	}
	t.Fatalf("%s: unknown verb %q", d.Pos, d.Cmd)
	return nil
}

// elsewhere makes another node the controller.
func (w *world) elsewhere(t *testing.T, d *datadriven.TestData) {
	var session int
	d.ScanArgs(t, "session", &session)
	b := w.b
	address := effect.Address{Host: "node2", Port: 9092}
	b.config.Controller.SessionTimeout, b.members.HeartbeatInterval = model.Time(session), model.Time(session/10)
	b.config.Quorum.Voters = append(b.config.Quorum.Voters, VoterAddress{Node: 2, Address: address})
	b.config.Quorum.Log.Quorum.ElectionTicks, b.config.Quorum.Log.Quorum.TickInterval = 1, model.Time(session/2)
	b.voter, b.hint, b.self.nextAt = nil, 2, w.now
}

func target(t *testing.T, d *datadriven.TestData) (string, model.Partition) {
	name, index, _ := strings.Cut(d.CmdArgs[0].Key, "/")
	var partition int
	if _, err := fmt.Sscan(index, &partition); err != nil {
		t.Fatalf("%s: %v", d.Pos, err)
	}
	return name, model.Partition(partition)
}

func (w *world) state(tp model.TopicPartition) *log.State {
	if w.held[tp] == nil {
		w.held[tp] = log.New(0)
	}
	return w.held[tp]
}

// durable applies the oldest appends to what storage holds. Headers are made up where the script's
// batches are only lengths; the controller's are real.
func (w *world) durable(count int) []effect.Appended {
	var done []effect.Appended
	for _, a := range w.inFlight[:count] {
		s := w.state(a.Partition)
		next := w.b.nextOffsetAfter(a)
		s.Apply(record.Header{
			BaseOffset: a.BaseOffset, LastOffsetDelta: int32(next - a.BaseOffset - 1), RecordCount: int32(next - a.BaseOffset),
			ProducerID: model.NoProducerID, ProducerEpoch: model.NoProducerEpoch, BaseSequence: model.NoSequence,
		})
		done = append(done, effect.Appended{Partition: a.Partition, NextOffset: next})
	}
	w.inFlight = w.inFlight[count:]
	return done
}

// nextOffsetAfter is where an append in flight ends: the base of the next one to the same log, or the
// log's decided end.
func (b *Broker) nextOffsetAfter(a effect.Append) model.Offset {
	if metalog.Holds(a.Partition) {
		return a.BaseOffset + model.Offset(record.Batch(a.Batch).LastOffsetDelta()) + 1
	}
	p := b.partitions.get(a.Partition)
	if p == nil {
		return a.BaseOffset + 1
	}
	return p.replica.LogEndOffset()
}

// nameTopics remembers topic ids in order of appearance, so that output can name them.
func (w *world) nameTopics() {
	for topic := range w.b.view.Topics {
		known := false
		for _, id := range w.ids {
			known = known || id == topic.ID
		}
		if !known {
			w.ids, w.names = append(w.ids, topic.ID), append(w.names, topic.Name)
		}
	}
}

func (w *world) readable(s string) string {
	s = strings.ReplaceAll(s, model.MetadataTopicID.String(), "metadata")
	for i, id := range w.ids {
		s = strings.ReplaceAll(s, id.String(), w.names[i])
	}
	return s
}

// deadline is the broker's, without those of the quorum and the membership, which stand still here.
func (w *world) deadline() model.Time {
	if d := w.b.Deadline(); d < 1<<50 {
		return d
	}
	return 0
}
