package drive

import (
	"bytes"
	"testing"
	"time"
)

// TestWindowOpensBeforeAllBytesAreMoved: a system that moves all bytes of a run within the warm-up is measured, not
// refused.
func TestWindowOpensBeforeAllBytesAreMoved(t *testing.T) {
	var said bytes.Buffer
	w := &window{o: &Options{Warm: time.Hour, For: time.Hour, BytesMax: 400}, out: &said, failed: make(chan error, 1)}
	w.counts.bytes.Store(100) // a quarter, before the first look at the clock
	w.opened = func() {
		if moved := w.counts.bytes.Load(); moved >= 400 {
			t.Errorf("the window opened after %d bytes, with none left", moved)
		}
		time.AfterFunc(10*time.Millisecond, func() {
			w.counts.records.Add(3)
			w.counts.bytes.Add(300)
		})
	}
	r, err := w.run(t.Context(), nil)
	if err != nil || r.Records != 3 || r.Bytes != 300 {
		t.Errorf("%+v, %v; want 3 records of 300 bytes", r, err)
	}
	if said.String() != "begin\nend\n" {
		t.Errorf("said %q", said.String())
	}
}
