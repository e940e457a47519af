package controller

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

func (l *life) alter(t *testing.T, resources ...AlterResource) []effect.ConfigAltered {
	t.Helper()
	return l.ask(t, func(to effect.RequestID, out *effect.Set) { l.c.Alter(to, resources, false, out) }).(*effect.ConfigsAltered).Resources
}

func topicOps(name string, ops ...AlterOp) AlterResource {
	return AlterResource{Type: metadata.TopicResource, Name: name, Ops: ops}
}

func set(name, value string) AlterOp {
	return AlterOp{Kind: OpSet, Setting: metadata.ConfigSetting{Name: name, Value: value}}
}

func unset(name string) AlterOp {
	return AlterOp{Kind: OpDelete, Setting: metadata.ConfigSetting{Name: name, Null: true}}
}

// sources is a configuration's value and synonyms as "value value@source ...".
func sources(entries []effect.ConfigEntry, name string) string {
	for _, e := range entries {
		if e.Name == name {
			out := []string{e.Value}
			for _, s := range e.Synonyms {
				out = append(out, s.Name+"="+s.Value+"@"+string('0'+rune(s.Source)))
			}
			return strings.Join(out, " ")
		}
	}
	return "absent"
}

func TestAConfigurationCountsFromTheMostSpecificPlaceThatSetsIt(t *testing.T) {
	static := metadata.DefaultNodeConfig()
	static.Topic.Log.RetentionMs = 4
	l := newLifeOf(t, 1, static)
	l.topic(t, "t", 1, 1)
	want := func(said string) {
		t.Helper()
		topic := l.view.Named("t")
		if got := sources(l.view.DescribeTopic(topic), "retention.ms"); got != said {
			t.Errorf("described as %s, want %s", got, said)
		}
		if value, _, _ := strings.Cut(said, " "); value != sources([]effect.ConfigEntry{{Name: "x", Value: metadata.TopicSetting("retention.ms").Get(&metadata.NodeConfig{Topic: l.view.TopicConfig(topic)})}}, "x") {
			t.Errorf("in force is %d", l.view.TopicConfig(topic).Log.RetentionMs)
		}
	}
	node := func(name string, op AlterOp) {
		t.Helper()
		if a := l.alter(t, AlterResource{Type: metadata.NodeResource, Name: name, Ops: []AlterOp{op}})[0]; a.Code != 0 {
			t.Fatalf("%+v", a)
		}
	}
	const file = "log.retention.ms=4@4 log.retention.ms=604800000@5"
	want("4 " + file)
	node("", set("log.retention.ms", "3"))
	want("3 log.retention.ms=3@3 " + file)
	node("1", set("log.retention.ms", "2"))
	want("2 log.retention.ms=2@2 log.retention.ms=3@3 " + file)
	l.alter(t, topicOps("t", set("retention.ms", "1")))
	want("1 retention.ms=1@1 log.retention.ms=2@2 log.retention.ms=3@3 " + file)
	node("1", unset("log.retention.ms"))
	want("1 retention.ms=1@1 log.retention.ms=3@3 " + file)
	l.alter(t, topicOps("t", unset("retention.ms")))
	want("3 log.retention.ms=3@3 " + file)
	node("", unset("log.retention.ms"))
	want("4 " + file)
	if left := append(l.view.NodeSettings(""), l.view.NodeSettings("1")...); len(left) != 0 {
		t.Errorf("nothing is set and something is kept: %+v", left)
	}
}

func TestChangesOfNodesReachTopicsThatSayNothingThemselves(t *testing.T) {
	l := newLife(t, 1)
	l.topic(t, "own", 1, 1, metadata.ConfigSetting{Name: "max.message.bytes", Value: "100"})
	l.topic(t, "other", 1, 1)
	l.changes = nil
	l.alter(t, AlterResource{Type: metadata.NodeResource, Ops: []AlterOp{set("message.max.bytes", "200")}})
	changes := l.changes
	if len(changes) != 1 || len(changes[0].Topics) != 0 || !slices.Equal(changes[0].Nodes, []string{""}) {
		t.Fatalf("%+v", changes)
	}
	bytesMax := func(name string) int32 { return l.view.TopicConfig(l.view.Named(name)).MessageBytesMax }
	if bytesMax("own") != 100 || bytesMax("other") != 200 {
		t.Errorf("own %d, other %d", bytesMax("own"), bytesMax("other"))
	}
	l.topic(t, "later", 1, 1)
	if bytesMax("later") != 200 {
		t.Errorf("a topic created later has %d", bytesMax("later"))
	}
}

func TestAlterationsThatAreRefused(t *testing.T) {
	l := newLife(t, 1)
	l.topic(t, "t", 1, 1, metadata.ConfigSetting{Name: "retention.ms", Value: "5"})
	before := l.view.Named("t")
	for _, c := range []struct {
		rule string
		in   AlterResource
		code *kerr.Error
	}{
		{"a topic must exist", topicOps("nobody", set("retention.ms", "1")), kerr.UnknownTopicOrPartition},
		{"a topic's name must be one", topicOps("a/b", set("retention.ms", "1")), kerr.InvalidTopicException},
		{"a configuration must exist", topicOps("t", set("no.such", "1")), kerr.InvalidConfig},
		{"what is deleted must exist, too", topicOps("t", unset("no.such")), kerr.InvalidConfig},
		{"a value must fit", topicOps("t", set("retention.ms", "soon")), kerr.InvalidConfig},
		{"all or nothing", topicOps("t", set("max.message.bytes", "7"), set("retention.ms", "soon")), kerr.InvalidConfig},
		{"a value must be there", topicOps("t", AlterOp{Setting: metadata.ConfigSetting{Name: "retention.ms", Null: true}}), kerr.InvalidRequest},
		{"each once", topicOps("t", set("retention.ms", "1"), unset("retention.ms")), kerr.InvalidRequest},
		{"operations are four", topicOps("t", AlterOp{Kind: 9, Setting: metadata.ConfigSetting{Name: "retention.ms"}}), kerr.InvalidRequest},
		{"only lists are appended to", topicOps("t", AlterOp{Kind: OpAppend, Setting: metadata.ConfigSetting{Name: "retention.ms", Value: "1"}}), kerr.InvalidConfig},
		{"a list without members is not a policy", topicOps("t", AlterOp{Kind: OpSubtract, Setting: metadata.ConfigSetting{Name: "cleanup.policy", Value: "delete"}}), kerr.InvalidConfig},
		{"another broker", AlterResource{Type: metadata.NodeResource, Name: "2", Ops: []AlterOp{set("num.partitions", "2")}}, kerr.InvalidRequest},
		{"not a broker", AlterResource{Type: metadata.NodeResource, Name: "one", Ops: []AlterOp{set("num.partitions", "2")}}, kerr.InvalidRequest},
		{"a broker by another spelling", AlterResource{Type: metadata.NodeResource, Name: "01"}, kerr.InvalidRequest},
		{"fixed at the start", AlterResource{Type: metadata.NodeResource, Name: "1", Ops: []AlterOp{set("log.dirs", "/")}}, kerr.InvalidRequest},
		{"a topic's name of it", AlterResource{Type: metadata.NodeResource, Name: "1", Ops: []AlterOp{set("retention.ms", "1")}}, kerr.InvalidRequest},
		{"a broker's value must fit", AlterResource{Type: metadata.NodeResource, Ops: []AlterOp{set("num.partitions", "0")}}, kerr.InvalidRequest},
		{"other resources", AlterResource{Type: 16, Name: "x"}, kerr.InvalidRequest},
	} {
		if got := l.alter(t, c.in)[0]; got.Code != c.code.Code || got.Message == "" {
			t.Errorf("%s: %s %q, want %s", c.rule, effect.CodeName(got.Code), got.Message, c.code.Message)
		}
	}
	if after := l.view.Named("t"); after != before {
		t.Errorf("something changed: %+v", after)
	}
	for _, a := range l.alter(t, topicOps("t", set("retention.ms", "1")), topicOps("t", set("segment.ms", "1"))) {
		if a.Code != kerr.InvalidRequest.Code {
			t.Errorf("a resource that is named twice: %s", effect.CodeName(a.Code))
		}
	}
}

func TestReplacingForgetsWhatIsNotNamed(t *testing.T) {
	l := newLife(t, 1)
	l.topic(t, "t", 1, 1, metadata.ConfigSetting{Name: "retention.ms", Value: "5"}, metadata.ConfigSetting{Name: "segment.ms", Value: "6"})
	in := topicOps("t", set("segment.ms", " 6"), set("max.message.bytes", "7"))
	in.Replace = true
	l.alter(t, in)
	want := []metadata.ConfigSetting{{Name: "max.message.bytes", Value: "7"}, {Name: "segment.ms", Value: "6"}}
	if got := l.view.Named("t").Settings; !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestListsAreAppendedToAndTakenFrom(t *testing.T) {
	l := newLife(t, 1)
	l.topic(t, "t", 1, 1)
	for _, c := range []struct {
		kind OpKind
		ok   bool
	}{{OpAppend, true}, {OpSubtract, false}} {
		a := l.alter(t, topicOps("t", AlterOp{Kind: c.kind, Setting: metadata.ConfigSetting{Name: "cleanup.policy", Value: "delete"}}))[0]
		if (a.Code == 0) != c.ok {
			t.Errorf("operation %d: %+v", c.kind, a)
		}
	}
	if got := combine([]string{"a", "b"}, []string{"b", "c"}, OpAppend); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("appended: %v", got)
	}
	if got := combine([]string{"a", "b"}, []string{"b", "c"}, OpSubtract); !slices.Equal(got, []string{"a"}) {
		t.Errorf("subtracted: %v", got)
	}
}

func TestValidatingWritesNothing(t *testing.T) {
	l := newLife(t, 1)
	l.topic(t, "t", 1, 1)
	records := len(l.log)
	var out effect.Set
	to := effect.RequestID{Conn: 1, Request: 1}
	l.c.Alter(to, []AlterResource{topicOps("t", set("retention.ms", "1"))}, true, &out)
	l.c.Extend(to, []AddPartitions{{Name: "t", Count: 4}}, true, &out)
	if l.c.Take(&out) != nil || len(out.Replies) != 2 || len(l.log) != records {
		t.Fatalf("%v", out.String())
	}
	if a := out.Replies[0].Body.(*effect.ConfigsAltered).Resources[0]; a.Code != 0 {
		t.Errorf("%+v", a)
	}
}

func TestNothingIsWrittenForWhatIsSoAlready(t *testing.T) {
	l := newLife(t, 1)
	l.topic(t, "t", 1, 1, metadata.ConfigSetting{Name: "retention.ms", Value: "5"})
	batches := len(l.log)
	if a := l.alter(t, topicOps("t", set("retention.ms", "5"), unset("segment.ms")))[0]; a.Code != 0 || len(l.log) != batches {
		t.Errorf("%+v, %d batches written", a, len(l.log)-batches)
	}
}

func TestPartitionsAreOnlyAdded(t *testing.T) {
	l := newLife(t, 1)
	l.topic(t, "t", 1, 1)
	extend := func(in ...AddPartitions) []effect.TopicExtended {
		return l.ask(t, func(to effect.RequestID, out *effect.Set) { l.c.Extend(to, in, false, out) }).(*effect.PartitionsCreated).Topics
	}
	here := []model.NodeID{1}
	for _, c := range []struct {
		rule string
		in   AddPartitions
		code int16
	}{
		{"more", AddPartitions{Name: "t", Count: 3}, 0},
		{"as many", AddPartitions{Name: "t", Count: 3}, kerr.InvalidPartitions.Code},
		{"fewer", AddPartitions{Name: "t", Count: 2}, kerr.InvalidPartitions.Code},
		{"none", AddPartitions{Name: "t", Count: -1}, kerr.InvalidPartitions.Code},
		{"too many", AddPartitions{Name: "t", Count: 1 << 30}, kerr.PolicyViolation.Code},
		{"a topic that is not there", AddPartitions{Name: "u", Count: 2}, kerr.UnknownTopicOrPartition.Code},
		{"too few assignments", AddPartitions{Name: "t", Count: 5, Assigned: true, Assignments: [][]model.NodeID{here}}, kerr.InvalidReplicaAssignment.Code},
		{"elsewhere", AddPartitions{Name: "t", Count: 4, Assigned: true, Assignments: [][]model.NodeID{{2}}}, kerr.InvalidReplicaAssignment.Code},
		{"assigned", AddPartitions{Name: "t", Count: 4, Assigned: true, Assignments: [][]model.NodeID{here}}, 0},
	} {
		if got := extend(c.in)[0]; got.Code != c.code || c.code != 0 && got.Message == "" {
			t.Errorf("%s: %s %q", c.rule, effect.CodeName(got.Code), got.Message)
		}
	}
	for _, a := range extend(AddPartitions{Name: "t", Count: 5}, AddPartitions{Name: "t", Count: 6}) {
		if a.Code != kerr.InvalidRequest.Code {
			t.Errorf("a topic that is named twice: %s", effect.CodeName(a.Code))
		}
	}
	if n := l.view.Named("t").PartitionCount(); n != 4 || l.view.PartitionCount() != 4 {
		t.Errorf("%d partitions, %d counted", n, l.view.PartitionCount())
	}
}

func TestATopicNamedTwiceIsRefusedWhereverItStands(t *testing.T) {
	l := newLife(t, 1)
	one := CreateTopic{Name: "a", PartitionCount: 1, ReplicationFactor: 1}
	other := one
	other.Name = "b"
	created := l.ask(t, func(to effect.RequestID, out *effect.Set) {
		l.c.Create(to, []CreateTopic{one, other, one}, false, out)
	}).(*effect.TopicsCreated).Topics
	if created[0].Code != kerr.InvalidRequest.Code || created[1].Code != 0 || created[2].Code != kerr.InvalidRequest.Code {
		t.Errorf("%+v", created)
	}
	id := l.view.Named("b").ID
	deleted := l.ask(t, func(to effect.RequestID, out *effect.Set) {
		l.c.Delete(to, []DeleteTopic{
			{Name: "b"}, {ByID: true, ID: id}, {Name: "x"}, {Name: "x"}, {Name: ""}, {ByID: true}, {Problem: "neither"},
		}, out)
	}).(*effect.TopicsDeleted).Topics
	for i, code := range []*kerr.Error{
		kerr.InvalidRequest, kerr.InvalidRequest, kerr.InvalidRequest, kerr.InvalidRequest,
		kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InvalidRequest,
	} {
		if deleted[i].Code != code.Code {
			t.Errorf("deletion %d: %+v, want %s", i, deleted[i], code.Message)
		}
	}
}

func TestNamesThatMetricsCannotTellApartCollide(t *testing.T) {
	l := newLife(t, 1)
	create := func(names ...string) []effect.TopicCreated {
		var in []CreateTopic
		for _, n := range names {
			in = append(in, CreateTopic{Name: n, PartitionCount: 1, ReplicationFactor: 1})
		}
		return l.ask(t, func(to effect.RequestID, out *effect.Set) { l.c.Create(to, in, false, out) }).(*effect.TopicsCreated).Topics
	}
	if c := create("a.b", "ab", "a-b"); c[0].Code != 0 || c[1].Code != 0 || c[2].Code != 0 {
		t.Errorf("%+v", c)
	}
	if c := create("a_b"); c[0].Code != kerr.InvalidTopicException.Code || !strings.Contains(c[0].Message, "a.b") {
		t.Errorf("%+v", c)
	}
	if c := create("c.d", "c_d"); c[0].Code != 0 || c[1].Code != kerr.InvalidTopicException.Code {
		t.Errorf("%+v", c)
	}
	l.ask(t, func(to effect.RequestID, out *effect.Set) { l.c.Delete(to, []DeleteTopic{{Name: "a.b"}}, out) })
	if c := create("a_b"); c[0].Code != 0 {
		t.Errorf("the name is free again: %+v", c)
	}
}

// Whatever is asked, the log that was written gives the image that wrote it.
func TestAnyHistoryLoadsToTheImageThatItMade(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l := newLife(t, 1)
		name := rapid.SampledFrom([]string{"a", "b", "a.c", "a_c"})
		key := rapid.SampledFrom([]string{"retention.ms", "max.message.bytes", "message.timestamp.type", "nonsense"})
		nodeKey := rapid.SampledFrom([]string{"log.retention.ms", "message.max.bytes", "num.partitions", "auto.create.topics.enable", "log.dirs"})
		value := rapid.SampledFrom([]string{"1", "2000", "LogAppendTime", "CreateTime", "false", "x"})
		op := func(key *rapid.Generator[string]) AlterOp {
			return AlterOp{
				Kind:    OpKind(rapid.IntRange(0, 3).Draw(r, "op")),
				Setting: metadata.ConfigSetting{Name: key.Draw(r, "key"), Value: value.Draw(r, "value")},
			}
		}
		for range rapid.IntRange(1, 25).Draw(r, "steps") {
			l.ask(t, func(to effect.RequestID, out *effect.Set) {
				switch rapid.IntRange(0, 5).Draw(r, "what") {
				case 0, 1:
					l.c.Create(to, []CreateTopic{
						{Name: name.Draw(r, "name"), PartitionCount: int32(rapid.IntRange(-1, 3).Draw(r, "count")), ReplicationFactor: -1},
						{Name: name.Draw(r, "name"), PartitionCount: -1, ReplicationFactor: 1},
					}, false, out)
				case 2:
					l.c.Delete(to, []DeleteTopic{{Name: name.Draw(r, "name")}}, out)
				case 3:
					a := topicOps(name.Draw(r, "name"), op(key), op(key))
					a.Replace = rapid.Bool().Draw(r, "replace")
					l.c.Alter(to, []AlterResource{a}, false, out)
				case 4:
					node := rapid.SampledFrom([]string{"", "1", "2"}).Draw(r, "node")
					l.c.Alter(to, []AlterResource{{Type: metadata.NodeResource, Name: node, Ops: []AlterOp{op(nodeKey)}}}, false, out)
				case 5:
					l.c.Extend(to, []AddPartitions{{Name: name.Draw(r, "name"), Count: int32(rapid.IntRange(0, 6).Draw(r, "count"))}}, false, out)
				}
			})
		}
		if view := l.view; !load(r, l.log).Equal(view.Image) {
			r.Fatalf("the log gives another image than %+v", view.Image)
		}
	})
}
