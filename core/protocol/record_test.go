package protocol_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/protocol"
)

// families are the constructors of the records of each log.
var families = map[string]func(int16) protocol.Record{
	"metadata":          protocol.NewMetadataRecord,
	"remote log":        protocol.NewRemoteLogRecord,
	"group key":         protocol.NewGroupKey,
	"group value":       protocol.NewGroupValue,
	"transaction key":   protocol.NewTransactionKey,
	"transaction value": protocol.NewTransactionValue,
	"share key":         protocol.NewShareKey,
	"share value":       protocol.NewShareValue,
}

// eachRecord calls f with every record of every log, in every version.
func eachRecord(f func(family string, newRecord func() protocol.Record, version int16)) int {
	count := 0
	for family, constructor := range families {
		for kind := range int16(64) {
			rec := constructor(kind)
			if rec == nil {
				continue
			}
			count++
			versionMin, versionMax := rec.Versions()
			for v := versionMin; v <= versionMax; v++ {
				f(family, func() protocol.Record { return constructor(kind) }, v)
			}
		}
	}
	return count
}

func TestRecordsSurviveARoundTrip(t *testing.T) {
	count := eachRecord(func(family string, newRecord func() protocol.Record, version int16) {
		name := fmt.Sprintf("%s %T v%d", family, newRecord(), version)
		f := newFiller(uint64(newRecord().RecordType()), uint64(version))
		for range 20 {
			rec := newRecord()
			body := randomBody(t, f, rec, version)
			back := newRecord()
			if err := decode(back, body, version); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if again, err := encode(back, version); err != nil || !bytes.Equal(body, again) {
				t.Fatalf("%s: encodes otherwise (%v)\n%x\n%x", name, err, body, again)
			}
			if family == "metadata" {
				framed := protocol.AppendMetadataRecord([]byte("before"), rec, version)
				if !bytes.HasPrefix(framed, []byte("before")) {
					t.Fatalf("%s: what stood before is gone", name)
				}
				framed = framed[len("before"):]
				if framed[0] != 1 || framed[1] != byte(rec.RecordType()) || framed[2] != byte(version) || !bytes.Equal(framed[3:], body) {
					t.Fatalf("%s: frame %x", name, framed)
				}
				got, v, err := protocol.ReadMetadataRecord(framed)
				if err != nil || v != version || !equal(reflect.ValueOf(got).Elem(), reflect.ValueOf(back).Elem()) {
					t.Fatalf("%s: read %+v v%d, %v", name, got, v, err)
				}
			}
			if family == "group key" {
				got, err := protocol.ReadCoordinatorKey(protocol.AppendCoordinatorKey(nil, rec), protocol.NewGroupKey)
				if err != nil || !equal(reflect.ValueOf(got).Elem(), reflect.ValueOf(back).Elem()) {
					t.Fatalf("%s: read %+v, %v", name, got, err)
				}
			}
			if v, err := protocol.ReadVersioned(protocol.AppendVersioned(nil, rec, version), back); err != nil || v != version {
				t.Fatalf("%s: version %d, %v", name, v, err)
			}
		}
	})
	if count < 80 {
		t.Errorf("only %d records", count)
	}
}

func TestCoordinatorRecordsAreKmsgs(t *testing.T) {
	offset := protocol.OffsetCommitKey{Group: "g", Topic: "t", Partition: 3}
	theirKey := kmsg.OffsetCommitKey{Version: 1, Group: "g", Topic: "t", Partition: 3}
	if got, want := protocol.AppendCoordinatorKey(nil, &offset), theirKey.AppendTo(nil); !bytes.Equal(got, want) {
		t.Errorf("offset key %x, not %x", got, want)
	}
	var value protocol.OffsetCommitValue
	value.Default()
	value.Offset, value.LeaderEpoch, value.Metadata, value.CommitTimestamp = 42, 7, "m", 99
	theirs := kmsg.OffsetCommitValue{Version: 3, Offset: 42, LeaderEpoch: 7, Metadata: "m", CommitTimestamp: 99}
	if got, want := protocol.AppendVersioned(nil, &value, 3), theirs.AppendTo(nil); !bytes.Equal(got, want) {
		t.Errorf("offset value %x, not %x", got, want)
	}
	txn := protocol.TransactionLogKey{TransactionalID: "tx"}
	theirTxn := kmsg.TxnMetadataKey{TransactionalID: "tx"}
	if got, want := protocol.AppendCoordinatorKey(nil, &txn), theirTxn.AppendTo(nil); !bytes.Equal(got, want) {
		t.Errorf("transaction key %x, not %x", got, want)
	}
	var subscription protocol.ConsumerProtocolSubscription
	subscription.Default()
	subscription.Topics, subscription.GenerationID = []string{"t"}, 5
	theirSub := kmsg.ConsumerMemberMetadata{Version: 2, Topics: []string{"t"}, Generation: 5}
	if got, want := protocol.AppendVersioned(nil, &subscription, 2), theirSub.AppendTo(nil); !bytes.Equal(got, want) {
		t.Errorf("subscription %x, not %x", got, want)
	}
}

func TestMalformedMetadataRecordsAreRefused(t *testing.T) {
	good := protocol.AppendMetadataRecord(nil, &protocol.TopicRecord{Name: "t"}, 0)
	for n := range good {
		if _, _, err := protocol.ReadMetadataRecord(good[:n]); err == nil {
			t.Errorf("accepted with %d of %d bytes", n, len(good))
		}
	}
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"another frame version", append([]byte{2}, good[1:]...)},
		{"an unknown type", append([]byte{1, 99}, good[2:]...)},
		{"an unknown version", append([]byte{1, 2, 1}, good[3:]...)},
		{"a byte too many", append(good[:len(good):len(good)], 0)},
		{"a version that wraps", append([]byte{1, 2, 0x80, 0x80, 0x04}, good[3:]...)},
	} {
		if _, _, err := protocol.ReadMetadataRecord(c.b); err == nil {
			t.Errorf("%s is accepted", c.name)
		}
	}
}

func TestAMetadataRecordThatCannotBeSaidIsABrokenInvariant(t *testing.T) {
	defer func() {
		if v, ok := recover().(invariant.Violation); !ok || !errors.As(error(v), new(invariant.Violation)) {
			t.Error("no violation")
		}
	}()
	protocol.AppendMetadataRecord(nil, &protocol.TopicRecord{}, 9)
}
