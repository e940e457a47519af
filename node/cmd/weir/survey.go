package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/node/explain"
)

// survey is a cluster as its commands look at it: nodes, partitions, who keeps the metadata and what is being moved.
type survey struct {
	cluster admin.Cluster
	quorum  *admin.Quorum // nil: the cluster does not tell
	isLost  bool          // there is no controller: what nodes say is what they knew last
	topics  []admin.TopicDescription
	moves   []admin.Move
	// inSyncMin is min.insync.replicas of the topics that have fewer replicas in sync than they have, as far as it is told.
	inSyncMin map[string]int
	moving    map[admin.Partition]*admin.Move // moves by partition, once one was asked for
}

// controllerPatience is how long a controller is waited for: longer than it takes to elect another. Who asks what is wrong with a cluster
// is not to wait for as long as it is.
const controllerPatience = 4 * time.Second

// errNoController says that nobody answers for the controller.
var errNoController = errors.New("no controller answers")

// ofController asks what only the controller can answer, for so long at most; 0: for as long as there is time.
func ofController(ctx context.Context, patience time.Duration, ask func(ctx context.Context) error) error {
	if patience == 0 {
		return ask(ctx)
	}
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := ask(patient)
	if err != nil && patient.Err() != nil && ctx.Err() == nil {
		return errNoController
	}
	return err
}

// look takes a survey, for those who change something by it. What a cluster of another kind cannot tell is left out.
func look(ctx context.Context, ad *admin.Admin) (*survey, error) { return takeSurvey(ctx, ad, 0) }

// lookAnyway is look for those who only show what there is: what only a controller knows is left out if there is none.
func lookAnyway(ctx context.Context, ad *admin.Admin) (*survey, error) {
	return takeSurvey(ctx, ad, controllerPatience)
}

func takeSurvey(ctx context.Context, ad *admin.Admin, patience time.Duration) (*survey, error) {
	s := &survey{inSyncMin: map[string]int{}}
	var err error
	if s.cluster, err = describeBrokers(ctx, ad); err != nil {
		return nil, err
	}
	err = ofController(ctx, patience, func(ctx context.Context) error {
		q, err := ad.DescribeQuorum(ctx)
		if err == nil {
			s.quorum = &q
		}
		return err
	})
	switch {
	case err == nil, untold(err), errors.Is(err, kerr.NotController):
	case errors.Is(err, errNoController):
		s.isLost = true
	default:
		return nil, err
	}
	if s.topics, err = describePartitions(ctx, ad); err != nil {
		return nil, err
	}
	if !s.isLost {
		err = ofController(ctx, patience, func(ctx context.Context) (err error) {
			s.moves, err = ad.ListReassignments(ctx)
			return err
		})
		switch {
		case err == nil, untold(err), errors.Is(err, kerr.NotController):
		case errors.Is(err, errNoController):
			s.isLost = true
		default:
			return nil, err
		}
	}
	for i := range s.topics {
		t := &s.topics[i]
		if !slices.ContainsFunc(t.Partitions, func(p admin.PartitionDescription) bool { return len(p.ISR) < len(p.Replicas) }) {
			continue
		}
		settings, err := ad.DescribeConfigs(ctx, admin.OfTopic(t.Name), "min.insync.replicas")
		if err != nil {
			if untold(err) || errors.Is(err, kerr.UnknownTopicOrPartition) {
				continue
			}
			return nil, err
		}
		for _, set := range settings {
			if n, err := strconv.Atoi(set.Value); err == nil && set.Name == "min.insync.replicas" {
				s.inSyncMin[t.Name] = n
			}
		}
	}
	return s, nil
}

// untold reports whether a cluster does not know a request, or this user may not ask.
func untold(err error) bool {
	return errors.Is(err, client.ErrUnsupported) || errors.Is(err, kerr.ClusterAuthorizationFailed) || errors.Is(err, kerr.UnsupportedVersion)
}

// describeBrokers asks for all nodes, or for those that serve where the others are not told.
func describeBrokers(ctx context.Context, ad *admin.Admin) (admin.Cluster, error) {
	c, err := ad.DescribeBrokers(ctx)
	if errors.Is(err, client.ErrUnsupported) {
		return ad.DescribeCluster(ctx)
	}
	return c, err
}

// describePartitions describes topics, with the eligible replicas where they are told.
func describePartitions(ctx context.Context, ad *admin.Admin, names ...string) ([]admin.TopicDescription, error) {
	topics, err := ad.DescribePartitions(ctx, names...)
	if errors.Is(err, client.ErrUnsupported) || err == nil && len(names) == 0 && len(topics) == 0 {
		return ad.DescribeTopics(ctx, names...)
	}
	return topics, err
}

// node is a node of the survey, nil if there is none of that id.
func (s *survey) node(id int32) *admin.Broker {
	for i := range s.cluster.Brokers {
		if s.cluster.Brokers[i].ID == id {
			return &s.cluster.Brokers[i]
		}
	}
	return nil
}

// mustNode is a node, or the failure that there is none.
func (s *survey) mustNode(id int32) (*admin.Broker, error) {
	if n := s.node(id); n != nil {
		return n, nil
	}
	var ids []string
	for _, b := range s.cluster.Brokers {
		ids = append(ids, strconv.Itoa(int(b.ID)))
	}
	return nil, fail(explain.NodeNotFound, "", fmt.Errorf("no node %d has registered; there are %s", id, strings.Join(ids, ", ")))
}

// runs reports whether a node is counted on.
func (s *survey) runs(id int32) bool {
	n := s.node(id)
	return n != nil && !n.Fenced
}

// votes is a node's place in the quorum; nil if it does not vote, or that is not told.
func (s *survey) votes(id int32) *admin.QuorumMember {
	if s.quorum == nil {
		return nil
	}
	for i := range s.quorum.Voters {
		if s.quorum.Voters[i].Node == id {
			return &s.quorum.Voters[i]
		}
	}
	return nil
}

// controller is the node that decides; -1 if nobody is known.
func (s *survey) controller() int32 {
	if s.isLost {
		return -1
	}
	if s.quorum != nil {
		return s.quorum.Leader
	}
	return s.cluster.Controller
}

// tally counts partitions.
type tally struct {
	Topics          int `json:"topics"`
	Partitions      int `json:"partitions"`
	Leaderless      int `json:"leaderless"`
	UnderReplicated int `json:"under_replicated"`
	UnderMinISR     int `json:"under_min_isr"`
	Moving          int `json:"moving"`
}

func (s *survey) tally() tally {
	n := tally{Topics: len(s.topics), Moving: len(s.moves)}
	s.partitions(func(t *admin.TopicDescription, p *admin.PartitionDescription) {
		n.Partitions++
		if p.Leader < 0 {
			n.Leaderless++
		}
		if s.missing(t.Name, p) > 0 {
			n.UnderReplicated++
		}
		if s.underMin(t.Name, p) {
			n.UnderMinISR++
		}
	})
	return n
}

func (s *survey) partitions(f func(t *admin.TopicDescription, p *admin.PartitionDescription)) {
	for i := range s.topics {
		for k := range s.topics[i].Partitions {
			f(&s.topics[i], &s.topics[i].Partitions[k])
		}
	}
}

// missing is how many replicas are not in sync, those that a move brings left out.
func (s *survey) missing(topic string, p *admin.PartitionDescription) int {
	n := 0
	m := s.move(topic, p.Partition)
	for _, r := range p.Replicas {
		if !slices.Contains(p.ISR, r) && (m == nil || !slices.Contains(m.Adding, r)) {
			n++
		}
	}
	return n
}

// underMin reports whether acks=all is refused for want of replicas.
func (s *survey) underMin(topic string, p *admin.PartitionDescription) bool {
	least, told := s.inSyncMin[topic]
	if !told {
		return false
	}
	replicas := len(p.Replicas)
	if m := s.move(topic, p.Partition); m != nil {
		replicas -= len(m.Adding)
	}
	if least == 0 { // of weir's: a majority
		least = replicas/2 + 1
	}
	return len(p.ISR) < min(least, replicas)
}

// move is the move of a partition that is under way, nil if there is none.
func (s *survey) move(topic string, partition int32) *admin.Move {
	if s.moving == nil {
		s.moving = map[admin.Partition]*admin.Move{}
		for i := range s.moves {
			s.moving[s.moves[i].Partition] = &s.moves[i]
		}
	}
	return s.moving[admin.Partition{Topic: topic, Partition: partition}]
}

// load is what a node has.
type load struct{ leads, replicas, behind int }

// loads counts what each node has.
func (s *survey) loads() map[int32]*load {
	all := map[int32]*load{}
	of := func(id int32) *load {
		if all[id] == nil {
			all[id] = &load{}
		}
		return all[id]
	}
	s.partitions(func(_ *admin.TopicDescription, p *admin.PartitionDescription) {
		if p.Leader >= 0 {
			of(p.Leader).leads++
		}
		for _, r := range p.Replicas {
			of(r).replicas++
			if !slices.Contains(p.ISR, r) {
				of(r).behind++
			}
		}
	})
	return all
}
