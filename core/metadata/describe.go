package metadata

import (
	"slices"
	"strconv"
	"strings"

	"github.com/weirmq/weir/core/effect"
)

// layers are the places that a node's settings come from, most specific first.
//
//	of the node (DYNAMIC_BROKER) ► of every node (DYNAMIC_DEFAULT_BROKER) ► its configuration file (STATIC) ► DEFAULT
type layers struct {
	node, every []ConfigSetting
	static      *NodeConfig
	builtIn     NodeConfig
}

func (v *View) layers() layers {
	return layers{
		node: v.NodeSettings(strconv.Itoa(int(v.node))), every: v.NodeSettings(""), static: &v.static, builtIn: DefaultNodeConfig(),
	}
}

// synonyms are the values that a setting has under its node name, the one that counts first. The last is
// the default. What the configuration file says counts as said only where it differs from the default.
func (l *layers) synonyms(s *Setting) []effect.ConfigSynonym {
	var out []effect.ConfigSynonym
	if s.Node != "" {
		if v, set := SettingValue(l.node, s.Node); set {
			out = append(out, effect.ConfigSynonym{Name: s.Node, Value: v, Source: effect.FromNode})
		}
		if v, set := SettingValue(l.every, s.Node); set {
			out = append(out, effect.ConfigSynonym{Name: s.Node, Value: v, Source: effect.FromEveryNode})
		}
		if v := s.Get(l.static); v != s.Get(&l.builtIn) {
			out = append(out, effect.ConfigSynonym{Name: s.Node, Value: v, Source: effect.FromFile})
		}
	}
	name := s.Node
	if name == "" {
		name = s.Topic
	}
	return append(out, effect.ConfigSynonym{Name: name, Value: s.Get(&l.builtIn), Source: effect.FromDefault})
}

// DescribeTopic lists every configuration of a topic by name, with where its value comes from.
func (v *View) DescribeTopic(t *Topic) []effect.ConfigEntry {
	l, config := v.layers(), NodeConfig{Topic: v.TopicConfig(t)}
	if first := t.Partition(0); first != nil && config.Topic.MinInSyncReplicas == 0 {
		config.Topic.MinInSyncReplicas = int32(config.Topic.InSyncMin(len(first.Replicas) - len(first.Adding)))
	}
	out := make([]effect.ConfigEntry, 0, len(settings))
	for _, s := range settings {
		if s.Topic == "" {
			continue
		}
		e := effect.ConfigEntry{Name: s.Topic, Value: s.Get(&config), Type: s.Type, Doc: s.Doc, Synonyms: l.synonyms(&s)}
		if v, set := SettingValue(t.Settings, s.Topic); set {
			e.Synonyms = slices.Insert(e.Synonyms, 0, effect.ConfigSynonym{Name: s.Topic, Value: v, Source: effect.FromTopic})
		}
		e.Source = e.Synonyms[0].Source
		out = append(out, e)
	}
	return out
}

// DescribeNode lists every configuration of this node by name: those that can be changed while it runs,
// and fixed, those that were given to it at its start.
func (v *View) DescribeNode(fixed []effect.ConfigEntry) []effect.ConfigEntry {
	out := make([]effect.ConfigEntry, 0, len(fixed)+len(settings))
	l := v.layers()
	for _, s := range settings {
		if s.Node == "" {
			continue
		}
		e := effect.ConfigEntry{Name: s.Node, Value: s.Get(&v.config), Type: s.Type, Doc: s.Doc, Synonyms: l.synonyms(&s)}
		e.Source = e.Synonyms[0].Source
		out = append(out, e)
	}
	for _, e := range fixed {
		if NodeSetting(e.Name) == nil {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b effect.ConfigEntry) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// DescribeEveryNode lists what was set for all nodes together.
func (v *View) DescribeEveryNode() []effect.ConfigEntry {
	var out []effect.ConfigEntry
	for _, set := range v.NodeSettings("") {
		s := NodeSetting(set.Name)
		out = append(out, effect.ConfigEntry{
			Name: set.Name, Value: set.Value, Source: effect.FromEveryNode, Type: s.Type, Doc: s.Doc,
			Synonyms: []effect.ConfigSynonym{{Name: set.Name, Value: set.Value, Source: effect.FromEveryNode}},
		})
	}
	return out
}
