package storage_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// modelView is a log as it was asked for between two truncations.
type modelView struct {
	batches []modelBatch // from the log start on
	start   model.Offset // reported log start
	floor   model.Offset // the log's end if there are no batches, and the least that it can be
	to      model.Offset // what the truncation asked for that it began with
	startAt bool         // all was dropped
	// history is every batch that was not dropped, from origin on, and state what they amount to.
	origin  model.Offset
	history []record.Header
	state   *log.State
}

func newView(at model.Offset) modelView {
	return modelView{start: at, floor: at, origin: at, state: log.New(at)}
}

func (v *modelView) end() model.Offset {
	if n := len(v.batches); n > 0 {
		return v.batches[n-1].next
	}
	return max(v.start, v.floor)
}

// mayEndAt reports whether a batch ends at an offset, or the log began there.
func (v *modelView) mayEndAt(o model.Offset) bool {
	for _, b := range v.batches {
		if b.next == o {
			return true
		}
	}
	return o == max(v.start, v.floor) || len(v.batches) > 0 && v.batches[0].base == o
}

func (v *modelView) add(stored []byte, loose bool) {
	h, err := record.ReadHeader(stored)
	if err != nil {
		panic(err)
	}
	v.batches = append(v.batches[:len(v.batches):len(v.batches)], modelBatch{h.BaseOffset, h.NextOffset(), stored, loose})
	v.history = append(v.history[:len(v.history):len(v.history)], h)
	v.state.Apply(h)
}

// lose forgets the batches from an offset on.
func (v *modelView) lose(from model.Offset) {
	for n := len(v.batches); n > 0 && v.batches[n-1].next > from; n-- {
		v.batches = v.batches[:n-1]
	}
	v.floor = min(v.floor, from)
	v.start = min(v.start, from)
	for n := len(v.history); n > 0 && v.history[n-1].NextOffset() > from; n-- {
		v.history = v.history[:n-1]
	}
	v.state = v.state.Clone()
	cutBack(v.state, from, v)
}

// cutBack truncates a view's state, and looks up in its history what that leaves in doubt.
func cutBack(s *log.State, end model.Offset, v *modelView) {
	doubtful := s.Truncate(end)
	if len(doubtful) == 0 {
		return
	}
	whole := log.New(v.origin)
	for _, h := range v.history {
		if h.BaseOffset < end {
			whole.Apply(h)
		}
	}
	whole.AdvanceStart(end) // a loose log that was lost up to its start ends there, in the middle of a batch maybe
	s.Relearn(whole, doubtful)
}

// sameState compares states of a log of which retention may have removed the beginning: a truncation to the log's start
// does not know whether the epoch there began before it, and producers may be forgotten.
func sameState(got, want *log.State) bool {
	for o := want.StartOffset(); o < want.EndOffset(); o++ {
		if got.EpochOf(o) != want.EpochOf(o) {
			return false
		}
	}
	return got.StartOffset() == want.StartOffset() && got.EndOffset() == want.EndOffset() && got.RemembersProducersOf(want)
}

// truncated is what becomes of the log.
func (v *modelView) truncated(to model.Offset, startAt bool) modelView {
	if startAt || to < v.start {
		n := newView(to)
		n.to, n.startAt = to, true
		return n
	}
	n := *v
	n.to, n.startAt = to, false
	end := to
	for _, b := range v.batches {
		if b.base <= to && to < b.next {
			end = b.base
		}
	}
	if end < v.end() {
		n.lose(end)
	}
	n.state = n.state.Clone()
	n.floor = n.end()
	return n
}

// batch makes a batch for the end of a log, of some producer or none.
func (w *world) batch(l *modelLog, count, size int) (sent, stored []byte) {
	o := record.NewOptions(record.CodecNone)
	if id := rapid.IntRange(-4, 3).Draw(w.t, "producer"); id >= 0 {
		o.ProducerID = model.ProducerID(id)
		o.ProducerEpoch = model.ProducerEpoch(w.tag / 20)
		h := record.Header{ProducerID: o.ProducerID, ProducerEpoch: o.ProducerEpoch, LastOffsetDelta: int32(count - 1)}
		if v := l.state.CheckSequence(h); v.Kind == log.OutOfOrder {
			h.BaseSequence = v.Expected
		}
		o.BaseSequence = h.BaseSequence
	}
	var b record.Builder
	b.Begin(o)
	for i := range count {
		value := make([]byte, max(16, size))
		binary.BigEndian.PutUint64(value, w.tag)
		binary.BigEndian.PutUint64(value[8:], uint64(i))
		b.Append(record.Record{Value: value, Timestamp: w.ts + model.Timestamp(i)})
	}
	sent = bytes.Clone(b.Finish())
	stored = bytes.Clone(sent)
	record.Stamp(stored, l.end(), l.epoch)
	return sent, stored
}

// truncate asks for a log to be cut, often where a batch ends, or to begin anew.
func (w *world) truncate() {
	l := w.pick()
	if l.retains > 0 {
		return // a log start that is on its way would be at or below the new end
	}
	v := l.modelView
	to := model.Offset(rapid.Int64Range(int64(max(0, v.start-2)), int64(v.end()+2)).Draw(w.t, "to"))
	if n := len(v.batches); n > 0 && rapid.IntRange(0, 3).Draw(w.t, "where") > 0 {
		to = v.batches[max(0, n-1-rapid.IntRange(0, 6).Draw(w.t, "back"))].base
	}
	startAt := rapid.IntRange(0, 5).Draw(w.t, "whole") == 0
	l.before = append(l.before, v)
	l.modelView = v.truncated(to, startAt)
	l.pending, l.below = min(l.pending, l.start), min(l.below, l.start)
	if startAt {
		w.perform(effect.Set{StartAts: []effect.StartAt{{Partition: l.tp, Offset: to}}})
	} else {
		w.perform(effect.Set{Truncates: []effect.Truncate{{Partition: l.tp, To: to}}})
	}
}

// recut cuts the later views again, after batches before the truncations were refused.
func (l *modelLog) recut() {
	for i := 1; i < len(l.before); i++ {
		l.before[i] = l.before[i-1].truncated(l.before[i].to, l.before[i].startAt)
	}
	if n := len(l.before); n > 0 {
		l.modelView = l.before[n-1].truncated(l.to, l.startAt)
	}
}

// truncated learns of a truncation.
func (w *world) truncated(t *effect.Truncated) {
	l := w.find(t.Partition)
	if len(l.before) == 0 {
		w.t.Fatalf("%v: a truncation nobody asked for: %+v", l.tp, t)
	}
	switch t.Failure {
	case effect.OK:
		l.before = l.before[1:]
		v := &l.modelView
		if len(l.before) > 0 {
			v = &l.before[0]
		}
		if t.NextOffset != v.floor {
			w.t.Fatalf("%v: truncated to %d, reported end %d, want %d", l.tp, v.to, t.NextOffset, v.floor)
		}
		want := v.state.Clone()
		cutBack(want, v.floor, v) // what was appended since
		if got := t.State; !sameState(got, want) || v.origin == 0 && v.start == 0 && !got.Equal(want) {
			w.t.Fatalf("%v: truncated to %d: state %x, want %x", l.tp, v.to, got.AppendSnapshot(nil), want.AppendSnapshot(nil))
		}
		l.acked, l.safe = t.NextOffset, t.NextOffset
	case effect.DiskFull, effect.Missing:
		if t.Failure == effect.Missing && !l.deleted {
			w.t.Fatalf("%v: missing", l.tp)
		}
		if v := l.before[0]; t.NextOffset != v.end() {
			w.t.Fatalf("%v: a truncation was refused at %d, the log ends at %d", l.tp, t.NextOffset, v.end())
		}
		if t.Failure == effect.DiskFull {
			if t.State == nil || t.State.EndOffset() != t.NextOffset || t.NextOffset < l.acked {
				w.t.Fatalf("%v: a truncation was refused at %d with state %v, reported durable to %d", l.tp, t.NextOffset, t.State, l.acked)
			}
			l.acked, l.safe = t.NextOffset, t.NextOffset
		}
		if len(l.before) == 1 {
			l.modelView, l.before = l.before[0], nil
			break
		}
		l.before = append(l.before[:1:1], l.before[2:]...)
		l.recut()
	default:
		w.t.Fatalf("%v: truncation failed: %v", l.tp, t.Failure)
	}
}

// mayBeEmpty reports whether a log can have nothing after a crash.
func (l *modelLog) mayBeEmpty(power bool) bool {
	v := l.oldest()
	if v.start == 0 && (l.acked == 0 || power && l.frail && l.safe == 0) {
		return true
	}
	for _, v := range append(l.before, l.modelView)[1:] {
		if v.floor == 0 {
			return true
		}
	}
	return false
}

// settleOn finds which of the truncations that were not reported have happened: the log is what it was after one of
// them, wholly, with some of what was appended behind it.
func (w *world) settleOn(l *modelLog, state *log.State, power bool) bool {
	start, end := state.StartOffset(), state.EndOffset()
	got := w.readFrom(l, start, end)
	views := append(l.before[:len(l.before):len(l.before)], l.modelView)
	for i := len(views) - 1; i >= 0; i-- {
		v, least := views[i], views[i].floor
		if i == 0 {
			if least = l.acked; power && l.frail {
				least = l.safe
			}
		}
		if end < least || end > v.end() || start < v.start || start > max(l.pending, v.start) || !v.mayEndAt(end) && start < end {
			continue
		}
		if v.end() > end {
			v.lose(end)
		}
		if start == end {
			v.batches, v.floor = nil, end // a loose log that was lost up to its start, in the middle of a batch maybe
		}
		var want []byte
		for _, b := range v.batches {
			if b.next > start {
				want = append(want, b.bytes...)
			}
		}
		s := v.state.Clone()
		s.AdvanceStart(start)
		if bytes.Equal(got, want) && v.end() == end && sameState(state, s) && (v.origin > 0 || start > 0 || state.Equal(s)) {
			l.modelView, l.before = v, nil
			return true
		}
	}
	return power && l.tainted && w.takeAsFound(l, state, got)
}

// takeAsFound takes a loose log as a power loss left it that has brought back what was refused: what was reported
// durable must be there.
func (w *world) takeAsFound(l *modelLog, state *log.State, got []byte) bool {
	v := newView(state.StartOffset())
	for len(got) > 0 {
		b, rest, err := record.Next(got)
		if err != nil {
			return false
		}
		h, err := record.ReadHeader(b)
		if err != nil {
			return false
		}
		if len(v.batches) == 0 {
			v.origin = h.BaseOffset
		}
		v.batches = append(v.batches, modelBatch{h.BaseOffset, h.NextOffset(), b, true})
		v.history = append(v.history, h)
		got = rest
	}
	for _, b := range l.oldest().batches {
		if b.next <= l.safe && b.next > v.start && !slices.ContainsFunc(v.batches, func(o modelBatch) bool { return bytes.Equal(o.bytes, b.bytes) }) {
			return false
		}
	}
	v.state, v.floor = state.Clone(), state.EndOffset()
	l.modelView, l.before = v, nil
	return true
}

// readFrom is every batch of a log, from the one that holds its start.
func (w *world) readFrom(l *modelLog, start, end model.Offset) (all []byte) {
	for at := start; at < end; {
		f := effect.FetchReply{BytesMax: 1 << 20, Parts: []effect.FetchPart{{Partition: l.tp, From: at, To: end, BytesMax: 1 << 20}}}
		w.e.ResolveRead(&f)
		got := flatten(w.t, f.Parts[0].Records)
		if f.Parts[0].Code != 0 || len(got) == 0 {
			w.t.Fatalf("%v: read at %d of [%d,%d): %v, %d bytes", l.tp, at, start, end, kerr.ErrorForCode(f.Parts[0].Code), len(got))
		}
		all = append(all, got...)
		for len(got) > 0 {
			b, rest, err := record.Next(got)
			if err != nil {
				w.t.Fatalf("%v: read at %d: %v", l.tp, at, err)
			}
			at, got = b.NextOffset(), rest
		}
	}
	return all
}

// String says what the log may be.
func (l *modelLog) String() string {
	var b bytes.Buffer
	for _, v := range append(l.before[:len(l.before):len(l.before)], l.modelView) {
		fmt.Fprintf(&b, "[%d,%d) floor %d;", v.start, v.end(), v.floor)
	}
	return b.String()
}
