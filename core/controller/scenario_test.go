package controller

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
)

// TestScenarios runs testdata: each file is the life of a cluster as its controller sees it. What is printed is the
// answer, and every partition and broker that became different.
//
//	brokers N                             register, and are heard
//	topic NAME assign=(1.2.3, ...)        a partition for each list of replicas
//	register N directory=N | beat N [leave] | silence heard=(N, ...)
//	isr NAME/P N...                       the leader says who is in sync
//	damaged N NAME/P [epoch=N]            a broker cannot serve its replica, which last went by that leader epoch
//	reassign NAME/P N... [same-factor] | cancel NAME/P
//	moving [NAME/P...]                    which reassignments are under way
//	elect all|NAME/P [unclean] | rebalance
//	unregister N
//	alter topic|broker NAME K=V...        K= deletes; a broker's name may be "all"
//	resign                                another controller takes over
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var l *life
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "brokers" {
				n, _ := strconv.Atoi(d.CmdArgs[0].Key)
				l = newLife(t, n)
				return ""
			}
			before := l.view
			answer := l.command(t, d)
			return answer + different(before.Image, l.view.Image)
		})
	})
}

func (l *life) command(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	arg := func(i int) string { return d.CmdArgs[i].Key }
	node := func(i int) model.NodeID { return nodeOf(t, arg(i)) }
	switch d.Cmd {
	case "topic":
		create := CreateTopic{Name: arg(0), PartitionCount: -1, ReplicationFactor: -1}
		for i, list := range d.CmdArgs[1].Vals {
			a := Assignment{Partition: model.Partition(i)}
			for _, n := range strings.Split(list, ".") {
				a.Replicas = append(a.Replicas, nodeOf(t, n))
			}
			create.Assignments = append(create.Assignments, a)
		}
		return l.told(t, func(to effect.RequestID, out *effect.Set) { l.c.Create(to, []CreateTopic{create}, false, out) })
	case "register":
		var directory int
		d.ScanArgs(t, "directory", &directory)
		l.request++ // every registration here is of another process
		return l.bodyString(l.register(t, node(0), byte(100+l.request), byte(directory)))
	case "beat":
		return l.told(t, func(to effect.RequestID, out *effect.Set) {
			l.c.Heartbeat(to, &effect.HeartbeatBroker{
				Broker: node(0), BrokerEpoch: l.epochs[node(0)], MetadataOffset: l.view.Version() - 1, WantShutdown: len(d.CmdArgs) > 1,
			}, true, out)
		})
	case "silence":
		var heard []model.NodeID
		for _, v := range d.CmdArgs[0].Vals {
			heard = append(heard, nodeOf(t, v))
		}
		l.silence(t, heard...)
		return ""
	case "isr":
		tp, p := l.named(t, arg(0))
		in := effect.AlterPartitionPart{Partition: tp, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
		for i := range d.CmdArgs[1:] {
			in.ISR = append(in.ISR, effect.BrokerState{Broker: node(1 + i), BrokerEpoch: l.epochs[node(1+i)]})
		}
		answer := l.ask(t, func(to effect.RequestID, out *effect.Set) {
			l.c.AlterPartition(to, &effect.AlterPartition{Broker: p.Leader, BrokerEpoch: l.epochs[p.Leader], Parts: []effect.AlterPartitionPart{in}}, out)
		}).(*effect.PartitionsAltered)
		return effect.CodeName(answer.Parts[0].Code) + "\n"
	case "damaged":
		tp, p := l.named(t, arg(1))
		epoch := int(p.LeaderEpoch)
		d.MaybeScanArgs(t, "epoch", &epoch)
		return l.told(t, func(to effect.RequestID, out *effect.Set) {
			l.c.ReportDamaged(to, &effect.ReportDamaged{
				Broker: node(0), BrokerEpoch: l.epochs[node(0)], Parts: []effect.DamagedPart{{Partition: tp, LeaderEpoch: model.LeaderEpoch(epoch)}},
			}, out)
		})
	case "reassign", "cancel":
		name, index := nameOf(t, arg(0))
		part := ReassignPart{Partition: index, Cancel: d.Cmd == "cancel"}
		for i := range d.CmdArgs[1:] {
			if arg(1+i) != "same-factor" {
				part.Replicas = append(part.Replicas, node(1+i))
			}
		}
		return l.told(t, func(to effect.RequestID, out *effect.Set) {
			l.c.Reassign(to, []ReassignTopic{{Name: name, Parts: []ReassignPart{part}}}, !d.HasArg("same-factor"), out)
		})
	case "moving":
		return l.told(t, func(to effect.RequestID, out *effect.Set) {
			l.c.ListReassignments(to, len(d.CmdArgs) == 0, l.asked(t, d), out)
		})
	case "elect":
		return l.told(t, func(to effect.RequestID, out *effect.Set) {
			l.c.ElectLeaders(to, d.HasArg("unclean"), arg(0) == "all", l.asked(t, d), out)
		})
	case "rebalance":
		l.run(t, l.c.rebalance)
		return ""
	case "unregister":
		return l.told(t, func(to effect.RequestID, out *effect.Set) { l.c.Unregister(to, node(0), out) })
	case "alter":
		in := AlterResource{Type: metadata.TopicResource, Name: arg(1)}
		if arg(0) == "broker" {
			in.Type = metadata.NodeResource
		}
		if in.Name == "all" {
			in.Name = ""
		}
		for _, a := range d.CmdArgs[2:] {
			op := AlterOp{Setting: metadata.ConfigSetting{Name: a.Key}}
			if len(a.Vals) == 0 || a.Vals[0] == "" {
				op.Kind = OpDelete
			} else {
				op.Setting.Value = a.Vals[0]
			}
			in.Ops = append(in.Ops, op)
		}
		return l.told(t, func(to effect.RequestID, out *effect.Set) { l.c.Alter(to, []AlterResource{in}, false, out) })
	case "resign":
		var out effect.Set
		l.c.Resign(&out)
		l.c = New(l.c.config, l.view)
		l.c.Lead(l.view, model.NoNode, l.now)
		return ""
	}
	t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	return ""
}

func (l *life) told(t *testing.T, f func(to effect.RequestID, out *effect.Set)) string {
	t.Helper()
	return l.bodyString(l.ask(t, f))
}

func (l *life) bodyString(b effect.Body) string {
	var set effect.Set
	set.Replies = append(set.Replies, effect.Reply{Body: b})
	_, line, _ := strings.Cut(strings.TrimSpace(set.String()), " 0.0 ")
	return line + "\n"
}

// asked are the partitions that a command names.
func (l *life) asked(t *testing.T, d *datadriven.TestData) (topics []AskTopic) {
	for _, a := range d.CmdArgs {
		if strings.Contains(a.Key, "/") {
			name, index := nameOf(t, a.Key)
			topics = append(topics, AskTopic{Name: name, Partitions: []model.Partition{index}})
		}
	}
	return topics
}

func (l *life) named(t *testing.T, arg string) (model.TopicPartition, *metadata.Partition) {
	name, index := nameOf(t, arg)
	topic := l.view.Named(name)
	return model.TopicPartition{Topic: topic.ID, Partition: index}, topic.Partition(index)
}

func nameOf(t *testing.T, arg string) (string, model.Partition) {
	t.Helper()
	name, number, _ := strings.Cut(arg, "/")
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("%q is no partition", arg)
	}
	return name, model.Partition(n)
}

func nodeOf(t *testing.T, s string) model.NodeID {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%q is no node", s)
	}
	return model.NodeID(n)
}

// different shows what became different from one image to another.
func different(before, after *metadata.Image) string {
	var out strings.Builder
	for b := range after.Brokers {
		if old := before.Broker(b.ID); old == nil || old.Fenced != b.Fenced || old.InControlledShutdown != b.InControlledShutdown {
			state := "active"
			if b.Fenced {
				state = "fenced"
			} else if b.InControlledShutdown {
				state = "leaving"
			}
			fmt.Fprintf(&out, "broker %d: %s\n", b.ID, state)
		}
	}
	for b := range before.Brokers {
		if after.Broker(b.ID) == nil {
			fmt.Fprintf(&out, "broker %d: gone\n", b.ID)
		}
	}
	for topic := range after.Topics {
		old := before.Identified(topic.ID)
		for i, p := range topic.Partitions {
			if old != nil && old.Partition(i) == p {
				continue
			}
			fmt.Fprintf(&out, "%s/%d: leader %d epoch %d.%d, replicas %v, in sync %v", topic.Name, i, p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.Replicas, p.ISR)
			for _, list := range []struct {
				what string
				of   []model.NodeID
			}{{"eligible", p.ELR}, {"last known", p.LastKnownELR}, {"adding", p.Adding}, {"removing", p.Removing}} {
				if len(list.of) > 0 {
					fmt.Fprintf(&out, ", %s %v", list.what, list.of)
				}
			}
			out.WriteString("\n")
		}
	}
	return out.String()
}
