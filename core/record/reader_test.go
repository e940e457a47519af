package record

import (
	"errors"
	"testing"
)

func TestReaderRefusesMalformedRecords(t *testing.T) {
	good := rec(0, 0, 0, zz(-1), zz(1), 'v', 0)
	for name, c := range map[string]struct {
		b    Batch
		seen int // records before the fault
	}{
		"length":                {handmade(1, []byte{zz(40), 0}), 0},
		"second record missing": {handmade(2, good), 1},
		"offset negative":       {handmade(1, rec(0, 0, zz(-1), zz(-1), zz(-1), 0)), 0},
		"offset past the batch": {handmade(1, rec(0, 0, zz(1), zz(-1), zz(-1), 0)), 0},
		"key":                   {handmade(1, rec(0, 0, 0, zz(-2), zz(-1), 0)), 0},
		"value":                 {handmade(1, rec(0, 0, 0, zz(-1), zz(44), 0)), 0},
		"header count":          {handmade(1, rec(0, 0, 0, zz(-1), zz(-1), zz(60))), 0},
		"header key null":       {handmade(1, rec(0, 0, 0, zz(-1), zz(-1), zz(1), zz(-1), 0)), 0},
		"header value":          {handmade(1, rec(0, 0, 0, zz(-1), zz(-1), zz(1), zz(0), zz(7))), 0},
		"stray bytes":           {handmade(1, append(append([]byte(nil), good...), 1, 2)), 0},
	} {
		r := NewReader(c.b, nil)
		seen := 0
		for r.Next() {
			seen++
		}
		if !errors.Is(r.Err(), ErrInvalid) || seen != c.seen || r.Next() {
			t.Errorf("%s: %d records, then %v", name, seen, r.Err())
		}
	}
}

func TestReaderStartRefusals(t *testing.T) {
	zipped := small(t, CodecGzip)
	for name, c := range map[string]struct {
		b    Batch
		d    *Decompressor
		max  int
		want error
	}{
		"nothing":                  {nil, nil, 0, ErrShort},
		"cut":                      {small(t, CodecNone)[:90], nil, 0, ErrShort},
		"more than a batch":        {append(small(t, CodecNone), 1), nil, 0, ErrShort},
		"old format":               {func() Batch { b := small(t, CodecNone); b[posMagic] = 1; return b }(), nil, 0, ErrMagic},
		"compressed, unexpectedly": {zipped, nil, 0, ErrCodec},
		"inflates too far":         {zipped, new(Decompressor), 100, ErrTooLarge},
		"garbage":                  {zipped[:HeaderBytes:HeaderBytes], new(Decompressor), 0, ErrShort},
	} {
		var r Reader
		err := r.Reset(c.b, c.d, c.max)
		if !errors.Is(err, c.want) || !errors.Is(r.Err(), c.want) || r.Next() {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		for _, err := range Records(c.b, c.d, c.max) {
			if !errors.Is(err, c.want) {
				t.Errorf("%s, iterated: %v, want %v", name, err, c.want)
			}
		}
	}
}

func TestReaderIsReusableAfterAnError(t *testing.T) {
	r := NewReader(handmade(1, []byte{0}), nil)
	if r.Next() || r.Err() == nil {
		t.Fatal("the fixture is sound")
	}
	if err := r.Reset(small(t, CodecNone), nil, 0); err != nil || !r.Next() || r.Err() != nil {
		t.Errorf("after Reset: %v", r.Err())
	}
	if len(r.Record().Headers) != 2 || string(r.Record().Headers[1].Value) != "v" || r.Record().Headers[0].Value != nil {
		t.Errorf("headers %q", r.Record().Headers)
	}
}

func TestRecordsShareTheBatchsBytesAndCannotGrowIntoEachOther(t *testing.T) {
	b := small(t, CodecNone)
	r := NewReader(b, nil)
	if !r.Next() {
		t.Fatal(r.Err())
	}
	first := r.Record()
	if cap(first.Key) != len(first.Key) || cap(first.Value) != len(first.Value) {
		t.Error("a record's slices reach past its bytes")
	}
	first.Value[0] ^= 0xff
	if CheckCRC(b) == nil {
		t.Error("the value is a copy")
	}
}

func TestIterationStopsWhenTheLoopDoes(t *testing.T) {
	seen := 0
	for _, err := range Records(small(t, CodecNone), nil, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 2 {
			break
		}
	}
	if seen != 2 {
		t.Errorf("%d records", seen)
	}
}
