package sim

import (
	"bytes"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// haunted is a ghost that remembers its first complaint.
func haunted() (*ghost, *string) {
	said := ""
	return newGhost(func(oracle, _ string) {
		if said == "" {
			said = oracle
		}
	}), &said
}

var ghostTP = model.TopicPartition{Topic: model.TopicID{1}}

// asks hands two batches of two records at an offset to the engine.
func asks(g *ghost, base model.Offset, attempt uint32) {
	var b record.Builder
	for i := range model.Offset(2) {
		o := record.NewOptions(record.CodecNone)
		o.ProducerID, o.ProducerEpoch, o.BaseSequence = 7, 0, model.Sequence(base+2*i)
		b.Begin(o)
		for range 2 {
			b.Append(record.Record{Value: []byte("v")})
		}
		a := effect.Append{
			Partition: ghostTP, BaseOffset: base + 2*i, AppendTime: model.NoTimestamp, Attempt: attempt, Batch: bytes.Clone(b.Finish()),
		}
		g.append(&a)
		g.hand(&a)
	}
}

func appended(next model.Offset) *effect.Completions {
	return &effect.Completions{Appended: []effect.Appended{{Partition: ghostTP, NextOffset: next}}}
}

// An engine that lies is caught at its word.
func TestGhostCatchesPlantedLies(t *testing.T) {
	for _, tc := range []struct {
		name, oracle string
		lie          func(g *ghost)
	}{
		{"nothing", "", func(g *ghost) {
			g.syncBegins()
			g.syncEnds()
			g.completed(appended(4), true)
		}},
		{"durable without a sync", "durable-before-sync", func(g *ghost) { g.completed(appended(4), true) }},
		{"durable by a sync that began before", "durable-before-sync", func(g *ghost) {
			g.syncBegins()
			asks(g, 4, 0)
			g.syncEnds()
			g.completed(appended(8), true)
		}},
		{"durable though nobody asked", "durable-unasked", func(g *ghost) {
			g.syncBegins()
			g.syncEnds()
			g.completed(appended(9), true)
		}},
		{"durable after its refusal", "durable-unasked", func(g *ghost) {
			g.syncBegins()
			g.syncEnds()
			g.completed(&effect.Completions{Appended: []effect.Appended{{Partition: ghostTP, NextOffset: 0, Failure: effect.DiskFull}}}, true)
			g.completed(appended(4), true)
		}},
		{"a log start without a sync", "log-start", func(g *ghost) {
			g.log(ghostTP).limit = 4
			g.completed(&effect.Completions{Retained: []effect.Retained{{Partition: ghostTP, LogStartOffset: 2}}}, false)
		}},
		{"a log start past the high watermark", "retention", func(g *ghost) {
			g.log(ghostTP).configs = []effect.LogConfig{{RetentionBytes: 1}}
			g.log(ghostTP).limit = 2
			g.completed(&effect.Completions{Retained: []effect.Retained{{Partition: ghostTP, LogStartOffset: 4}}}, true)
		}},
		{"retention of what is kept for ever", "retention", func(g *ghost) {
			l := g.log(ghostTP)
			l.limit, l.configs = 4, []effect.LogConfig{{RetentionMs: -1, RetentionBytes: -1}}
			g.completed(&effect.Completions{Retained: []effect.Retained{{Partition: ghostTP, LogStartOffset: 2}}}, true)
		}},
		{"retention of what is too young", "retention", func(g *ghost) {
			g.syncBegins()
			g.syncEnds()
			g.completed(appended(4), true)
			l := g.log(ghostTP)
			l.durable[0].maxTimestamp, l.wall = 50, 100
			l.limit, l.configs = 4, []effect.LogConfig{{RetentionMs: 10, RetentionBytes: -1}, {RetentionMs: 50, RetentionBytes: -1}}
			g.completed(&effect.Completions{Retained: []effect.Retained{{Partition: ghostTP, LogStartOffset: 4}}}, true)
			if l.start != 4 {
				g.fail("test", "a retention that began under the older configuration was refused")
			}
			l.start, l.durable, l.limit = 0, []ghostBatch{{next: 4, maxTimestamp: 50}}, 4
			g.completed(&effect.Completions{Retained: []effect.Retained{{Partition: ghostTP, LogStartOffset: 4}}}, true)
		}},
		{"a producer id given out twice", "producer-id-reused", func(g *ghost) {
			g.assigned(7, 0)
			g.assigned(7, 1)
			g.assigned(7, 0)
		}},
		{"damage on a sound disk", "false-damage", func(g *ghost) {
			g.completed(&effect.Completions{Damaged: []effect.Damaged{{Partition: ghostTP}}}, true)
		}},
	} {
		g, said := haunted()
		asks(g, 0, 0)
		tc.lie(g)
		if *said != tc.oracle {
			t.Errorf("%s: the ghost says %q, not %q", tc.name, *said, tc.oracle)
		}
	}
}

func TestGhostKnowsTheLastFiveBatchesOfAProducer(t *testing.T) {
	g, _ := haunted()
	for base := model.Offset(0); base < 12; base += 4 {
		asks(g, base, 0) // sequences are offsets here: two batches of two each
	}
	l := g.log(ghostTP)
	for first := model.Sequence(0); first < 12; first += 2 {
		got := l.written(producerBatch{7, 0, first, first + 1})
		if want := first >= 2; got != want {
			t.Errorf("the batch from %d is among the last five: %v", first, got)
		}
	}
	if l.written(producerBatch{7, 1, 10, 11}) || l.written(producerBatch{8, 0, 10, 11}) || l.written(producerBatch{7, 0, 10, 10}) {
		t.Error("another epoch, producer or length was recognised")
	}
}

func TestResponseOrderFindsWhatIsOutOfTurn(t *testing.T) {
	produce := func(version uint16, acks byte) []byte {
		b := []byte{0, 0, byte(version >> 8), byte(version), 0, 0, 0, 5, 0, 1, 'c'}
		if version >= 9 {
			return append(b, 0, 0, acks, acks)
		}
		return append(b, 0xff, 0xff, acks, acks)
	}
	for _, version := range []uint16{3, 8, 9, 13} {
		for _, tc := range []struct {
			acks     byte
			answered bool
		}{{0, false}, {0xff, true}} {
			if answered, ok := expectsAnswer(produce(version, tc.acks)); !ok || answered != tc.answered {
				t.Errorf("Produce %d with acks byte %#x: answered %v, ok %v", version, tc.acks, answered, ok)
			}
		}
	}
	if _, ok := expectsAnswer([]byte{0, 0, 0}); ok {
		t.Error("half a header was made out")
	}
}
