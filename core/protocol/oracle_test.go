package protocol_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/protocol"
)

// bodiesPerVersion is how many random bodies each key, version and direction gets.
const bodiesPerVersion = 12

// plenty is a budget that no test body reaches.
var plenty = protocol.Budget{ElementCountMax: 1 << 24, AllocBytesMax: 1 << 30}

// filler fills structs with random values by reflection: ours and kmsg's alike.
type filler struct {
	rng *rand.Rand
	// keep names the fields (Struct.Field) that stay at their defaults, notNull those that must not be null.
	keep, notNull map[string]bool
}

func newFiller(seed1, seed2 uint64) *filler {
	return &filler{rng: rand.New(rand.NewPCG(seed1, seed2)), keep: map[string]bool{}, notNull: map[string]bool{}}
}

func (f *filler) text() string {
	b := make([]byte, f.rng.IntN(12))
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz.-_"[f.rng.IntN(29)]
	}
	return string(b)
}

func (f *filler) rawBytes() []byte {
	b := make([]byte, f.rng.IntN(40))
	if f.rng.IntN(8) == 0 {
		b = make([]byte, 512+f.rng.IntN(700))
	}
	for i := range b {
		b[i] = byte(f.rng.Uint32())
	}
	return b
}

func (f *filler) fill(v reflect.Value, path string) {
	if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
		d.Default()
	}
	null := f.rng.IntN(4) == 0 && !f.notNull[path]
	switch x := v.Addr().Interface().(type) {
	case *protocol.NullString:
		*x = protocol.NullString{}
		if !null {
			*x = protocol.String(f.text())
		}
		return
	case *protocol.Records:
		*x = protocol.Records{Null: null}
		if !null {
			x.Bytes = f.rawBytes()
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			field := v.Type().Name() + "." + name
			if name == "Version" && v.Type().PkgPath() == "github.com/twmb/franz-go/pkg/kmsg" && v.Addr().Type().Implements(versioned) || name == "UnknownTags" || f.keep[field] {
				continue
			}
			// Leave some fields at their defaults, so that tagged ones are absent now and then.
			if f.rng.IntN(6) == 0 && !f.notNull[field] { // the default may be null
				continue
			}
			f.fill(v.Field(i), field)
		}
	case reflect.Pointer:
		v.SetZero()
		if !null {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem(), path)
		}
	case reflect.Slice:
		v.SetZero()
		switch {
		case null:
		case v.Type().Elem().Kind() == reflect.Uint8:
			v.SetBytes(f.rawBytes())
		default:
			v.Set(reflect.MakeSlice(v.Type(), f.rng.IntN(4), 4))
			for i := range v.Len() {
				f.fill(v.Index(i), path)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(f.rng.UintN(256)))
		}
	case reflect.String:
		v.SetString(f.text())
	case reflect.Bool:
		v.SetBool(f.rng.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.rng.Uint64()) >> f.rng.IntN(64))
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(f.rng.Uint64())
	case reflect.Float64:
		v.SetFloat(f.rng.NormFloat64())
	default:
		panic("no random " + v.Type().String())
	}
}

var versioned = reflect.TypeFor[interface{ SetVersion(int16) }]()

// kmsgBody is what requests and responses of kmsg share.
type kmsgBody interface {
	AppendTo([]byte) []byte
	ReadFrom([]byte) error
	SetVersion(int16)
	MaxVersion() int16
}

func kmsgNew(direction string, k protocol.Key) kmsgBody {
	if direction == "request" {
		if m := kmsg.RequestForKey(int16(k)); m != nil {
			return m
		}
		return nil
	}
	if m := kmsg.ResponseForKey(int16(k)); m != nil {
		return m
	}
	return nil
}

func ourNew(direction string, k protocol.Key) protocol.Message {
	if direction == "request" {
		return protocol.NewRequest(k)
	}
	return protocol.NewResponse(k)
}

// encode gives the body as one run of bytes.
func encode(m protocol.Body, version int16) ([]byte, error) {
	var w protocol.Writer
	m.Encode(&w, version)
	return w.AppendTo([]byte{})
}

func decode(m protocol.Body, b []byte, version int16) error {
	r := protocol.NewReader(b, plenty)
	m.Decode(&r, version)
	return r.Finish()
}

// eachVersion calls f for every key, direction and version that we have.
func eachVersion(f func(direction string, k protocol.Key, version int16)) {
	for place := range protocol.KeyPlaceCount {
		k := protocol.KeyAt(place)
		for _, direction := range []string{"request", "response"} {
			for v := protocol.MinVersion(k); v <= protocol.MaxUnstableVersion(k); v++ {
				f(direction, k, v)
			}
		}
	}
}

// randomBody fills one of our messages with what its version can carry: it learns from the encoder's refusals
// which fields that is.
func randomBody(t testing.TB, f *filler, m protocol.Body, version int16) []byte {
	for range 1000 {
		f.fill(reflect.ValueOf(m).Elem(), "")
		b, err := encode(m, version)
		if err == nil {
			return b
		}
		var refused *protocol.EncodeError
		if !errors.As(err, &refused) || refused.Field == "" || f.keep[refused.Field] || f.notNull[refused.Field] {
			t.Fatalf("%T v%d: %v", m, version, err)
		}
		if refused.Reason == protocol.ErrNull.Error() {
			f.notNull[refused.Field] = true
		} else {
			f.keep[refused.Field] = true
		}
	}
	t.Fatalf("%T v%d never encodes", m, version)
	return nil
}

func TestOurBodiesAreKmsgBodies(t *testing.T) {
	compared := 0
	eachVersion(func(direction string, k protocol.Key, version int16) {
		theirs := kmsgNew(direction, k)
		if theirs == nil || theirs.MaxVersion() < version {
			t.Logf("kmsg has no %s %v v%d", direction, k, version)
			return
		}
		f := newFiller(uint64(k), uint64(version))
		dirty := ourNew(direction, k)
		for range bodiesPerVersion {
			name := fmt.Sprintf("%s %v v%d", direction, k, version)
			m := ourNew(direction, k)
			ours := randomBody(t, f, m, version)
			theirs := kmsgNew(direction, k)
			theirs.SetVersion(version)
			if err := theirs.ReadFrom(ours); err != nil {
				t.Fatalf("%s: kmsg refuses our body: %v\n%+v\n%x", name, err, m, ours)
			}
			if again := theirs.AppendTo(nil); !bytes.Equal(ours, again) {
				t.Fatalf("%s: kmsg encodes our body otherwise\nours  %x\ntheirs %x\n%+v\n%+v", name, ours, again, m, theirs)
			}
			// Into a struct full of something else: decoding must set every field.
			if err := decode(dirty, ours, version); err != nil {
				t.Fatalf("%s: we refuse our body: %v\n%x", name, err, ours)
			}
			if again, err := encode(dirty, version); err != nil || !bytes.Equal(ours, again) {
				t.Fatalf("%s: decoded, we encode otherwise (%v)\n%x\n%x", name, err, ours, again)
			}
			newFiller(uint64(k), 99).fill(reflect.ValueOf(dirty).Elem(), "")
		}
		compared++
	})
	t.Logf("%d keys, versions and directions compared", compared)
	if compared < 500 {
		t.Errorf("only %d keys, versions and directions could be compared", compared)
	}
}

// kmsgTagsEarly names tagged fields that kmsg sends in every flexible version, with the first that has them.
// Kafka, and we, skip them below as unknown.
var kmsgTagsEarly = map[string]int16{
	"ProduceResponseTopicPartition.CurrentLeader":           10,
	"ProduceResponse.Brokers":                               10,
	"FetchRequest.ReplicaState":                             15,
	"FetchRequestTopicPartition.ReplicaDirectoryID":         17,
	"FetchRequestTopicPartition.HighWatermark":              18,
	"FetchResponse.Brokers":                                 16,
	"VoteResponse.NodeEndpoints":                            1,
	"BeginQuorumEpochResponse.NodeEndpoints":                1,
	"EndQuorumEpochResponse.NodeEndpoints":                  1,
	"FetchSnapshotRequestTopicPartition.ReplicaDirectoryID": 1,
	"FetchSnapshotResponse.NodeEndpoints":                   1,
	"BrokerHeartbeatRequest.OfflineLogDirs":                 1,
	"BrokerHeartbeatRequest.CordonedLogDirs":                2,
}

func TestKmsgBodiesAreOurBodies(t *testing.T) {
	eachVersion(func(direction string, k protocol.Key, version int16) {
		if theirs := kmsgNew(direction, k); theirs == nil || theirs.MaxVersion() < version {
			return
		}
		f := newFiller(uint64(k)+1000, uint64(version))
		for field, from := range kmsgTagsEarly {
			f.keep[field] = version < from
		}
		f.notNull["ShareFetchResponseTopicPartition.Records"] = true // null ended with version 0; kmsg still has it
		for range bodiesPerVersion {
			name := fmt.Sprintf("%s %v v%d", direction, k, version)
			theirs := kmsgNew(direction, k)
			f.fill(reflect.ValueOf(theirs).Elem(), "")
			theirs.SetVersion(version)
			body := theirs.AppendTo(nil)
			m := ourNew(direction, k)
			if err := decode(m, body, version); err != nil {
				t.Fatalf("%s: we refuse kmsg's body: %v\n%+v\n%x", name, err, theirs, body)
			}
			if again, err := encode(m, version); err != nil || !bytes.Equal(body, again) {
				t.Errorf("%s: we encode kmsg's body otherwise (%v)\ntheirs %x\nours   %x\n%+v", name, err, body, again, theirs)
				return
			}
		}
	})
}

// TestOwnBodiesComeBack stands in for the oracle, which does not know the keys that are not Kafka's.
func TestOwnBodiesComeBack(t *testing.T) {
	compared := 0
	eachVersion(func(direction string, k protocol.Key, version int16) {
		if k < protocol.FirstOwnKey {
			return
		}
		f := newFiller(uint64(k), uint64(version))
		dirty := ourNew(direction, k)
		for range bodiesPerVersion {
			ours := randomBody(t, f, ourNew(direction, k), version)
			if err := decode(dirty, ours, version); err != nil {
				t.Fatalf("%s %v v%d: %v\n%x", direction, k, version, err, ours)
			}
			if again, err := encode(dirty, version); err != nil || !bytes.Equal(ours, again) {
				t.Fatalf("%s %v v%d: decoded, we encode otherwise (%v)\n%x\n%x", direction, k, version, err, ours, again)
			}
			newFiller(uint64(k), 99).fill(reflect.ValueOf(dirty).Elem(), "")
		}
		compared++
	})
	if compared != 2*protocol.OwnKeyCount {
		t.Errorf("%d bodies compared", compared)
	}
}
