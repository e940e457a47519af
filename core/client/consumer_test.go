package client_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

func consumerFor(c *clienttest.Cluster, edit func(*client.ConsumerConfig)) *client.Consumer {
	cfg := client.NewConsumerConfig(c.Addr(c.Brokers[0]))
	cfg.Seed = 11
	if edit != nil {
		edit(&cfg)
	}
	return client.NewConsumer(cfg)
}

// fill appends batches of n records each.
func fill(p *clienttest.Partition, batches, n int, codec record.Codec) {
	var b record.Builder
	for range batches {
		b.Begin(record.NewOptions(codec))
		base := p.End()
		for i := range n {
			b.Append(record.Record{Value: fmt.Appendf(nil, "v%d", int(base)+i), Timestamp: model.Timestamp(1000 + int(base) + i)})
		}
		p.Append(b.Finish())
	}
}

// drain polls until done, decoding what comes.
func (w *world) drain(c *client.Consumer, limit model.Time, done func(n int) bool) []record.Record {
	var d client.Decoder
	var got []record.Record
	w.run(limit, func() bool {
		for c.Available() {
			w.step(c, func(out *client.Out) { c.Poll(w.now, 1<<20, out) })
		}
		for i := range w.chunks {
			var err error
			if got, err = d.Decode(got, &w.chunks[i]); err != nil {
				w.t.Fatal(err)
			}
		}
		w.chunks = w.chunks[:0]
		return done(len(got))
	}, c)
	return got
}

func TestConsumerYieldsEveryRecordOnceFromWhereItStarts(t *testing.T) {
	for _, codec := range []record.Codec{record.CodecNone, record.CodecGzip, record.CodecSnappy, record.CodecLz4, record.CodecZstd} {
		for _, start := range []struct {
			name  string
			start client.Start
			first int
		}{
			{"earliest", client.Start{}, 0},
			{"inside a batch", client.At(17), 17},
			{"by time", client.Start{Kind: client.StartTime, Timestamp: 1033}, 33},
		} {
			t.Run(codec.String()+"/"+start.name, func(t *testing.T) {
				c := clienttest.New(1)
				fill(c.Create("t", 1).Partitions[0], 5, 10, codec)
				w := newWorld(t, c)
				m := consumerFor(c, func(cfg *client.ConsumerConfig) { cfg.PartitionBytesMax = 200 })
				w.step(m, func(out *client.Out) { m.Assign(w.now, []client.Assignment{{Topic: "t", Start: start.start}}, out) })
				got := w.drain(m, 3000*ms, func(n int) bool { return n >= 50-start.first })
				if len(got) != 50-start.first {
					t.Fatalf("%d records came, not %d", len(got), 50-start.first)
				}
				for i, r := range got {
					if want := start.first + i; int(r.Offset) != want || string(r.Value) != fmt.Sprintf("v%d", want) {
						t.Fatalf("record %d is %q at %d", i, r.Value, r.Offset)
					}
				}
				w.drain(m, 3000*ms, func(int) bool { return len(w.events_) > 0 })
				if len(w.events_) != 1 || w.events_[0].Kind != client.EventEnd || w.events_[0].Offset != 50 {
					t.Errorf("events %v, not one end at 50", w.events_)
				}
			})
		}
	}
}

// A partition at its end must not hold up one that is behind, and is left out of a fetch for a moment
// because its buffer is full.
func TestConsumerIsNotHeldUpByAnIdlePartition(t *testing.T) {
	c := clienttest.New(1)
	topic := c.Create("t", 2)
	fill(topic.Partitions[1], 100, 3, record.CodecNone)
	w := newWorld(t, c)
	m := consumerFor(c, func(cfg *client.ConsumerConfig) { cfg.PartitionBytesMax, cfg.FetchWait = 50, 3000*ms })
	w.step(m, func(out *client.Out) {
		m.Assign(w.now, []client.Assignment{{Topic: "t"}, {Topic: "t", Partition: 1}}, out)
	})
	got := w.drain(m, 3000*ms, func(n int) bool { return n >= 300 })
	if len(got) != 300 {
		t.Errorf("%d of 300 records came in 3 s", len(got))
	}
}

func TestConsumerSeesWhatIsWrittenLater(t *testing.T) {
	c := clienttest.New(1)
	p := c.Create("t", 1).Partitions[0]
	fill(p, 2, 3, record.CodecNone)
	w := newWorld(t, c)
	m := consumerFor(c, nil)
	w.step(m, func(out *client.Out) {
		m.Assign(w.now, []client.Assignment{{Topic: "t", Start: client.Start{Kind: client.StartLatest}}}, out)
	})
	w.after(700*ms, func() { fill(p, 1, 4, record.CodecNone) })
	got := w.drain(m, 3000*ms, func(n int) bool { return n >= 4 })
	if len(got) != 4 || got[0].Offset != 6 {
		t.Fatalf("got %d records, not the four from 6 on", len(got))
	}
	if at := w.now - 1000*ms; at > 750*ms {
		t.Errorf("they came %d ms after the start, long after they were written at 700", at/ms)
	}
}

// What a consumer fetches first does not tell where a partition ends: a new leader lets less be read than the one before.
func TestConsumerNotesTheEndThatTheLeaderLists(t *testing.T) {
	for _, test := range []struct {
		name   string
		start  client.Start
		stable model.Offset
		first  int
		end    model.Offset
	}{
		{"earliest", client.Start{}, -1, 0, 20},
		{"at an offset", client.At(7), -1, 7, 20},
		{"at the end", client.At(20), -1, 20, 20},
		{"by time", client.Start{Kind: client.StartTime, Timestamp: 1011}, -1, 11, 20},
		{"younger than all", client.Start{Kind: client.StartTime, Timestamp: 9000}, -1, 20, 20},
		{"latest", client.Start{Kind: client.StartLatest}, -1, 20, 20},
		{"what is decided", client.Start{}, 10, 0, 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := clienttest.New(1)
			p := c.Create("t", 1).Partitions[0]
			fill(p, 4, 5, record.CodecNone)
			p.HighWatermark, p.LastStable = 15, test.stable
			w := newWorld(t, c)
			m := consumerFor(c, func(cfg *client.ConsumerConfig) { cfg.NotingEnds, cfg.ReadCommitted = true, test.stable >= 0 })
			w.step(m, func(out *client.Out) { m.Assign(w.now, []client.Assignment{{Topic: "t", Start: test.start}}, out) })
			w.after(500*ms, func() {
				if at, _ := m.Position("t", 0); at.EndNoted != model.NoOffset {
					t.Errorf("an end at %d, which nobody listed", at.EndNoted)
				}
				p.HighWatermark = -1
			})
			// It is noted once: what is written later is behind it.
			w.after(2000*ms, func() { fill(p, 1, 5, record.CodecNone); p.LastStable = -1 })
			got := w.drain(m, 4000*ms, func(n int) bool { return n == 25-test.first })
			if at, _ := m.Position("t", 0); at.EndNoted != test.end {
				t.Errorf("an end at %d, not %d", at.EndNoted, test.end)
			}
			if len(got) != 25-test.first || int(got[0].Offset) != test.first {
				t.Errorf("%d records from %d on, not %d", len(got), test.first, 25-test.first)
			}
		})
	}
}

func TestConsumerForgetsTheTopicThatWasMadeAnew(t *testing.T) {
	c := clienttest.New(1)
	fill(c.Create("t", 1).Partitions[0], 10, 5, record.CodecNone)
	w := newWorld(t, c)
	m := consumerFor(c, func(cfg *client.ConsumerConfig) { cfg.NotingEnds, cfg.FetchBytesMax = true, 200 })
	w.step(m, func(out *client.Out) { m.Assign(w.now, []client.Assignment{{Topic: "t"}}, out) })
	w.run(2000*ms, m.Available, m)
	w.step(m, func(out *client.Out) { m.Poll(w.now, 1, out) })
	w.run(500*ms, func() bool { return false }, m) // more is fetched that nobody takes
	if at, _ := m.Position("t", 0); !m.Available() || at.Offset <= 0 || at.EndNoted != 50 {
		t.Fatalf("offset %d, end %d, records wait: %v", at.Offset, at.EndNoted, m.Available())
	}
	w.chunks = w.chunks[:0]
	c.Delete("t")
	anew := c.Create("t", 1).Partitions[0]
	fill(anew, 1, 5, record.CodecNone)
	mute := true // nobody says where the new one begins
	c.Script = func(_ model.NodeID, key protocol.Key, _ string, _ model.Partition) clienttest.Verdict {
		if mute && key == protocol.KeyListOffsets {
			return clienttest.Verdict{Code: kerr.LeaderNotAvailable.Code}
		}
		return clienttest.Verdict{}
	}
	w.run(3000*ms, func() bool { return !m.Available() }, m)
	if at, _ := m.Position("t", 0); m.Available() || at.Offset != model.NoOffset || at.HighWatermark != model.NoOffset || at.EndNoted != model.NoOffset {
		t.Errorf("of the former topic: records %v, %+v", m.Available(), at)
	}
	mute = false
	got := w.drain(m, 3000*ms, func(n int) bool { return n >= 5 })
	if at, _ := m.Position("t", 0); len(got) != 5 || got[0].Offset != 0 || at.Offset != 5 || at.EndNoted != 5 {
		t.Errorf("%d records of the new topic, %+v", len(got), at)
	}
}

// It is halted then, and says so; whoever was given more of the former would take it for the new one's.
func TestConsumerThatDoesNotResetForgetsTheTopicThatWasMadeAnewToo(t *testing.T) {
	c := clienttest.New(1)
	fill(c.Create("t", 1).Partitions[0], 10, 5, record.CodecNone)
	w := newWorld(t, c)
	m := consumerFor(c, func(cfg *client.ConsumerConfig) { cfg.Reset, cfg.FetchBytesMax = client.ResetNone, 200 })
	w.step(m, func(out *client.Out) { m.Assign(w.now, []client.Assignment{{Topic: "t"}}, out) })
	w.run(2000*ms, m.Available, m)
	w.step(m, func(out *client.Out) { m.Poll(w.now, 1, out) })
	w.run(500*ms, func() bool { return false }, m) // more is fetched that nobody takes
	w.events_ = nil
	c.Delete("t")
	fill(c.Create("t", 1).Partitions[0], 1, 5, record.CodecNone)
	w.step(m, func(out *client.Out) { m.Poll(w.now, 1, out) }) // makes room, so that it is asked for
	w.run(3000*ms, func() bool { return len(w.events_) > 1 }, m)
	if len(w.events_) != 2 || w.events_[0].Kind != client.EventRemade || w.events_[1].Kind != client.EventHalted || w.events_[1].Code != kerr.OffsetOutOfRange.Code {
		t.Errorf("events %+v", w.events_)
	}
	if at, _ := m.Position("t", 0); m.Available() || !at.Halted || at.Offset != model.NoOffset || at.HighWatermark != model.NoOffset {
		t.Errorf("of the former topic: records %v, %+v", m.Available(), at)
	}
	w.chunks = nil
	w.step(m, func(out *client.Out) { m.Seek(w.now, "t", 0, client.Start{}, out) })
	if got := w.drain(m, 3000*ms, func(n int) bool { return n >= 5 }); len(got) != 5 || got[0].Offset != 0 {
		t.Errorf("%d records of the new topic after a seek", len(got))
	}
}
