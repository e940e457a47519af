package metadata

import (
	"strings"
	"testing"

	"github.com/weirmq/weir/core/effect"
)

func TestEveryConfigurationTakesItsDefaultAndListsIt(t *testing.T) {
	image := NewView(NewImage(), 1, DefaultNodeConfig())
	last := ""
	for _, e := range image.DescribeTopic(&Topic{}) {
		if last >= e.Name {
			t.Errorf("%s is out of order", e.Name)
		}
		last = e.Name
		got, err := DefaultTopicConfig().With([]ConfigSetting{{Name: e.Name, Value: e.Value}})
		if err != nil || got != DefaultTopicConfig() {
			t.Errorf("%s=%s: %+v, %v", e.Name, e.Value, got, err)
		}
		if e.Source != effect.FromDefault || e.Doc == "" || e.Type == 0 {
			t.Errorf("%+v: not the default, or not documented, though nobody set it", e)
		}
	}
	last = ""
	for _, e := range image.DescribeNode(nil) {
		if last >= e.Name {
			t.Errorf("%s is out of order", e.Name)
		}
		last = e.Name
		got, err := DefaultNodeConfig().With([]ConfigSetting{{Name: e.Name, Value: e.Value}})
		if err != nil || got != DefaultNodeConfig() || e.Source != effect.FromDefault {
			t.Errorf("%s=%s: %+v, %v", e.Name, e.Value, got, err)
		}
	}
	names := make(map[string]bool)
	for _, s := range Settings() {
		for _, name := range []string{"topic " + s.Topic, "node " + s.Node} {
			if names[name] && !strings.HasSuffix(name, " ") {
				t.Errorf("%s is there twice", name)
			}
			names[name] = true
		}
		if s.Topic == "" && s.Node == "" || s.Range == "" || s.Doc == "" {
			t.Errorf("%+v is incomplete", s)
		}
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ name, value, why string }{
		{"no.such.thing", "1", "not one that weir has"},
		{"retention.ms", "soon", "whole number"},
		{"retention.ms", "-2", "whole number"},
		{"segment.bytes", "10", "whole number"},
		{"cleanup.policy", "compact", "only be delete"},
		{"message.timestamp.type", "Never", "CreateTime or LogAppendTime"},
		{"retention.ms", strings.Repeat(" ", 1000) + "1", "at most 249"},
	} {
		_, err := DefaultTopicConfig().With([]ConfigSetting{{Name: c.name, Value: c.value}})
		if err == nil || !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s=%s: %v", c.name, c.value, err)
		}
	}
	twice := []ConfigSetting{{Name: "retention.ms", Value: "1"}, {Name: "retention.ms", Value: "2"}}
	if _, err := DefaultTopicConfig().With(twice); err == nil {
		t.Error("a configuration given twice is accepted")
	}
}
