package transport_test

import (
	"bytes"
	"errors"
	"net"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/transport"
)

// shortWriter takes limit bytes and then fails.
type shortWriter struct {
	got       bytes.Buffer
	limit     int
	callCount int
}

var errFull = errors.New("full")

func (w *shortWriter) Write(b []byte) (int, error) {
	w.callCount++
	if room := w.limit - w.got.Len(); len(b) > room {
		w.got.Write(b[:room])
		return room, errFull
	}
	return w.got.Write(b)
}

func TestWriteBuffersWritesInOrderAndLeavesTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 50), rapid.IntRange(0, 40_000)), 0, 12).Draw(t, "sizes")
		var bufs net.Buffers
		for i, size := range sizes {
			bufs = append(bufs, bytes.Repeat([]byte{byte(i + 1)}, size))
		}
		all := bytes.Join(bufs, nil)
		w := &shortWriter{limit: rapid.OneOf(rapid.Just(len(all)), rapid.IntRange(0, len(all))).Draw(t, "limit")}

		n, err := transport.WriteBuffers(w, &bufs)

		if (err == nil) != (w.limit == len(all)) {
			t.Fatalf("error %v with room for %d of %d", err, w.limit, len(all))
		}
		if n != int64(w.got.Len()) {
			t.Fatalf("said %d, wrote %d", n, w.got.Len())
		}
		rest := bytes.Join(bufs, nil)
		if !bytes.Equal(append(w.got.Bytes(), rest...), all) {
			t.Fatalf("%d written and %d left are not the %d given", n, len(rest), len(all))
		}
		if err == nil && len(bufs) != 0 {
			t.Fatalf("%d empty buffers left", len(bufs))
		}
	})
}

func TestWriteBuffersJoinsSmallBuffers(t *testing.T) {
	var bufs net.Buffers
	for range 1_000 {
		bufs = append(bufs, make([]byte, 30))
	}
	w := &shortWriter{limit: 1 << 20}
	if _, err := transport.WriteBuffers(w, &bufs); err != nil {
		t.Fatal(err)
	}
	if w.callCount != 1 {
		t.Fatalf("30,000 bytes took %d writes", w.callCount)
	}
}

func TestWriteBuffersDoesNotAllocate(t *testing.T) {
	header, records := make([]byte, 60), make([]byte, 64<<10)
	w := &countingWriter{}
	var pieces [4][]byte
	var bufs net.Buffers
	allocs := testing.AllocsPerRun(100, func() {
		pieces = [4][]byte{header, records, header, records}
		bufs = pieces[:]
		if _, err := transport.WriteBuffers(w, &bufs); err != nil {
			t.Fatal(err)
		}
	})
	if allocs >= 1 { // the pool may be emptied by a collection in between
		t.Fatalf("%v allocations", allocs)
	}
}

type countingWriter struct{ n int }

func (w *countingWriter) Write(b []byte) (int, error) {
	w.n += len(b)
	return len(b), nil
}
