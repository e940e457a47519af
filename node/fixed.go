package node

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/node/config"
)

// fixed is the node's configuration as DescribeConfigs tells it: every property that only a restart
// changes. The image knows better of those that can be changed while it runs.
func (n *Node) fixed() []effect.ConfigEntry {
	var out []effect.ConfigEntry
	for _, p := range config.Properties() {
		e := effect.ConfigEntry{
			Name: p.Name, Value: p.Value(&n.config), Type: configType(p.Type), ReadOnly: true, Doc: p.Doc, Source: effect.FromDefault,
		}
		if e.Value != p.Default {
			e.Source = effect.FromFile
			e.Synonyms = append(e.Synonyms, effect.ConfigSynonym{Name: e.Name, Value: e.Value, Source: effect.FromFile})
		}
		e.Synonyms = append(e.Synonyms, effect.ConfigSynonym{Name: e.Name, Value: p.Default, Source: effect.FromDefault})
		out = append(out, e)
	}
	return out
}

// configType is how clients are told what a property's value looks like.
func configType(of string) effect.ConfigType {
	switch {
	case of == "true | false":
		return effect.ConfigBoolean
	case of == "integer", of == "milliseconds", of == "minutes":
		return effect.ConfigLong
	}
	return effect.ConfigString
}
