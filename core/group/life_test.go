package group

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// run performs one line of a script and verifies what it came to.
func (w *world) run(line string) *effect.Set {
	w.t.Helper()
	cmd, args, err := datadriven.ParseLine(line)
	if err != nil {
		w.t.Fatal(err)
	}
	var out effect.Set
	w.do(&datadriven.TestData{Pos: line, Cmd: cmd, CmdArgs: args}, &out)
	scan(w.c, w.log, w.time(), &out)
	w.retain(&out)
	w.learn(&out)
	w.verify(line)
	return &out
}

// TestLoadingGivesTheStateOfLivingThroughIt lives random lives: after every step the invariants hold, and the durable log
// says what the coordinator knows. In the end everybody has been answered, and nothing stays but what was committed.
func TestLoadingGivesTheStateOfLivingThroughIt(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(r)
		w.config.OffsetsRetentionMs = 50_000
		w.config.LogBytesMin = rapid.SampledFrom([]int64{600, 3000, 1 << 20}).Draw(r, "log")
		var out effect.Set
		w.start(&out)
		w.run(fmt.Sprintf("config delay=%d size=%d", rapid.SampledFrom([]int{0, 3000}).Draw(r, "delay"), rapid.IntRange(2, 9).Draw(r, "size")))
		for range rapid.IntRange(10, 80).Draw(r, "steps") {
			w.run(randomStep(r, w))
		}
		w.run("durable")
		for range 60 {
			w.run("tick by=10000 durable")
		}
		w.run("durable")
		if len(w.open) > 0 {
			r.Fatalf("requests that were never answered: %v", w.open)
		}
		for _, g := range w.c.order {
			if len(g.members)+len(g.pending)+len(g.queue) > 0 {
				r.Fatalf("group %q still has %d members, %d pending, %d put off", g.id, len(g.members), len(g.pending), len(g.queue))
			}
		}
		if len(w.c.order) > 0 {
			r.Fatalf("%d groups outlived the retention", len(w.c.order))
		}
		if used := w.c.memory.UsedBytes(); used != 0 {
			r.Fatalf("%d bytes are counted for nothing", used)
		}
	})
}

var stepNames = []string{"a", "b", "c", "d", "e"}

func randomStep(r *rapid.T, w *world) string {
	g := rapid.SampledFrom([]string{"g", "g", "g", "h"}).Draw(r, "group")
	n := rapid.SampledFrom(stepNames).Draw(r, "name")
	generation := int32(0)
	if at := w.c.groups[g]; at != nil {
		generation = at.generation - int32(rapid.SampledFrom([]int{0, 0, 0, 0, 1}).Draw(r, "stale"))
		if len(at.members) > 0 && rapid.Bool().Draw(r, "leader") {
			n = w.nameOf(at.leader)
		}
	}
	instance := ""
	if n == "d" || n == "e" {
		instance = " instance=i-" + n
	}
	switch rapid.SampledFrom([]string{
		"join", "join", "join", "join", "sync", "sync", "sync", "heartbeat", "leave", "commit", "commit", "commit", "durable", "durable", "durable",
		"one", "refuse", "tick", "tick", "reload", "delete", "delete-offsets", "topic", "fetch",
	}).Draw(r, "verb") {
	case "join":
		fresh := rapid.SampledFrom([]string{"", "", "", " new"}).Draw(r, "new")
		protocols := rapid.SampledFrom([]string{"(range,sticky)", "(range,sticky)", "(sticky,range)", "(range)"}).Draw(r, "protocols")
		topics := rapid.SampledFrom([]string{"(t)", "(t)", "(t,u)"}).Draw(r, "topics")
		return fmt.Sprintf("join %s group=%s version=%d session=%d protocols=%s topics=%s%s%s", n, g,
			rapid.SampledFrom([]int{1, 5, 9}).Draw(r, "version"), rapid.IntRange(6000, 20_000).Draw(r, "session"), protocols, topics, instance, fresh)
	case "sync":
		var given []string
		for _, m := range stepNames {
			given = append(given, m+":"+m+"s")
		}
		return fmt.Sprintf("sync %s group=%s generation=%d assign=(%s)%s", n, g, generation, strings.Join(given, ","), instance)
	case "heartbeat":
		return fmt.Sprintf("heartbeat %s group=%s generation=%d%s", n, g, generation, instance)
	case "leave":
		return fmt.Sprintf("leave %s group=%s", n, g)
	case "commit":
		offset := rapid.IntRange(0, 1000).Draw(r, "offset")
		where := rapid.SampledFrom([]string{"t/0=%d", "t/1=%d u/0=7", "u/1=%d", "nope/0=%d t/2=1"}).Draw(r, "where")
		who := rapid.SampledFrom([]string{"", fmt.Sprintf(" as=%s generation=%d%s", n, generation, instance), " retention=9000"}).Draw(r, "who")
		return "commit " + fmt.Sprintf(where, offset) + " group=" + g + who
	case "one":
		if w.log.end > w.log.highWatermark {
			return "durable count=1"
		}
		return "durable"
	case "tick":
		return fmt.Sprintf("tick by=%d", rapid.SampledFrom([]int{0, 1, 900, 5000, 70_000}).Draw(r, "by"))
	case "delete":
		return "delete " + g
	case "delete-offsets":
		return "delete-offsets t/0 u/0 group=" + g
	case "topic":
		if _, ok := w.topics["u"]; ok {
			return "delete-topic u"
		}
		return "create-topic u"
	case "fetch":
		return "fetch-all group=" + g
	case "refuse":
		return "refuse"
	case "reload":
		return "reload"
	}
	return "durable"
}

func (w *world) nameOf(id string) string {
	for _, n := range stepNames {
		if w.ids[n] == id {
			return n
		}
	}
	return "a"
}

func TestRecordsReadBackAsTheyWereWritten(t *testing.T) {
	text := rapid.StringN(0, 20, 40)
	rapid.Check(t, func(r *rapid.T) {
		id, k := text.Draw(r, "group"), offsetKey{text.Draw(r, "topic"), model.Partition(rapid.Int32().Draw(r, "partition"))}
		v := committed{
			offset: model.Offset(rapid.Int64().Draw(r, "offset")), leaderEpoch: model.LeaderEpoch(rapid.Int32().Draw(r, "epoch")), metadata: text.Draw(r, "metadata"),
			commitTimestamp: model.Timestamp(rapid.Int64().Draw(r, "at")), expireTimestamp: model.NoTimestamp, topicID: model.TopicID{3: rapid.Byte().Draw(r, "id")},
		}
		if rapid.Bool().Draw(r, "expires") {
			v.expireTimestamp, v.leaderEpoch, v.topicID = model.Timestamp(rapid.Int64Range(0, 1<<60).Draw(r, "expire")), model.NoLeaderEpoch, model.TopicID{}
		}
		got, err := readRecord(appendOffsetKey(nil, id, k), appendOffsetValue(nil, &v))
		if err != nil || got.isGroup || got.group != id || got.key != k || *got.committed != v {
			r.Fatalf("%v: %+v", err, got)
		}
		if got, err = readRecord(appendOffsetKey(nil, id, k), nil); err != nil || got.committed != nil || got.key != k {
			r.Fatalf("%v: %+v", err, got)
		}

		saved := &protocol.GroupMetadataValue{
			ProtocolType: "consumer", Generation: rapid.Int32().Draw(r, "generation"), Protocol: protocol.String("range"),
			CurrentStateTimestamp: rapid.Int64().Draw(r, "since"),
		}
		for i := range rapid.IntRange(1, 4).Draw(r, "members") {
			m := protocol.Add(&saved.Members)
			m.MemberID, m.ClientID, m.ClientHost = fmt.Sprint(i), text.Draw(r, "client"), text.Draw(r, "host")
			if rapid.Bool().Draw(r, "static") {
				m.GroupInstanceID = protocol.String(fmt.Sprint("i", i))
			}
			m.SessionTimeout, m.RebalanceTimeout = rapid.Int32Range(0, 1<<30).Draw(r, "session"), rapid.Int32().Draw(r, "rebalance")
			m.Subscription = rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(r, "subscription")
			m.Assignment = rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(r, "assignment")
		}
		saved.Leader = protocol.String("0")
		b := appendGroupValue(nil, saved)
		got, err = readRecord(appendGroupKey(nil, id), b)
		if err != nil || !got.isGroup || got.group != id || !slices.Equal(appendGroupValue(nil, got.saved), b) {
			r.Fatalf("%v: %+v", err, got)
		}
	})
}

func TestPartitionOfAGroupIsKafkas(t *testing.T) {
	// Java: Math.abs("...".hashCode()) % 50.
	for id, hash := range map[string]int32{
		"": 0, "a": 97, "console-consumer-12345": -1, "größe": -1, "😀": -1, "polygenelubricants": -1 << 31,
	} {
		if hash != -1 && javaHash(id) != hash {
			t.Errorf("%q hashes to %d, not %d", id, javaHash(id), hash)
		}
		if p := PartitionOf(id, 50); p < 0 || p >= 50 {
			t.Errorf("%q belongs to partition %d", id, p)
		}
	}
	if javaHash("😀") != 31*0xd83d+0xde00 {
		t.Errorf("a surrogate pair hashes to %d", javaHash("😀"))
	}
	if PartitionOf("polygenelubricants", 50) != 0 {
		t.Error("the smallest integer has no magnitude in Java, and counts as 0")
	}
}
