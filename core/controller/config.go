package controller

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weirmq/weir/core/effect"
)

// ConfigSetting sets one configuration. Null stands for a setting sent without a value, which is refused.
type ConfigSetting struct {
	Name, Value string
	Null        bool
}

// TopicConfig is what a topic's configuration comes to. Names and meanings are Kafka's.
type TopicConfig struct {
	Log                 effect.LogConfig
	MessageBytesMax     int32 // max.message.bytes: a batch as it arrives, compressed
	MinInSyncReplicas   int32 // min.insync.replicas
	LogAppendTime       bool  // message.timestamp.type
	TimestampAfterMsMax int64 // message.timestamp.after.max.ms: how far ahead of our clock a record may be
}

// DefaultTopicConfig is Kafka's defaults, except that a majority of one replica is one.
func DefaultTopicConfig() TopicConfig {
	return TopicConfig{
		Log: effect.LogConfig{
			SegmentBytes: 1 << 30, SegmentMs: 7 * 24 * 3600 * 1000, IndexIntervalBytes: 4096,
			RetentionMs: 7 * 24 * 3600 * 1000, RetentionBytes: -1,
		},
		MessageBytesMax: 1<<20 + 12, MinInSyncReplicas: 1, TimestampAfterMsMax: 3600 * 1000,
	}
}

// topicConfigs is every configuration of a topic that weir has. What is not here is refused by name, so
// that nobody believes in a setting that does nothing.
var topicConfigs = []struct {
	name string
	set  func(*TopicConfig, string) error
	get  func(*TopicConfig) string
}{
	{"cleanup.policy", only("delete"), always("delete")},
	{"compression.type", only("producer"), always("producer")},
	{"index.interval.bytes", func(c *TopicConfig, v string) error {
		return integer32(&c.Log.IndexIntervalBytes, v, 1, 1<<30)
	}, func(c *TopicConfig) string { return strconv.Itoa(int(c.Log.IndexIntervalBytes)) }},
	{"max.message.bytes", func(c *TopicConfig, v string) error {
		return integer32(&c.MessageBytesMax, v, 1, 100<<20)
	}, func(c *TopicConfig) string { return strconv.Itoa(int(c.MessageBytesMax)) }},
	{"message.timestamp.after.max.ms", func(c *TopicConfig, v string) error {
		return integer64(&c.TimestampAfterMsMax, v, 0)
	}, func(c *TopicConfig) string { return strconv.FormatInt(c.TimestampAfterMsMax, 10) }},
	{"message.timestamp.type", func(c *TopicConfig, v string) error {
		switch v {
		case "CreateTime", "LogAppendTime":
			c.LogAppendTime = v == "LogAppendTime"
			return nil
		}
		return fmt.Errorf("it is CreateTime or LogAppendTime, not %q", shown(v))
	}, func(c *TopicConfig) string {
		if c.LogAppendTime {
			return "LogAppendTime"
		}
		return "CreateTime"
	}},
	{"min.insync.replicas", func(c *TopicConfig, v string) error {
		return integer32(&c.MinInSyncReplicas, v, 1, 1<<15)
	}, func(c *TopicConfig) string { return strconv.Itoa(int(c.MinInSyncReplicas)) }},
	{"retention.bytes", func(c *TopicConfig, v string) error {
		return integer64(&c.Log.RetentionBytes, v, -1)
	}, func(c *TopicConfig) string { return strconv.FormatInt(c.Log.RetentionBytes, 10) }},
	{"retention.ms", func(c *TopicConfig, v string) error {
		return integer64(&c.Log.RetentionMs, v, -1)
	}, func(c *TopicConfig) string { return strconv.FormatInt(c.Log.RetentionMs, 10) }},
	{"segment.bytes", func(c *TopicConfig, v string) error {
		return integer32(&c.Log.SegmentBytes, v, 1<<10, 1<<31-1)
	}, func(c *TopicConfig) string { return strconv.Itoa(int(c.Log.SegmentBytes)) }},
	{"segment.ms", func(c *TopicConfig, v string) error {
		return integer64(&c.Log.SegmentMs, v, 1)
	}, func(c *TopicConfig) string { return strconv.FormatInt(c.Log.SegmentMs, 10) }},
	{"unclean.leader.election.enable", only("false"), always("false")},
}

// settingBytesMax bounds a value. Numbers may have zeros before them and blanks around them, and what is
// accepted is kept for good.
const settingBytesMax = 249

// With is the configuration after some settings. The error names the first that cannot be taken and why.
func (c TopicConfig) With(settings []ConfigSetting) (TopicConfig, error) {
	for i, s := range settings {
		if s.Null {
			return c, fmt.Errorf("configuration %q is given no value", shown(s.Name))
		}
		if len(s.Value) > settingBytesMax {
			return c, fmt.Errorf("configuration %q is given a value of %d bytes; it is at most %d", shown(s.Name), len(s.Value), settingBytesMax)
		}
		if slices.ContainsFunc(settings[:i], func(o ConfigSetting) bool { return o.Name == s.Name }) {
			return c, fmt.Errorf("configuration %q is given twice", shown(s.Name))
		}
		known := false
		for _, tc := range topicConfigs {
			if tc.name == s.Name {
				known = true
				if err := tc.set(&c, strings.TrimSpace(s.Value)); err != nil {
					return c, fmt.Errorf("configuration %s: %w", s.Name, err)
				}
			}
		}
		if !known {
			return c, fmt.Errorf("configuration %q is not one that weir has", shown(s.Name))
		}
	}
	return c, nil
}

// Entries lists every configuration with its value, and whether anybody set it.
func (t *Topic) Entries() []effect.ConfigEntry {
	out := make([]effect.ConfigEntry, 0, len(topicConfigs))
	for _, tc := range topicConfigs {
		set := slices.ContainsFunc(t.Settings, func(s ConfigSetting) bool { return s.Name == tc.name })
		out = append(out, effect.ConfigEntry{Name: tc.name, Value: tc.get(&t.Config), Default: !set})
	}
	return out
}

func only(value string) func(*TopicConfig, string) error {
	return func(_ *TopicConfig, v string) error {
		if v != value {
			return fmt.Errorf("it can only be %s yet, not %q", value, shown(v))
		}
		return nil
	}
}

func always(value string) func(*TopicConfig) string {
	return func(*TopicConfig) string { return value }
}

func integer32(to *int32, v string, from, last int64) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < from || n > last {
		return fmt.Errorf("it is a whole number from %d to %d, not %q", from, last, shown(v))
	}
	*to = int32(n)
	return nil
}

func integer64(to *int64, v string, from int64) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < from {
		return fmt.Errorf("it is a whole number from %d on, not %q", from, shown(v))
	}
	*to = n
	return nil
}
