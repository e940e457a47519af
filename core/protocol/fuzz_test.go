package protocol_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/weirmq/weir/core/protocol"
)

// fuzzBudget is small, so that the fuzzer's memory stays small.
var fuzzBudget = protocol.Budget{ElementCountMax: 1 << 14, AllocBytesMax: 1 << 20}

// fuzzBody decodes, encodes and decodes again: whatever was accepted must survive that unchanged.
func fuzzBody(t *testing.T, newBody func() protocol.Body, version int16, b []byte) {
	first := newBody()
	r := protocol.NewReader(b, fuzzBudget)
	first.Decode(&r, version)
	if r.Finish() != nil {
		return
	}
	written, err := encode(first, version)
	if err != nil {
		t.Fatalf("%T v%d decodes and does not encode: %v\n%x", first, version, err, b)
	}
	second := newBody()
	if err := decode(second, written, version); err != nil {
		t.Fatalf("%T v%d: what we wrote does not decode: %v\n%x\n%x", second, version, err, b, written)
	}
	again, err := encode(second, version)
	if err != nil || !bytes.Equal(written, again) {
		t.Fatalf("%T v%d is not stable (%v)\n%x\n%x", second, version, err, written, again)
	}
	if !equal(reflect.ValueOf(first).Elem(), reflect.ValueOf(second).Elem()) {
		t.Fatalf("%T v%d changed\n%+v\n%+v", second, version, first, second)
	}
}

func addBodies(f *testing.F, direction string) {
	eachVersion(func(d string, k protocol.Key, version int16) {
		if d == direction {
			f.Add(int16(k), version, randomBody(f, newFiller(uint64(k), uint64(version)), ourNew(d, k), version))
		}
	})
}

func fuzzDirection(t *testing.T, direction string, key, version int16, b []byte) {
	k := protocol.Key(key)
	if ourNew(direction, k) == nil {
		if protocol.MaxVersion(k) >= protocol.MinVersion(k) {
			t.Fatalf("%v has versions and no messages", k)
		}
		return
	}
	fuzzBody(t, func() protocol.Body { return ourNew(direction, k) }, version, b)
}

func FuzzDecodeRequest(f *testing.F) {
	addBodies(f, "request")
	f.Add(int16(18), int16(3), []byte{2, 'a', 2, 'b', 0x80, 0x80, 0x80, 8, 0, 0, 0})
	f.Fuzz(func(t *testing.T, key, version int16, b []byte) { fuzzDirection(t, "request", key, version, b) })
}

func FuzzDecodeResponse(f *testing.F) {
	addBodies(f, "response")
	f.Fuzz(func(t *testing.T, key, version int16, b []byte) { fuzzDirection(t, "response", key, version, b) })
}

func FuzzRequestHeader(f *testing.F) {
	for place := -1; place <= protocol.KeyPlaceCount; place++ {
		k := protocol.KeyAt(place)
		for _, client := range []protocol.NullString{{}, protocol.String("client")} {
			var w protocol.Writer
			protocol.AppendRequestHeader(&w, &protocol.RequestHeader{Key: k, Version: max(0, protocol.MaxVersion(k)), CorrelationID: 1, ClientID: client})
			b, err := w.AppendTo(nil)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h, back protocol.RequestHeader
		r := protocol.NewReader(b, fuzzBudget)
		protocol.ReadRequestHeader(&r, &h)
		if r.Err() != nil {
			return
		}
		var w protocol.Writer
		protocol.AppendRequestHeader(&w, &h)
		written, err := w.AppendTo(nil)
		if err != nil {
			t.Fatalf("%+v: %v", h, err)
		}
		r.Reset(written, fuzzBudget)
		if protocol.ReadRequestHeader(&r, &back); r.Finish() != nil || back != h {
			t.Fatalf("%+v came back as %+v", h, back)
		}
	})
}

func FuzzMetadataRecord(f *testing.F) {
	for kind := range int16(64) {
		if rec := protocol.NewMetadataRecord(kind); rec != nil {
			versionMin, versionMax := rec.Versions()
			for v := versionMin; v <= versionMax; v++ {
				randomBody(f, newFiller(uint64(kind), uint64(v)), rec, v)
				f.Add(protocol.AppendMetadataRecord(nil, rec, v))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, version, err := protocol.ReadMetadataRecord(b)
		if err != nil {
			return
		}
		written := protocol.AppendMetadataRecord(nil, rec, version)
		back, v, err := protocol.ReadMetadataRecord(written)
		if err != nil || v != version || !equal(reflect.ValueOf(rec).Elem(), reflect.ValueOf(back).Elem()) {
			t.Fatalf("%+v v%d came back as %+v v%d (%v)", rec, version, back, v, err)
		}
	})
}
