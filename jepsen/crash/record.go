package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// contents makes records from their numbers. Whoever knows the run's seed can tell every byte of a record
// from its number, so each is judged when it is read, by itself.
type contents struct {
	seed uint64
	zero time.Time // records are stamped from here on, one millisecond apart
}

const (
	nullValue  = -1 // the size of a value that is null, which is not one of 0 bytes
	numberName = "number"
)

// record is the record of a number: its value is of that size.
func (c contents) record(number int64, size int) *kgo.Record {
	r := rand.New(rand.NewPCG(c.seed, uint64(number)))
	mark := binary.BigEndian.AppendUint64(nil, uint64(number))
	rec := &kgo.Record{
		Timestamp: c.zero.Add(time.Duration(number%600_000) * time.Millisecond).Truncate(time.Millisecond),
		Headers:   []kgo.RecordHeader{{Key: numberName, Value: binary.BigEndian.AppendUint32(mark, uint32(int32(size)))}},
	}
	switch r.IntN(16) {
	case 0: // null
	case 1:
		rec.Key = []byte{}
	case 2:
		rec.Key = text(r, r.IntN(300))
	default:
		rec.Key = fmt.Append(nil, "key-", r.IntN(1000))
	}
	for range max(0, r.IntN(5)-2) {
		h := kgo.RecordHeader{Key: string(text(r, r.IntN(12)))}
		if r.IntN(4) > 0 {
			h.Value = text(r, r.IntN(40))
		}
		rec.Headers = append(rec.Headers, h)
	}
	switch {
	case size == nullValue:
	case r.IntN(2) == 0:
		rec.Value = text(r, size)
	default:
		rec.Value = noise(r, size)
	}
	return rec
}

// text compresses well.
func text(r *rand.Rand, size int) []byte {
	b := make([]byte, size)
	word := uint64(0)
	for i := range b {
		if i%16 == 0 {
			word = r.Uint64N(64) * 0x0421_8421
		}
		b[i] = 'a' + byte(word>>(i%16))&15
	}
	return b
}

// noise does not.
func noise(r *rand.Rand, size int) []byte {
	b := make([]byte, size+7)
	for i := 0; i < size; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b[:size]
}

// check is the number of a record that was read. The error says which part of it is not as it was sent.
func (c contents) check(rec *kgo.Record) (int64, error) {
	at := func(format string, args ...any) error {
		return fmt.Errorf("changed: %s/%d offset %d: %s", rec.Topic, rec.Partition, rec.Offset, fmt.Sprintf(format, args...))
	}
	if len(rec.Headers) == 0 || rec.Headers[0].Key != numberName || len(rec.Headers[0].Value) != 12 {
		return 0, at("no record of ours, its headers are %q", rec.Headers)
	}
	number := int64(binary.BigEndian.Uint64(rec.Headers[0].Value))
	size := int(int32(binary.BigEndian.Uint32(rec.Headers[0].Value[8:])))
	if number <= 0 || size < nullValue || size > largeMax {
		return 0, at("record number %d of %d bytes was never sent", number, size)
	}
	want := c.record(number, size)
	switch {
	case !same(rec.Key, want.Key):
		return 0, at("record number %d has the key %q, not %q", number, rec.Key, want.Key)
	case !same(rec.Value, want.Value):
		return 0, at("record number %d has another value than was sent: %d bytes for %d, the first difference at %d",
			number, len(rec.Value), len(want.Value), difference(rec.Value, want.Value))
	case !rec.Timestamp.Equal(want.Timestamp):
		return 0, at("record number %d has the time %v, not %v", number, rec.Timestamp, want.Timestamp)
	case len(rec.Headers) != len(want.Headers):
		return 0, at("record number %d has %d headers, not %d", number, len(rec.Headers), len(want.Headers))
	}
	for i, h := range rec.Headers {
		if h.Key != want.Headers[i].Key || !same(h.Value, want.Headers[i].Value) {
			return 0, at("record number %d has the header %q, not %q", number, h, want.Headers[i])
		}
	}
	return number, nil
}

// same tells null from empty.
func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

func difference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
