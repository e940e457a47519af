package controller

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/protocol"
)

// AlterResource is what to change of one resource's configuration. It is taken whole or not at all.
type AlterResource struct {
	Type int8
	Name string
	// Replace forgets every setting that is not among the operations (AlterConfigs, before KIP-339).
	Replace bool
	Ops     []AlterOp
}

// AlterOp changes one configuration.
type AlterOp struct {
	Kind    OpKind
	Setting metadata.ConfigSetting
}

// OpKind is what to do with a configuration, in Kafka's numbers (KIP-339).
type OpKind int8

// The operations.
const (
	OpSet      OpKind = 0
	OpDelete   OpKind = 1
	OpAppend   OpKind = 2 // to a list
	OpSubtract OpKind = 3 // from a list
)

// Alter asks for configurations to be changed; the answer is an effect.ConfigsAltered.
func (c *Controller) Alter(to effect.RequestID, resources []AlterResource, validateOnly bool, out *effect.Set) {
	r := &request{to: to, kind: alterConfigs, alters: resources}
	if validateOnly {
		c.decideAlters(r, c.newTurn())
		reply(to, &effect.ConfigsAltered{Resources: r.altered}, out)
		return
	}
	c.ask(r, out)
}

// touchedBy is the name under which a turn remembers that a resource changes in it.
func (a *AlterResource) touchedBy() string {
	if a.Type == metadata.TopicResource {
		return a.Name
	}
	return "\x00" + a.Name // no topic has such a name
}

func (c *Controller) decideAlters(r *request, t *turn) {
	type resource struct {
		kind int8
		name string
	}
	named := make(map[resource]int, len(r.alters))
	for i := range r.alters {
		named[resource{r.alters[i].Type, r.alters[i].Name}]++
	}
	for i := range r.alters {
		a := &r.alters[i]
		answer := effect.ConfigAltered{Type: a.Type, Name: a.Name}
		var why *refusal
		var records [][]byte
		if named[resource{a.Type, a.Name}] > 1 {
			why = &refusal{kerr.InvalidRequest, "each resource must appear at most once"}
		} else {
			records, why = c.decideAlter(a)
		}
		if why != nil {
			answer.Code, answer.Message = why.error.Code, why.message
		} else {
			t.touched[a.touchedBy()] = true
			t.add(records...)
		}
		r.altered = append(r.altered, answer)
	}
}

// decideAlter checks the changes of one resource and returns their records.
func (c *Controller) decideAlter(a *AlterResource) ([][]byte, *refusal) {
	if why := checkOps(a.Ops); why != nil {
		return nil, why
	}
	switch a.Type {
	case metadata.TopicResource:
		if why := metadata.NameProblem(a.Name); why != "" {
			return nil, &refusal{kerr.InvalidTopicException, fmt.Sprintf("topic name %q %s", metadata.Shown(a.Name), why)}
		}
		topic := c.view.Named(a.Name)
		if topic == nil {
			return nil, &refusal{kerr.UnknownTopicOrPartition, fmt.Sprintf("topic %q does not exist", a.Name)}
		}
		if metadata.Internal(a.Name) {
			return nil, &refusal{kerr.InvalidTopicException, fmt.Sprintf("topic %q is the cluster's own: its configuration cannot change", a.Name)}
		}
		config := metadata.NodeConfig{Topic: c.view.TopicConfig(topic)}
		after, why := operate(a, topic.Settings, metadata.TopicSetting, func(s *metadata.Setting) string { return s.Get(&config) })
		if why != nil {
			return nil, why
		}
		if _, err := c.view.Node().Topic.With(after); err != nil {
			return nil, &refusal{kerr.InvalidConfig, err.Error()}
		}
		return c.configRecords(a, topic.Settings, after), nil
	case metadata.NodeResource:
		if why := metadata.NodeProblem(a.Name, c.config.NodeID); why != "" {
			return nil, &refusal{kerr.InvalidRequest, why}
		}
		before := c.view.NodeSettings(a.Name)
		after, why := operate(a, before, metadata.NodeSetting, func(s *metadata.Setting) string { return s.Get(c.view.Node()) })
		if why != nil {
			return nil, why
		}
		if _, err := c.view.Static().With(after); err != nil {
			return nil, &refusal{kerr.InvalidRequest, err.Error()}
		}
		return c.configRecords(a, before, after), nil
	}
	return nil, &refusal{kerr.InvalidRequest, fmt.Sprintf("resources of type %d have no configuration here; topics (2) and brokers (4) have", a.Type)}
}

// checkOps refuses what has no meaning for any resource.
func checkOps(ops []AlterOp) *refusal {
	if most := metadata.SettingCount(); len(ops) > 2*most {
		return &refusal{kerr.InvalidRequest, fmt.Sprintf("%d changes of one resource; there are %d configurations", len(ops), most)}
	}
	for i, op := range ops {
		if slices.ContainsFunc(ops[:i], func(o AlterOp) bool { return o.Setting.Name == op.Setting.Name }) {
			return &refusal{kerr.InvalidRequest, fmt.Sprintf("configuration %q is given twice", metadata.Shown(op.Setting.Name))}
		}
		if op.Kind < OpSet || op.Kind > OpSubtract {
			return &refusal{kerr.InvalidRequest, fmt.Sprintf("there is no operation %d", op.Kind)}
		}
		if op.Setting.Null && op.Kind != OpDelete {
			return &refusal{kerr.InvalidRequest, fmt.Sprintf("configuration %q is given no value", metadata.Shown(op.Setting.Name))}
		}
	}
	return nil
}

// operate is the settings of a resource after some operations. now is the value that counts at present:
// appending to a list that nobody set begins with it.
func operate(a *AlterResource, before []metadata.ConfigSetting, find func(string) *metadata.Setting, now func(*metadata.Setting) string) ([]metadata.ConfigSetting, *refusal) {
	after := before
	if a.Replace {
		after = nil
	}
	for _, op := range a.Ops {
		name, value := op.Setting.Name, strings.TrimSpace(op.Setting.Value)
		s := find(name)
		if s == nil {
			return nil, &refusal{unknownConfig(a.Type), unknown(name, a.Type)}
		}
		switch op.Kind {
		case OpSet:
		case OpDelete:
			after = metadata.ChangeSetting(after, name, "", false)
			continue
		case OpAppend, OpSubtract:
			if s.Type != effect.ConfigList {
				return nil, &refusal{kerr.InvalidConfig, fmt.Sprintf("configuration %s is not a list: nothing can be added to it or taken out of it", name)}
			}
			have := members(now(s))
			if v, set := metadata.SettingValue(after, name); set {
				have = members(v)
			}
			value = strings.Join(combine(have, members(value), op.Kind), ",")
		}
		after = metadata.ChangeSetting(after, name, value, true)
	}
	return after, nil
}

// members are the parts of a list's value.
func members(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}

// combine adds members to a list that are not in it, or takes out those that are.
func combine(have, change []string, kind OpKind) []string {
	have = slices.DeleteFunc(slices.Clone(have), func(m string) bool { return kind == OpSubtract && slices.Contains(change, m) })
	for _, m := range change {
		if kind == OpAppend && !slices.Contains(have, m) {
			have = append(have, m)
		}
	}
	return have
}

// unknownConfig is Kafka's code for a configuration that cannot be set: it differs between resources.
func unknownConfig(resource int8) *kerr.Error {
	if resource == metadata.NodeResource {
		return kerr.InvalidRequest
	}
	return kerr.InvalidConfig
}

func unknown(name string, resource int8) string {
	if resource == metadata.NodeResource {
		return fmt.Sprintf("configuration %q is not one that can be changed while a node runs", metadata.Shown(name))
	}
	return fmt.Sprintf("configuration %q is not one that weir has", metadata.Shown(name))
}

// configRecords are what makes the settings of a resource from what they were. Both lists are by name.
func (c *Controller) configRecords(a *AlterResource, before, after []metadata.ConfigSetting) [][]byte {
	var out [][]byte
	record := func(name string, value protocol.NullString) {
		out = append(out, c.encode(&protocol.ConfigRecord{
			ResourceType: a.Type, ResourceName: a.Name, Name: name, Value: value,
		}, 0))
	}
	for _, s := range before {
		if _, kept := metadata.SettingValue(after, s.Name); !kept {
			record(s.Name, protocol.NullString{})
		}
	}
	for _, s := range after {
		if v, had := metadata.SettingValue(before, s.Name); !had || v != s.Value {
			record(s.Name, protocol.String(s.Value))
		}
	}
	return out
}
