package controller

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// producerIDBlock is how many producer ids are made durable at a time, as in Kafka.
const producerIDBlock = 1000

// Config is what a controller needs to know.
type Config struct {
	NodeID model.NodeID
	// IDSeed makes topic ids: it must be random and differ at every start.
	IDSeed [16]byte
	// PartitionCountMax bounds the partitions of all topics together.
	PartitionCountMax int
	// Node is what the node was started with; what was set while it ran comes on top.
	Node metadata.NodeConfig
	// OffsetsPartitionCount and OffsetsSegmentBytes shape metadata.OffsetsTopic (offsets.topic.num.partitions,
	// offsets.topic.segment.bytes).
	OffsetsPartitionCount int32
	OffsetsSegmentBytes   int32
}

// Controller is the machine that changes the cluster's metadata.
type Controller struct {
	config Config
	view   *metadata.View
	// end is where the next metadata batch goes.
	end model.Offset
	// attempt counts refused appends; see effect.Append.
	attempt uint32
	idCount uint64

	queued []*request // not yet decided
	turn   *turn      // what is being written; nil while nothing is

	builder record.Builder
}

// request is one thing that somebody asked of the controller.
type request struct {
	to   effect.RequestID
	kind requestKind
	// One of these, by kind.
	creates []CreateTopic
	deletes []DeleteTopic
	alters  []AlterResource
	adds    []AddPartitions
	// The answer as it grows; it is given when it is durable.
	created []effect.TopicCreated
	deleted []effect.TopicDeleted
	altered []effect.ConfigAltered
	added   []effect.TopicExtended
}

type requestKind uint8

const (
	createTopics requestKind = iota + 1
	ensureTopics             // creation by asking for a topic: answered by the broker, which describes them then
	deleteTopics
	alterConfigs
	addPartitions
	allocateIDs
)

// turn is one batch of metadata records on its way to the disk, and who waits for it.
type turn struct {
	batch    record.Batch
	next     model.Offset
	requests []*request
	values   [][]byte
	// touched names what the turn creates, changes or deletes: nobody else may in this turn.
	touched        map[string]bool
	partitionCount int // added less removed
	nextProducerID model.ProducerID
}

// Done is what a completed turn comes to: the changes and the answers.
type Done struct {
	// Changes is what became different in the image, nil if nothing was written.
	Changes *metadata.Changes
	// Ensured are requests that waited for topics to be there or to have been refused.
	Ensured []effect.RequestID
	// BlockFrom and BlockTo are producer ids that may be given out now, from inclusive to exclusive.
	BlockFrom, BlockTo model.ProducerID
	// BlockFailed says that a block was asked for and could not be written.
	BlockFailed bool
}

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

// New makes a controller over an image that was loaded from the metadata log, as its node goes by it.
func New(config Config, view *metadata.View) *Controller {
	return &Controller{config: config, view: view, end: view.Version()}
}

// View is the metadata as of everything durable, as this node goes by it.
func (c *Controller) View() *metadata.View { return c.view }

// Create asks for topics; the answer is an effect.TopicsCreated.
func (c *Controller) Create(to effect.RequestID, topics []CreateTopic, validateOnly bool, out *effect.Set) {
	if validateOnly {
		r := &request{creates: topics}
		c.decideCreates(r, c.newTurn())
		reply(to, &effect.TopicsCreated{Topics: r.created}, out)
		return
	}
	c.ask(&request{to: to, kind: createTopics, creates: topics}, out)
}

// Ensure asks for topics with default settings, for somebody who wants to use them. Whether each could
// be created shows in the image once the request comes up in Done.Ensured.
func (c *Controller) Ensure(to effect.RequestID, names []string, out *effect.Set) {
	r := &request{to: to, kind: ensureTopics}
	for _, name := range names {
		create, internal := c.internalTopic(name)
		if !internal {
			create = CreateTopic{Name: name, PartitionCount: -1, ReplicationFactor: -1}
		}
		r.creates = append(r.creates, create)
	}
	out.Marks.Set(effect.MarkAutoCreated)
	c.ask(r, out)
}

// Delete asks for topics to be deleted; the answer is an effect.TopicsDeleted.
func (c *Controller) Delete(to effect.RequestID, topics []DeleteTopic, out *effect.Set) {
	c.ask(&request{to: to, kind: deleteTopics, deletes: topics}, out)
}

// Allocate asks for a block of producer ids; it comes up in Done.
func (c *Controller) Allocate(out *effect.Set) {
	c.ask(&request{kind: allocateIDs}, out)
}

func (c *Controller) ask(r *request, out *effect.Set) {
	c.queued = append(c.queued, r)
	if c.turn == nil {
		c.begin(out)
	}
}

// begin decides everything that waits and can be decided together, and writes it. Requests that come to
// nothing but refusals are answered with the turn, too, or at once if the turn writes nothing.
func (c *Controller) begin(out *effect.Set) {
	t := c.newTurn()
	later := c.queued[:0:0]
	for _, r := range c.queued {
		if len(later) > 0 || c.conflicts(r, t) {
			later = append(later, r)
			continue
		}
		c.decide(r, t)
		t.requests = append(t.requests, r)
	}
	c.queued = later
	c.turn = t
	if len(t.values) == 0 {
		return // the broker completes an empty turn by calling Settle
	}
	options := record.NewOptions(record.CodecNone)
	options.BaseOffset, options.LeaderEpoch = c.end, 0
	c.builder.Begin(options)
	for _, v := range t.values {
		c.builder.Append(record.Record{Value: v, Timestamp: model.NoTimestamp})
	}
	t.batch = record.Batch(append([]byte(nil), c.builder.Finish()...))
	t.next = c.end + model.Offset(len(t.values))
	out.Appends = append(out.Appends, effect.Append{
		Partition: metadata.LogPartition, BaseOffset: c.end, LeaderEpoch: 0, AppendTime: model.NoTimestamp,
		Attempt: c.attempt, Batch: t.batch,
	})
	c.end = t.next
}

func (c *Controller) newTurn() *turn {
	return &turn{touched: make(map[string]bool), nextProducerID: c.view.NextProducerID()}
}

// conflicts reports whether a request touches what the turn already touches.
func (c *Controller) conflicts(r *request, t *turn) bool {
	for i := range r.creates {
		if t.touches(r.creates[i].Name) {
			return true
		}
	}
	for i := range r.alters {
		if t.touched[r.alters[i].touchedBy()] {
			return true
		}
	}
	for i := range r.adds {
		if t.touched[r.adds[i].Name] {
			return true
		}
	}
	for i := range r.deletes {
		if topic := c.find(r.deletes[i]); topic != nil && t.touched[topic.Name] {
			return true
		}
	}
	return false
}

func (c *Controller) find(d DeleteTopic) *metadata.Topic {
	if d.ByID {
		return c.view.Identified(d.ID)
	}
	return c.view.Named(d.Name)
}

func (c *Controller) decide(r *request, t *turn) {
	switch r.kind {
	case createTopics, ensureTopics:
		c.decideCreates(r, t)
	case deleteTopics:
		c.decideDeletes(r, t)
	case alterConfigs:
		c.decideAlters(r, t)
	case addPartitions:
		c.decideAdds(r, t)
	case allocateIDs:
		t.nextProducerID += producerIDBlock
		t.add(c.encode(&protocol.ProducerIDsRecord{
			BrokerID: int32(c.config.NodeID), NextProducerID: int64(t.nextProducerID),
		}, 0))
	default:
		invariant.Checkf(false, "request kind %d", r.kind)
	}
}

// touch says that the turn creates or deletes a topic.
func (t *turn) touch(name string) {
	t.touched[name] = true
	if shape := metadata.Shape(name); shape != "" {
		t.touched[shape] = true
	}
}

// touches reports whether the turn touches a topic of this name or of one that looks like it.
func (t *turn) touches(name string) bool {
	shape := metadata.Shape(name)
	return t.touched[name] || shape != "" && t.touched[shape]
}

func (t *turn) add(values ...[]byte) { t.values = append(t.values, values...) }

// decideCreates decides about every topic of a request. A name that is given twice is refused wherever it
// stands, as in Kafka: which of the two was meant cannot be known.
func (c *Controller) decideCreates(r *request, t *turn) {
	named := make(map[string]int, len(r.creates))
	for i := range r.creates {
		named[r.creates[i].Name]++
	}
	for i := range r.creates {
		in := &r.creates[i]
		if named[in.Name] > 1 {
			r.created = append(r.created, effect.TopicCreated{
				Name: in.Name, PartitionCount: -1, ReplicationFactor: -1, Code: kerr.InvalidRequest.Code,
				Message: fmt.Sprintf("topic %q is named twice in one request", metadata.Shown(in.Name)),
			})
			continue
		}
		answer, records := c.decideCreate(in, t, r.kind == ensureTopics)
		t.add(records...)
		r.created = append(r.created, answer)
	}
}

// decideCreate checks one topic and returns its answer and, unless it is refused, its records. Topics of the cluster's
// own are made by whoever ensures that they are there.
func (c *Controller) decideCreate(in *CreateTopic, t *turn, ensured bool) (effect.TopicCreated, [][]byte) {
	answer := effect.TopicCreated{Name: in.Name, PartitionCount: -1, ReplicationFactor: -1}
	refuse := func(e *kerr.Error, format string, args ...any) (effect.TopicCreated, [][]byte) {
		answer.Code, answer.Message = e.Code, fmt.Sprintf(format, args...)
		return answer, nil
	}
	if why := metadata.NameProblem(in.Name); why != "" {
		return refuse(kerr.InvalidTopicException, "topic name %q %s", metadata.Shown(in.Name), why)
	}
	if _, ours := c.internalTopic(in.Name); metadata.Internal(in.Name) && !(ensured && ours) {
		return refuse(kerr.InvalidTopicException, "topic %q is the cluster's own: it is created when it is needed", in.Name)
	}
	if c.view.Named(in.Name) != nil {
		return refuse(kerr.TopicAlreadyExists, "topic %q already exists", in.Name)
	}
	if other := c.view.Lookalike(in.Name); other != "" {
		return refuse(kerr.InvalidTopicException, "topic %q collides with topic %q: metrics cannot tell '.' from '_'", in.Name, other)
	}
	if t.touches(in.Name) {
		return refuse(kerr.InvalidTopicException, "topic %q collides with another of the same request: metrics cannot tell '.' from '_'", in.Name)
	}
	count, why := c.partitionCountOf(in)
	if why != nil {
		return refuse(why.error, "%s", why.message)
	}
	if c.view.PartitionCount()+t.partitionCount+int(count) > c.config.PartitionCountMax {
		why := c.tooMany(t)
		return refuse(why.error, "%s", why.message)
	}
	if _, err := c.view.Node().Topic.With(in.Settings); err != nil {
		return refuse(kerr.InvalidConfig, "%s", err.Error())
	}

	topic := metadata.Topic{Name: in.Name, ID: c.newTopicID(), Settings: in.Settings}
	records := make([][]byte, 0, int(count)+1+len(in.Settings))
	records = append(records, c.encode(&protocol.TopicRecord{Name: in.Name, TopicID: [16]byte(topic.ID)}, 0))
	for p := range count {
		records = append(records, c.partitionRecord(topic.ID, p))
	}
	for _, s := range in.Settings {
		rec := &protocol.ConfigRecord{ResourceType: metadata.TopicResource, ResourceName: in.Name, Name: s.Name}
		rec.Value.Value, rec.Value.Valid = s.Value, true
		records = append(records, c.encode(rec, 0))
	}
	t.touch(in.Name)
	t.partitionCount += int(count)
	answer.ID, answer.PartitionCount, answer.ReplicationFactor, answer.Configs = topic.ID, count, 1, c.view.DescribeTopic(&topic)
	return answer, records
}

type refusal struct {
	error   *kerr.Error
	message string
}

// partitionCountOf checks the shape of a topic: one node holds one replica of each partition.
func (c *Controller) partitionCountOf(in *CreateTopic) (int32, *refusal) {
	if len(in.Assignments) > 0 {
		if in.PartitionCount != -1 || in.ReplicationFactor != -1 {
			return 0, &refusal{kerr.InvalidRequest, "a topic with assignments has neither a partition count nor a replication factor"}
		}
		seen := make([]bool, len(in.Assignments))
		for _, a := range in.Assignments {
			if a.Partition < 0 || int(a.Partition) >= len(seen) || seen[a.Partition] {
				return 0, &refusal{kerr.InvalidReplicaAssignment, "assignments number the partitions from 0 without gaps"}
			}
			seen[a.Partition] = true
			if len(a.Replicas) != 1 || a.Replicas[0] != c.config.NodeID {
				return 0, &refusal{kerr.InvalidReplicaAssignment, fmt.Sprintf("partition %d must be on node %d, the only one", a.Partition, c.config.NodeID)}
			}
		}
		return int32(len(seen)), nil
	}
	if in.ReplicationFactor != -1 && in.ReplicationFactor != 1 {
		return 0, &refusal{kerr.InvalidReplicationFactor, fmt.Sprintf("replication factor %d on one node; it can be 1", in.ReplicationFactor)}
	}
	switch {
	case in.PartitionCount == -1:
		return c.view.Node().PartitionCountDefault, nil
	case in.PartitionCount < 1:
		return 0, &refusal{kerr.InvalidPartitions, fmt.Sprintf("a topic has at least one partition, not %d", in.PartitionCount)}
	case int64(in.PartitionCount) > int64(c.config.PartitionCountMax):
		return 0, &refusal{kerr.InvalidPartitions, fmt.Sprintf("%d partitions; this node takes %d in all", in.PartitionCount, c.config.PartitionCountMax)}
	}
	return in.PartitionCount, nil
}

// decideDeletes decides about every topic of a request. A topic that is named twice, by whatever name, is
// refused wherever it stands.
func (c *Controller) decideDeletes(r *request, t *turn) {
	key := func(d DeleteTopic) DeleteTopic {
		if topic := c.find(d); topic != nil && d.Problem == "" {
			return DeleteTopic{ID: topic.ID, ByID: true}
		}
		return d
	}
	named := make(map[DeleteTopic]int, len(r.deletes))
	for _, d := range r.deletes {
		named[key(d)]++
	}
	for _, d := range r.deletes {
		r.deleted = append(r.deleted, c.decideDelete(d, named[key(d)] > 1, t))
	}
}

func (c *Controller) decideDelete(in DeleteTopic, twice bool, t *turn) effect.TopicDeleted {
	answer := effect.TopicDeleted{Name: in.Name, ID: in.ID}
	topic := c.find(in)
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
	t.touch(topic.Name)
	t.partitionCount -= topic.PartitionCount()
	t.add(c.encode(&protocol.RemoveTopicRecord{TopicID: [16]byte(topic.ID)}, 0))
	answer.Name, answer.ID = topic.Name, topic.ID
	return answer
}

func (c *Controller) encode(rec protocol.Record, version int16) []byte {
	return protocol.AppendMetadataRecord(nil, rec, version)
}

// newTopicID draws an id from the seed of this start and a counter.
func (c *Controller) newTopicID() model.TopicID {
	for {
		c.idCount++
		var in [25]byte
		copy(in[:16], c.config.IDSeed[:])
		binary.BigEndian.PutUint64(in[16:24], c.idCount)
		var id model.TopicID
		binary.BigEndian.PutUint64(id[:8], xxhash.Sum64(in[:]))
		in[24] = 1
		binary.BigEndian.PutUint64(id[8:], xxhash.Sum64(in[:]))
		id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // a UUID of version 4, as clients print them
		if c.view.Identified(id) == nil && !id.IsZero() && id != model.MetadataTopicID {
			return id
		}
	}
}

// Settle completes a turn that had nothing to write; the broker calls it after every input. It reports
// whether it did anything.
func (c *Controller) Settle(out *effect.Set) (Done, bool) {
	if c.turn == nil || len(c.turn.values) > 0 {
		return Done{}, false
	}
	return c.finish(effect.OK, out), true
}

// Appended takes in that the turn is durable, or that it was refused.
func (c *Controller) Appended(in effect.Appended, out *effect.Set) (Done, bool) {
	if c.turn == nil || len(c.turn.values) == 0 {
		return Done{}, false
	}
	if in.Failure != effect.OK {
		if in.Attempt != c.attempt {
			return Done{}, false
		}
		c.attempt++
		c.end = c.turn.next - model.Offset(len(c.turn.values))
		return c.finish(in.Failure, out), true
	}
	if in.NextOffset < c.turn.next {
		return Done{}, false
	}
	return c.finish(effect.OK, out), true
}

// finish applies and answers the turn, then begins the next one.
func (c *Controller) finish(failed effect.Failure, out *effect.Set) Done {
	t := c.turn
	c.turn = nil
	var done Done
	if failed == effect.OK && len(t.values) > 0 {
		image, changes, err := c.view.Apply(t.batch)
		if err != nil {
			invariant.Checkf(false, "the controller wrote metadata that it cannot apply: %v", err)
		}
		done.BlockFrom, done.BlockTo, done.Changes = c.view.NextProducerID(), image.NextProducerID(), changes
		c.view = c.view.Of(image)
	}
	for _, r := range t.requests {
		c.answer(r, failed, &done, out)
	}
	if len(c.queued) > 0 {
		c.begin(out)
	}
	return done
}

func (c *Controller) answer(r *request, failed effect.Failure, done *Done, out *effect.Set) {
	why := "the disk is full: the change was not written"
	if failed != effect.DiskFull {
		why = "the metadata log is damaged: the change was not written"
	}
	switch r.kind {
	case createTopics:
		for i := range r.created {
			if failed != effect.OK && r.created[i].Code == 0 {
				r.created[i] = effect.TopicCreated{Name: r.created[i].Name, Code: kerr.KafkaStorageError.Code, Message: why, PartitionCount: -1, ReplicationFactor: -1}
			}
		}
		reply(r.to, &effect.TopicsCreated{Topics: r.created}, out)
	case ensureTopics:
		done.Ensured = append(done.Ensured, r.to)
	case deleteTopics:
		for i := range r.deleted {
			if failed != effect.OK && r.deleted[i].Code == 0 {
				r.deleted[i].Code, r.deleted[i].Message = kerr.KafkaStorageError.Code, why
			}
		}
		reply(r.to, &effect.TopicsDeleted{Topics: r.deleted}, out)
	case alterConfigs:
		for i := range r.altered {
			if failed != effect.OK && r.altered[i].Code == 0 {
				r.altered[i].Code, r.altered[i].Message = kerr.KafkaStorageError.Code, why
			}
		}
		reply(r.to, &effect.ConfigsAltered{Resources: r.altered}, out)
	case addPartitions:
		for i := range r.added {
			if failed != effect.OK && r.added[i].Code == 0 {
				r.added[i].Code, r.added[i].Message = kerr.KafkaStorageError.Code, why
			}
		}
		reply(r.to, &effect.PartitionsCreated{Topics: r.added}, out)
	case allocateIDs:
		done.BlockFailed = failed != effect.OK
	}
}

func reply(to effect.RequestID, body effect.Body, out *effect.Set) {
	out.Replies = append(out.Replies, effect.Reply{To: to, Body: body})
}

// Check verifies the invariants.
func (c *Controller) Check() error {
	if err := c.view.Check(); err != nil {
		return err
	}
	if c.turn == nil && c.end != c.view.Version() {
		return fmt.Errorf("the metadata log ends at %d, the image at %d, and nothing is under way", c.end, c.view.Version())
	}
	if c.turn == nil && len(c.queued) > 0 {
		return fmt.Errorf("%d requests wait and nothing is under way", len(c.queued))
	}
	return nil
}
