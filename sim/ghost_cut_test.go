package sim

import (
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage"
)

// cutTo is what an engine reports of a log that begins at 0.
func cutTo(end model.Offset) *effect.Completions {
	return &effect.Completions{Truncated: []effect.Truncated{{Partition: ghostTP, NextOffset: end, State: emptied(end)}}}
}

// emptied is a state of which only the offsets are right.
func emptied(end model.Offset) *log.State {
	s := log.New(0)
	if end > 0 {
		s.Apply(record.Header{LastOffsetDelta: int32(end - 1), ProducerID: model.NoProducerID})
	}
	return s
}

func TestGhostCatchesLiesAboutTruncations(t *testing.T) {
	for _, tc := range []struct {
		name, oracle string
		lie          func(g *ghost)
	}{
		{"nothing", "", func(g *ghost) {
			g.truncate(ghostTP, 2, false)
			asks(g, 2, 0)
			g.completed(cutTo(2), true)
			g.syncBegins()
			g.syncEnds()
			g.completed(appended(6), true)
		}},
		{"nothing, to the inside of a batch", "", func(g *ghost) {
			g.truncate(ghostTP, 3, false)
			g.completed(cutTo(2), true)
		}},
		{"without a sync", "truncation", func(g *ghost) {
			g.truncate(ghostTP, 2, false)
			g.completed(cutTo(2), false)
		}},
		{"one that nobody asked for", "truncation", func(g *ghost) { g.completed(cutTo(2), true) }},
		{"to too little", "truncation", func(g *ghost) {
			g.truncate(ghostTP, 2, false)
			g.completed(cutTo(4), true)
		}},
		{"to too much", "truncation", func(g *ghost) {
			g.truncate(ghostTP, 2, false)
			g.completed(cutTo(0), true)
		}},
		{"before what was asked for earlier", "truncation", func(g *ghost) {
			asks(g, 4, 0)
			g.truncate(ghostTP, 6, false)
			g.completed(cutTo(4), true)
		}},
		{"durable again", "durable-unasked", func(g *ghost) {
			g.truncate(ghostTP, 2, false)
			g.completed(cutTo(2), true)
			g.completed(appended(4), true)
		}},
	} {
		g, said := haunted()
		asks(g, 0, 0)
		g.syncBegins()
		g.syncEnds()
		g.completed(appended(4), true)
		tc.lie(g)
		if *said != tc.oracle {
			t.Errorf("%s: the ghost says %q, not %q", tc.name, *said, tc.oracle)
		}
	}
}

// After a crash the log is what it was, or what it became, wholly.
func TestGhostKnowsWhatATruncationUnderWayMayLeave(t *testing.T) {
	b := func(base model.Offset, crc uint32) ghostBatch {
		return ghostBatch{base: base, next: base + 2, crc: crc}
	}
	for _, tc := range []struct {
		name  string
		found []ghostBatch
		ok    bool
	}{
		{"as it was", []ghostBatch{b(0, 1), b(2, 2), b(4, 3)}, true},
		{"as it was, with what was asked for", []ghostBatch{b(0, 1), b(2, 2), b(4, 3), b(6, 4)}, true},
		{"as it became", []ghostBatch{b(0, 1), b(2, 2)}, true},
		{"as it became, with what was asked for behind it", []ghostBatch{b(0, 1), b(2, 2), b(4, 5)}, true},
		{"less than it became", []ghostBatch{b(0, 1)}, false},
		{"half of what was dropped", []ghostBatch{b(0, 1), b(2, 2), b(4, 5), b(6, 4)}, false},
		{"what nobody asked for", []ghostBatch{b(0, 1), b(2, 9)}, false},
	} {
		g, _ := haunted()
		l := g.log(ghostTP)
		l.durable = []ghostBatch{b(0, 1), b(2, 2), b(4, 3)}
		l.asked = []ghostBatch{b(6, 4)}
		g.truncate(ghostTP, 4, false)
		l.asked = append(l.asked, b(4, 5))
		end := tc.found[len(tc.found)-1].next
		if got := g.recoveredCut(l, tc.found, 0, end); got != tc.ok {
			t.Errorf("%s: taken %v", tc.name, got)
		}
	}
}

// What a log holds in which a file was damaged is not known, but what is written behind a cut of it is.
func TestWhatIsAskedForBehindACutOfADamagedLogIsKept(t *testing.T) {
	for _, tc := range []struct {
		next model.Offset
		said string
	}{{6, ""}, {8, "durable-unasked"}} {
		g, said := haunted()
		g.heals = true
		l := g.log(ghostTP)
		asks(g, 0, 0)
		g.syncBegins()
		g.syncEnds()
		g.completed(appended(4), true)
		l.damaged, l.unknown = "a file was cut", true
		asks(g, 4, 0)
		g.truncate(ghostTP, 2, true)
		asks(g, 2, 0)
		g.completed(cutTo(2), true)
		g.syncBegins()
		g.syncEnds()
		g.completed(appended(tc.next), true)
		if *said != tc.said {
			t.Errorf("durable to %d: the ghost says %q, not %q", tc.next, *said, tc.said)
		}
		if len(l.asked) != 0 || len(l.cuts) != 0 || l.start != 2 {
			t.Errorf("it starts at %d, and %d batches and %d cuts are waited for", l.start, len(l.asked), len(l.cuts))
		}
	}
}

// A log that began anew is like any other: it is not excused for the rest of its life what became of its files before.
func TestADamagedLogIsNotExcusedOnceItHasBegunAnew(t *testing.T) {
	for _, tc := range []struct {
		whole bool
		said  string
	}{{false, ""}, {true, "false-damage"}} {
		g, said := haunted()
		g.heals = true
		l := g.log(ghostTP)
		asks(g, 0, 0)
		g.syncBegins()
		g.syncEnds()
		g.completed(appended(4), true)
		l.damaged, l.unknown = "a file was cut", true
		g.truncate(ghostTP, 2, tc.whole)
		g.completed(cutTo(2), true)
		g.completed(&effect.Completions{Damaged: []effect.Damaged{{Partition: ghostTP}}}, true)
		if *said != tc.said {
			t.Errorf("cut wholly: %v: the ghost says %q, not %q", tc.whole, *said, tc.said)
		}
	}
}

// Each truncation is answered: one that came too late says nothing of those behind it.
func TestATruncationThatIsRefusedTakesNoOtherWithIt(t *testing.T) {
	for _, tc := range []struct {
		failure effect.Failure
		prepare func(l *ghostLog)
	}{
		{effect.Missing, func(l *ghostLog) { l.deleted = true }},
		{effect.Broken, func(l *ghostLog) { l.damaged = "a file was cut" }},
	} {
		g, said := haunted()
		l := g.log(ghostTP)
		tc.prepare(l)
		g.truncate(ghostTP, 4, true)
		g.truncate(ghostTP, 2, true)
		g.completed(&effect.Completions{Truncated: []effect.Truncated{{Partition: ghostTP, Failure: tc.failure}}}, true)
		if *said != "" || len(l.cuts) != 1 || l.cuts[0].to != 2 {
			t.Errorf("%v: the ghost says %q and waits for %v", tc.failure, *said, l.cuts)
		}
	}
}

func TestALogThatIsDeletedAndGivenBackBeginsAnewAfterARestart(t *testing.T) {
	g, said := haunted()
	asks(g, 0, 0)
	g.syncBegins()
	g.syncEnds()
	g.completed(appended(4), true)
	g.log(ghostTP).deleted = true
	g.recovered(nil, &storage.Recovery{})
	g.log(ghostTP).deleted = false
	asks(g, 0, 0)
	g.syncBegins()
	g.syncEnds()
	g.completed(appended(4), true)
	if *said != "" {
		t.Errorf("the ghost says %q", *said)
	}
}

func TestALogThatIsCutToNothingMayBeGoneAfterARestart(t *testing.T) {
	for _, tc := range []struct {
		to   model.Offset
		said string
	}{{0, ""}, {2, "lost-partition"}} {
		g, said := haunted()
		asks(g, 0, 0)
		g.syncBegins()
		g.syncEnds()
		g.completed(appended(4), true)
		g.truncate(ghostTP, tc.to, false)
		g.recovered(nil, &storage.Recovery{})
		if *said != tc.said {
			t.Errorf("cut to %d: the ghost says %q, not %q", tc.to, *said, tc.said)
		}
		if end := g.log(ghostTP).durableEnd(); tc.said == "" && end != 0 {
			t.Errorf("cut to %d: it is taken to end at %d", tc.to, end)
		}
	}
}
