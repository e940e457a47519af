package admin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/client"
	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// Partition names a partition.
type Partition struct {
	Topic     string
	Partition int32
}

// Group is a group as its coordinator sees it.
type Group struct {
	ID           string
	ProtocolType string // "consumer" and so on; empty for a group that only commits offsets
	State        string // "Stable", "PreparingRebalance", "CompletingRebalance", "Empty"
	Type         string // "classic" or "consumer"; empty from brokers before Kafka 3.8
	Coordinator  int32  // -1 if unknown
	Protocol     string // the assignment strategy that the members agreed on
	Members      []GroupMember
}

// GroupMember is one member of a group.
type GroupMember struct {
	ID         string
	InstanceID string // empty unless the member is static
	ClientID   string
	Host       string
	Topics     []string // what it subscribes to
	Assigned   []Partition
}

// GroupOffset is what a group has committed for a partition.
type GroupOffset struct {
	Partition
	Offset      int64 // -1: nothing
	LeaderEpoch int32
	Metadata    string
	Err         error
}

// ListGroups lists the groups of all brokers, ordered by name. Those of brokers that do not answer are
// missing; the error then says so.
func (a *Admin) ListGroups(ctx context.Context) ([]Group, error) {
	c, err := a.DescribeCluster(ctx)
	if err != nil {
		return nil, err
	}
	var (
		mu     sync.Mutex
		group  sync.WaitGroup
		groups []Group
		errs   []error
	)
	for _, b := range c.Brokers {
		group.Go(func() {
			ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID {
				return a.m.ListGroups(now, model.NodeID(b.ID), out)
			})
			if err == nil {
				err = client.NewError("list groups", "", -1, ans.Outcome)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			}
			for i := range ans.Groups {
				groups = append(groups, groupOf(&ans.Groups[i]))
			}
		})
	}
	group.Wait()
	slices.SortFunc(groups, func(x, y Group) int { return strings.Compare(x.ID, y.ID) })
	groups = slices.CompactFunc(groups, func(x, y Group) bool { return x.ID == y.ID })
	return groups, errors.Join(errs...)
}

// DescribeGroup asks for a group's members. A group that does not exist is kerr.GroupIDNotFound.
func (a *Admin) DescribeGroup(ctx context.Context, id string) (Group, error) {
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID { return a.m.DescribeGroup(now, id, out) })
	if err != nil {
		return Group{}, err
	}
	op := "describe group " + id
	if err := client.NewError(op, "", -1, ans.Outcome); err != nil {
		return Group{}, err
	}
	if len(ans.Groups) == 0 || ans.Groups[0].State == "Dead" {
		return Group{}, codeError(op, "", -1, kerr.GroupIDNotFound.Code)
	}
	return groupOf(&ans.Groups[0]), nil
}

func groupOf(g *machine.Group) Group {
	x := Group{
		ID: g.ID, ProtocolType: g.ProtocolType, State: g.State, Type: g.Type, Coordinator: int32(g.Coordinator), Protocol: g.Protocol,
	}
	for i := range g.Members {
		m := &g.Members[i]
		y := GroupMember{ID: m.ID, InstanceID: m.InstanceID, ClientID: m.ClientID, Host: m.Host, Topics: m.Topics}
		for _, p := range m.Assigned {
			y.Assigned = append(y.Assigned, Partition{p.Topic, int32(p.Partition)})
		}
		x.Members = append(x.Members, y)
	}
	return x
}

// GroupOffsets asks what a group has committed, ordered by topic and partition.
func (a *Admin) GroupOffsets(ctx context.Context, id string) ([]GroupOffset, error) {
	return a.committed(ctx, "fetch offsets of group "+id, func(now model.Time, out *machine.Out) machine.OpID {
		return a.m.GroupOffsets(now, id, out)
	})
}

// CommitGroupOffsets sets what a group has committed. The group must have no members. The error joins those
// of the partitions that were refused.
func (a *Admin) CommitGroupOffsets(ctx context.Context, id string, offsets []GroupOffset) error {
	commits := make([]machine.CommitOffset, len(offsets))
	for i, o := range offsets {
		commits[i] = machine.CommitOffset{
			TopicPartition: machine.TopicPartition{Topic: o.Topic, Partition: model.Partition(o.Partition.Partition)},
			Offset:         model.Offset(o.Offset), LeaderEpoch: model.LeaderEpoch(o.LeaderEpoch), Metadata: o.Metadata,
		}
	}
	done, err := a.committed(ctx, "commit offsets of group "+id, func(now model.Time, out *machine.Out) machine.OpID {
		return a.m.CommitGroupOffsets(now, id, commits, out)
	})
	return errors.Join(err, firstErrors(done))
}

// DeleteGroupOffsets makes a group forget partitions. No member may subscribe to their topics.
func (a *Admin) DeleteGroupOffsets(ctx context.Context, id string, partitions []Partition) error {
	var all []machine.TopicPartition
	for _, p := range partitions {
		all = append(all, machine.TopicPartition{Topic: p.Topic, Partition: model.Partition(p.Partition)})
	}
	done, err := a.committed(ctx, "delete offsets of group "+id, func(now model.Time, out *machine.Out) machine.OpID {
		return a.m.DeleteGroupOffsets(now, id, all, out)
	})
	return errors.Join(err, firstErrors(done))
}

// DeleteGroup deletes a group and what it committed. The group must have no members.
func (a *Admin) DeleteGroup(ctx context.Context, id string) error {
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID { return a.m.DeleteGroup(now, id, out) })
	if err != nil {
		return err
	}
	return client.NewError("delete group "+id, "", -1, ans.Outcome)
}

func (a *Admin) committed(ctx context.Context, op string, begin func(model.Time, *machine.Out) machine.OpID) ([]GroupOffset, error) {
	ans, err := a.ask(ctx, begin)
	if err != nil {
		return nil, err
	}
	if err := client.NewError(op, "", -1, ans.Outcome); err != nil {
		return nil, err
	}
	var offsets []GroupOffset
	for i := range ans.Committed {
		o := &ans.Committed[i]
		offsets = append(offsets, GroupOffset{
			Partition: Partition{o.Topic, int32(o.Partition)}, Offset: int64(o.Offset), LeaderEpoch: int32(o.LeaderEpoch), Metadata: o.Metadata,
			Err: client.NewError(op, o.Topic, int32(o.Partition), o.Outcome),
		})
	}
	return offsets, nil
}

func firstErrors(offsets []GroupOffset) error {
	var errs []error
	for i := range offsets {
		if offsets[i].Err != nil {
			errs = append(errs, offsets[i].Err)
		}
	}
	return errors.Join(errs...)
}
