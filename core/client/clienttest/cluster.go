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
	// Behind are brokers that are cut off from the others: in what they say of partitions, the last move has not happened, and each takes
	// itself for the coordinator.
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

// New makes a cluster of brokers 1 to n that serves all versions. Addresses are "b1:9092" and so on.
func New(n int) *Cluster {
	c := &Cluster{ID: "test", Controller: 1, Addr: func(id model.NodeID) string { return "b" + strconv.Itoa(int(id)) + ":9092" }}
	for i := range n {
		c.Brokers = append(c.Brokers, model.NodeID(i+1))
	}
	for _, k := range []protocol.Key{
		protocol.KeyProduce, protocol.KeyFetch, protocol.KeyListOffsets, protocol.KeyMetadata,
		protocol.KeyAPIVersions, protocol.KeyCreateTopics, protocol.KeyDeleteTopics, protocol.KeyDescribeTopicPartitions, protocol.KeyInitProducerID,
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
			Leader: c.Brokers[i%len(c.Brokers)], Epoch: 1, LastStable: -1, HighWatermark: -1, producers: make(map[model.ProducerID]*producerState),
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
	case protocol.KeyDescribeTopicPartitions:
		var m protocol.DescribeTopicPartitionsRequest
		m.Decode(&r, h.Version)
		must(r.Finish())
		body = c.describeTopicPartitions(&m)
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

func (c *Cluster) hostPort(id model.NodeID) (string, int32) {
	addr := c.Addr(id)
	i := strings.LastIndexByte(addr, ':')
	port, err := strconv.Atoi(addr[i+1:])
	must(err)
	return addr[:i], int32(port)
}
