package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// record is a record as clients' programs are given it and give it back. Bytes are base64, null is null.
type record struct {
	Partition int32    `json:"p"` // -1 leaves it to the client's partitioner
	Offset    int64    `json:"o"`
	Key       []byte   `json:"k"`
	Value     []byte   `json:"v"`
	Headers   []header `json:"h"`
	TimeMs    int64    `json:"t"`
}

type header struct {
	Name  string `json:"n"`
	Value []byte `json:"v"`
}

// fixture is every kind of record, in the order in which a client writes them to partition 0.
func fixture() []record {
	r := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 200_000) // which no codec makes smaller
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	all := append(samples(""), &kgo.Record{Key: []byte("noise"), Value: noise, Timestamp: time.Now().Truncate(time.Millisecond)},
		&kgo.Record{Key: []byte("ключ 鍵 🔑"), Value: []byte("значення 値 ≠ \x00\xff\xfe"), Timestamp: time.Now().Truncate(time.Millisecond)})
	return fromKgo(all)
}

func fromKgo(records []*kgo.Record) []record {
	out := make([]record, 0, len(records))
	for _, r := range records {
		rec := record{r.Partition, r.Offset, r.Key, r.Value, []header{}, r.Timestamp.UnixMilli()}
		for _, h := range r.Headers {
			rec.Headers = append(rec.Headers, header{h.Key, h.Value})
		}
		out = append(out, rec)
	}
	return out
}

func toKgo(topic string, records []record) []*kgo.Record {
	out := make([]*kgo.Record, 0, len(records))
	for _, r := range records {
		rec := &kgo.Record{Topic: topic, Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.TimeMs)}
		for _, h := range r.Headers {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
		out = append(out, rec)
	}
	return out
}

// numbered gives records the offsets that they will have.
func numbered(records []record) []record {
	for i := range records {
		records[i].Offset = int64(i)
	}
	return records
}

// writable is what a client can write of records: what it has no words for is left out.
func writable(records []record, lacks func(feature) bool) []record {
	out := make([]record, 0, len(records))
	for _, r := range records {
		r.Headers = slices.Clone(r.Headers)
		if lacks(headerNull) {
			r.Headers = slices.DeleteFunc(r.Headers, func(h header) bool { return h.Value == nil })
		}
		if lacks(headerNoName) {
			r.Headers = slices.DeleteFunc(r.Headers, func(h header) bool { return h.Name == "" })
		}
		if lacks(headerTwice) {
			seen := map[string]bool{}
			r.Headers = slices.DeleteFunc(r.Headers, func(h header) bool { was := seen[h.Name]; seen[h.Name] = true; return was })
		}
		if lacks(headerBytes) {
			r.Headers = slices.DeleteFunc(r.Headers, func(h header) bool { return slices.Contains(h.Value, 0) })
		}
		if lacks(nullAndEmpty) && hasNullAndEmpty(r) {
			continue
		}
		if lacks(bothNull) && r.Key == nil && r.Value == nil {
			continue
		}
		out = append(out, r)
	}
	return out
}

func hasNullAndEmpty(r record) bool {
	empty := func(b []byte) bool { return b != nil && len(b) == 0 }
	return r.Key == nil && empty(r.Value) || r.Value == nil && empty(r.Key)
}

// sameRecords says how records that a client read differ from those that were written. What the reader cannot
// tell apart, and what the writer cannot set, is not compared.
func sameRecords(got, want []record, cannot func(feature) bool) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d records instead of %d", len(got), len(want))
	}
	for i := range got {
		if err := sameRecord(seen(got[i], cannot), seen(want[i], cannot)); err != nil {
			return err
		}
	}
	return nil
}

// seen is a record as a client sees it that cannot tell some things apart.
func seen(r record, cannot func(feature) bool) record {
	plain := func(b []byte, blind bool) []byte {
		if blind && b == nil {
			return []byte{}
		}
		return b
	}
	r.Key = plain(r.Key, cannot(readNullKey))
	r.Value = plain(r.Value, cannot(readNullValue))
	r.Headers = slices.Clone(r.Headers)
	for i, h := range r.Headers {
		r.Headers[i].Value = plain(h.Value, cannot(readNullHeader))
		if zero := bytes.IndexByte(h.Value, 0); zero >= 0 && cannot(readHeaderBytes) {
			r.Headers[i].Value = h.Value[:zero]
		}
	}
	if cannot(readHeaderOrder) {
		slices.SortStableFunc(r.Headers, func(a, b header) int { return strings.Compare(a.Name, b.Name) })
	}
	if cannot(writeTime) {
		r.TimeMs = 0
	}
	return r
}

func sameRecord(got, want record) error {
	a, b := toKgo("", []record{got})[0], toKgo("", []record{want})[0]
	if got.Partition != want.Partition {
		return fmt.Errorf("partition %d instead of %d", got.Partition, want.Partition)
	}
	return alike(a, b, want.Offset)
}

// asArgs is records as a request carries them.
func asArgs(records []record) json.RawMessage {
	b, err := json.Marshal(records)
	if err != nil {
		panic(err) // a struct of strings, bytes and numbers
	}
	return b
}
