package replica_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/replica"
)

// alone is a leadership without followers.
var alone = replica.Leadership{
	Assignment: replica.Assignment{Replicas: []model.NodeID{1}, ISR: []model.NodeID{1}},
	Config:     replica.FollowersConfig{Self: 1, LagTimeMax: 1000, InSyncMin: 1},
}

// TestScenarios runs testdata: each file is one replica's life.
//
//	produce [count=N] [id=N epoch=N seq=N] [acks=N] [bytes=N]   a batch arrives; requests number themselves
//	durable to=N                                    storage reports everything below N durable
//	refuse failure=disk-full|broken attempt=N end=N           storage refused an append and holds the log up to N
//	retained start=N                                retention moved the log start
//	state                                           prints the bounds
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var out effect.Set
		r := replica.New(model.TopicPartition{Topic: model.TopicID{15: 9}}, log.New(0), 0)
		r.Lead(alone, 1, &out)
		now := model.Time(1)
		var requests uint64
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out effect.Set
			switch d.Cmd {
			case "produce":
				count, bytes, acks := 1, 100, -1
				id, epoch, seq := int(model.NoProducerID), int(model.NoProducerEpoch), int(model.NoSequence)
				d.MaybeScanArgs(t, "count", &count)
				d.MaybeScanArgs(t, "bytes", &bytes)
				d.MaybeScanArgs(t, "acks", &acks)
				d.MaybeScanArgs(t, "id", &id)
				d.MaybeScanArgs(t, "epoch", &epoch)
				d.MaybeScanArgs(t, "seq", &seq)
				at := int(model.NoTimestamp)
				d.MaybeScanArgs(t, "time", &at)
				r.Produce(replica.Produce{
					To: effect.RequestID{Conn: 1, Request: requests}, Acks: int16(acks), AppendTime: model.Timestamp(at),
					Header: record.Header{
						LastOffsetDelta: int32(count - 1), RecordCount: int32(count), SizeBytes: bytes,
						ProducerID: model.ProducerID(id), ProducerEpoch: model.ProducerEpoch(epoch), BaseSequence: model.Sequence(seq),
					},
					Batch: make([]byte, bytes), IsDoubted: d.HasArg("doubted"),
				}, now, &out)
				requests++
			case "durable":
				var to int
				d.ScanArgs(t, "to", &to)
				if r.Appended(effect.Appended{Partition: r.Partition(), NextOffset: model.Offset(to)}, now, &out) {
					return out.String() + state(r)
				}
			case "refuse":
				var failure string
				var attempt, end int
				d.ScanArgs(t, "failure", &failure)
				d.ScanArgs(t, "attempt", &attempt)
				d.ScanArgs(t, "end", &end)
				holds := log.New(0)
				if end > 0 {
					holds.Apply(record.Header{
						LastOffsetDelta: int32(end - 1), RecordCount: int32(end),
						ProducerID: model.NoProducerID, ProducerEpoch: model.NoProducerEpoch, BaseSequence: model.NoSequence,
					})
				}
				a := effect.Appended{Partition: r.Partition(), NextOffset: model.Offset(end), Attempt: uint32(attempt), Failure: effect.DiskFull, State: holds}
				if failure == "broken" {
					a.Failure, a.State = effect.Broken, nil
				}
				r.Appended(a, now, &out)
			case "retained":
				var start int
				d.ScanArgs(t, "start", &start)
				r.Retained(effect.Retained{Partition: r.Partition(), LogStartOffset: model.Offset(start)}, &out)
			case "state":
				return state(r)
			default:
				t.Fatalf("%s: unknown verb %q", d.Pos, d.Cmd)
			}
			if err := r.Check(); err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			if s := out.String(); s != "" {
				return s
			}
			return "nothing\n"
		})
	})
}

func state(r *replica.Replica) string {
	b := r.Bounds()
	s := fmt.Sprintf("log start %d, high watermark %d, log end %d, %d parked\n", b.LogStartOffset, b.HighWatermark, r.LogEndOffset(), r.ParkedCount())
	if r.Offline() != "" {
		s += "offline: " + r.Offline() + "\n"
	}
	return s
}

func TestReadableBytesCountsWholeBatchesBelowTheHighWatermark(t *testing.T) {
	r := replica.New(model.TopicPartition{}, log.New(0), 0)
	var out effect.Set
	r.Lead(alone, 1, &out)
	for range 300 {
		r.Produce(replica.Produce{Acks: 0, Header: record.Header{
			LastOffsetDelta: 1, RecordCount: 2, SizeBytes: 100,
			ProducerID: model.NoProducerID, ProducerEpoch: model.NoProducerEpoch, BaseSequence: model.NoSequence,
		}}, 1, &out)
	}
	r.Appended(effect.Appended{NextOffset: 598}, 1, &out)
	for _, c := range []struct {
		rule string
		from model.Offset
		want int64
	}{
		{"at the high watermark there is nothing", 598, 0},
		{"beyond it there is nothing", 599, 0},
		{"one batch back", 596, 100},
		{"from the middle of a batch, the batch counts", 595, 200},
	} {
		if got := r.ReadableBytes(c.from); got != c.want {
			t.Errorf("%s: from %d: %d bytes, want %d", c.rule, c.from, got, c.want)
		}
	}
	if got := r.ReadableBytes(0); got < 59_800 {
		t.Errorf("a reader far behind finds %d bytes; what is forgotten must count as plenty", got)
	}
}

func BenchmarkProduceAndAcknowledge(b *testing.B) {
	r := replica.New(model.TopicPartition{}, log.New(0), 0)
	var out effect.Set
	r.Lead(alone, 1, &out)
	in := replica.Produce{Acks: -1, AppendTime: model.NoTimestamp, Batch: make([]byte, 16<<10), Header: record.Header{
		LastOffsetDelta: 99, RecordCount: 100, SizeBytes: 16 << 10, ProducerID: 5, ProducerEpoch: 0,
	}}
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		r.Produce(in, 1, &out)
		r.Appended(effect.Appended{NextOffset: r.LogEndOffset()}, 1, &out)
		in.Header.BaseSequence = in.Header.BaseSequence.Add(100)
	}
}
