package main

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func testContents() contents { return contents{seed: 7, zero: time.UnixMilli(1_700_000_000_000)} }

func TestRecordsKnowTheirNumbers(t *testing.T) {
	c := testContents()
	for number := int64(1); number < 2000; number++ {
		size := int(number%700) - 1
		if got, err := c.check(c.record(number, size)); err != nil || got != number {
			t.Fatal(got, err)
		}
	}
	if got, err := c.check(c.record(5, largeMax)); err != nil || got != 5 {
		t.Error(got, err)
	}
}

// Every part of a record is judged: any change to any of them must be noticed.
func TestChangedRecordIsNoticed(t *testing.T) {
	c := testContents()
	seen := map[string]int{}
	for number := int64(1); number < 500; number++ {
		for name, change := range map[string]func(rec *kgo.Record) bool{
			"value byte": func(rec *kgo.Record) bool {
				if len(rec.Value) == 0 {
					return false
				}
				rec.Value[int(number)%len(rec.Value)] ^= 1
				return true
			},
			"value cut": func(rec *kgo.Record) bool {
				if len(rec.Value) == 0 {
					return false
				}
				rec.Value = rec.Value[:len(rec.Value)-1]
				return true
			},
			"value null for empty": func(rec *kgo.Record) bool {
				null := rec.Value == nil
				rec.Value = nil
				return !null
			},
			"value empty for null": func(rec *kgo.Record) bool {
				null := rec.Value == nil
				rec.Value = []byte{}
				return null
			},
			"key byte": func(rec *kgo.Record) bool {
				if len(rec.Key) == 0 {
					return false
				}
				rec.Key[0] ^= 1
				return true
			},
			"key null for empty": func(rec *kgo.Record) bool {
				empty := rec.Key != nil && len(rec.Key) == 0
				rec.Key = nil
				return empty
			},
			"time":         func(rec *kgo.Record) bool { rec.Timestamp = rec.Timestamp.Add(time.Millisecond); return true },
			"number":       func(rec *kgo.Record) bool { rec.Headers[0].Value[7] ^= 1; return true },
			"size":         func(rec *kgo.Record) bool { rec.Headers[0].Value[11] ^= 1; return true },
			"header gone":  func(rec *kgo.Record) bool { rec.Headers = rec.Headers[1:]; return true },
			"header added": func(rec *kgo.Record) bool { rec.Headers = append(rec.Headers, kgo.RecordHeader{}); return true },
			"header value": func(rec *kgo.Record) bool {
				h := &rec.Headers[len(rec.Headers)-1]
				h.Value = append(slices.Clone(h.Value), 0)
				return true
			},
			"header key": func(rec *kgo.Record) bool { rec.Headers[len(rec.Headers)-1].Key += "x"; return true },
		} {
			rec := c.record(number, int(number%40)-1)
			if !change(rec) {
				continue
			}
			seen[name]++
			if got, err := c.check(rec); err == nil {
				t.Fatalf("record %d, %s: taken for %d", number, name, got)
			}
		}
	}
	if len(seen) != 13 {
		t.Errorf("some changes were never tried: %v", seen)
	}
}

func TestOtherRecordOfTheRunIsNotTaken(t *testing.T) {
	c := testContents()
	rec := c.record(3, 100)
	rec.Value = c.record(4, 100).Value
	if _, err := c.check(rec); err == nil {
		t.Error("a record with another one's value was taken")
	}
	other := contents{seed: 8, zero: c.zero}
	if _, err := other.check(c.record(3, 100)); err == nil {
		t.Error("a record of another seed was taken")
	}
}
