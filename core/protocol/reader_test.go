package protocol_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weirmq/weir/core/protocol"
)

// allocatedBy counts the bytes that f allocates.
func allocatedBy(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestElevenBytesClaimingMillionsOfTagsAreRefusedAtOnce(t *testing.T) {
	for _, claim := range []uint64{1 << 24, 1<<32 - 1, 1<<32 + 1, 1<<63 - 1} {
		body := []byte{2, 'a', 2, 'b'} // software name and version
		body = binary.AppendUvarint(body, claim)
		for len(body) < 11 {
			body = append(body, 0)
		}
		began := time.Now()
		var m protocol.APIVersionsRequest
		err := decode(&m, body, 3)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%d tags took %v", claim, took)
		}
		if !errors.Is(err, protocol.ErrTruncated) && !errors.Is(err, protocol.ErrLength) {
			t.Errorf("%d tags: %v", claim, err)
		}
	}
}

// TestHugeCountsAllocateLittle puts a huge count at every place of a valid body of every message: a decoder
// that believes one would allocate gigabytes.
func TestHugeCountsAllocateLittle(t *testing.T) {
	eachVersion(func(direction string, k protocol.Key, version int16) {
		f := newFiller(uint64(k), uint64(version))
		valid := randomBody(t, f, ourNew(direction, k), version)
		if len(valid) > 400 {
			valid = valid[:400]
		}
		spent := allocatedBy(func() {
			for at := range valid {
				for _, huge := range [][]byte{{0x7f, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xff, 0x07}, {0x00, 0x10, 0x00, 0x00}} {
					body := append(append(append([]byte{}, valid[:at]...), huge...), valid[at:]...)
					r := protocol.NewReader(body, plenty)
					m := ourNew(direction, k)
					m.Decode(&r, version)
				}
			}
		})
		// No byte costs more than 32 bytes of memory; 4 KiB are for the message and the copy.
		if limit := uint64(len(valid)+1) * 3 * (4<<10 + 32*uint64(len(valid)+5)); spent > limit {
			t.Errorf("%s %v v%d: %d bytes allocated for %d bodies of %d bytes", direction, k, version, spent, 3*len(valid), len(valid))
		}
	})
}

func TestCountsAreCheckedAgainstTheLeanestElements(t *testing.T) {
	// A topic of version 13 takes 18 bytes at least: id, count of partitions, count of tags.
	const leanest, elements = 18, 1000
	for _, c := range []struct {
		count int
		want  error
	}{{elements, nil}, {elements + 1, protocol.ErrTruncated}} {
		var m protocol.FetchRequest
		m.Default()
		head, err := encode(&m, 13)
		if err != nil {
			t.Fatal(err)
		}
		// The empty request ends with the counts of topics, of forgotten topics, the rack and the tags.
		tail := head[len(head)-3:]
		body := binary.AppendUvarint(append([]byte{}, head[:len(head)-4]...), uint64(c.count+1))
		body = append(body, bytes.Repeat(append(make([]byte, 16), 1, 0), elements-1)...)
		body = append(body, append(make([]byte, 16), 1)...)
		if c.want == nil {
			body = append(append(body, 0), tail...)
		}
		at := len(head) - 4 + 2
		if left := len(body) - at; c.want != nil && left >= c.count*leanest {
			t.Fatalf("%d bytes left would suffice", left)
		}
		var into protocol.FetchRequest
		spent := allocatedBy(func() { err = decode(&into, body, 13) })
		if !errors.Is(err, c.want) {
			t.Errorf("%d topics in %d bytes: %v", c.count, len(body), err)
		}
		if c.want != nil && spent > 4<<10 {
			t.Errorf("%d topics in %d bytes: %d bytes allocated before refusing", c.count, len(body), spent)
		}
	}
}

func TestAmplificationStaysBelowTheBudget(t *testing.T) {
	budget := protocol.BudgetForStrangers()
	body := make([]byte, 1<<20) // a flexible body of ones and zeroes: the leanest arrays there are
	for i := range body {
		body[i] = byte(i & 1)
	}
	count := binary.AppendUvarint(nil, uint64(len(body))/4)
	eachVersion(func(direction string, k protocol.Key, version int16) {
		for _, prefix := range []int{0, 1, 2, 4, 6} {
			frame := append(append(make([]byte, prefix), count...), body...)
			m := ourNew(direction, k)
			r := protocol.NewReader(frame, budget)
			if spent := allocatedBy(func() { m.Decode(&r, version) }); spent > uint64(budget.AllocBytesMax)+8<<10 {
				t.Errorf("%s %v v%d: %d bytes allocated on a budget of %d", direction, k, version, spent, budget.AllocBytesMax)
			}
		}
	})
}

func TestBudgetCountsElementsAndBytes(t *testing.T) {
	m := fetchRequest(100)
	body, err := encode(m, 12)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		budget protocol.Budget
		want   error
	}{
		{protocol.Budget{ElementCountMax: 110, AllocBytesMax: 8 << 10}, nil}, // 10 topics, 100 partitions of 64 bytes
		{protocol.Budget{ElementCountMax: 109, AllocBytesMax: 8 << 10}, protocol.ErrBudget},
		{protocol.Budget{ElementCountMax: 110, AllocBytesMax: 6 << 10}, protocol.ErrBudget},
		{protocol.Budget{}, protocol.ErrBudget},
	} {
		var into protocol.FetchRequest
		for range 2 { // reused memory is no excuse
			r := protocol.NewReader(body, c.budget)
			into.Decode(&r, 12)
			if err := r.Finish(); !errors.Is(err, c.want) {
				t.Errorf("budget %+v: %v", c.budget, err)
			}
		}
	}
}

func TestTrailingBytesAreRefused(t *testing.T) {
	eachVersion(func(direction string, k protocol.Key, version int16) {
		m := ourNew(direction, k)
		body := randomBody(t, newFiller(uint64(k), uint64(version)), m, version)
		if err := decode(m, append(body, 0), version); !errors.Is(err, protocol.ErrTrailing) {
			t.Errorf("%s %v v%d: %v", direction, k, version, err)
		}
	})
}

func TestTruncatedBodiesAreRefused(t *testing.T) {
	eachVersion(func(direction string, k protocol.Key, version int16) {
		m := ourNew(direction, k)
		body := randomBody(t, newFiller(uint64(k), uint64(version)), m, version)
		for n := range min(len(body), 200) {
			cut := body[:len(body)-1-n]
			if err := decode(m, cut, version); err == nil {
				t.Errorf("%s %v v%d: accepted without its last %d bytes", direction, k, version, n+1)
				return
			}
		}
	})
}

func TestVersionsOutOfRangeAreRefused(t *testing.T) {
	eachVersion(func(direction string, k protocol.Key, version int16) {
		for _, v := range []int16{protocol.MinVersion(k) - 1, protocol.MaxUnstableVersion(k) + 1, -1, 1<<15 - 1} {
			m := ourNew(direction, k)
			if err := decode(m, make([]byte, 64), v); !errors.Is(err, protocol.ErrVersion) {
				t.Errorf("%s %v v%d decodes: %v", direction, k, v, err)
			}
			if _, err := encode(m, v); err == nil {
				t.Errorf("%s %v v%d encodes", direction, k, v)
			}
		}
	})
}

func TestNullIsRefusedWhereTheVersionHasNone(t *testing.T) {
	null32, null16 := []byte{0xff, 0xff, 0xff, 0xff}, []byte{0xff, 0xff}
	for _, c := range []struct {
		name    string
		m       protocol.Message
		version int16
		body    []byte
		want    error
	}{
		{"metadata topics v0", new(protocol.MetadataRequest), 0, null32, protocol.ErrNull},
		{"metadata topics v1", new(protocol.MetadataRequest), 1, null32, nil},
		{"heartbeat group id", new(protocol.HeartbeatRequest), 0, null16, protocol.ErrNull},
		{"join group protocol name v0", new(protocol.JoinGroupResponse), 0, append(make([]byte, 6), null16...), protocol.ErrNull},
		{"produce records v13", new(protocol.ProduceRequest), 13, append(append([]byte{0, 0, 1, 0, 0, 0, 0, 2}, make([]byte, 16)...), 2, 0, 0, 0, 0, 0, 0, 0, 0), nil},
		{"metadata topics, count -2", new(protocol.MetadataRequest), 1, []byte{0xff, 0xff, 0xff, 0xfe}, protocol.ErrLength},
		{"heartbeat group id, length -2", new(protocol.HeartbeatRequest), 0, []byte{0xff, 0xfe}, protocol.ErrLength},
	} {
		if err := decode(c.m, c.body, c.version); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestUnknownTagsAreSkippedAndMisfitsRefused(t *testing.T) {
	head := []byte{2, 'a', 2, 'b'}
	for _, c := range []struct {
		name string
		tags []byte
		want error
	}{
		{"none", []byte{0}, nil},
		{"unknown", []byte{2, 9, 0, 200, 1, 3, 1, 2, 3}, nil},
		{"size beyond the end", []byte{1, 9, 5, 1}, protocol.ErrTruncated},
		{"fewer than counted", []byte{2, 9, 1, 1}, protocol.ErrTruncated},
		{"varint of six bytes", []byte{1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0}, protocol.ErrLength},
	} {
		if err := decode(new(protocol.APIVersionsRequest), append(head[:4:4], c.tags...), 3); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// A known tag whose content is shorter than its size: FinalizedFeaturesEpoch with a ninth byte.
	body := []byte{0, 0, 1, 0, 0, 0, 0, 1, 1, 9, 0, 0, 0, 0, 0, 0, 0, 5, 77}
	if err := decode(new(protocol.APIVersionsResponse), body, 3); !errors.Is(err, protocol.ErrTag) {
		t.Errorf("too long a tag: %v", err)
	}
	body = []byte{0, 0, 1, 0, 0, 0, 0, 1, 1, 7, 0, 0, 0, 0, 0, 0, 0}
	if err := decode(new(protocol.APIVersionsResponse), body, 3); !errors.Is(err, protocol.ErrTruncated) {
		t.Errorf("too short a tag: %v", err)
	}
}

func TestErrorsNameTheByte(t *testing.T) {
	body, err := encode(&protocol.HeartbeatRequest{GroupID: "group", MemberID: "member"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	// 2+5 bytes of group, 4 of generation, then the member's length claims 200.
	body[12] = 200
	err = decode(new(protocol.HeartbeatRequest), append(make([]byte, 0, 512), body...), 0)
	var at *protocol.DecodeError
	if !errors.As(err, &at) || at.Offset != 13 || !strings.Contains(err.Error(), "byte 13") {
		t.Errorf("%v", err)
	}
}

func TestDecodedRecordsAreTheFrame(t *testing.T) {
	body, err := encode(produceRequest(3, 1000), 13)
	if err != nil {
		t.Fatal(err)
	}
	var m protocol.ProduceRequest
	if err := decode(&m, body, 13); err != nil {
		t.Fatal(err)
	}
	m.TopicData[0].PartitionData[1].Records.Regions = []protocol.Region{&file{9}}
	if err := decode(&m, body, 13); err != nil {
		t.Fatal(err)
	}
	records := m.TopicData[0].PartitionData[1].Records
	if records.Null || records.Len() != 1000 || records.Regions != nil {
		t.Fatalf("%+v", records)
	}
	body[len(body)/2] = 0x55
	if !strings.Contains(string(records.Bytes), "\x55") {
		t.Error("the records are a copy")
	}
	if cap(records.Bytes) != len(records.Bytes) {
		t.Error("appending to the records would overwrite the frame")
	}
}

// TestDecodeIntoAUsedStructEqualsDecodeIntoANewOne compares the structs themselves; the oracle tests compare
// bytes, which leave out what a version lacks.
func TestDecodeIntoAUsedStructEqualsDecodeIntoANewOne(t *testing.T) {
	eachVersion(func(direction string, k protocol.Key, version int16) {
		body := randomBody(t, newFiller(uint64(k), uint64(version)), ourNew(direction, k), version)
		fresh, used := ourNew(direction, k), ourNew(direction, k)
		newFiller(uint64(version), uint64(k)).fill(reflect.ValueOf(used).Elem(), "")
		if err := errors.Join(decode(fresh, body, version), decode(used, body, version)); err != nil {
			t.Fatal(err)
		}
		if !equal(reflect.ValueOf(fresh).Elem(), reflect.ValueOf(used).Elem()) {
			t.Errorf("%s %v v%d:\nnew  %+v\nused %+v", direction, k, version, fresh, used)
		}
	})
}

// equal is reflect.DeepEqual, but an absent array may be nil or empty: both mean the same where null is not possible,
// and where it is, the encoded bytes tell.
func equal(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if !equal(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !equal(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return equal(a.Elem(), b.Elem())
	}
	return a.Equal(b)
}
