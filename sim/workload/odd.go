package workload

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/sim/check"
	"github.com/weirmq/weir/sim/draw"
)

// odd is an idempotent producer that says what ours never would, one batch at a time: a zombie's batches
// of an epoch gone by, batches with a gap before them, one batch twice, and, where brokers are quick to forget
// producers, the next batch after a long silence. It knows what becomes of each.
//
//	asking for an id ──► writing ──► (writes, retries, gaps, zombies, silences) ──► writing a last batch
type odd struct {
	g       *group
	process int64
	rand    *draw.Stream
	line    Line
	caller  *caller
	at      model.Time

	topic     string
	partition int32
	id        int64 // -1 until there is one
	epoch     int16
	sequence  int32 // of the next batch
	sent      int64
	last      *oddBatch // acknowledged
	open      *oddBatch // under way, to be tried until it is answered

	settled bool
	done    bool
}

// oddBatch is one batch and its operation in the history.
type oddBatch struct {
	bytes []byte
	place int
	code  int16 // what it must be refused with; 0: it is in order
	again bool  // it was acknowledged before
}

func newOdd(g *group) *odd {
	o := &odd{g: g, process: g.process(), id: -1}
	o.rand = g.Root.Stream("odd", uint64(o.process))
	o.caller = newCaller(g, o.Name(), o.rand, &o.line)
	o.topic, o.partition = g.topics[0], int32(o.rand.Intn(g.spec.Partitions))
	o.at = model.Time(o.rand.Between(1, int64(20*millisecond)))
	return o
}

func (o *odd) Name() string            { return fmt.Sprintf("odd%d", o.process) }
func (o *odd) Lines() []*Line          { return []*Line{&o.line} }
func (o *odd) After(model.Time, *Line) {}
func (o *odd) WakeAt() model.Time      { return o.at }

func (o *odd) Wake(now model.Time) {
	o.at = now + 1 + model.Time(o.rand.Exp(int64(o.g.spec.Gap)))
	switch {
	case o.done:
		o.at = 0
	case o.caller.asked() || o.g.created == 0:
	case !o.caller.knows(now):
		o.at = now + 20*millisecond
	case o.id < 0:
		o.ask(now)
	case o.open != nil:
		o.send(now)
	default:
		o.next(now)
	}
}

func (o *odd) ask(now model.Time) {
	m := protocol.NewRequest(protocol.KeyInitProducerID).(*protocol.InitProducerIDRequest)
	m.TransactionalID = protocol.NullString{}
	o.caller.ask(now, m, versions{0, 5}, o.patience(), func(_ model.Time, m protocol.Message) {
		if in, ok := m.(*protocol.InitProducerIDResponse); ok && in.ErrorCode == 0 {
			o.id, o.epoch, o.sequence, o.last = in.ProducerID, in.ProducerEpoch, 0, nil
		}
	})
}

func (o *odd) patience() model.Time {
	if o.g.spec.Calm {
		return 30 * second
	}
	return model.Time(o.rand.LogUniform(int64(200*millisecond), int64(3*second)))
}

// next decides what to say.
func (o *odd) next(now model.Time) {
	forget := o.g.Forget
	switch o.rand.Intn(8) {
	case 0: // the retry of a batch whose acknowledgement was lost, as far as the broker knows
		if o.last != nil && !forget && !o.settled {
			o.open = &oddBatch{bytes: o.last.bytes, place: o.last.place, again: true}
			break
		}
		o.open = o.batch(now, o.epoch, o.sequence, 0)
	case 1: // a gap
		if o.last != nil && !forget && !o.settled {
			o.open = o.batch(now, o.epoch, o.sequence+1+int32(o.rand.Intn(5)), kerr.OutOfOrderSequenceNumber.Code)
			break
		}
		o.open = o.batch(now, o.epoch, o.sequence, 0)
	case 2: // another instance takes over, and this one does not know it yet
		if o.last != nil && o.epoch < 1000 {
			o.epoch, o.sequence, o.last = o.epoch+1, 0, nil
		}
		o.open = o.batch(now, o.epoch, o.sequence, 0)
	case 3: // it goes on writing
		if o.last != nil && o.epoch > 0 && !forget && !o.settled {
			o.open = o.batch(now, o.epoch-1, int32(o.rand.Intn(10)), kerr.InvalidProducerEpoch.Code)
			break
		}
		o.open = o.batch(now, o.epoch, o.sequence, 0)
	case 4: // a silence
		if forget && !o.settled {
			o.at = now + model.Time(o.rand.Between(int64(200*millisecond), int64(second)))
			return
		}
		o.open = o.batch(now, o.epoch, o.sequence, 0)
	default:
		o.open = o.batch(now, o.epoch, o.sequence, 0)
	}
	o.send(now)
}

// batch makes one batch of one record, which must be answered with code.
func (o *odd) batch(now model.Time, epoch int16, sequence int32, code int16) *oddBatch {
	o.sent++
	number := o.process<<40 | o.sent
	op := check.Op{
		Process: o.process, F: check.Send, Call: int64(now), Topic: o.topic, Partition: o.partition,
		Values: []int64{number}, Offset: -1,
	}
	if code == 0 && !o.g.Forget {
		op.Producer = o.process
	}
	b := &oddBatch{place: o.g.begin(op), code: code}
	options := record.NewOptions(record.CodecNone)
	options.ProducerID, options.ProducerEpoch, options.BaseSequence = model.ProducerID(o.id), model.ProducerEpoch(epoch), model.Sequence(sequence)
	var builder record.Builder
	builder.Begin(options)
	builder.Append(record.Record{Value: fillValue(number, o.g.spec.ValueBytes), Timestamp: o.g.Wall(now)})
	b.bytes = append([]byte(nil), builder.Finish()...)
	return b
}

// send sends what is open; without an answer it is sent again, as it was.
func (o *odd) send(now model.Time) {
	b := o.open
	m := protocol.NewRequest(protocol.KeyProduce).(*protocol.ProduceRequest)
	m.TransactionalID, m.Acks, m.TimeoutMs = protocol.NullString{}, -1, 1000
	t := protocol.Add(&m.TopicData)
	t.Name = o.topic
	p := protocol.Add(&t.PartitionData)
	p.Index, p.Records = o.partition, protocol.Records{Bytes: b.bytes}
	o.caller.ask(now, m, versions{3, 12}, o.patience(), func(now model.Time, m protocol.Message) {
		in, ok := m.(*protocol.ProduceResponse)
		if !ok {
			o.unanswered(b)
			return
		}
		if len(in.Responses) != 1 || len(in.Responses[0].PartitionResponses) != 1 {
			o.g.Fail("client", fmt.Sprintf("%s: a produce request for one partition was answered with %+v", o.Name(), in.Responses))
			return
		}
		part := &in.Responses[0].PartitionResponses[0]
		o.answered(now, b, part.ErrorCode, part.BaseOffset)
	})
}

// unanswered goes on after a loss. The batch may still arrive, late: one behind a gap would then be in order, and
// must be fenced off.
func (o *odd) unanswered(b *oddBatch) {
	if b.code == kerr.OutOfOrderSequenceNumber.Code {
		o.open, o.last = nil, nil
		o.epoch, o.sequence = o.epoch+1, 0
	}
}

func (o *odd) answered(now model.Time, b *oddBatch, code int16, offset int64) {
	op := &o.g.History.Ops[b.place]
	again := func() bool { // the broker cannot just now, or the partition is gone
		return kerr.IsRetriable(kerr.ErrorForCode(code)) || code == kerr.KafkaStorageError.Code
	}
	switch {
	case code != b.code && !(o.g.Forget && code == kerr.OutOfOrderSequenceNumber.Code) && (code == 0 || !again()):
		o.g.Fail("sequence", fmt.Sprintf("%s: a batch was answered with code %d instead of %d: %s", o.Name(), code, b.code, op))
	case b.again && code == 0 && offset != op.Offset:
		o.g.Fail("sequence", fmt.Sprintf("%s: a batch was acknowledged again, at %d instead of %d", o.Name(), offset, op.Offset))
	case code != b.code && code != 0 && again():
		o.caller.roam(now)
		o.unanswered(b)
		return
	case b.code != 0:
		op.Outcome, op.Return, op.Code = check.Fail, int64(now), code
	case b.code == 0 && code == 0 && !b.again:
		op.Outcome, op.Return, op.Offset = check.OK, int64(now), offset
		k := check.Key{Topic: op.Topic, Partition: op.Partition}
		o.g.ends[k] = max(o.g.ends[k], offset+1)
		o.last, o.sequence = b, o.sequence+1
		o.done = o.done || o.settled
	case code != 0 && b.code == 0: // forgotten and out of order: begin anew
		o.id = -1
	}
	o.open = nil
}

func (o *odd) Settle(now model.Time) { o.settled, o.at = true, now }

func (o *odd) Waiting() string {
	if o.done || o.g.Excused(o.topic, o.partition) {
		return ""
	}
	return "no batch got through since the faults"
}
