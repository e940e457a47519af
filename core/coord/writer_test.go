package coord

import (
	"slices"
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// fakeLog gives offsets out, or refuses.
type fakeLog struct {
	end  model.Offset
	code int16
	last []byte
}

func (l *fakeLog) Append(h record.Header, batch []byte, _ *effect.Set) (model.Offset, int16) {
	if l.code != 0 {
		return model.NoOffset, l.code
	}
	base := l.end
	l.end += model.Offset(h.RecordCount)
	l.last = batch
	return base, 0
}

func write(t *testing.T, w *Writer[string], decision string, records int) int16 {
	t.Helper()
	w.Begin(7)
	for range records {
		w.Add([]byte("k"), []byte(decision))
	}
	_, code := w.Append(decision, nil)
	return code
}

func (w *Writer[D]) released(highWatermark model.Offset) (out []D) {
	for {
		d, _, ok := w.Durable(highWatermark)
		if !ok {
			return out
		}
		out = append(out, d)
	}
}

func TestDecisionsComeBackInOrderWhenTheyAreDurable(t *testing.T) {
	log := &fakeLog{end: 10}
	w := NewWriter[string](log)
	write(t, &w, "a", 2)
	write(t, &w, "b", 1)
	write(t, &w, "c", 3)
	if got := w.released(11); got != nil {
		t.Errorf("half of a's records are durable, and %v came back", got)
	}
	if got := w.released(13); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%v", got)
	}
	if err := w.Check(13, 16); err != nil || w.ParkedCount() != 1 {
		t.Errorf("%v, %d parked", err, w.ParkedCount())
	}
	if err := w.Check(16, 16); err == nil {
		t.Error("a decision below the high watermark is still parked, and nobody minds")
	}
	if got := w.released(100); !slices.Equal(got, []string{"c"}) {
		t.Errorf("%v", got)
	}
}

func TestRefusedRecordsTakeTheirDecisionsAlong(t *testing.T) {
	log := &fakeLog{}
	w := NewWriter[string](log)
	for _, d := range []string{"a", "b", "c"} {
		write(t, &w, d, 1)
	}
	if got := w.Refused(3); got != nil {
		t.Errorf("nothing was refused, and %v came back", got)
	}
	if got := w.Refused(1); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("%v", got)
	}
	log.end = 1
	write(t, &w, "d", 1)
	if got := w.released(2); !slices.Equal(got, []string{"a", "d"}) {
		t.Errorf("%v", got)
	}
	log.code = 56
	if code := write(t, &w, "e", 1); code != 56 || w.ParkedCount() != 0 {
		t.Errorf("code %d, %d parked", code, w.ParkedCount())
	}
}

func TestManyDecisionsPassThrough(t *testing.T) {
	log := &fakeLog{}
	w := NewWriter[string](log)
	var want, got []string
	for i := range 1000 {
		d := string(rune('a' + i%26))
		write(t, &w, d, 1+i%3)
		want = append(want, d)
		if i%7 == 0 {
			got = append(got, w.released(log.end-2)...)
		}
	}
	if got = append(got, w.released(log.end)...); !slices.Equal(got, want) {
		t.Error("decisions were lost or changed places")
	}
	batch := record.Batch(log.last)
	if h, err := record.ReadHeader(batch); err != nil || h.MaxTimestamp != 7 || record.CheckCRC(batch) != nil {
		t.Errorf("%+v, %v", h, err)
	}
}
