package controller

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
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
	r := &request{
		to:     to,
		decide: func(t *turn) effect.Body { return &effect.ConfigsAltered{Resources: t.alters(resources)} },
		refuse: func(code int16, why string) effect.Body {
			answer := &effect.ConfigsAltered{}
			for i := range resources {
				answer.Resources = append(answer.Resources, effect.ConfigAltered{Type: resources[i].Type, Name: resources[i].Name, Code: code, Message: why})
			}
			return answer
		},
	}
	if validateOnly {
		c.dry(r, out)
		return
	}
	c.ask(r, out)
}

func (t *turn) alters(resources []AlterResource) (altered []effect.ConfigAltered) {
	type resource struct {
		kind int8
		name string
	}
	named := make(map[resource]int, len(resources))
	for i := range resources {
		named[resource{resources[i].Type, resources[i].Name}]++
	}
	for i := range resources {
		a := &resources[i]
		answer := effect.ConfigAltered{Type: a.Type, Name: a.Name}
		var why *refusal
		if named[resource{a.Type, a.Name}] > 1 {
			why = &refusal{kerr.InvalidRequest, "each resource must appear at most once"}
		} else {
			why = t.alter(a)
		}
		if why != nil {
			answer.Code, answer.Message = why.error.Code, why.message
		}
		altered = append(altered, answer)
	}
	return altered
}

// alter checks the changes of one resource and adds their records.
func (t *turn) alter(a *AlterResource) *refusal {
	if why := checkOps(a.Ops); why != nil {
		return why
	}
	switch a.Type {
	case metadata.TopicResource:
		if why := metadata.NameProblem(a.Name); why != "" {
			return &refusal{kerr.InvalidTopicException, fmt.Sprintf("topic name %q %s", metadata.Shown(a.Name), why)}
		}
		topic := t.view.Named(a.Name)
		if topic == nil {
			return &refusal{kerr.UnknownTopicOrPartition, fmt.Sprintf("topic %q does not exist", a.Name)}
		}
		if metadata.Internal(a.Name) {
			return &refusal{kerr.InvalidTopicException, fmt.Sprintf("topic %q is the cluster's own: its configuration cannot change", a.Name)}
		}
		config := metadata.NodeConfig{Topic: t.view.TopicConfig(topic)}
		after, why := operate(a, topic.Settings, metadata.TopicSetting, func(s *metadata.Setting) string { return s.Get(&config) })
		if why != nil {
			return why
		}
		if _, err := t.view.Node().Topic.With(after); err != nil {
			return &refusal{kerr.InvalidConfig, err.Error()}
		}
		before := topic.Settings
		t.configRecords(a, before, after)
		if len(electing(before, after)) > 0 {
			t.electAgain(t.view.Named(a.Name))
		}
		return nil
	case metadata.NodeResource:
		if why := t.nodeProblem(a.Name); why != "" {
			return &refusal{kerr.InvalidRequest, why}
		}
		before := t.view.NodeSettings(a.Name)
		after, why := operate(a, before, metadata.NodeSetting, func(s *metadata.Setting) string { return s.Get(t.view.Node()) })
		if why != nil {
			return why
		}
		if _, err := t.view.Static().With(after); err != nil {
			return &refusal{kerr.InvalidRequest, err.Error()}
		}
		changed := electing(before, after)
		if len(changed) > 0 && a.Name != "" {
			return &refusal{kerr.InvalidRequest, fmt.Sprintf("%s is set for topics or for all brokers, and not for one: elections must not depend on which node decides them", changed[0])}
		}
		t.configRecords(a, before, after)
		t.view = t.c.view.Of(t.image())
		for topic := range t.image().Topics {
			if slices.ContainsFunc(changed, func(name string) bool { _, own := metadata.SettingValue(topic.Settings, name); return !own }) {
				t.electAgain(topic)
			}
		}
		return nil
	}
	return &refusal{kerr.InvalidRequest, fmt.Sprintf("resources of type %d have no configuration here; topics (2) and brokers (4) have", a.Type)}
}

// nodeProblem says why a name is not that of a broker that can be configured: it is empty, for all, or the id of one that
// is registered.
func (t *turn) nodeProblem(name string) string {
	if name == "" {
		return ""
	}
	id, err := strconv.ParseInt(name, 10, 32)
	switch {
	case err != nil:
		return fmt.Sprintf("a broker's name is its id, a whole number, not %q", metadata.Shown(name))
	case strconv.FormatInt(id, 10) != name || t.image().Broker(model.NodeID(id)) == nil:
		return fmt.Sprintf("broker %q is not registered", metadata.Shown(name))
	}
	return ""
}

// electing names the configurations that elections go by and that are others after a change.
func electing(before, after []metadata.ConfigSetting) (changed []string) {
	for _, name := range []string{"min.insync.replicas", "unclean.leader.election.enable"} {
		was, had := metadata.SettingValue(before, name)
		is, has := metadata.SettingValue(after, name)
		if was != is || had != has {
			changed = append(changed, name)
		}
	}
	return changed
}

// electAgain works out what follows for a topic's partitions from another min.insync.replicas, or from unclean elections
// being allowed. Where the ISR is large enough now, it commits without those who were eligible until now (KIP-966).
//
// Every partition changes, be it by its epoch alone: a leader that has not heard of it yet commits by what was before,
// and must not shrink the ISR by that.
func (t *turn) electAgain(topic *metadata.Topic) {
	for index, p := range topic.Partitions {
		tp := model.TopicPartition{Topic: topic.ID, Partition: index}
		to := t.settle(topic, p, t.electorateOf(tp, topic, p))
		rec := changeRecord(tp, p, &to)
		if rec == nil {
			rec = unchanged(tp)
		}
		t.record(rec, 2)
	}
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
func (t *turn) configRecords(a *AlterResource, before, after []metadata.ConfigSetting) {
	record := func(name string, value protocol.NullString) {
		t.record(&protocol.ConfigRecord{ResourceType: a.Type, ResourceName: a.Name, Name: name, Value: value}, 0)
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
}
