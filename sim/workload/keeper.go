package workload

import (
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/sim/check"
	"github.com/weirmq/weir/sim/draw"
)

// keeper administers topics that others write: it deletes records, adds partitions to a topic of the load's,
// and alters and reads configurations. What was acknowledged must stand, whatever crashes: log starts and counts of
// partitions never go back, and a configuration is a register.
type keeper struct {
	g       *group
	process int64
	rand    *draw.Stream
	line    Line
	caller  *caller
	at      model.Time
	sent    int64

	starts  map[check.Key]int64 // the log starts that were acknowledged
	grown   string              // the topic that gets more partitions
	count   int32               // as acknowledged or seen
	settled bool
	done    int // kinds of requests that succeeded since settling, as bits
}

const (
	keeperDeletes = 1 << iota
	keeperGrows
	keeperAlters
	keeperAll = 1<<iota - 1
)

// partitionsMost is how far a topic is grown.
const partitionsMost = 12

func newKeeper(g *group) *keeper {
	k := &keeper{g: g, process: g.process(), starts: map[check.Key]int64{}, count: 1}
	k.rand = g.Root.Stream("keeper", uint64(k.process))
	k.caller = newCaller(g, k.Name(), k.rand, &k.line)
	k.grown = fmt.Sprintf("grown%d", k.process)
	k.at = model.Time(k.rand.Between(1, int64(50*millisecond)))
	return k
}

func (k *keeper) Name() string            { return fmt.Sprintf("keeper%d", k.process) }
func (k *keeper) Lines() []*Line          { return []*Line{&k.line} }
func (k *keeper) After(model.Time, *Line) {}
func (k *keeper) WakeAt() model.Time      { return k.at }
func (k *keeper) Settle(now model.Time)   { k.settled, k.at = true, now }

func (k *keeper) Waiting() string {
	if k.done != keeperAll {
		return fmt.Sprintf("of its kinds of requests (%b) these have succeeded since the faults: %b", keeperAll, k.done)
	}
	return ""
}

func (k *keeper) patience() model.Time {
	if k.g.spec.Calm {
		return 30 * second
	}
	return model.Time(k.rand.LogUniform(int64(200*millisecond), int64(3*second)))
}

func (k *keeper) Wake(now model.Time) {
	k.at = now + 1 + model.Time(k.rand.Exp(int64(k.g.spec.Gap)))
	if k.done == keeperAll {
		k.at = 0
		return
	}
	if k.caller.asked() || k.g.created < len(k.g.topics) {
		return
	}
	if !k.caller.knows(now) {
		k.at = now + 20*millisecond
		return
	}
	partition := int32(k.rand.Intn(k.g.spec.Partitions))
	key := check.Key{Topic: k.g.topics[k.rand.Intn(len(k.g.topics))], Partition: partition}
	switch k.rand.Intn(7) {
	case 0, 1:
		k.deleteRecords(now, key)
	case 2:
		k.askStart(now, key)
	case 3:
		k.grow(now)
	case 4:
		k.askCount(now)
	case 5:
		k.alter(now, key.Topic)
	default:
		k.describe(now, key.Topic)
	}
}

func (k *keeper) succeeded(kind int) {
	if k.settled {
		k.done |= kind
	}
}

// later says whether a code means that the request may be tried again some time. Of several nodes some may not be up, and a
// leader that was deposed may not know of an offset.
func (k *keeper) later(now model.Time, what string, code int16) bool {
	if kerr.IsRetriable(kerr.ErrorForCode(code)) || code == kerr.KafkaStorageError.Code || k.g.several() && (code == kerr.InvalidReplicationFactor.Code || code == kerr.OffsetOutOfRange.Code) {
		k.caller.roam(now) // somebody else leads, or nobody at the moment
		return true
	}
	k.g.Fail("keeper", fmt.Sprintf("%s: %s was refused with code %d", k.Name(), what, code))
	return false
}

func (k *keeper) deleteRecords(now model.Time, key check.Key) {
	offset := int64(-1)
	if end := k.g.ends[key]; k.rand.Percent(80) {
		offset = k.rand.Between(0, end)
	}
	in := protocol.NewRequest(protocol.KeyDeleteRecords).(*protocol.DeleteRecordsRequest)
	in.TimeoutMs = 2000
	t := protocol.Add(&in.Topics)
	t.Name = key.Topic
	p := protocol.Add(&t.Partitions)
	p.PartitionIndex, p.Offset = key.Partition, offset
	k.caller.ask(now, in, versions{0, 2}, k.patience(), func(now model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.DeleteRecordsResponse)
		if !ok || len(out.Topics) != 1 || len(out.Topics[0].Partitions) != 1 {
			return
		}
		switch r := &out.Topics[0].Partitions[0]; {
		case r.ErrorCode != 0:
			k.later(now, "DeleteRecords", r.ErrorCode)
		case r.LowWatermark < offset:
			k.g.Fail("delete-records", fmt.Sprintf("%s: records below %d were deleted, and the log starts at %d", key, offset, r.LowWatermark))
		default:
			k.starts[key] = max(k.starts[key], r.LowWatermark)
			k.succeeded(keeperDeletes)
		}
	})
}

// askStart asks where a log starts: not before what was deleted.
func (k *keeper) askStart(now model.Time, key check.Key) {
	const earliest = -2
	in := protocol.NewRequest(protocol.KeyListOffsets).(*protocol.ListOffsetsRequest)
	in.ReplicaID = -1
	t := protocol.Add(&in.Topics)
	t.Name = key.Topic
	p := protocol.Add(&t.Partitions)
	p.PartitionIndex, p.Timestamp = key.Partition, earliest
	start := k.starts[key]
	k.caller.ask(now, in, versions{1, 9}, k.patience(), func(_ model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.ListOffsetsResponse)
		if !ok || len(out.Topics) != 1 || len(out.Topics[0].Partitions) != 1 {
			return
		}
		r := &out.Topics[0].Partitions[0]
		if r.ErrorCode == 0 && r.Offset < start {
			k.g.Fail("deleted-came-back", fmt.Sprintf("%s: the log starts at %d, and records below %d were deleted", key, r.Offset, start))
		}
	})
}

// grow adds a partition to a topic, which the first request creates.
func (k *keeper) grow(now model.Time) {
	if k.count == 1 && k.rand.Percent(50) || k.count >= partitionsMost {
		k.create(now)
		return
	}
	in := protocol.NewRequest(protocol.KeyCreatePartitions).(*protocol.CreatePartitionsRequest)
	in.TimeoutMs = 2000
	t := protocol.Add(&in.Topics)
	t.Name, t.Count, t.Assignments = k.grown, k.count+1, nil
	k.caller.ask(now, in, versions{0, 3}, k.patience(), func(now model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.CreatePartitionsResponse)
		if !ok || len(out.Results) != 1 {
			return
		}
		switch r := &out.Results[0]; r.ErrorCode {
		case 0:
			k.count = max(k.count, t.Count)
			k.succeeded(keeperGrows)
		case kerr.UnknownTopicOrPartition.Code:
			k.lost()
		case kerr.InvalidPartitions.Code: // an earlier request whose answer was lost
		default:
			k.later(now, "CreatePartitions", r.ErrorCode)
		}
	})
}

func (k *keeper) lost() {
	if k.count > 1 {
		k.g.Fail("lost-topic", fmt.Sprintf("%s had %d partitions and is gone", k.grown, k.count))
	}
}

func (k *keeper) create(now model.Time) {
	in := protocol.NewRequest(protocol.KeyCreateTopics).(*protocol.CreateTopicsRequest)
	in.TimeoutMs = 2000
	t := protocol.Add(&in.Topics)
	t.Name, t.NumPartitions, t.ReplicationFactor = k.grown, 1, k.g.replicas()
	k.caller.ask(now, in, versions{2, 7}, k.patience(), func(now model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.CreateTopicsResponse)
		if !ok || len(out.Topics) != 1 {
			return
		}
		switch code := out.Topics[0].ErrorCode; code {
		case 0:
			k.lost()
		case kerr.TopicAlreadyExists.Code:
			if k.count >= partitionsMost {
				k.succeeded(keeperGrows)
			}
		default:
			k.later(now, "CreateTopics", code)
		}
	})
}

// askCount asks how many partitions there are: not fewer than there were.
func (k *keeper) askCount(now model.Time) {
	in := protocol.NewRequest(protocol.KeyMetadata).(*protocol.MetadataRequest)
	in.AllowAutoTopicCreation = false
	protocol.Add(&in.Topics).Name = protocol.String(k.grown)
	count := k.count
	k.caller.ask(now, in, versions{4, 13}, k.patience(), func(_ model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.MetadataResponse)
		if !ok || len(out.Topics) != 1 {
			return
		}
		switch t := &out.Topics[0]; {
		case k.g.several() && (t.ErrorCode != 0 || len(t.Partitions) < int(count)): // it may be behind
		case t.ErrorCode == kerr.UnknownTopicOrPartition.Code:
			k.lost()
		case t.ErrorCode == 0 && len(t.Partitions) < int(count):
			k.g.Fail("lost-partition", fmt.Sprintf("%s had %d partitions and has %d", k.grown, count, len(t.Partitions)))
		case t.ErrorCode == 0:
			k.count = max(k.count, int32(len(t.Partitions)))
		}
	})
}

// keptConfig is altered to values that make no difference, decades; keptConfigBase is less than all of them.
const (
	keptConfig     = "retention.ms"
	keptConfigBase = 1 << 40
	topicResource  = 2
)

func (k *keeper) register(topic, f string, now model.Time, values ...int64) int {
	return k.g.begin(check.Op{Process: k.process, F: f, Call: int64(now), Topic: topic + "|" + keptConfig, Values: values})
}

// alter sets a configuration to a value that nobody else uses.
func (k *keeper) alter(now model.Time, topic string) {
	k.sent++
	value := keptConfigBase + k.process<<20 + k.sent
	at := k.register(topic, check.Commit, now, value)
	in := protocol.NewRequest(protocol.KeyIncrementalAlterConfigs).(*protocol.IncrementalAlterConfigsRequest)
	r := protocol.Add(&in.Resources)
	r.ResourceType, r.ResourceName = topicResource, topic
	c := protocol.Add(&r.Configs)
	c.Name, c.Value = keptConfig, protocol.String(strconv.FormatInt(value, 10))
	k.caller.ask(now, in, versions{0, 1}, k.patience(), func(now model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.IncrementalAlterConfigsResponse)
		if !ok || len(out.Responses) != 1 {
			return
		}
		if code := out.Responses[0].ErrorCode; code != 0 {
			k.later(now, "IncrementalAlterConfigs", code)
			k.g.end(at, now, client.Outcome{Reason: client.Refused, Code: code})
			return
		}
		k.g.end(at, now, client.Outcome{})
		k.succeeded(keeperAlters)
	})
}

func (k *keeper) describe(now model.Time, topic string) {
	if k.g.several() {
		return // who is asked may be behind
	}
	at := k.register(topic, check.Committed, now)
	in := protocol.NewRequest(protocol.KeyDescribeConfigs).(*protocol.DescribeConfigsRequest)
	r := protocol.Add(&in.Resources)
	r.ResourceType, r.ResourceName, r.ConfigurationKeys = topicResource, topic, []string{keptConfig}
	k.caller.ask(now, in, versions{1, 4}, k.patience(), func(now model.Time, answer protocol.Message) {
		out, ok := answer.(*protocol.DescribeConfigsResponse)
		if !ok || len(out.Results) != 1 || out.Results[0].ErrorCode != 0 || len(out.Results[0].Configs) != 1 {
			return
		}
		value, err := strconv.ParseInt(out.Results[0].Configs[0].Value.Value, 10, 64)
		op := k.g.end(at, now, client.Outcome{})
		if err == nil && value >= keptConfigBase {
			op.Values = []int64{value}
		}
	})
}
