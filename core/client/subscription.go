package client

import (
	"encoding/binary"
	"errors"
	"iter"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition model.Partition
}

// Compare orders by topic, then partition.
func (p TopicPartition) Compare(o TopicPartition) int {
	switch {
	case p.Topic < o.Topic:
		return -1
	case p.Topic > o.Topic:
		return 1
	}
	return int(p.Partition) - int(o.Partition)
}

func (p TopicPartition) topic() string { return p.Topic }

// byTopic walks the parts of one topic after the other. They are ordered by topic.
func byTopic[T interface{ topic() string }](parts []T) iter.Seq2[string, []T] {
	return func(yield func(string, []T) bool) {
		for rest := parts; len(rest) > 0; {
			name, n := rest[0].topic(), 1
			for n < len(rest) && rest[n].topic() == name {
				n++
			}
			if !yield(name, rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// indexesOf are the partitions' numbers.
func indexesOf(parts []TopicPartition) []int32 {
	out := make([]int32, len(parts))
	for i, p := range parts {
		out[i] = int32(p.Partition)
	}
	return out
}

// Subscription is what a member of a classic group of consumers tells whoever assigns: the metadata of
// protocol type "consumer".
type Subscription struct {
	Topics []string
	// Owned is what the member holds (KIP-429), as of Generation (-1: it does not say).
	Owned      []TopicPartition
	Generation int32
	Rack       string // empty: it does not say (KIP-881)
	UserData   []byte
}

// subscriptionVersion is what we write. Readers of older versions ignore what they do not know.
const subscriptionVersion = 3

var errEmbedded = errors.New("the member's bytes do not follow the consumer protocol")

// Encode appends the subscription, as a member sends it.
func (s *Subscription) Encode(dst []byte) []byte {
	var m protocol.ConsumerProtocolSubscription
	m.Default()
	m.Topics = append(m.Topics, s.Topics...)
	m.UserData, m.GenerationID = s.UserData, s.Generation
	if s.Rack != "" {
		m.RackID = protocol.String(s.Rack)
	}
	for topic, of := range byTopic(s.Owned) {
		t := protocol.Add(&m.OwnedPartitions)
		t.Topic, t.Partitions = topic, indexesOf(of)
	}
	return appendEmbedded(dst, &m, subscriptionVersion)
}

// ParseSubscription reads what a member sent. Versions newer than ours are read as ours: what they add
// comes behind.
func ParseSubscription(b []byte) (Subscription, error) {
	var m protocol.ConsumerProtocolSubscription
	if err := decodeEmbedded(b, &m); err != nil {
		return Subscription{}, err
	}
	s := Subscription{Topics: m.Topics, Generation: m.GenerationID, Rack: m.RackID.Value, UserData: m.UserData}
	for i := range m.OwnedPartitions {
		for _, p := range m.OwnedPartitions[i].Partitions {
			s.Owned = append(s.Owned, TopicPartition{m.OwnedPartitions[i].Topic, model.Partition(p)})
		}
	}
	return s, nil
}

// EncodeAssignment appends an assignment as a leader sends it. The partitions are ordered.
func EncodeAssignment(dst []byte, partitions []TopicPartition, userData []byte) []byte {
	var m protocol.ConsumerProtocolAssignment
	m.Default()
	m.UserData = userData
	for topic, of := range byTopic(partitions) {
		t := protocol.Add(&m.AssignedPartitions)
		t.Topic, t.Partitions = topic, indexesOf(of)
	}
	return appendEmbedded(dst, &m, 1) // 1: as old as any cooperative client reads
}

// ParseAssignment reads an assignment. No bytes are no partitions.
func ParseAssignment(b []byte) ([]TopicPartition, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var m protocol.ConsumerProtocolAssignment
	if err := decodeEmbedded(b, &m); err != nil {
		return nil, err
	}
	var out []TopicPartition
	for i := range m.AssignedPartitions {
		for _, p := range m.AssignedPartitions[i].Partitions {
			if p < 0 {
				return nil, errEmbedded
			}
			out = append(out, TopicPartition{m.AssignedPartitions[i].Topic, model.Partition(p)})
		}
	}
	return out, nil
}

func appendEmbedded(dst []byte, m protocol.Body, version int16) []byte {
	var w protocol.Writer
	m.Encode(&w, version)
	dst = binary.BigEndian.AppendUint16(dst, uint16(version))
	dst, err := w.AppendTo(dst)
	if err != nil {
		return nil // names of more than 32 KiB, which no broker has let us see
	}
	return dst
}

func decodeEmbedded(b []byte, m interface {
	protocol.Body
	Versions() (int16, int16)
},
) error {
	if len(b) < 2 {
		return errEmbedded
	}
	version := int16(binary.BigEndian.Uint16(b))
	_, newest := m.Versions()
	if version < 0 {
		return errEmbedded
	}
	r := protocol.NewReader(b[2:], protocol.BudgetForClients())
	m.Decode(&r, min(version, newest))
	return r.Err() // what follows belongs to newer versions
}
