// Package clienttest is a small Kafka cluster in memory for tests of clients: it answers request frames
// with response frames, byte for byte as a broker would, and remembers all that was written. It has no
// replication and no durability; leaders move when a test says so, and errors come from a test's script.
//
// It shares the codec with the code under test and none of its logic. Sequences follow Kafka's rules: a window
// of five batches per producer, epochs that fence, an unknown producer accepted at any sequence unless
// StrictSequences.
package clienttest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// Range is the versions of one key that the brokers serve.
type Range struct {
	Key      protocol.Key
	Min, Max int16
}

// Cluster is a set of brokers with one common state.
type Cluster struct {
	ID         string
	Brokers    []model.NodeID // ordered
	Addr       func(model.NodeID) string
	Controller model.NodeID
	Versions   []Range
	Topics     []*Topic
	Groups     []*Group // coordinated by Controller
	// Script, if set, may decide what a partition of a request is answered with. Codes other than 0 are
	// returned; Append tells whether the batch is written all the same.
	Script func(at model.NodeID, key protocol.Key, topic string, partition model.Partition) Verdict
	// AutoCreate makes topics with this many partitions for clients that ask for them, if above 0.
	AutoCreate int
	// StrictSequences refuses an unknown producer at a sequence above 0, as KIP-890 does.
	StrictSequences bool
	// BatchBytesMax refuses larger batches, if above 0.
	BatchBytesMax int
	// ThrottleMs is what answers to Produce and Fetch ask clients to pause (KIP-219).
	ThrottleMs int32
	// Behind are brokers that are cut off from the others: in what they say of partitions, the last move has not happened.
	Behind []model.NodeID
	// Hints answers NOT_LEADER with the leader's name (KIP-951).
	Hints bool

	Wall           model.Timestamp // what append times would be
	nextProducerID int64
	lastTopic      byte
	// Seen lists every request as "node key vN".
	Seen []string
}

// Verdict is a script's decision.
type Verdict struct {
	Code   int16
	Append bool // the batch is written although Code says otherwise
}

// Topic is a topic's state.
type Topic struct {
	Name       string
	ID         model.TopicID
	Partitions []*Partition
	// AppendTime makes brokers stamp records.
	AppendTime bool
}

// Partition is a partition's log.
type Partition struct {
	Leader     model.NodeID
	Epoch      model.LeaderEpoch
	Start      model.Offset
	Batches    []record.Batch // as stored
	Aborted    []Aborted
	LastStable model.Offset // -1: the end
	producers  map[model.ProducerID]*producerState
	former     struct {
		leader model.NodeID
		epoch  model.LeaderEpoch
		moved  bool
	}
}

// Aborted is an aborted transaction.
type Aborted struct {
	ID          model.ProducerID
	First, Last model.Offset
}

type producerState struct {
	epoch  model.ProducerEpoch
	recent []recent // at most five
}

type recent struct {
	first, last model.Sequence
	base        model.Offset
}

// New makes a cluster of brokers 1 to n that serves all versions. Addresses are "b1:9092" and so on.
func New(n int) *Cluster {
	c := &Cluster{ID: "test", Controller: 1, Addr: func(id model.NodeID) string { return "b" + strconv.Itoa(int(id)) + ":9092" }}
	for i := range n {
		c.Brokers = append(c.Brokers, model.NodeID(i+1))
	}
	for _, k := range []protocol.Key{
		protocol.KeyProduce, protocol.KeyFetch, protocol.KeyListOffsets, protocol.KeyMetadata,
		protocol.KeyAPIVersions, protocol.KeyCreateTopics, protocol.KeyDeleteTopics, protocol.KeyInitProducerID,
		protocol.KeyFindCoordinator, protocol.KeyJoinGroup, protocol.KeySyncGroup, protocol.KeyHeartbeat, protocol.KeyLeaveGroup,
		protocol.KeyOffsetCommit, protocol.KeyOffsetFetch,
	} {
		c.Versions = append(c.Versions, Range{Key: k, Min: protocol.MinVersion(k), Max: protocol.MaxVersion(k)})
	}
	return c
}

// Limit changes a key's range; the topics' ids are left out of use below the versions that need them.
func (c *Cluster) Limit(key protocol.Key, lowest, highest int16) {
	for i := range c.Versions {
		if c.Versions[i].Key == key {
			c.Versions[i] = Range{Key: key, Min: lowest, Max: highest}
		}
	}
}

// Create adds a topic, with leaders in turn.
func (c *Cluster) Create(name string, partitions int) *Topic {
	c.lastTopic++
	t := &Topic{Name: name, ID: model.TopicID{0: 0xff, 15: c.lastTopic}}
	for i := range partitions {
		t.Partitions = append(t.Partitions, &Partition{
			Leader: c.Brokers[i%len(c.Brokers)], Epoch: 1, LastStable: -1, producers: make(map[model.ProducerID]*producerState),
		})
	}
	c.Topics = append(c.Topics, t)
	return t
}

// Delete removes a topic.
func (c *Cluster) Delete(name string) bool {
	n := len(c.Topics)
	c.Topics = slices.DeleteFunc(c.Topics, func(t *Topic) bool { return t.Name == name })
	return len(c.Topics) < n
}

// Topic finds a topic by name.
func (c *Cluster) Topic(name string) *Topic {
	for _, t := range c.Topics {
		if t.Name == name {
			return t
		}
	}
	return nil
}

func (c *Cluster) find(name string, id model.TopicID, byID bool) *Topic {
	for _, t := range c.Topics {
		if byID && t.ID == id || !byID && t.Name == name {
			return t
		}
	}
	return nil
}

// End is the partition's log end offset.
func (p *Partition) End() model.Offset {
	if n := len(p.Batches); n > 0 {
		return p.Batches[n-1].NextOffset()
	}
	return p.Start
}

// Move makes another broker the leader.
func (p *Partition) Move(to model.NodeID) {
	p.former.leader, p.former.epoch, p.former.moved = p.Leader, p.Epoch, true
	p.Leader = to
	p.Epoch++
}

// Forget drops what is known of producers, as a broker does after a day.
func (p *Partition) Forget() { clear(p.producers) }

// Truncate drops batches at and after an offset with their producers' state, as an unclean election does.
func (p *Partition) Truncate(at model.Offset) {
	for n := len(p.Batches); n > 0 && p.Batches[n-1].NextOffset() > at; n-- {
		b := p.Batches[n-1]
		p.Batches = p.Batches[:n-1]
		if s := p.producers[b.ProducerID()]; s != nil {
			s.recent = slices.DeleteFunc(s.recent, func(r recent) bool { return r.base == b.BaseOffset() })
			if len(s.recent) == 0 {
				delete(p.producers, b.ProducerID())
			}
		}
	}
}

// Records is the partition's content.
func (p *Partition) Records() []record.Record {
	var out []record.Record
	var d record.Decompressor
	for _, b := range p.Batches {
		if b.IsControl() {
			continue
		}
		for r, err := range record.Records(b, &d, 0) {
			if err != nil {
				panic(err)
			}
			r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
			out = append(out, r)
		}
	}
	return out
}

// Append writes a batch as it is, at the end of the log.
func (p *Partition) Append(b record.Batch) model.Offset {
	b = slices.Clone(b)
	base := p.End()
	record.Stamp(b, base, p.Epoch)
	p.Batches = append(p.Batches, b)
	return base
}

// Handle answers one request frame without its length prefix. The answer has one. It is nil when none is
// due (acks 0). empty reports a fetch that found less than it asked for: a broker would answer when more
// has come, and waitMs later at the latest.
func (c *Cluster) Handle(at model.NodeID, frame []byte) (answer []byte, empty bool, waitMs int32) {
	r := protocol.NewReader(frame, protocol.BudgetForClients())
	var h protocol.RequestHeader
	protocol.ReadRequestHeader(&r, &h)
	c.Seen = append(c.Seen, fmt.Sprintf("%d %s v%d", at, h.Key, h.Version))
	served := slices.ContainsFunc(c.Versions, func(v Range) bool { return v.Key == h.Key && h.Version >= v.Min && h.Version <= v.Max })
	if h.Key == protocol.KeyAPIVersions {
		return c.versions(&h, served), false, 0
	}
	if r.Err() != nil || !served {
		panic(fmt.Sprintf("clienttest: %s version %d was not offered (%v)", h.Key, h.Version, r.Err()))
	}
	var body protocol.Message
	switch h.Key {
	case protocol.KeyProduce:
		var m protocol.ProduceRequest
		m.Decode(&r, h.Version)
		must(r.Finish())
		a := c.produce(at, &m, h.Version)
		if m.Acks == 0 {
			return nil, false, 0
		}
		body = a
	case protocol.KeyFetch:
		var m protocol.FetchRequest
		m.Decode(&r, h.Version)
		must(r.Finish())
		var a *protocol.FetchResponse
		a, empty = c.fetch(at, &m, h.Version)
		body, waitMs = a, m.MaxWaitMs
	case protocol.KeyListOffsets:
		var m protocol.ListOffsetsRequest
		m.Decode(&r, h.Version)
		must(r.Finish())
		body = c.listOffsets(at, &m, h.Version)
	case protocol.KeyMetadata:
		var m protocol.MetadataRequest
		m.Decode(&r, h.Version)
		must(r.Finish())
		body = c.metadata(at, &m, h.Version)
	case protocol.KeyCreateTopics:
		var m protocol.CreateTopicsRequest
		m.Decode(&r, h.Version)
		must(r.Finish())
		body = c.createTopics(at, &m)
	case protocol.KeyDeleteTopics:
		var m protocol.DeleteTopicsRequest
		m.Decode(&r, h.Version)
		must(r.Finish())
		body = c.deleteTopics(at, &m, h.Version)
	case protocol.KeyInitProducerID:
		var m protocol.InitProducerIDRequest
		m.Decode(&r, h.Version)
		must(r.Finish())
		var a protocol.InitProducerIDResponse
		a.Default()
		if v := c.script(at, h.Key, "", 0); v.Code != 0 {
			a.ErrorCode = v.Code
		} else {
			a.ProducerID = c.nextProducerID
			c.nextProducerID++
		}
		body = &a
	default:
		body, empty, waitMs = c.handleGroup(at, &h, &r)
	}
	var w protocol.Writer
	w.BeginResponse(h.CorrelationID, h.Key, h.Version)
	body.Encode(&w, h.Version)
	w.EndFrame()
	must(w.Err())
	answer, err := w.AppendTo(nil)
	must(err)
	return answer, empty, waitMs
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (c *Cluster) script(at model.NodeID, key protocol.Key, topic string, p model.Partition) Verdict {
	if c.Script == nil {
		return Verdict{}
	}
	return c.Script(at, key, topic, p)
}

func (c *Cluster) versions(h *protocol.RequestHeader, served bool) []byte {
	var m protocol.APIVersionsResponse
	m.Default()
	version := h.Version
	for _, v := range c.Versions {
		if served || v.Key == protocol.KeyAPIVersions {
			k := protocol.Add(&m.APIKeys)
			k.APIKey, k.MinVersion, k.MaxVersion = int16(v.Key), v.Min, v.Max
		}
	}
	if !served { // KIP-511
		m.ErrorCode, version = kerr.UnsupportedVersion.Code, 0
	}
	var w protocol.Writer
	w.BeginResponse(h.CorrelationID, protocol.KeyAPIVersions, version)
	m.Encode(&w, version)
	w.EndFrame()
	must(w.Err())
	b, err := w.AppendTo(nil)
	must(err)
	return b
}

// partition finds a partition and says what stands in the way of using it at a broker.
func (c *Cluster) partition(at model.NodeID, t *Topic, byID bool, index int32, epoch int32) (*Partition, int16) {
	switch {
	case t == nil && byID:
		return nil, kerr.UnknownTopicID.Code
	case t == nil || int(index) >= len(t.Partitions) || index < 0:
		return nil, kerr.UnknownTopicOrPartition.Code
	}
	p := t.Partitions[index]
	switch {
	case p.Leader != at:
		return p, kerr.NotLeaderForPartition.Code
	case epoch >= 0 && model.LeaderEpoch(epoch) < p.Epoch:
		return p, kerr.FencedLeaderEpoch.Code
	case epoch >= 0 && model.LeaderEpoch(epoch) > p.Epoch:
		return p, kerr.UnknownLeaderEpoch.Code
	}
	return p, 0
}

func (c *Cluster) produce(at model.NodeID, m *protocol.ProduceRequest, version int16) *protocol.ProduceResponse {
	var a protocol.ProduceResponse
	a.Default()
	a.ThrottleTimeMs = c.ThrottleMs
	hinted := false
	for i := range m.TopicData {
		t := &m.TopicData[i]
		topic := c.find(t.Name, model.TopicID(t.TopicID), version >= 13)
		at1 := protocol.Add(&a.Responses)
		at1.Name, at1.TopicID = t.Name, t.TopicID
		for j := range t.PartitionData {
			d := &t.PartitionData[j]
			x := protocol.Add(&at1.PartitionResponses)
			x.Index = d.Index
			p, code := c.partition(at, topic, version >= 13, d.Index, -1)
			var v Verdict
			if p != nil {
				v = c.script(at, protocol.KeyProduce, topic.Name, model.Partition(d.Index))
			}
			if code == 0 && v.Code != 0 && !v.Append {
				code = v.Code
			}
			if code == 0 {
				x.BaseOffset, code = c.append(topic, p, d.Records.Bytes)
				if topic.AppendTime {
					x.LogAppendTimeMs = int64(c.Wall)
				}
			}
			if code == 0 {
				code = v.Code
			}
			x.ErrorCode = code
			if code != 0 {
				x.BaseOffset = -1
			}
			if c.Hints && version >= 10 && code == kerr.NotLeaderForPartition.Code {
				x.CurrentLeader.LeaderID, x.CurrentLeader.LeaderEpoch = int32(p.Leader), int32(p.Epoch)
				hinted = true
			}
		}
	}
	if hinted {
		for _, id := range c.Brokers {
			e := protocol.Add(&a.NodeEndpoints)
			e.NodeID = int32(id)
			e.Host, e.Port = c.hostPort(id)
		}
	}
	return &a
}

func (c *Cluster) hostPort(id model.NodeID) (string, int32) {
	addr := c.Addr(id)
	i := strings.LastIndexByte(addr, ':')
	port, err := strconv.Atoi(addr[i+1:])
	must(err)
	return addr[:i], int32(port)
}

func (c *Cluster) append(t *Topic, p *Partition, b []byte) (int64, int16) {
	var d record.Decompressor
	if c.BatchBytesMax > 0 && len(b) > c.BatchBytesMax {
		return -1, kerr.MessageTooLarge.Code
	}
	h, err := record.ValidateProduced(b, record.Limits{}, &d)
	if err != nil {
		return -1, record.Code(err)
	}
	if h.HasProducer() {
		s := p.producers[h.ProducerID]
		switch {
		case s == nil && h.BaseSequence != 0 && c.StrictSequences:
			return -1, kerr.OutOfOrderSequenceNumber.Code
		case s == nil:
			s = &producerState{epoch: h.ProducerEpoch}
			p.producers[h.ProducerID] = s
		case h.ProducerEpoch < s.epoch:
			return -1, kerr.InvalidProducerEpoch.Code
		case h.ProducerEpoch > s.epoch:
			if h.BaseSequence != 0 {
				return -1, kerr.OutOfOrderSequenceNumber.Code
			}
			*s = producerState{epoch: h.ProducerEpoch}
		default:
			for _, r := range s.recent {
				if r.first == h.BaseSequence && r.last == h.LastSequence() {
					return int64(r.base), 0
				}
			}
			if n := len(s.recent); n > 0 && s.recent[n-1].last.Add(1) != h.BaseSequence {
				return -1, kerr.OutOfOrderSequenceNumber.Code
			}
		}
		s.recent = append(s.recent, recent{h.BaseSequence, h.LastSequence(), p.End()})
		if len(s.recent) > 5 {
			s.recent = s.recent[1:]
		}
	}
	stored := slices.Clone(b)
	if t.AppendTime {
		record.StampAppendTime(stored, c.Wall)
	}
	return int64(p.Append(stored)), 0
}

func (c *Cluster) fetch(at model.NodeID, m *protocol.FetchRequest, version int16) (*protocol.FetchResponse, bool) {
	var a protocol.FetchResponse
	a.Default()
	a.ThrottleTimeMs = c.ThrottleMs
	empty, refused := true, false
	left, available := int(m.MaxBytes), 0 // what there is counts up to the partition's limit, as in Kafka
	for i := range m.Topics {
		t := &m.Topics[i]
		topic := c.find(t.Topic, model.TopicID(t.TopicID), version >= 13)
		at1 := protocol.Add(&a.Responses)
		at1.Topic, at1.TopicID = t.Topic, t.TopicID
		for j := range t.Partitions {
			q := &t.Partitions[j]
			x := protocol.Add(&at1.Partitions)
			x.PartitionIndex = q.Partition
			x.HighWatermark = -1
			x.Records.Null = false
			p, code := c.partition(at, topic, version >= 13, q.Partition, q.CurrentLeaderEpoch)
			if code == 0 {
				code = c.script(at, protocol.KeyFetch, topic.Name, model.Partition(q.Partition)).Code
			}
			if code == 0 && (model.Offset(q.FetchOffset) < p.Start || model.Offset(q.FetchOffset) > p.End()) {
				code = kerr.OffsetOutOfRange.Code
			}
			x.ErrorCode = code
			if code != 0 {
				refused, empty = true, false
				continue
			}
			end := p.End()
			if p.LastStable >= 0 {
				x.LastStableOffset = int64(p.LastStable)
				if m.IsolationLevel == 1 {
					end = p.LastStable
				}
			} else {
				x.LastStableOffset = int64(end)
			}
			x.HighWatermark = int64(p.End())
			x.LogStartOffset = int64(p.Start)
			first, last := model.Offset(-1), model.Offset(-1)
			here := 0
			for _, b := range p.Batches {
				if b.NextOffset() > model.Offset(q.FetchOffset) && b.BaseOffset() < end {
					here += len(b)
				}
			}
			available += min(here, int(q.PartitionMaxBytes))
			for _, b := range p.Batches {
				if b.NextOffset() <= model.Offset(q.FetchOffset) || b.BaseOffset() >= end {
					continue
				}
				if n := len(x.Records.Bytes) + len(b); n > int(q.PartitionMaxBytes) && len(x.Records.Bytes) > 0 || len(b) > left && !empty {
					break
				}
				if first < 0 {
					first = b.BaseOffset()
				}
				last = b.LastOffset()
				x.Records.Bytes = append(x.Records.Bytes, b...)
				left -= len(b)
				empty = false
			}
			if m.IsolationLevel == 1 {
				x.AbortedTransactions = []protocol.FetchResponseAbortedTransaction{}
				for _, t := range p.Aborted {
					if t.Last >= first && t.First <= last {
						y := protocol.Add(&x.AbortedTransactions)
						y.ProducerID, y.FirstOffset = int64(t.ID), int64(t.First)
					}
				}
			}
		}
	}
	if available < int(m.MinBytes) && !refused {
		empty = true // worth waiting for more
	}
	return &a, empty
}

func (c *Cluster) listOffsets(at model.NodeID, m *protocol.ListOffsetsRequest, version int16) *protocol.ListOffsetsResponse {
	var a protocol.ListOffsetsResponse
	a.Default()
	for i := range m.Topics {
		t := &m.Topics[i]
		topic := c.Topic(t.Name)
		at1 := protocol.Add(&a.Topics)
		at1.Name = t.Name
		for j := range t.Partitions {
			q := &t.Partitions[j]
			x := protocol.Add(&at1.Partitions)
			x.PartitionIndex = q.PartitionIndex
			p, code := c.partition(at, topic, false, q.PartitionIndex, q.CurrentLeaderEpoch)
			if code == 0 {
				code = c.script(at, protocol.KeyListOffsets, t.Name, model.Partition(q.PartitionIndex)).Code
			}
			if x.ErrorCode = code; code != 0 {
				continue
			}
			if version >= 4 {
				x.LeaderEpoch = int32(p.Epoch)
			}
			switch q.Timestamp {
			case -1:
				x.Offset = int64(p.End())
				if m.IsolationLevel == 1 && p.LastStable >= 0 {
					x.Offset = int64(p.LastStable)
				}
			case -2:
				x.Offset = int64(p.Start)
			case -3:
				for _, r := range p.Records() {
					if int64(r.Timestamp) > x.Timestamp {
						x.Offset, x.Timestamp = int64(r.Offset), int64(r.Timestamp)
					}
				}
			default:
				for _, r := range p.Records() {
					if int64(r.Timestamp) >= q.Timestamp && r.Offset >= p.Start {
						x.Offset, x.Timestamp = int64(r.Offset), int64(r.Timestamp)
						break
					}
				}
			}
		}
	}
	return &a
}

func (c *Cluster) metadata(at model.NodeID, m *protocol.MetadataRequest, version int16) *protocol.MetadataResponse {
	var a protocol.MetadataResponse
	a.Default()
	for _, id := range c.Brokers {
		b := protocol.Add(&a.Brokers)
		b.NodeID = int32(id)
		b.Host, b.Port = c.hostPort(id)
	}
	a.ControllerID = int32(c.Controller)
	a.ClusterID = protocol.String(c.ID)
	describe := func(t *Topic) {
		x := protocol.Add(&a.Topics)
		x.Name = protocol.String(t.Name)
		x.TopicID = protocol.UUID(t.ID)
		for i, p := range t.Partitions {
			y := protocol.Add(&x.Partitions)
			y.PartitionIndex, y.LeaderID, y.LeaderEpoch = int32(i), int32(p.Leader), int32(p.Epoch)
			if p.former.moved && slices.Contains(c.Behind, at) {
				y.LeaderID, y.LeaderEpoch = int32(p.former.leader), int32(p.former.epoch)
			}
			if version < 7 {
				y.LeaderEpoch = -1
			}
			y.ReplicaNodes, y.IsrNodes = []int32{int32(p.Leader)}, []int32{int32(p.Leader)}
			if p.Leader < 0 {
				y.ErrorCode, y.ReplicaNodes, y.IsrNodes = kerr.LeaderNotAvailable.Code, nil, nil
			}
		}
	}
	if m.Topics == nil || version == 0 && len(m.Topics) == 0 {
		for _, t := range c.Topics {
			describe(t)
		}
	}
	for i := range m.Topics {
		name := m.Topics[i].Name.Value
		if v := c.script(0, protocol.KeyMetadata, name, 0); v.Code != 0 {
			x := protocol.Add(&a.Topics)
			x.Name, x.ErrorCode = protocol.String(name), v.Code
			continue
		}
		if c.Topic(name) == nil && c.AutoCreate > 0 && m.AllowAutoTopicCreation {
			c.Create(name, c.AutoCreate)
		}
		if t := c.Topic(name); t != nil {
			describe(t)
			continue
		}
		x := protocol.Add(&a.Topics)
		x.Name, x.ErrorCode = protocol.String(name), kerr.UnknownTopicOrPartition.Code
	}
	if version < 12 {
		for i := range a.Topics {
			if version < 10 {
				a.Topics[i].TopicID = protocol.UUID{}
			}
		}
	}
	return &a
}

func (c *Cluster) createTopics(at model.NodeID, m *protocol.CreateTopicsRequest) *protocol.CreateTopicsResponse {
	var a protocol.CreateTopicsResponse
	a.Default()
	for i := range m.Topics {
		t := &m.Topics[i]
		x := protocol.Add(&a.Topics)
		x.Name = t.Name
		x.Configs = []protocol.CreateTopicsResponseTopicConfigs{}
		v := c.script(at, protocol.KeyCreateTopics, t.Name, 0)
		switch {
		case v.Code != 0 && !v.Append:
			x.ErrorCode = v.Code
		case c.Topic(t.Name) != nil:
			x.ErrorCode = kerr.TopicAlreadyExists.Code
		default:
			n := int(t.NumPartitions)
			if n < 0 {
				n = 1
			}
			if !m.ValidateOnly {
				x.TopicID = protocol.UUID(c.Create(t.Name, n).ID)
			}
			x.NumPartitions, x.ReplicationFactor = int32(n), 1
			x.ErrorCode = v.Code
		}
	}
	return &a
}

func (c *Cluster) deleteTopics(at model.NodeID, m *protocol.DeleteTopicsRequest, version int16) *protocol.DeleteTopicsResponse {
	var a protocol.DeleteTopicsResponse
	a.Default()
	names := m.TopicNames
	if version >= 6 {
		for i := range m.Topics {
			names = append(names, m.Topics[i].Name.Value)
		}
	}
	for _, name := range names {
		x := protocol.Add(&a.Responses)
		x.Name = protocol.String(name)
		if v := c.script(at, protocol.KeyDeleteTopics, name, 0); v.Code != 0 && !v.Append {
			x.ErrorCode = v.Code
		} else if !c.Delete(name) {
			x.ErrorCode = kerr.UnknownTopicOrPartition.Code
		} else {
			x.ErrorCode = v.Code
		}
	}
	return &a
}
