package controller

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// CreateTopic is one topic to create.
type CreateTopic struct {
	Name              string
	PartitionCount    int32 // -1: the default (KIP-464)
	ReplicationFactor int16 // -1: the default
	Assignments       []Assignment
	Settings          []metadata.ConfigSetting
}

// Assignment places one partition by hand.
type Assignment struct {
	Partition model.Partition
	Replicas  []model.NodeID
}

// DeleteTopic is one topic to delete, by name or by id.
type DeleteTopic struct {
	Name string
	ByID bool // ID names it, and Name says nothing
	ID   model.TopicID
	// Problem, unless empty, is why the request names no topic.
	Problem string
}

// Create asks for topics; the answer is an effect.TopicsCreated.
func (c *Controller) Create(to effect.RequestID, topics []CreateTopic, validateOnly bool, out *effect.Set) {
	r := createRequest(to, topics, false)
	if validateOnly {
		c.dry(r, out)
		return
	}
	c.ask(r, out)
}

// Ensure asks for topics with default settings, for somebody who wants to use them; the answer is an
// effect.TopicsCreated.
func (c *Controller) Ensure(to effect.RequestID, names []string, out *effect.Set) {
	var topics []CreateTopic
	for _, name := range names {
		create, internal := c.internalTopic(name)
		if !internal {
			create = CreateTopic{Name: name, PartitionCount: -1, ReplicationFactor: -1}
		}
		topics = append(topics, create)
	}
	out.Marks.Set(effect.MarkAutoCreated)
	c.ask(createRequest(to, topics, true), out)
}

func createRequest(to effect.RequestID, topics []CreateTopic, ensured bool) *request {
	return &request{
		to:     to,
		decide: func(t *turn) effect.Body { return &effect.TopicsCreated{Topics: t.creates(topics, ensured)} },
		refuse: func(code int16, why string) effect.Body {
			answer := &effect.TopicsCreated{}
			for i := range topics {
				answer.Topics = append(answer.Topics, effect.TopicCreated{Name: topics[i].Name, PartitionCount: -1, ReplicationFactor: -1, Code: code, Message: why})
			}
			return answer
		},
	}
}

// Delete asks for topics to be deleted; the answer is an effect.TopicsDeleted.
func (c *Controller) Delete(to effect.RequestID, topics []DeleteTopic, out *effect.Set) {
	c.ask(&request{
		to:     to,
		decide: func(t *turn) effect.Body { return &effect.TopicsDeleted{Topics: t.deletes(topics)} },
		refuse: func(code int16, why string) effect.Body {
			answer := &effect.TopicsDeleted{}
			for i := range topics {
				answer.Topics = append(answer.Topics, effect.TopicDeleted{Name: topics[i].Name, ID: topics[i].ID, Code: code, Message: why})
			}
			return answer
		},
	}, out)
}

// creates decides about every topic of a request. A name that is given twice is refused wherever it
// stands, as in Kafka: which of the two was meant cannot be known.
func (t *turn) creates(topics []CreateTopic, ensured bool) (created []effect.TopicCreated) {
	named := make(map[string]int, len(topics))
	for i := range topics {
		named[topics[i].Name]++
	}
	for i := range topics {
		in := &topics[i]
		if named[in.Name] > 1 {
			created = append(created, effect.TopicCreated{
				Name: in.Name, PartitionCount: -1, ReplicationFactor: -1, Code: kerr.InvalidRequest.Code,
				Message: fmt.Sprintf("topic %q is named twice in one request", metadata.Shown(in.Name)),
			})
			continue
		}
		answer := t.create(in, ensured)
		created = append(created, answer)
	}
	return created
}

// create checks one topic and adds its records, unless it is refused. Topics of the cluster's own are made by whoever
// ensures that they are there.
func (t *turn) create(in *CreateTopic, ensured bool) effect.TopicCreated {
	answer := effect.TopicCreated{Name: in.Name, PartitionCount: -1, ReplicationFactor: -1}
	refuse := func(e *kerr.Error, format string, args ...any) effect.TopicCreated {
		answer.Code, answer.Message = e.Code, fmt.Sprintf(format, args...)
		return answer
	}
	if why := metadata.NameProblem(in.Name); why != "" {
		return refuse(kerr.InvalidTopicException, "topic name %q %s", metadata.Shown(in.Name), why)
	}
	if _, ours := t.c.internalTopic(in.Name); metadata.Internal(in.Name) && !(ensured && ours) {
		return refuse(kerr.InvalidTopicException, "topic %q is the cluster's own: it is created when it is needed", in.Name)
	}
	if t.image().Named(in.Name) != nil {
		return refuse(kerr.TopicAlreadyExists, "topic %q already exists", in.Name)
	}
	if other := t.image().Lookalike(in.Name); other != "" {
		return refuse(kerr.InvalidTopicException, "topic %q collides with topic %q: metrics cannot tell '.' from '_'", in.Name, other)
	}
	id := t.c.newTopicID(t.image())
	replicas, why := t.assign(in, id)
	if why == nil {
		why = t.room(len(replicas))
	}
	if why != nil {
		return refuse(why.error, "%s", why.message)
	}
	if _, err := t.view.Node().Topic.With(in.Settings); err != nil {
		return refuse(kerr.InvalidConfig, "%s", err.Error())
	}
	t.record(&protocol.TopicRecord{Name: in.Name, TopicID: [16]byte(id)}, 0)
	for p, nodes := range replicas {
		t.addPartition(model.TopicPartition{Topic: id, Partition: model.Partition(p)}, nodes)
	}
	for _, s := range in.Settings {
		rec := &protocol.ConfigRecord{ResourceType: metadata.TopicResource, ResourceName: in.Name, Name: s.Name}
		rec.Value.Value, rec.Value.Valid = s.Value, true
		t.record(rec, 0)
	}
	answer.ID, answer.PartitionCount, answer.ReplicationFactor = id, int32(len(replicas)), int16(len(replicas[0]))
	answer.Configs = t.view.DescribeTopic(t.image().Identified(id))
	return answer
}

type refusal struct {
	error   *kerr.Error
	message string
}

// deletes decides about every topic of a request. A topic that is named twice, by whatever name, is
// refused wherever it stands.
func (t *turn) deletes(topics []DeleteTopic) (deleted []effect.TopicDeleted) {
	key := func(d DeleteTopic) DeleteTopic {
		if topic := t.find(d); topic != nil && d.Problem == "" {
			return DeleteTopic{ID: topic.ID, ByID: true}
		}
		return d
	}
	named := make(map[DeleteTopic]int, len(topics))
	for _, d := range topics {
		named[key(d)]++
	}
	twice := make([]bool, len(topics))
	for k, d := range topics {
		twice[k] = named[key(d)] > 1
	}
	for k, d := range topics {
		deleted = append(deleted, t.delete(d, twice[k]))
	}
	return deleted
}

func (t *turn) delete(in DeleteTopic, twice bool) effect.TopicDeleted {
	answer := effect.TopicDeleted{Name: in.Name, ID: in.ID}
	topic := t.find(in)
	switch {
	case in.Problem != "":
		answer.Code, answer.Message = kerr.InvalidRequest.Code, in.Problem
		return answer
	case twice:
		answer.Code, answer.Message = kerr.InvalidRequest.Code, "the topic is named twice in one request"
		return answer
	case topic == nil && in.ByID:
		answer.Code, answer.Message = kerr.UnknownTopicID.Code, fmt.Sprintf("no topic has the id %v", in.ID)
		return answer
	case topic == nil:
		answer.Code, answer.Message = kerr.UnknownTopicOrPartition.Code, fmt.Sprintf("topic %q does not exist", metadata.Shown(in.Name))
		return answer
	case metadata.Internal(topic.Name):
		answer.Code, answer.Message = kerr.InvalidTopicException.Code, fmt.Sprintf("topic %q is the cluster's own: it cannot be deleted", topic.Name)
		return answer
	}
	t.record(&protocol.RemoveTopicRecord{TopicID: [16]byte(topic.ID)}, 0)
	answer.Name, answer.ID = topic.Name, topic.ID
	return answer
}

func (t *turn) find(d DeleteTopic) *metadata.Topic {
	if d.ByID {
		return t.image().Identified(d.ID)
	}
	return t.image().Named(d.Name)
}
