package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Whatever part of a record changes on its way, a case must fail: so each part is changed here.
func TestEveryDifferenceOfARecordIsSeen(t *testing.T) {
	sent := func() *kgo.Record {
		return &kgo.Record{
			Key: []byte("k"), Value: []byte("v"), Timestamp: time.UnixMilli(1_700_000_000_000), Offset: 7,
			Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("b")}, {Key: "null"}},
		}
	}
	if err := alike(sent(), sent(), 7); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(r *kgo.Record){
		"offset":                     func(r *kgo.Record) { r.Offset++ },
		"key":                        func(r *kgo.Record) { r.Key = []byte("K") },
		"null key":                   func(r *kgo.Record) { r.Key = nil },
		"value":                      func(r *kgo.Record) { r.Value = []byte("w") },
		"empty value":                func(r *kgo.Record) { r.Value = []byte{} },
		"time":                       func(r *kgo.Record) { r.Timestamp = r.Timestamp.Add(time.Millisecond) },
		"header's name":              func(r *kgo.Record) { r.Headers[0].Key = "A" },
		"header's value":             func(r *kgo.Record) { r.Headers[0].Value = nil },
		"null header that is empty":  func(r *kgo.Record) { r.Headers[1].Value = []byte{} },
		"headers in another order":   func(r *kgo.Record) { slices.Reverse(r.Headers) },
		"one header less":            func(r *kgo.Record) { r.Headers = r.Headers[:1] },
		"one header twice":           func(r *kgo.Record) { r.Headers = append(r.Headers, r.Headers[0]) },
		"empty value instead of any": func(r *kgo.Record) { r.Value = nil },
	} {
		r := sent()
		change(r)
		if alike(r, sent(), 7) == nil {
			t.Errorf("%s: not seen", name)
		}
	}
	empty, null := sent(), sent()
	empty.Value, null.Value = []byte{}, nil
	if alike(empty, null, 7) == nil || alike(null, empty, 7) == nil {
		t.Error("null and empty are taken for the same")
	}
}

func TestMissingAndSuperfluousRecordsAreSeen(t *testing.T) {
	number := func(rs []*kgo.Record) []*kgo.Record {
		for i, r := range rs {
			r.Offset = int64(i)
		}
		return rs
	}
	all := number(samples("t"))
	if err := allAlike(all, all); err != nil {
		t.Error(err)
	}
	if allAlike(all[1:], all) == nil || allAlike(all[:len(all)-1], all) == nil || allAlike(append(slices.Clone(all), all[0]), all) == nil {
		t.Error("a record more or less is not seen")
	}
	swapped := slices.Clone(all)
	swapped[4], swapped[5] = swapped[5], swapped[4]
	if allAlike(number(swapped), number(samples("t"))) == nil {
		t.Error("records in another order are not seen")
	}
}

// The samples must keep what they are there for.
func TestSamplesHoldWhatRecordsCanHold(t *testing.T) {
	var nullKey, emptyKey, nullValue, emptyValue, nullHeader, emptyHeader, sameHeader, late bool
	last := time.Time{}
	for _, r := range samples("t") {
		nullKey, emptyKey = nullKey || r.Key == nil, emptyKey || r.Key != nil && len(r.Key) == 0
		nullValue, emptyValue = nullValue || r.Value == nil, emptyValue || r.Value != nil && len(r.Value) == 0
		for i, h := range r.Headers {
			nullHeader, emptyHeader = nullHeader || h.Value == nil, emptyHeader || h.Value != nil && len(h.Value) == 0
			sameHeader = sameHeader || i > 0 && r.Headers[i-1].Key == h.Key
		}
		late = late || r.Timestamp.Before(last)
		last = r.Timestamp
	}
	if !nullKey || !emptyKey || !nullValue || !emptyValue || !nullHeader || !emptyHeader || !sameHeader || !late {
		t.Error(nullKey, emptyKey, nullValue, emptyValue, nullHeader, emptyHeader, sameHeader, late)
	}
}

func TestMadeFilesHoldWhatTextsCanHold(t *testing.T) {
	var windows, gaps, noText, open, long bool
	for _, f := range madeFiles() {
		windows = windows || bytes.Contains(f.text, []byte("\r\n"))
		gaps = gaps || f.emptyLines()
		noText = noText || bytes.ContainsRune(f.text, 0) && bytes.Contains(f.text, []byte{0xff})
		open = open || f.text[len(f.text)-1] != '\n'
		for _, line := range bytes.Split(f.text, []byte("\n")) {
			long = long || len(line) > 100_000
		}
	}
	if !windows || !gaps || !noText || !open || !long {
		t.Error(windows, gaps, noText, open, long)
	}
}

func TestBytesThatDifferAreNamed(t *testing.T) {
	if err := equal([]byte("same"), []byte("same")); err != nil {
		t.Error(err)
	}
	for _, c := range [][2]string{{"abc", "abd"}, {"ab", "abc"}, {"abc", "ab"}, {"", "a"}} {
		err := equal([]byte(c[0]), []byte(c[1]))
		if err == nil || !strings.Contains(err.Error(), "they differ from byte") {
			t.Errorf("%q and %q: %v", c[0], c[1], err)
		}
	}
}

func TestCasesAreCounted(t *testing.T) {
	s := &suite{}
	s.try("one that passes", func() error { return nil })
	s.try("one that fails", func() error { return errors.New("as it should") })
	s.try("another that fails", func() error { return errors.New("as it should") })
	if s.passed != 1 || s.failed != 2 {
		t.Error(s.passed, s.failed)
	}
}

func TestUnusedCodecIsSeen(t *testing.T) {
	records := []*kgo.Record{{}} // its attributes say: not compressed
	if err := usedCodec(records, 0); err != nil {
		t.Error(err)
	}
	if usedCodec(records, 4) == nil {
		t.Error("a batch that is not compressed passed for zstd")
	}
}
