package metadata

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/record"
)

// Setting is one configuration: of a topic, of a node as the default of its topics, or of a node alone.
type Setting struct {
	Topic string // its name as a topic's, empty if topics do not have it
	Node  string // its name as a node's, empty if nodes do not have it
	Type  effect.ConfigType
	Range string // for people
	Doc   string // one line
	set   func(*NodeConfig, string) error
	get   func(*NodeConfig) string
}

// Get is the value that a configuration has.
func (s *Setting) Get(c *NodeConfig) string { return s.get(c) }

// Default is the setting's value when nobody set it.
func (s *Setting) Default() string {
	c := DefaultNodeConfig()
	return s.Get(&c)
}

// Settings lists every configuration that can be changed while a node runs: those of topics by their
// topic name, then the rest.
func Settings() []Setting { return slices.Clone(settings) }

// SettingCount is how many there are.
func SettingCount() int { return len(settings) }

// settings is every such configuration that weir has. What is not here is refused by name, so that nobody
// believes in a setting that does nothing.
var settings = []Setting{
	only(Setting{
		Topic: "cleanup.policy", Node: "log.cleanup.policy", Type: effect.ConfigList,
		Doc: "What happens to old records: delete removes whole segments past retention. Compaction is not there yet.",
	}, "delete"),
	{
		Topic: "compression.type", Node: "compression.type", Type: effect.ConfigString,
		Range: "producer, uncompressed, gzip, snappy, lz4, zstd",
		Doc:   "The codec that records are kept in: producer keeps what the producer chose; for any other, batches are recompressed on arrival.",
		set: func(c *NodeConfig, v string) error {
			codec, known := record.ParseCodec(v)
			if v == "uncompressed" {
				codec, known = record.CodecNone, true
			} else if v == "none" {
				known = false // Kafka's word for it is uncompressed
			}
			if !known && v != "producer" {
				return fmt.Errorf("it is producer, uncompressed, gzip, snappy, lz4 or zstd, not %q", Shown(v))
			}
			c.Topic.Recompress, c.Topic.Codec = known, codec
			return nil
		},
		get: func(c *NodeConfig) string {
			switch {
			case !c.Topic.Recompress:
				return "producer"
			case c.Topic.Codec == record.CodecNone:
				return "uncompressed"
			}
			return c.Topic.Codec.String()
		},
	},
	only(Setting{
		Topic: "file.delete.delay.ms", Node: "log.segment.delete.delay.ms", Type: effect.ConfigLong,
		Doc: "How long files of deleted records are kept: none; who is reading them goes on reading.",
	}, "0"),
	whole64(Setting{
		Topic: "flush.messages",
		Doc:   "1 syncs records before they are acknowledged. More acknowledges when they are written and syncs after so many: a power loss takes the last ones.",
	}, 1, func(c *NodeConfig) *int64 { return &c.Topic.Log.FlushMessages }),
	whole64(Setting{
		Topic: "flush.ms",
		Doc:   "With flush.messages above 1, sync at the latest after so long; 0 syncs records before they are acknowledged.",
	}, 0, func(c *NodeConfig) *int64 { return &c.Topic.Log.FlushMs }),
	replicaList(Setting{
		Topic: "follower.replication.throttled.replicas",
		Doc:   "Replicas whose copying is bounded by follower.replication.throttled.rate while they are not in sync, beside those that a reassignment brings, which always are.",
	}, func(c *NodeConfig) *string { return &c.Topic.ThrottledReplicas }),
	whole32(Setting{
		Topic: "index.interval.bytes", Node: "log.index.interval.bytes",
		Doc: "An entry goes into a segment's index after so many bytes.",
	}, 1, 1<<30, func(c *NodeConfig) *int32 { return &c.Topic.Log.IndexIntervalBytes }),
	replicaList(Setting{
		Topic: "leader.replication.throttled.replicas",
		Doc:   "Taken because Kafka's tools set it with the follower's, and bounds nothing: who copies is bounded by who copies.",
	}, func(c *NodeConfig) *string { return &c.Topic.LeaderThrottledReplicas }),
	whole32(Setting{
		Topic: "max.message.bytes", Node: "message.max.bytes",
		Doc: "The largest record batch taken, as it arrives, compressed or not.",
	}, 1, 100<<20, func(c *NodeConfig) *int32 { return &c.Topic.MessageBytesMax }),
	whole64(Setting{
		Topic: "message.timestamp.after.max.ms", Node: "log.message.timestamp.after.max.ms",
		Doc: "A record whose time lies further ahead of the node's clock is refused.",
	}, 0, func(c *NodeConfig) *int64 { return &c.Topic.TimestampAfterMsMax }),
	whole64(Setting{
		Topic: "message.timestamp.before.max.ms", Node: "log.message.timestamp.before.max.ms",
		Doc: "A record whose time lies further behind the node's clock is refused.",
	}, 0, func(c *NodeConfig) *int64 { return &c.Topic.TimestampBeforeMsMax }),
	{
		Topic: "message.timestamp.type", Node: "log.message.timestamp.type", Type: effect.ConfigString, Range: "CreateTime, LogAppendTime",
		Doc: "CreateTime keeps the producer's times, LogAppendTime stamps the time of arrival.",
		set: func(c *NodeConfig, v string) error {
			if v != "CreateTime" && v != "LogAppendTime" {
				return fmt.Errorf("it is CreateTime or LogAppendTime, not %q", Shown(v))
			}
			c.Topic.LogAppendTime = v == "LogAppendTime"
			return nil
		},
		get: func(c *NodeConfig) string {
			if c.Topic.LogAppendTime {
				return "LogAppendTime"
			}
			return "CreateTime"
		},
	},
	whole32(Setting{
		Topic: "min.insync.replicas", Node: "min.insync.replicas",
		Doc: "How many replicas must have a batch before acks=all is answered; 0, the default, is a majority of them.",
	}, 0, 1<<15, func(c *NodeConfig) *int32 { return &c.Topic.MinInSyncReplicas }),
	only(Setting{
		Topic: "preallocate", Node: "log.preallocate", Type: effect.ConfigBoolean,
		Doc: "Whether a segment's space is taken when it is made: it is not, only the journal's is.",
	}, "false"),
	whole64(Setting{
		Topic: "retention.bytes", Node: "log.retention.bytes",
		Doc: "A partition that grows past this loses its oldest segments; -1 is unlimited.",
	}, -1, func(c *NodeConfig) *int64 { return &c.Topic.Log.RetentionBytes }),
	whole64(Setting{
		Topic: "retention.ms", Node: "log.retention.ms",
		Doc: "A segment whose newest record is older than this is deleted; -1 keeps for ever.",
	}, -1, func(c *NodeConfig) *int64 { return &c.Topic.Log.RetentionMs }),
	whole32(Setting{
		Topic: "segment.bytes", Node: "log.segment.bytes",
		Doc: "A segment is closed when it reaches this size.",
	}, 1<<10, math.MaxInt32, func(c *NodeConfig) *int32 { return &c.Topic.Log.SegmentBytes }),
	whole32(Setting{
		Topic: "segment.index.bytes", Node: "log.index.size.max.bytes",
		Doc: "A segment is closed when one of its index files would grow past this.",
	}, 24, math.MaxInt32, func(c *NodeConfig) *int32 { return &c.Topic.Log.IndexBytesMax }),
	whole64(Setting{
		Topic: "segment.jitter.ms", Node: "log.roll.jitter.ms",
		Doc: "A segment is closed up to so much before segment.ms, each at another time.",
	}, 0, func(c *NodeConfig) *int64 { return &c.Topic.Log.SegmentJitterMs }),
	whole64(Setting{
		Topic: "segment.ms", Node: "log.roll.ms",
		Doc: "A segment is closed when it is this old, so that retention can delete it.",
	}, 1, func(c *NodeConfig) *int64 { return &c.Topic.Log.SegmentMs }),
	truth(Setting{
		Topic: "unclean.leader.election.enable", Node: "unclean.leader.election.enable",
		Doc: "Whether a replica that may lack acknowledged records can become leader when no other is there: they are lost then.",
	}, func(c *NodeConfig) *bool { return &c.Topic.UncleanElection }),

	truth(Setting{
		Node: "auto.create.topics.enable", Doc: "Create a topic when a client that allows it asks for it.",
	}, func(c *NodeConfig) *bool { return &c.AutoCreateTopics }),
	{
		Node: "cordoned.log.dirs", Type: effect.ConfigList, Range: "*, or nothing",
		Doc: "Set for one broker to *, no new partitions are placed on it; those that it has stay. weir node drain sets it.",
		set: func(c *NodeConfig, v string) error {
			if v != "*" && v != "" {
				return fmt.Errorf("it is * or nothing, not %q: a broker has one directory", Shown(v))
			}
			c.Cordoned = v == "*"
			return nil
		},
		get: func(c *NodeConfig) string {
			if c.Cordoned {
				return "*"
			}
			return ""
		},
	},
	whole64(Setting{
		Node: "follower.replication.throttled.rate",
		Doc:  "Bytes a second that a node copies at most for replicas that a reassignment brings to it.",
	}, 1, func(c *NodeConfig) *int64 { return &c.ReplicationRateMax }),
	whole64(Setting{
		Node: "leader.replication.throttled.rate",
		Doc:  "Taken because Kafka's tools set it with the follower's, and bounds nothing.",
	}, 1, func(c *NodeConfig) *int64 { return &c.LeaderRateMax }),
	whole32(Setting{
		Node: "num.partitions", Doc: "Partitions of a topic that is created without saying how many.",
	}, 1, 100_000, func(c *NodeConfig) *int32 { return &c.PartitionCountDefault }),
	whole64(Setting{
		Node: "producer.id.expiration.ms", Doc: "An idempotent producer that has been silent for so long is forgotten.",
	}, 1, func(c *NodeConfig) *int64 { return &c.ProducerExpirationMs }),
}

// TopicSetting finds a setting by its topic name, nil if topics have none of that name.
func TopicSetting(name string) *Setting {
	for _, s := range settings {
		if s.Topic == name && name != "" {
			return &s
		}
	}
	return nil
}

// NodeSetting finds a setting by its node name.
func NodeSetting(name string) *Setting {
	for _, s := range settings {
		if s.Node == name && name != "" {
			return &s
		}
	}
	return nil
}

// only makes a setting that has one value so far.
func only(s Setting, value string) Setting {
	s.Range = value
	s.set = func(_ *NodeConfig, v string) error {
		if v != value {
			return fmt.Errorf("it can only be %s yet, not %q", value, Shown(v))
		}
		return nil
	}
	s.get = func(*NodeConfig) string { return value }
	return s
}

// replicaList is PARTITION:NODE,... or *, or nothing.
func replicaList(s Setting, at func(*NodeConfig) *string) Setting {
	s.Type, s.Range = effect.ConfigList, "PARTITION:NODE,... or *"
	s.set = func(c *NodeConfig, v string) error {
		if v != "" && v != "*" {
			for one := range strings.SplitSeq(v, ",") {
				partition, node, two := strings.Cut(strings.TrimSpace(one), ":")
				_, err := strconv.ParseUint(partition, 10, 31)
				_, err2 := strconv.ParseUint(node, 10, 31)
				if !two || err != nil || err2 != nil {
					return fmt.Errorf("it is a list of PARTITION:NODE, or *, not %q", Shown(v))
				}
			}
		}
		*at(c) = v
		return nil
	}
	s.get = func(c *NodeConfig) string { return *at(c) }
	return s
}

func truth(s Setting, at func(*NodeConfig) *bool) Setting {
	s.Type, s.Range = effect.ConfigBoolean, "true, false"
	s.set = func(c *NodeConfig, v string) error {
		if v != "true" && v != "false" {
			return fmt.Errorf("it is true or false, not %q", Shown(v))
		}
		*at(c) = v == "true"
		return nil
	}
	s.get = func(c *NodeConfig) string { return strconv.FormatBool(*at(c)) }
	return s
}

func whole32(s Setting, from, last int64, at func(*NodeConfig) *int32) Setting {
	s.Type, s.Range = effect.ConfigInt, fmt.Sprintf("%d to %d", from, last)
	s.set = func(c *NodeConfig, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < from || n > last {
			return fmt.Errorf("it is a whole number from %d to %d, not %q", from, last, Shown(v))
		}
		*at(c) = int32(n)
		return nil
	}
	s.get = func(c *NodeConfig) string { return strconv.Itoa(int(*at(c))) }
	return s
}

func whole64(s Setting, from int64, at func(*NodeConfig) *int64) Setting {
	s.Type, s.Range = effect.ConfigLong, fmt.Sprintf("%d or more", from)
	s.set = func(c *NodeConfig, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < from {
			return fmt.Errorf("it is a whole number from %d on, not %q", from, Shown(v))
		}
		*at(c) = n
		return nil
	}
	s.get = func(c *NodeConfig) string { return strconv.FormatInt(*at(c), 10) }
	return s
}
