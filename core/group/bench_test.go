package group

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// stable is a coordinator of many groups of one member each.
func stable(tb testing.TB, groups int) *world {
	w := newWorld(tb)
	w.config.InitialRebalanceDelay = 0
	var out effect.Set
	w.start(&out)
	step := func(line string) {
		cmd, args, err := datadriven.ParseLine(line)
		if err != nil {
			tb.Fatal(err)
		}
		var out effect.Set
		w.do(&datadriven.TestData{Cmd: cmd, CmdArgs: args}, &out)
		w.learn(&out)
	}
	for i := range groups {
		step(fmt.Sprintf("join m%d group=g%d version=1 session=1800000", i, i))
	}
	step("tick by=1")
	for i := range groups {
		step(fmt.Sprintf("sync m%d group=g%d generation=1 assign=(m%d:all)", i, i, i))
	}
	step("durable")
	return w
}

func benchmarkHeartbeat(b *testing.B, groups int) {
	w := stable(b, groups)
	in := &Heartbeat{Group: "g0", Generation: 1, Member: w.ids["m0"]}
	now := w.time()
	var out effect.Set
	b.ReportAllocs()
	for b.Loop() {
		now++
		out.Reset()
		w.c.Heartbeat(now, in, &out)
	}
	if out.Replies[0].Body.(*effect.HeartbeatAnswered).Code != 0 {
		b.Fatal(out.String())
	}
}

func BenchmarkHeartbeatOf1Group(b *testing.B)      { benchmarkHeartbeat(b, 1) }
func BenchmarkHeartbeatOf10000Groups(b *testing.B) { benchmarkHeartbeat(b, 10_000) }
func BenchmarkCommitOf1Partition(b *testing.B)     { benchmarkCommit(b, 1) }
func BenchmarkCommitOf100Partitions(b *testing.B)  { benchmarkCommit(b, 100) }

// benchmarkCommit commits and makes durable.
func benchmarkCommit(b *testing.B, partitions int) {
	w := stable(b, 1000)
	in := &Commit{Group: "g0", Generation: 1, Member: w.ids["m0"], RetentionMs: -1, Wall: 1}
	for p := range partitions {
		in.Parts = append(in.Parts, CommitPart{Topic: "t", TopicID: w.topics["t"], Partition: model.Partition(p), Offset: 1})
	}
	w.log.forgets = true
	now := w.time()
	var out effect.Set
	b.ReportAllocs()
	for b.Loop() {
		now++
		out.Reset()
		w.c.Commit(now, in, &out)
		w.c.Durable(now, w.log.end, &out)
	}
	if code := out.Replies[0].Body.(*effect.OffsetsCommitted).Codes[0]; code != 0 {
		b.Fatal(out.String())
	}
}

func TestAHeartbeatCostsTheSameAmongMany(t *testing.T) {
	w := stable(t, 2000)
	in := &Heartbeat{Group: "g0", Generation: 1, Member: w.ids["m0"]}
	now := w.time()
	var out effect.Set
	if n := testing.AllocsPerRun(100, func() {
		now++
		out.Reset()
		w.c.Heartbeat(now, in, &out)
	}); n > 1 {
		t.Errorf("a heartbeat allocates %v times; its answer is one", n)
	}
}
