package metadata

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/record"
)

// ConfigSetting sets one configuration. Null stands for a setting sent without a value, which is refused.
type ConfigSetting struct {
	Name, Value string
	Null        bool
}

// TopicConfig is what a topic's configuration comes to. Names and meanings are Kafka's.
type TopicConfig struct {
	Log               effect.LogConfig
	MessageBytesMax   int32 // max.message.bytes: a batch as it arrives, compressed
	MinInSyncReplicas int32 // min.insync.replicas; 0 is a majority of the replicas
	UncleanElection   bool  // unclean.leader.election.enable
	// ThrottledReplicas are replicas whose copying is bounded while they are not in sync, as PARTITION:NODE,... or *
	// (follower.replication.throttled.replicas); LeaderThrottledReplicas are kept for Kafka's tools and bound nothing.
	ThrottledReplicas, LeaderThrottledReplicas string
	LogAppendTime                              bool // message.timestamp.type
	// Recompress and Codec are compression.type: records are kept in a codec of the topic's, or as they come.
	Recompress           bool
	Codec                record.Codec
	TimestampAfterMsMax  int64 // message.timestamp.after.max.ms: how far ahead of our clock a record may be
	TimestampBeforeMsMax int64 // message.timestamp.before.max.ms: how far behind our clock a record may be
}

// DefaultTopicConfig is Kafka's defaults, except that a majority of one replica is one.
func DefaultTopicConfig() TopicConfig {
	return TopicConfig{
		Log: effect.LogConfig{
			SegmentBytes: 1 << 30, SegmentMs: 7 * 24 * 3600 * 1000, IndexIntervalBytes: 4096,
			RetentionMs: 7 * 24 * 3600 * 1000, RetentionBytes: -1,
			IndexBytesMax: 10 << 20, FlushMessages: 1, FlushMs: math.MaxInt64,
		},
		MessageBytesMax: 1<<20 + 12, MinInSyncReplicas: 0,
		TimestampAfterMsMax: 3600 * 1000, TimestampBeforeMsMax: math.MaxInt64,
	}
}

// NodeConfig is what can be changed of a node while it runs: the defaults of its topics, and more.
type NodeConfig struct {
	Topic TopicConfig
	// AutoCreateTopics creates a topic when a client asks for it and allows it (auto.create.topics.enable).
	AutoCreateTopics bool
	// PartitionCountDefault is for topics created without a partition count (num.partitions).
	PartitionCountDefault int32
	// Cordoned keeps new partitions away from the broker (cordoned.log.dirs, KIP-1066).
	Cordoned bool
	// ReplicationRateMax is how many bytes a second the node copies at most for replicas that are moved to it
	// (follower.replication.throttled.rate); NoRate is no limit. LeaderRateMax is kept for Kafka's tools and bounds nothing.
	ReplicationRateMax, LeaderRateMax int64
	// ProducerExpirationMs is how long an idle producer is remembered (producer.id.expiration.ms).
	ProducerExpirationMs int64
}

// DefaultNodeConfig is what a node has that was told nothing.
func DefaultNodeConfig() NodeConfig {
	return NodeConfig{
		Topic: DefaultTopicConfig(), AutoCreateTopics: true, ReplicationRateMax: NoRate, LeaderRateMax: NoRate, PartitionCountDefault: 1, ProducerExpirationMs: 24 * 3600 * 1000,
	}
}

// NoRate as a rate is no limit, in Kafka's number.
const NoRate = math.MaxInt64

// replicaListBytesMax bounds a list of replicas, which has an entry for each.
const replicaListBytesMax = 64 << 10

// settingBytesMax bounds a value. Numbers may have zeros before them and blanks around them, and what is
// accepted is kept for good.
const settingBytesMax = 249

// With is the configuration of a topic after some settings. The error names the first that cannot be taken
// and why.
func (c TopicConfig) With(settings []ConfigSetting) (TopicConfig, error) {
	n := NodeConfig{Topic: c}
	err := apply(&n, settings, TopicSetting)
	return n.Topic, err
}

// With is the configuration of a node after some settings.
func (c NodeConfig) With(settings []ConfigSetting) (NodeConfig, error) {
	err := apply(&c, settings, NodeSetting)
	return c, err
}

func apply(c *NodeConfig, settings []ConfigSetting, find func(string) *Setting) error {
	for i, s := range settings {
		if s.Null {
			return fmt.Errorf("configuration %q is given no value", Shown(s.Name))
		}
		most := settingBytesMax
		if strings.HasSuffix(s.Name, ".throttled.replicas") {
			most = replicaListBytesMax
		}
		if len(s.Value) > most {
			return fmt.Errorf("configuration %q is given a value of %d bytes; it is at most %d", Shown(s.Name), len(s.Value), most)
		}
		if slices.ContainsFunc(settings[:i], func(o ConfigSetting) bool { return o.Name == s.Name }) {
			return fmt.Errorf("configuration %q is given twice", Shown(s.Name))
		}
		known := find(s.Name)
		if known == nil {
			return fmt.Errorf("configuration %q is not one that weir has", Shown(s.Name))
		}
		if err := known.set(c, strings.TrimSpace(s.Value)); err != nil {
			return fmt.Errorf("configuration %s: %w", s.Name, err)
		}
	}
	return nil
}

// SettingValue is what a list of settings says of a name.
func SettingValue(settings []ConfigSetting, name string) (string, bool) {
	for i := range settings {
		if settings[i].Name == name {
			return settings[i].Value, true
		}
	}
	return "", false
}

// ChangeSetting is a list of settings, by ascending name, after one was set or, without a value, taken out.
func ChangeSetting(settings []ConfigSetting, name, value string, set bool) []ConfigSetting {
	out := slices.DeleteFunc(slices.Clone(settings), func(s ConfigSetting) bool { return s.Name == name })
	if set {
		out = append(out, ConfigSetting{Name: name, Value: value})
		slices.SortFunc(out, func(a, b ConfigSetting) int { return strings.Compare(a.Name, b.Name) })
	}
	return out
}

func sameSettings(a, b []ConfigSetting) bool { return slices.Equal(a, b) }

// InSyncMin is how many of so many replicas must be in sync for a record to be committed: min.insync.replicas, but
// never more than there are.
func (c *TopicConfig) InSyncMin(replicas int) int {
	if c.MinInSyncReplicas == 0 {
		return replicas/2 + 1
	}
	return min(int(c.MinInSyncReplicas), replicas)
}
