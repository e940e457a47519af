package admin

import (
	"context"
	"errors"
	"time"

	"github.com/weirmq/weir/clients/client"
	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// DescribeBrokers asks which brokers have registered. Those that are not counted on (fenced) are among them if the
// cluster tells them, which Kafka does since 4.0.
func (a *Admin) DescribeBrokers(ctx context.Context) (Cluster, error) {
	ans, err := a.ask(ctx, a.m.DescribeBrokers)
	if err != nil {
		return Cluster{}, err
	}
	if err := client.NewError("describe brokers", "", -1, ans.Outcome); err != nil {
		return Cluster{}, err
	}
	c := Cluster{ID: ans.Cluster.ID, Controller: int32(ans.Cluster.Controller)}
	for _, b := range ans.Cluster.Brokers {
		c.Brokers = append(c.Brokers, Broker{ID: int32(b.ID), Addr: b.Addr, Rack: b.Rack, Fenced: b.Fenced})
	}
	return c, nil
}

// DescribePartitions is DescribeTopics with the eligible leader replicas (KIP-966), which clusters tell since Kafka 3.7;
// of others it fails with client.ErrUnsupported.
func (a *Admin) DescribePartitions(ctx context.Context, names ...string) ([]TopicDescription, error) {
	var all []TopicDescription
	var from *machine.PartitionCursor
	for {
		ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID {
			return a.m.DescribePartitions(now, names, from, out)
		})
		if err != nil {
			return nil, err
		}
		if err := client.NewError("describe topics", "", -1, ans.Outcome); err != nil {
			return nil, err
		}
		for i := range ans.Described {
			page := topicDescription(&ans.Described[i])
			if n := len(all); n > 0 && all[n-1].Name == page.Name {
				all[n-1].Partitions = append(all[n-1].Partitions, page.Partitions...)
			} else {
				all = append(all, page)
			}
		}
		if from = ans.Next; from == nil {
			return all, nil
		}
	}
}

// Quorum is who keeps a cluster's metadata log.
type Quorum struct {
	Leader        int32 // the controller; -1 if there is none
	LeaderEpoch   int32
	HighWatermark int64
	Voters        []QuorumMember
	Observers     []QuorumMember // follow the log and do not vote
}

// QuorumMember is a node that has the metadata log, or follows it.
type QuorumMember struct {
	Node         int32
	Directory    [16]byte // zero if it is not told
	LogEndOffset int64
	// Heard is when the leader last heard it, and CaughtUp when it last had everything; zero if that is not known.
	Heard, CaughtUp time.Time
}

// DescribeQuorum asks who keeps the metadata log. Clusters tell since Kafka 3.3.
func (a *Admin) DescribeQuorum(ctx context.Context) (Quorum, error) {
	ans, err := a.ask(ctx, a.m.DescribeQuorum)
	if err != nil {
		return Quorum{}, err
	}
	if err := client.NewError("describe the metadata quorum", "", -1, ans.Outcome); err != nil {
		return Quorum{}, err
	}
	q := Quorum{Leader: int32(ans.Quorum.Leader), LeaderEpoch: int32(ans.Quorum.LeaderEpoch), HighWatermark: int64(ans.Quorum.HighWatermark)}
	q.Voters, q.Observers = members(ans.Quorum.Voters), members(ans.Quorum.Observers)
	return q, nil
}

func members(in []machine.QuorumMember) (out []QuorumMember) {
	at := func(t model.Timestamp) time.Time {
		if t < 0 {
			return time.Time{}
		}
		return time.UnixMilli(int64(t))
	}
	for _, m := range in {
		out = append(out, QuorumMember{
			Node: int32(m.Node), Directory: m.Directory, LogEndOffset: int64(m.LogEndOffset), Heard: at(m.HeardAt), CaughtUp: at(m.CaughtUpAt),
		})
	}
	return out
}

// Reassignment is which replicas a partition is to have, the preferred leader first. Without replicas it cancels the
// move that is under way.
type Reassignment struct {
	Partition
	Replicas []int32
}

// Reassign begins to move replicas (KIP-455). It returns when the moves have begun; ListReassignments tells which are
// still under way. The error joins those of the partitions that cannot be moved so; the others are.
func (a *Admin) Reassign(ctx context.Context, parts ...Reassignment) error {
	asked := make([]machine.Reassignment, len(parts))
	for i, p := range parts {
		asked[i].TopicPartition = p.machine()
		for _, n := range p.Replicas {
			asked[i].Replicas = append(asked[i].Replicas, model.NodeID(n))
		}
	}
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID { return a.m.Reassign(now, asked, out) })
	if err != nil {
		return err
	}
	return joinParts("move replicas of", &ans)
}

func (p Partition) machine() machine.TopicPartition {
	return machine.TopicPartition{Topic: p.Topic, Partition: model.Partition(p.Partition)}
}

func partition(p machine.TopicPartition) Partition {
	return Partition{Topic: p.Topic, Partition: int32(p.Partition)}
}

// joinParts makes one error of the partitions' outcomes.
func joinParts(op string, ans *machine.Answer) error {
	if err := client.NewError(op, "", -1, ans.Outcome); err != nil {
		return err
	}
	var errs []error
	for _, p := range ans.Parts {
		if err := client.NewError(op, p.Topic, int32(p.Partition), p.Outcome); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Move is a reassignment that is under way.
type Move struct {
	Partition
	Replicas, Adding, Removing []int32
}

// ListReassignments asks which moves are under way, ordered by topic and partition.
func (a *Admin) ListReassignments(ctx context.Context) ([]Move, error) {
	ans, err := a.ask(ctx, a.m.ListReassignments)
	if err != nil {
		return nil, err
	}
	if err := client.NewError("list moves of replicas", "", -1, ans.Outcome); err != nil {
		return nil, err
	}
	var moves []Move
	for _, m := range ans.Moving {
		moves = append(moves, Move{Partition: partition(m.TopicPartition), Replicas: nodes(m.Replicas), Adding: nodes(m.Adding), Removing: nodes(m.Removing)})
	}
	return moves, nil
}

// Elected is one partition's outcome of an election.
type Elected struct {
	Partition
	Err error
}

// ElectPreferredLeaders lets the first of their replicas lead partitions, where it is in sync; without partitions, all.
// What needed no election has kerr.ElectionNotNeeded.
func (a *Admin) ElectPreferredLeaders(ctx context.Context, parts ...Partition) ([]Elected, error) {
	return a.elect(ctx, false, parts)
}

// ElectUncleanLeaders lets any replica lead partitions that nobody leads. What was acknowledged and is not on the one that
// is elected is lost.
func (a *Admin) ElectUncleanLeaders(ctx context.Context, parts ...Partition) ([]Elected, error) {
	if len(parts) == 0 {
		return nil, errors.New("elect leaders uncleanly: no partition named")
	}
	return a.elect(ctx, true, parts)
}

func (a *Admin) elect(ctx context.Context, unclean bool, parts []Partition) ([]Elected, error) {
	var asked []machine.TopicPartition
	for _, p := range parts {
		asked = append(asked, p.machine())
	}
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID { return a.m.ElectLeaders(now, unclean, asked, out) })
	if err != nil {
		return nil, err
	}
	if err := client.NewError("elect leaders", "", -1, ans.Outcome); err != nil {
		return nil, err
	}
	var all []Elected
	for _, p := range ans.Parts {
		all = append(all, Elected{Partition: partition(p.TopicPartition), Err: client.NewError("elect a leader of", p.Topic, int32(p.Partition), p.Outcome)})
	}
	return all, nil
}

// UnregisterBroker has the cluster forget a broker that is gone for good. One that runs registers again.
func (a *Admin) UnregisterBroker(ctx context.Context, id int32) error {
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID {
		return a.m.UnregisterBroker(now, model.NodeID(id), out)
	})
	if err != nil {
		return err
	}
	return client.NewError("unregister the broker", "", -1, ans.Outcome)
}

// ReplicaOffsets asks one broker where its own replicas of partitions end, committed or not.
func (a *Admin) ReplicaOffsets(ctx context.Context, broker int32, parts ...Partition) ([]Offset, error) {
	var asked []machine.TopicPartition
	for _, p := range parts {
		asked = append(asked, p.machine())
	}
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID {
		return a.m.ReplicaOffsets(now, model.NodeID(broker), asked, out)
	})
	if err != nil {
		return nil, err
	}
	if err := client.NewError("list offsets of replicas", "", -1, ans.Outcome); err != nil {
		return nil, err
	}
	return offsetsOf("list offsets of replicas", &ans), nil
}

// AddVoter has a node vote in the metadata quorum, from the disk of a directory id, as DescribeQuorum tells it (KIP-853).
// It returns when the node votes.
func (a *Admin) AddVoter(ctx context.Context, node int32, directory [16]byte) error {
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID {
		return a.m.AddVoter(now, model.NodeID(node), directory, out)
	})
	if err != nil {
		return err
	}
	return client.NewError("add the voter", "", -1, ans.Outcome)
}

// RemoveVoter has a node vote in the metadata quorum no more. It may be stopped when this returns.
func (a *Admin) RemoveVoter(ctx context.Context, node int32, directory [16]byte) error {
	ans, err := a.ask(ctx, func(now model.Time, out *machine.Out) machine.OpID {
		return a.m.RemoveVoter(now, model.NodeID(node), directory, out)
	})
	if err != nil {
		return err
	}
	return client.NewError("remove the voter", "", -1, ans.Outcome)
}
