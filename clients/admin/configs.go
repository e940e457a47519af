package admin

import (
	"context"
	"strconv"

	"github.com/weirmq/weir/clients/client"
	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// Setting is one setting of a topic or broker.
type Setting struct {
	Name  string
	Value string
	// Null: there is no value, or it may not be seen.
	Null bool
	// Source says where the value comes from: "topic", "broker", "cluster", "static" (the broker's file,
	// environment or flags), "default" or "group".
	Source    string
	ReadOnly  bool
	Sensitive bool
	Doc       string // empty from brokers before Kafka 2.6
	Synonyms  []SettingSynonym
}

// SettingSynonym is one place where a setting has a value; the first counts.
type SettingSynonym struct{ Name, Value, Source string }

// Resource is what has settings.
type Resource struct {
	kind machine.ConfigKind
	name string
	node model.NodeID
}

// OfTopic is a topic.
func OfTopic(name string) Resource { return Resource{machine.TopicConfigs, name, -1} }

// OfBroker is one broker.
func OfBroker(id int32) Resource {
	return Resource{machine.BrokerConfigs, strconv.Itoa(int(id)), model.NodeID(id)}
}

// OfBrokerByController is one broker that does not answer itself: its settings can be changed, and not described.
func OfBrokerByController(id int32) Resource {
	return Resource{machine.BrokerConfigs, strconv.Itoa(int(id)), -1}
}

// OfCluster is all brokers: settings here count for each that has none of its own.
func OfCluster() Resource { return Resource{machine.BrokerConfigs, "", -1} }

// OfGroup is a group.
func OfGroup(name string) Resource { return Resource{machine.GroupConfigs, name, -1} }

// String names the resource.
func (r Resource) String() string {
	switch {
	case r.kind == machine.TopicConfigs:
		return "topic " + r.name
	case r.kind == machine.GroupConfigs:
		return "group " + r.name
	case r.name == "":
		return "cluster"
	}
	return "broker " + r.name
}

// DescribeConfigs asks for the settings of a resource, ordered by name: of those named, or all of them.
func (a *Admin) DescribeConfigs(ctx context.Context, r Resource, names ...string) ([]Setting, error) {
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID {
		return a.m.DescribeConfigs(now, r.node, []machine.ConfigQuery{{Kind: r.kind, Name: r.name, Names: names}}, out)
	})
	if err != nil {
		return nil, err
	}
	op := "describe settings of " + r.String()
	if err := client.NewError(op, "", -1, ans.Outcome); err != nil {
		return nil, err
	}
	var settings []Setting
	for i := range ans.Configs {
		c := &ans.Configs[i]
		if err := client.NewError(op, "", -1, c.Outcome); err != nil {
			return nil, err
		}
		for j := range c.Settings {
			s := &c.Settings[j]
			x := Setting{
				Name: s.Name, Value: s.Value, Null: s.Null, Source: s.Source.String(), ReadOnly: s.ReadOnly, Sensitive: s.Sensitive, Doc: s.Doc,
			}
			for _, y := range s.Synonyms {
				x.Synonyms = append(x.Synonyms, SettingSynonym{y.Name, y.Value, y.Source.String()})
			}
			settings = append(settings, x)
		}
	}
	return settings, nil
}

// Change changes one setting.
type Change struct{ change machine.ConfigChange }

// Set gives a setting a value.
func Set(name, value string) Change {
	return Change{machine.ConfigChange{Name: name, Op: machine.ConfigSet, Value: value}}
}

// Unset takes a setting back to its default.
func Unset(name string) Change {
	return Change{machine.ConfigChange{Name: name, Op: machine.ConfigUnset}}
}

// Append adds a value to a setting that is a list.
func Append(name, value string) Change {
	return Change{machine.ConfigChange{Name: name, Op: machine.ConfigAppend, Value: value}}
}

// Subtract takes a value from a setting that is a list.
func Subtract(name, value string) Change {
	return Change{machine.ConfigChange{Name: name, Op: machine.ConfigSubtract, Value: value}}
}

// AlterConfigs changes settings of a resource, all of them or none.
func (a *Admin) AlterConfigs(ctx context.Context, r Resource, changes ...Change) error {
	return a.alterConfigs(ctx, r, changes, false)
}

// ValidateConfigs checks whether settings could be changed, and changes nothing.
func (a *Admin) ValidateConfigs(ctx context.Context, r Resource, changes ...Change) error {
	return a.alterConfigs(ctx, r, changes, true)
}

func (a *Admin) alterConfigs(ctx context.Context, r Resource, changes []Change, validateOnly bool) error {
	all := make([]machine.ConfigChange, len(changes))
	for i := range changes {
		all[i] = changes[i].change
	}
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID {
		return a.m.AlterConfigs(now, r.node, r.kind, r.name, all, validateOnly, out)
	})
	if err != nil {
		return err
	}
	return client.NewError("alter settings of "+r.String(), "", -1, ans.Outcome)
}

// CreatePartitions gives a topic more partitions: count is how many it has then. Keys go to other
// partitions from then on.
func (a *Admin) CreatePartitions(ctx context.Context, topic string, count int32) error {
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID {
		return a.m.CreatePartitions(now, topic, count, false, out)
	})
	if err != nil {
		return err
	}
	return client.NewError("add partitions to topic", topic, -1, ans.Outcome)
}
