package admin

import (
	"context"
	"time"

	"github.com/weirmq/weir/clients/client"
	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// Trim says up to where a partition's records are to be deleted.
type Trim struct {
	Topic     string
	Partition int32
	Before    int64 // the first offset to keep; -1 is the end: nothing is kept
}

// DeleteRecords deletes the records before some offsets. The answers, in the order of the trims, say where
// the partitions start then.
func (a *Admin) DeleteRecords(ctx context.Context, trims []Trim) ([]Offset, error) {
	targets := make([]machine.RecordTarget, len(trims))
	for i, t := range trims {
		targets[i] = machine.RecordTarget{
			TopicPartition: machine.TopicPartition{Topic: t.Topic, Partition: model.Partition(t.Partition)}, Offset: model.Offset(t.Before),
		}
	}
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID { return a.m.DeleteRecords(now, targets, out) })
	if err != nil {
		return nil, err
	}
	return offsetsOf("delete records", &ans), nil
}

// offsetsOf is the part of an answer that is about offsets.
func offsetsOf(op string, ans *machine.Answer) []Offset {
	offsets := make([]Offset, len(ans.Offsets))
	for i := range ans.Offsets {
		o := &ans.Offsets[i]
		offsets[i] = Offset{
			Topic: o.Topic, Partition: int32(o.Partition), Offset: int64(o.Offset), LeaderEpoch: int32(o.LeaderEpoch),
			Err: client.NewError(op, o.Topic, int32(o.Partition), o.Outcome),
		}
		if o.Time >= 0 {
			offsets[i].Timestamp = time.UnixMilli(int64(o.Time))
		}
	}
	return offsets
}
