package client

import (
	"slices"
	"strings"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// ConfigKind is what has settings, by Kafka's numbers.
type ConfigKind int8

// The kinds.
const (
	TopicConfigs  ConfigKind = 2
	BrokerConfigs ConfigKind = 4
	GroupConfigs  ConfigKind = 32
)

// ConfigSource says where a value comes from, by Kafka's numbers.
type ConfigSource int8

// The sources.
const (
	SourceTopic          ConfigSource = 1 // set on the topic
	SourceBroker         ConfigSource = 2 // set on this broker at run time
	SourceClusterDefault ConfigSource = 3 // set for all brokers at run time
	SourceStatic         ConfigSource = 4 // the broker's configuration file, environment or flags
	SourceDefault        ConfigSource = 5 // built in
	SourceGroup          ConfigSource = 8 // set on the group
)

// String names the source.
func (s ConfigSource) String() string {
	switch s {
	case SourceTopic:
		return "topic"
	case SourceBroker:
		return "broker"
	case SourceClusterDefault:
		return "cluster"
	case SourceStatic:
		return "static"
	case SourceDefault:
		return "default"
	case SourceGroup:
		return "group"
	}
	return "unknown"
}

// ConfigResource is one resource's settings.
type ConfigResource struct {
	Kind ConfigKind
	Name string
	Outcome
	Settings []Setting // ordered by name
}

// Setting is one setting of a resource.
type Setting struct {
	Name      string
	Value     string
	Null      bool // it has no value, or may not be seen
	Source    ConfigSource
	ReadOnly  bool
	Sensitive bool
	Doc       string // brokers tell it since Kafka 2.6
	// Synonyms are where the value could come from, the one that counts first.
	Synonyms []ConfigSynonym
}

// ConfigSynonym is one place where a setting has a value.
type ConfigSynonym struct {
	Name   string
	Value  string
	Source ConfigSource
}

// ConfigQuery asks for the settings of a resource: of those named, or all of them.
type ConfigQuery struct {
	Kind  ConfigKind
	Name  string
	Names []string // nil: all
}

// DescribeConfigs asks for settings. Those of a broker only that broker knows: node is which, or AnyNode.
func (a *Admin) DescribeConfigs(now model.Time, node model.NodeID, queries []ConfigQuery, out *Out) OpID {
	queries = slices.Clone(queries)
	e := errand{to: toAnybody, key: protocol.KeyDescribeConfigs}
	if node >= 0 {
		e.to, e.node = toNode, node
	}
	e.encode = encoding(func(m *protocol.DescribeConfigsRequest, version int16, _ int32) {
		m.IncludeSynonyms = true
		m.IncludeDocumentation = version >= 3
		for _, q := range queries {
			r := protocol.Add(&m.Resources)
			r.ResourceType, r.ResourceName = int8(q.Kind), q.Name
			r.ConfigurationKeys = q.Names
		}
	})
	e.decode = decoding(func(a *Answer, m *protocol.DescribeConfigsResponse) (int16, string) {
		a.Configs = a.Configs[:0]
		for i := range m.Results {
			x := &m.Results[i]
			c := ConfigResource{Kind: ConfigKind(x.ResourceType), Name: x.ResourceName}
			if x.ErrorCode != 0 {
				if len(m.Results) == 1 && Retriable(x.ErrorCode) {
					return x.ErrorCode, x.ErrorMessage.Value
				}
				c.Outcome = Outcome{Reason: Refused, Code: x.ErrorCode, Message: x.ErrorMessage.Value, Definite: true}
			}
			for j := range x.Configs {
				d := &x.Configs[j]
				s := Setting{
					Name: d.Name, Value: d.Value.Value, Null: !d.Value.Valid, Source: ConfigSource(d.ConfigSource),
					ReadOnly: d.ReadOnly, Sensitive: d.IsSensitive, Doc: d.Documentation.Value,
				}
				for _, y := range d.Synonyms {
					s.Synonyms = append(s.Synonyms, ConfigSynonym{y.Name, y.Value.Value, ConfigSource(y.Source)})
				}
				c.Settings = append(c.Settings, s)
			}
			slices.SortFunc(c.Settings, func(x, y Setting) int { return strings.Compare(x.Name, y.Name) })
			a.Configs = append(a.Configs, c)
		}
		return 0, ""
	})
	return a.run(now, e, out)
}

// ConfigOp is what to do with a setting, by Kafka's numbers (KIP-339).
type ConfigOp int8

// What can be done: give it a value, go back to the default, add to a list or take from it.
const (
	ConfigSet ConfigOp = iota
	ConfigUnset
	ConfigAppend
	ConfigSubtract
)

// ConfigChange changes one setting.
type ConfigChange struct {
	Name  string
	Op    ConfigOp
	Value string
}

// AlterConfigs changes settings of one resource, all or none of them; validateOnly only checks. Those of a
// broker go to that broker: node is which, or AnyNode.
func (a *Admin) AlterConfigs(now model.Time, node model.NodeID, kind ConfigKind, name string, changes []ConfigChange, validateOnly bool, out *Out) OpID {
	changes = slices.Clone(changes)
	e := errand{to: toController, key: protocol.KeyIncrementalAlterConfigs, changes: !validateOnly}
	if node >= 0 {
		e.to, e.node = toNode, node
	}
	e.encode = encoding(func(m *protocol.IncrementalAlterConfigsRequest, _ int16, _ int32) {
		m.ValidateOnly = validateOnly
		r := protocol.Add(&m.Resources)
		r.ResourceType, r.ResourceName = int8(kind), name
		for _, c := range changes {
			d := protocol.Add(&r.Configs)
			d.Name, d.ConfigOperation = c.Name, int8(c.Op)
			if c.Op != ConfigUnset {
				d.Value = protocol.String(c.Value)
			}
		}
	})
	e.decode = decoding(func(_ *Answer, m *protocol.IncrementalAlterConfigsResponse) (int16, string) {
		for i := range m.Responses {
			if x := &m.Responses[i]; x.ErrorCode != 0 {
				return x.ErrorCode, x.ErrorMessage.Value
			}
		}
		return 0, ""
	})
	return a.run(now, e, out)
}

// CreatePartitions gives a topic more partitions: count is how many it has then.
func (a *Admin) CreatePartitions(now model.Time, topic string, count int32, validateOnly bool, out *Out) OpID {
	return a.run(now, errand{
		to: toController, key: protocol.KeyCreatePartitions, changes: !validateOnly,
		encode: encoding(func(m *protocol.CreatePartitionsRequest, _ int16, timeoutMs int32) {
			m.TimeoutMs, m.ValidateOnly = timeoutMs, validateOnly
			t := protocol.Add(&m.Topics)
			t.Name, t.Count = topic, count
			t.Assignments = nil // the broker places them
		}),
		decode: decoding(func(_ *Answer, m *protocol.CreatePartitionsResponse) (int16, string) {
			for i := range m.Results {
				if x := &m.Results[i]; x.ErrorCode != 0 {
					return x.ErrorCode, x.ErrorMessage.Value
				}
			}
			return 0, ""
		}),
	}, out)
}
