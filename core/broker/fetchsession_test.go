package broker

import (
	"fmt"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/replica"
)

// withPartitions is a world with one topic "t" of some partitions.
func withPartitions(t *testing.T, count int32) *world {
	t.Helper()
	w := newWorld()
	w.step(t, &CreateTopics{Topics: []controller.CreateTopic{{Name: "t", PartitionCount: count, ReplicationFactor: 1}}})
	w.durableAll(t)
	return w
}

func (w *world) produceTo(t *testing.T, partition model.Partition, bytes int) effect.Set {
	t.Helper()
	w.step(t, &Produce{Acks: -1, Wall: 1000, Parts: []ProducePart{{
		Topic: TopicRef{Name: "t"}, Partition: partition, Batch: make([]byte, bytes),
		Header: record.Header{
			RecordCount: 1, SizeBytes: bytes, MaxTimestamp: 1000,
			ProducerID: model.NoProducerID, ProducerEpoch: model.NoProducerEpoch, BaseSequence: model.NoSequence,
		},
	}}})
	return w.durableAll(t)
}

func want(partition model.Partition, offset model.Offset) FetchPart {
	return FetchPart{
		Index: int32(partition), Topic: TopicRef{Name: "t"}, Partition: partition,
		CurrentLeaderEpoch: model.NoLeaderEpoch, LastFetchedEpoch: model.NoLeaderEpoch, Offset: offset, BytesMax: 1 << 20,
	}
}

func pollOf(conn effect.ConnID, id, epoch int32, wait model.Time, parts ...FetchPart) *Fetch {
	for i := range parts {
		parts[i].Index = int32(i)
	}
	return &Fetch{
		Replica: model.NoNode,
		To:      effect.RequestID{Conn: conn}, Wait: wait, BytesMin: 1, BytesMax: 1 << 24, SessionID: id, SessionEpoch: epoch, Parts: parts,
	}
}

func only(t *testing.T, out effect.Set) *effect.FetchReply {
	t.Helper()
	if len(out.Reads) != 1 {
		t.Fatalf("%d answers, want one: %s", len(out.Reads), out.String())
	}
	return out.Reads[0].Fetch
}

func told(r *effect.FetchReply) string {
	s := fmt.Sprintf("session %d:", r.SessionID)
	if r.Code != 0 {
		s = effect.CodeName(r.Code) + ":"
	}
	for _, p := range r.Parts {
		s += fmt.Sprintf(" %d", p.Partition.Partition)
		if p.Code != 0 {
			s += " " + effect.CodeName(p.Code)
			continue
		}
		s += fmt.Sprintf(" %d-%d of %d-%d", p.From, p.To, p.LogStartOffset, p.HighWatermark)
	}
	return s
}

func TestASessionTellsOnlyWhatChanged(t *testing.T) {
	w := withPartitions(t, 3)
	w.produceTo(t, 1, 100)
	expect := func(what string, out effect.Set, want string) {
		t.Helper()
		if got := told(only(t, out)); got != want {
			t.Errorf("%s: told %q, want %q", what, got, want)
		}
	}
	expect("the full fetch has everything", w.step(t, pollOf(1, 0, 0, 0, want(0, 0), want(1, 0), want(2, 0))), "session 1: 0 0-0 of 0-0 1 0-1 of 0-1 2 0-0 of 0-0")
	expect("what was not consumed is told again", w.step(t, pollOf(1, 1, 1, 0)), "session 1: 1 0-1 of 0-1")
	expect("a client that moved on has heard it all", w.step(t, pollOf(1, 1, 2, 0, want(1, 1))), "session 1:")
	if out := w.step(t, pollOf(1, 1, 3, 500)); len(out.Reads) != 0 || w.b.ParkedFetchCount() != 1 {
		t.Fatal("there is nothing to tell, and the poll does not wait")
	}
	expect("data wakes a poll", w.produceTo(t, 2, 100), "session 1: 2 0-1 of 0-1")
	w.step(t, pollOf(1, 1, 4, 500, want(2, 1)))
	var out effect.Set
	w.now = 500
	w.b.Tick(w.now, 500, &out)
	expect("a poll does not wait for ever", out, "session 1:")

	ev := pollOf(1, 1, 5, 0)
	ev.Forget = []ForgetPart{{Topic: TopicRef{Name: "t"}, Partition: 2}, {Topic: TopicRef{Name: "t"}, Partition: 9}}
	w.step(t, ev)
	w.produceTo(t, 2, 100)
	expect("what is forgotten is not told", w.step(t, pollOf(1, 1, 6, 0)), "session 1:")
	expect("what is added is told", w.step(t, pollOf(1, 1, 7, 0, want(2, 1))), "session 1: 2 1-2 of 0-2")
	expect("what is not there is told each time", w.step(t, pollOf(1, 1, 8, 0, want(2, 2), want(7, 0))), "session 1: 7 UNKNOWN_TOPIC_OR_PARTITION")
	expect("what is not there is told each time", w.step(t, pollOf(1, 1, 9, 500)), "session 1: 7 UNKNOWN_TOPIC_OR_PARTITION")
	w.step(t, &CreatePartitions{Topics: []controller.AddPartitions{{Name: "t", Count: 8}}})
	w.durableAll(t)
	expect("what came to be is told", w.step(t, pollOf(1, 1, 10, 0)), "session 1: 7 0-0 of 0-0")

	tp := w.b.partitions.order[1].replica.Partition()
	w.step(t, &Completed{effect.Completions{Retained: []effect.Retained{{Partition: tp, LogStartOffset: 1}}}})
	expect("a log start that moved is told", w.step(t, pollOf(1, 1, 11, 0)), "session 1: 1 1-1 of 1-1")
	w.step(t, pollOf(1, 1, 12, 500))
	expect("damage wakes a poll", w.step(t, &Completed{effect.Completions{Damaged: []effect.Damaged{{Partition: tp, Detail: "a bit flipped"}}}}), "session 1: 1 KAFKA_STORAGE_ERROR")

	all := pollOf(1, 1, 13, 0)
	for p := range model.Partition(8) {
		all.Forget = append(all.Forget, ForgetPart{Topic: TopicRef{Name: "t"}, Partition: p})
	}
	expect("a session without partitions ends", w.step(t, all), "session 0:")
	if w.b.FetchSessionCount() != 0 {
		t.Error("the session is still there")
	}
}

func TestPollsOutOfTurnAreRefused(t *testing.T) {
	w := withPartitions(t, 2)
	id := only(t, w.step(t, pollOf(1, 0, 0, 0, want(0, 0)))).SessionID
	byID := pollOf(1, id, 1, 0)
	byID.ByID = true
	for _, c := range []struct {
		rule string
		ev   *Fetch
		code int16
	}{
		{"no such session", pollOf(1, id+1, 1, 0), kerr.FetchSessionIDNotFound.Code},
		{"no session at all", pollOf(1, 0, 1, 0), kerr.FetchSessionIDNotFound.Code},
		{"another connection's", pollOf(2, id, 1, 0), kerr.FetchSessionIDNotFound.Code},
		{"not yet", pollOf(1, id, 2, 0), kerr.InvalidFetchSessionEpoch.Code},
		{"by another kind of name", byID, kerr.FetchSessionTopicIDError.Code},
		{"in turn", pollOf(1, id, 1, 0), 0},
		{"no more", pollOf(1, id, 1, 0), kerr.InvalidFetchSessionEpoch.Code},
	} {
		if r := only(t, w.step(t, c.ev)); r.Code != c.code || c.code != 0 && (r.SessionID != 0 || len(r.Parts) != 0) {
			t.Errorf("%s: %s", c.rule, told(r))
		}
	}
	// The epoch goes round, and leaves out those that mean something else.
	w.b.sessions.byID[id].epoch = math.MaxInt32
	w.step(t, pollOf(1, id, math.MaxInt32, 0))
	if r := only(t, w.step(t, pollOf(1, id, 1, 0))); r.Code != 0 {
		t.Errorf("after the last epoch comes 1: %s", told(r))
	}
	if r := only(t, w.step(t, pollOf(1, id, -1, 0, want(0, 0)))); r.Code != 0 || r.SessionID != 0 || len(r.Parts) != 1 {
		t.Errorf("a full fetch that ends the session: %s", told(r))
	}
	if w.b.FetchSessionCount() != 0 {
		t.Error("the session is still there")
	}
}

func TestANewPollAnswersTheOneBefore(t *testing.T) {
	w := withPartitions(t, 1)
	id := only(t, w.step(t, pollOf(1, 0, 0, 0, want(0, 0)))).SessionID
	first := pollOf(1, id, 1, 500)
	first.To.Request = 1
	w.step(t, first)
	second := pollOf(1, id, 2, 500)
	second.To.Request = 2
	if out := w.step(t, second); len(out.Reads) != 1 || out.Reads[0].To.Request != 1 || w.b.ParkedFetchCount() != 1 {
		t.Errorf("%s", out.String())
	}
}

func TestSessionsGoWithTheirConnection(t *testing.T) {
	w := withPartitions(t, 2)
	id := only(t, w.step(t, pollOf(1, 0, 0, 0, want(0, 0), want(1, 0)))).SessionID
	w.step(t, pollOf(2, 0, 0, 0, want(0, 0)))
	w.step(t, pollOf(1, id, 1, 500))
	w.step(t, &Disconnected{Conn: 1})
	if w.b.FetchSessionCount() != 1 || w.b.ParkedFetchCount() != 0 || w.b.sessions.entryCount != 1 {
		t.Errorf("%d sessions of %d entries, %d polls", w.b.FetchSessionCount(), w.b.sessions.entryCount, w.b.ParkedFetchCount())
	}
}

func TestSessionsAreBounded(t *testing.T) {
	w := withPartitions(t, 3)
	begin := func(conn effect.ConnID, parts ...FetchPart) int32 {
		t.Helper()
		return only(t, w.step(t, pollOf(conn, 0, 0, 0, parts...))).SessionID
	}
	one, two, three := begin(1, want(0, 0)), begin(2, want(0, 0), want(1, 0)), begin(3, want(0, 0), want(1, 0))
	if one == 0 || two == 0 || three == 0 {
		t.Fatal("three fit")
	}
	if begin(4, want(0, 0), want(1, 0), want(2, 0)) != 0 {
		t.Error("a fourth fits, and none of the three is old")
	}
	w.now += sessionIdleMin - 1
	w.step(t, pollOf(2, two, 1, 0))
	w.step(t, pollOf(3, three, 1, 0))
	w.now++
	// The first has not been used for long.
	if begin(4, want(0, 0)) == 0 || w.b.sessions.byID[one] != nil {
		t.Error("an idle session keeps its place")
	}
	// None is idle; those that are old and smaller make room, the smallest first.
	if begin(5, want(0, 0), want(1, 0)) != 0 {
		t.Error("a session takes the place of one that is as large")
	}
	w.step(t, pollOf(2, two, 2, 500)) // polls wait when their session is ended
	w.step(t, pollOf(3, three, 2, 500))
	out := w.step(t, pollOf(5, 0, 0, 0, want(0, 0), want(1, 0), want(2, 0)))
	if w.b.sessions.byID[two] != nil || w.b.sessions.byID[three] == nil || len(out.Reads) != 2 || out.Reads[0].To.Conn != 2 {
		t.Errorf("%s", out.String())
	}
	// A connection that begins one after the other keeps the newest.
	w.b.config.FetchSessionsMax = 100
	for range 20 {
		begin(9, want(0, 0))
	}
	if n := len(w.b.sessions.byConn[9]); n != sessionsPerConnMax {
		t.Errorf("one connection has %d sessions", n)
	}
	w.b.config.FetchSessionsMax = 0
	if begin(10, want(0, 0)) != 0 {
		t.Error("a session, where none are to be")
	}
}

func TestNoPartitionStandsBeforeTheOthersForEver(t *testing.T) {
	w := withPartitions(t, 3)
	for p := range model.Partition(3) {
		w.produceTo(t, p, 1000)
	}
	ev := pollOf(1, 0, 0, 0, want(0, 0), want(1, 0), want(2, 0))
	id := only(t, w.step(t, ev)).SessionID
	var first []model.Partition
	for epoch := range int32(6) {
		ev := pollOf(1, id, epoch+1, 0)
		ev.BytesMax = 500 // less than a batch: one partition an answer
		first = append(first, only(t, w.step(t, ev)).Parts[0].Partition.Partition)
	}
	if fmt.Sprint(first) != "[0 1 2 0 1 2]" {
		t.Errorf("served in the order %v", first)
	}
}

func TestAPartitionNamedTwiceInAFetchIsReadOnce(t *testing.T) {
	w := withPartitions(t, 2)
	w.produceTo(t, 0, 100)
	r := only(t, w.step(t, pollOf(1, 0, -1, 500, want(0, 0), want(1, 0), want(0, 0))))
	if r.Parts[0].Code != 0 || r.Parts[1].Code != 0 || r.Parts[2].Code != kerr.InvalidRequest.Code || r.Parts[2].To != 0 {
		t.Errorf("%s", told(r))
	}
}

func TestAnEpochThatPartsFromOursIsTold(t *testing.T) {
	w := withPartitions(t, 1)
	// Records of epoch 2 up to 3, of epoch 4 up to 5; the replica leads in epoch 5.
	state := log.New(0)
	apply := func(base model.Offset, epoch model.LeaderEpoch, count int32) {
		state.Apply(record.Header{
			BaseOffset: base, LeaderEpoch: epoch, RecordCount: count, LastOffsetDelta: count - 1,
			ProducerID: model.NoProducerID, ProducerEpoch: model.NoProducerEpoch, BaseSequence: model.NoSequence,
		})
	}
	apply(0, 2, 3)
	apply(3, 4, 2)
	p := w.b.partitions.order[0]
	p.replica = replica.New(p.replica.Partition(), state, 0)
	d := *p.topic.Partition(p.replica.Partition().Partition)
	d.LeaderEpoch = 5
	p.replica.Lead(w.b.leadership(p.topic, &d), w.b.now, new(effect.Set))
	for _, c := range []struct {
		offset        model.Offset
		fetched, told model.LeaderEpoch
		end           model.Offset
		code          int16
	}{
		{offset: 3, fetched: 2, told: -1},
		{offset: 5, fetched: 4, told: -1},
		{offset: 5, fetched: 5, told: -1},
		{offset: 4, fetched: 2, told: 2, end: 3},
		{offset: 4, fetched: 3, told: 2, end: 3},
		{offset: 1, fetched: 1, told: 1, end: 0},
		{offset: 4, fetched: 6, code: kerr.OffsetOutOfRange.Code, told: -1},
	} {
		in := want(0, c.offset)
		in.LastFetchedEpoch = c.fetched
		got := only(t, w.step(t, pollOf(1, 0, -1, 0, in))).Parts[0]
		if got.Code != c.code || (got.Diverging != nil) != (c.told >= 0) {
			t.Errorf("epoch %d before offset %d: %+v", c.fetched, c.offset, got)
		} else if d := got.Diverging; d != nil && (d.LeaderEpoch != c.told || d.EndOffset != c.end || got.To != got.From) {
			t.Errorf("epoch %d before offset %d: told %+v", c.fetched, c.offset, d)
		}
	}
	in := want(0, 5)
	in.CurrentLeaderEpoch = 4
	got := only(t, w.step(t, pollOf(1, 0, -1, 0, in))).Parts[0]
	if got.Code != kerr.FencedLeaderEpoch.Code || got.Leader == nil || got.Leader.Epoch != 5 || got.Leader.Broker.Host != "localhost" {
		t.Errorf("an old leader epoch: %+v", got)
	}
	in.CurrentLeaderEpoch = 6
	if got = only(t, w.step(t, pollOf(1, 0, -1, 0, in))).Parts[0]; got.Code != kerr.UnknownLeaderEpoch.Code || got.Leader != nil {
		t.Errorf("a leader epoch to come: %+v", got)
	}
}

func TestAZeroTopicIDIsAnUnknownTopic(t *testing.T) {
	w := withPartitions(t, 1)
	in := want(0, 0)
	in.Topic = TopicRef{ByID: true}
	if got := only(t, w.step(t, pollOf(1, 0, -1, 0, in))).Parts[0]; got.Code != kerr.UnknownTopicID.Code {
		t.Errorf("%s", effect.CodeName(got.Code))
	}
	out := w.step(t, &Produce{Acks: -1, Parts: []ProducePart{{Topic: TopicRef{ByID: true}}}})
	if out.Produced[0].Code != kerr.UnknownTopicID.Code {
		t.Errorf("%s", effect.CodeName(out.Produced[0].Code))
	}
}

// A client that keeps a session, and knows what it was told, knows after each answer what there is to know.
func TestAnySessionTellsEverything(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		const partitions = 5
		w := withPartitions(t, partitions)
		type known struct{ at, start, end model.Offset }
		client := make(map[model.Partition]*known)
		var id, epoch int32
		begin := func() {
			id, epoch = 0, 0
			clear(client)
			var parts []FetchPart
			for _, p := range rapid.SliceOfNDistinct(rapid.IntRange(0, partitions-1), 1, partitions, rapid.ID[int]).Draw(r, "parts") {
				client[model.Partition(p)] = &known{end: -1}
				parts = append(parts, want(model.Partition(p), 0))
			}
			reply := only(t, w.step(t, pollOf(1, 0, 0, 0, parts...)))
			id, epoch = reply.SessionID, 1
			for i, part := range reply.Parts {
				k := client[parts[i].Partition]
				k.start, k.end = part.LogStartOffset, part.HighWatermark
			}
		}
		begin()
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			switch rapid.IntRange(0, 9).Draw(r, "what") {
			case 0:
				begin()
			case 1, 2, 3:
				w.produceTo(t, model.Partition(rapid.IntRange(0, partitions-1).Draw(r, "to")), 100)
			case 4:
				p := w.b.partitions.order[rapid.IntRange(0, partitions-1).Draw(r, "retained")]
				start := model.Offset(rapid.Int64Range(0, int64(p.replica.Bounds().HighWatermark)).Draw(r, "start"))
				w.step(t, &Completed{effect.Completions{Retained: []effect.Retained{{Partition: p.replica.Partition(), LogStartOffset: start}}}})
			default:
				ev := pollOf(1, id, epoch, model.Time(rapid.IntRange(0, 1).Draw(r, "wait"))*500)
				epoch++
				for p := range model.Partition(partitions) {
					k := client[p]
					switch do := rapid.IntRange(0, 5).Draw(r, "part"); {
					case k == nil && do == 0:
						client[p] = &known{end: -1}
						ev.Parts = append(ev.Parts, want(p, 0))
					case k != nil && do == 1 && len(client) > 1:
						delete(client, p)
						ev.Forget = append(ev.Forget, ForgetPart{Topic: TopicRef{Name: "t"}, Partition: p})
					case k != nil && do >= 3 && k.end >= 0:
						k.at = model.Offset(rapid.Int64Range(int64(k.start), int64(max(k.start, k.end))).Draw(r, "at"))
						ev.Parts = append(ev.Parts, want(p, k.at))
					}
				}
				out := w.step(t, ev)
				if len(out.Reads) == 0 {
					w.now += 500
					var late effect.Set
					w.b.Tick(w.now, 0, &late)
					out = late
				}
				reply := only(t, out)
				if reply.Code != 0 || reply.SessionID != id {
					r.Fatalf("refused: %s", told(reply))
				}
				heard := make(map[model.Partition]effect.FetchPart)
				for _, part := range reply.Parts {
					p := part.Partition.Partition
					heard[p] = part
					if client[p] == nil {
						r.Fatalf("told of partition %d, which was forgotten: %s", p, told(reply))
					}
					before := *client[p]
					client[p].start, client[p].end = part.LogStartOffset, part.HighWatermark
					if part.Code == 0 && part.From == part.To && before == *client[p] {
						r.Fatalf("told of partition %d, which had nothing to tell: %s", p, told(reply))
					}
				}
				for p := range model.Partition(partitions) {
					k := client[p]
					if k == nil {
						continue
					}
					bounds := w.b.partitions.order[p].replica.Bounds()
					part, was := heard[p]
					if k.at < bounds.LogStartOffset {
						if !was || part.Code != kerr.OffsetOutOfRange.Code {
							r.Fatalf("partition %d is asked at %d of %+v: %s", p, k.at, bounds, told(reply))
						}
						continue
					}
					if k.start != bounds.LogStartOffset || k.end != bounds.HighWatermark {
						r.Fatalf("partition %d has %+v, the client knows %+v", p, bounds, k)
					}
					if readable := k.at < bounds.HighWatermark; readable && (!was || part.From != k.at || part.To != bounds.HighWatermark) {
						r.Fatalf("partition %d has records from %d to %d: %s", p, k.at, bounds.HighWatermark, told(reply))
					}
				}
			}
		}
	})
}

// BenchmarkIdlePoll is a poll that finds nothing, over so many partitions, from its event to its answer.
func BenchmarkIdlePoll(b *testing.B) {
	for _, count := range []int32{1, 10, 1000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			w := newWorldOf(2000)
			var out effect.Set
			w.b.Step(0, &CreateTopics{Topics: []controller.CreateTopic{{Name: "t", PartitionCount: count, ReplicationFactor: 1}}}, &out)
			w.settle(&out)
			var parts []FetchPart
			for p := range count {
				parts = append(parts, want(model.Partition(p), 0))
			}
			out.Reset()
			w.b.Step(0, pollOf(1, 0, 0, 0, parts...), &out)
			id := out.Reads[0].Fetch.SessionID
			w.b.Step(0, pollOf(1, id, 1, 0), &out)
			out.Reset()
			now := model.Time(0)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				w.b.Step(now, pollOf(1, id, int32(i%math.MaxInt32)+2, 500), &out)
				now += 500
				w.b.retention.next = now + 1 // what the tick is about is the poll
				w.b.Tick(now, 0, &out)
				if len(out.Reads) != 1 {
					b.Fatal(out.String())
				}
				out.Reset()
			}
		})
	}
}

// A move takes a replica away while it waits in its session: it is told at once.
func TestSessionOfAReplicaThatIsNoneAnyMoreIsTold(t *testing.T) {
	f := newFollows(t)
	in := controller.CreateTopic{
		Name: "led", PartitionCount: -1, ReplicationFactor: -1, Assignments: []controller.Assignment{{Replicas: []model.NodeID{1, 2}}},
	}
	f.step(&CreateTopics{To: f.ask(), Topics: []controller.CreateTopic{in}})
	ref := TopicRef{ID: f.b.view.Named("led").ID, ByID: true}
	part := FetchPart{Topic: ref, LastFetchedEpoch: -1, CurrentLeaderEpoch: 0, BytesMax: 1 << 20}
	ev := &Fetch{To: f.ask(), BytesMax: 1 << 20, BytesMin: 1, Replica: 2, BrokerEpoch: f.b.view.Broker(2).Epoch, ByID: true, Parts: []FetchPart{part}}
	var out effect.Set
	f.b.Step(f.now, ev, &out)
	poll := *ev
	poll.To.Request++
	poll.SessionID, poll.SessionEpoch, poll.Wait, poll.Parts = out.Reads[0].Fetch.SessionID, 1, 1000, nil
	f.step(&poll)
	if f.b.ParkedFetchCount() != 1 {
		t.Fatal("there is something to tell already")
	}
	f.step(&ReassignPartitions{To: f.ask(), FactorMayChange: true, Topics: []controller.ReassignTopic{{
		Name: "led", Parts: []controller.ReassignPart{{Replicas: []model.NodeID{1}}},
	}}})
	if got := f.b.view.Named("led").Partition(0).Replicas; len(got) != 1 {
		t.Fatalf("the replicas are %v", got)
	}
	if f.b.ParkedFetchCount() != 0 {
		t.Error("the replica that is none any more waits")
	}
}

// A replica that has heard of a new leadership does not take in what it was told in the one before. It is told again.
func TestSessionTellsAReplicaAgainWhatItDoesNotKnow(t *testing.T) {
	f := newFollows(t)
	in := controller.CreateTopic{
		Name: "led", PartitionCount: -1, ReplicationFactor: -1, Assignments: []controller.Assignment{{Replicas: []model.NodeID{1, 2}}},
	}
	f.step(&CreateTopics{To: f.ask(), Topics: []controller.CreateTopic{in}})
	ref := TopicRef{ID: f.b.view.Named("led").ID, ByID: true}
	var out effect.Set
	f.b.Step(f.now, &Produce{To: f.ask(), Acks: 1, Parts: []ProducePart{{
		Topic: ref, Header: record.Header{RecordCount: 1, SizeBytes: 100, ProducerID: -1},
	}}}, &out)
	f.inFlight = append(f.inFlight, out.Appends...)
	f.step(&Completed{effect.Completions{Appended: f.durable(1)}})

	poll := &Fetch{BytesMax: 1 << 20, BytesMin: 1, Replica: 2, BrokerEpoch: f.b.view.Broker(2).Epoch, ByID: true}
	ask := func(parts ...FetchPart) string {
		t.Helper()
		var out effect.Set
		poll.To, poll.Parts = f.ask(), parts
		f.b.Step(f.now, poll, &out)
		reply := only(t, out)
		if poll.SessionID == 0 {
			poll.SessionID = reply.SessionID
		}
		poll.SessionEpoch++
		return told(reply)
	}
	part := FetchPart{Topic: ref, LastFetchedEpoch: -1, BytesMax: 1 << 20}
	for _, step := range []struct{ what, got, want string }{
		{"records", ask(part), "session 1: 0 0-1 of 0-0"},
		{"how far it is committed now", ask(at(part, 1, 0)), "session 1: 0 1-1 of 0-1"},
		{"it knows", ask(), "session 1:"},
		{"it does not know", ask(at(part, 1, 0)), "session 1: 0 1-1 of 0-1"},
		{"it says that it knows", ask(at(part, 1, 1)), "session 1:"},
		{"it does not say", ask(at(part, 1, effect.HighWatermarkUnknown)), "session 1:"},
	} {
		if step.got != step.want {
			t.Errorf("%s: told %q, want %q", step.what, step.got, step.want)
		}
	}
	f.step(&Completed{effect.Completions{Retained: []effect.Retained{{Partition: model.TopicPartition{Topic: ref.ID}, LogStartOffset: 1}}}})
	for _, want := range []string{"session 1: 0 1-1 of 1-1", "session 1: 0 1-1 of 1-1"} {
		if got := ask(at(part, 1, 1)); got != want {
			t.Errorf("a log start that it has not taken over: told %q, want %q", got, want)
		}
	}
}

// A poll that names a partition may be answered with so much else that nothing is said of it. If this node begins to lead it
// then, the replica is not told that all is well: it would take its place for heard, and not say it again of a quiet partition.
func TestSessionHasAReplicaSayAgainWhatNobodyLedThen(t *testing.T) {
	create := func(f *follows, name string) TopicRef {
		f.step(&CreateTopics{To: f.ask(), Topics: []controller.CreateTopic{{
			Name: name, PartitionCount: -1, ReplicationFactor: -1, Assignments: []controller.Assignment{{Replicas: []model.NodeID{1, 2}}},
		}}})
		return TopicRef{ID: f.b.view.Named(name).ID, ByID: true}
	}
	twin := newFollows(t) // knows the ids before they are there
	create(twin, "busy")
	quiet := FetchPart{Topic: create(twin, "quiet"), LastFetchedEpoch: -1, BytesMax: 1 << 20}

	f := newFollows(t)
	busy := FetchPart{Topic: create(f, "busy"), LastFetchedEpoch: -1, BytesMax: 1 << 20}
	var out effect.Set
	f.b.Step(f.now, &Produce{To: f.ask(), Acks: 1, Parts: []ProducePart{{
		Topic: busy.Topic, Header: record.Header{RecordCount: 1, SizeBytes: 100, ProducerID: -1},
	}}}, &out)
	f.inFlight = append(f.inFlight, out.Appends...)
	f.step(&Completed{effect.Completions{Appended: f.durable(1)}})

	poll := &Fetch{BytesMax: 50, BytesMin: 1, Replica: 2, BrokerEpoch: f.b.view.Broker(2).Epoch, ByID: true}
	ask := func(parts ...FetchPart) []effect.FetchPart {
		t.Helper()
		var out effect.Set
		poll.To, poll.Parts = f.ask(), parts
		f.b.Step(f.now, poll, &out)
		reply := only(t, out)
		poll.SessionID = reply.SessionID
		poll.SessionEpoch++
		return reply.Parts
	}
	ask(busy)
	if got := ask(busy, quiet); len(got) != 1 || got[0].Partition.Topic != busy.Topic.ID {
		t.Fatalf("the answer is not full: %v", got)
	}
	create(f, "quiet")
	p, _ := f.b.find(quiet.Topic, 0)
	if p == nil {
		t.Fatal("ids differ")
	}
	if got := ask(at(busy, 1, 1)); got[0].Partition.Topic != quiet.Topic.ID || got[0].Code != kerr.UnknownLeaderEpoch.Code {
		t.Fatalf("what was not heard is answered with %v", got)
	}
	if p.replica.Followers().Has(2, 0) {
		t.Fatal("this node believes to have heard of node 2")
	}
	if got := ask(quiet); len(got) != 1 || got[0].Code != 0 || !p.replica.Followers().Has(2, 0) {
		t.Errorf("said again, it is not heard: %v", got)
	}
	if got := ask(); len(got) != 0 {
		t.Errorf("there is more to tell: %v", got)
	}
}

// at is a part of a replica that has everything up to an offset, and knows it to be committed up to another.
func at(part FetchPart, offset, highWatermark model.Offset) FetchPart {
	part.Offset, part.LastFetchedEpoch, part.HighWatermark = offset, 0, highWatermark
	return part
}
