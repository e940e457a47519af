package client

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// topicInfo is what is known of one topic that the machine is interested in.
type topicInfo struct {
	name string
	id   model.TopicID
	// code is the last answer's error for the topic; 0 with known unset means that none has come yet.
	code  int16
	known bool // partitions are those of some answer
	// partitions are indexed by partition number.
	partitions []partitionInfo
	// incarnation counts the ids that the name had.
	incarnation int
}

// partitionInfo is where a partition is led from.
type partitionInfo struct {
	leader model.NodeID // anyNode if nobody is known to lead
	epoch  model.LeaderEpoch
	code   int16
}

// topicTable holds topics ordered by name.
type topicTable struct {
	byName []*topicInfo
	index  map[string]*topicInfo
}

func (t *topicTable) find(name string) *topicInfo { return t.index[name] }

// want makes the table follow a topic.
func (t *topicTable) want(name string) (x *topicInfo, added bool) {
	if x := t.index[name]; x != nil {
		return x, false
	}
	if t.index == nil {
		t.index = make(map[string]*topicInfo)
	}
	x = &topicInfo{name: name}
	i, _ := slices.BinarySearchFunc(t.byName, name, func(x *topicInfo, n string) int { return strings.Compare(x.name, n) })
	t.byName = slices.Insert(t.byName, i, x)
	t.index[name] = x
	return x, true
}

// drop makes the table forget a topic.
func (t *topicTable) drop(name string) {
	if x := t.index[name]; x != nil {
		t.byName = slices.Delete(t.byName, slices.Index(t.byName, x), slices.Index(t.byName, x)+1)
		delete(t.index, name)
	}
}

func (t *topicTable) check() error {
	if len(t.byName) != len(t.index) {
		return errorf("%d topics listed, %d indexed", len(t.byName), len(t.index))
	}
	return nil
}

// refresh is the state of metadata refreshes.
type refresh struct {
	wanted   bool // something looked stale
	underway bool
	started  bool       // at least one was sent
	at       model.Time // when the last one was sent
	streak   int        // wanted again soon after the last: pauses grow
	asked    string     // the address that the last one went to, or that is not to be asked now
	doubted  bool       // asked is silent, and not because of the last refresh
	heldTo   model.Time // not before: a connection to somebody else is being made
}

// wantRefresh asks for fresh metadata as soon as the backoff allows.
func (c *cluster) wantRefresh() { c.refresh.wanted = true }

// refreshAt is when the next refresh may or must be sent; ok is false when none is due, ever.
func (c *cluster) refreshAt() (at model.Time, ok bool) {
	switch r := &c.refresh; {
	case r.underway || c.closed:
		return 0, false
	case r.heldTo != 0:
		return r.heldTo, true
	case r.wanted && !r.started:
		return 0, true
	case r.wanted && r.streak == 0:
		return r.at, true
	case r.wanted:
		// Without jitter: a deadline must not move when it is asked for twice.
		// Five tries at each pause: elections take some of the first, up to a second and a half of them if the controller is
		// gone as well, and every client waits for them.
		d := c.cfg.RetryBackoff << min((r.streak-1)/5, 8)
		return r.at + min(d, c.cfg.RetryBackoffMax), true
	case r.started:
		return r.at + c.cfg.MetadataAgeMax, true
	}
	return 0, false
}

// doubt asks for fresh metadata, and not from a broker that says nothing at the moment.
func (c *cluster) doubt(addr string) {
	c.refresh.asked, c.refresh.doubted = addr, true
	if !c.hurried {
		c.hurried, c.patience = true, min(c.patience, c.quick)
	}
	c.wantRefresh()
}

// heldFor is how long what is better asked of another broker waits for a connection to one.
const heldFor = second / 20

func (c *cluster) refreshDeadline() model.Time {
	at, ok := c.refreshAt()
	if !ok {
		return 0
	}
	return max(at, 1)
}

func (c *cluster) tickRefresh(now model.Time, out *Out) {
	at, ok := c.refreshAt()
	if !ok || now < at {
		return
	}
	r := &c.refresh
	var k *conn
	if r.doubted || r.started && now-r.at < 2*c.cfg.RetryBackoffMax {
		// Who was asked may be cut off from the others, and know nothing of what has happened since.
		var held bool
		if k, held = c.elsewhere(now, r.asked, &r.heldTo, out); held && r.doubted {
			return
		}
	}
	// A refresh soon after another means that the first did not help.
	if r.started && now-r.at < 2*c.cfg.RetryBackoffMax {
		r.streak++
	} else {
		r.streak = 0
	}
	r.wanted, r.underway, r.started, r.at, r.doubted, r.heldTo = false, true, true, now, false, 0
	c.submitVia(now, k, &refreshCall{cluster: c}, out)
}

// elsewhere is a ready connection to a broker at another address than addr, nil if there is none. While one is on its way the
// caller waits for it, at most until heldTo, which is set with the first word of it and cleared with the last.
func (c *cluster) elsewhere(now model.Time, addr string, heldTo *model.Time, out *Out) (k *conn, held bool) {
	k, underway := c.another(now, addr, out)
	if underway && *heldTo == 0 {
		*heldTo = now + heldFor
	}
	if held = underway && now < *heldTo; !held {
		*heldTo = 0
	}
	return k, held
}

// submitVia sends a call over a connection, nil for one to anybody.
func (c *cluster) submitVia(now model.Time, k *conn, q call, out *Out) {
	if k != nil {
		c.send(now, k, q, c.cfg.RequestTimeout, out)
		return
	}
	c.submit(now, anyNode, q, out)
}

// another is a ready control connection to a broker at another address, and to one that is not silent if any is not: with
// acks=all one that is frozen makes all that wait for it silent. If there is no connection it arranges for one, which is then
// under way.
func (c *cluster) another(now model.Time, addr string, out *Out) (k *conn, underway bool) {
	if k, underway = c.anotherOf(now, addr, false, out); k != nil || underway {
		return k, underway
	}
	return c.anotherOf(now, addr, true, out)
}

func (c *cluster) anotherOf(now model.Time, addr string, alsoSilent bool, out *Out) (k *conn, underway bool) {
	first := slices.IndexFunc(c.endpoints, func(e *endpoint) bool { return e.addr == addr })
	var idle *endpoint
	for i := range c.endpoints {
		e := c.endpoints[(first+1+i)%len(c.endpoints)]
		if e.addr == addr || !alsoSilent && c.silent(now, e.addr) {
			continue
		}
		switch k := e.conns[control]; {
		case k != nil && k.state == ready:
			return k, false
		case k != nil:
			idle = e // it is on its way
		case idle == nil && now >= e.retryAt:
			idle = e
		}
	}
	if idle != nil {
		c.open(now, idle, control, out)
	}
	return nil, idle != nil
}

// refreshCall asks for the topics that the machine follows.
type refreshCall struct{ cluster *cluster }

func (q *refreshCall) key() protocol.Key        { return protocol.KeyMetadata }
func (q *refreshCall) misplaced() bool          { return true }
func (q *refreshCall) versions() (int16, int16) { return 0, math.MaxInt16 }

func (q *refreshCall) encode(w *protocol.Writer, version int16) {
	var m protocol.MetadataRequest
	m.Default()
	m.Topics = []protocol.MetadataRequestTopic{} // none; nil is all of them
	for _, t := range q.cluster.topics.byName {
		nameTopic(&m, t.name)
	}
	if version >= 4 {
		m.AllowAutoTopicCreation = q.cluster.cfg.AutoCreate
	}
	m.Encode(w, version)
}

func nameTopic(m *protocol.MetadataRequest, name string) {
	protocol.Add(&m.Topics).Name = protocol.String(name)
}

func (q *refreshCall) answered(now model.Time, version int16, r *protocol.Reader, out *Out) error {
	c := q.cluster
	c.refresh.underway = false
	var m protocol.MetadataResponse
	m.Decode(r, version)
	if err := r.Finish(); err != nil {
		c.wantRefresh()
		return err
	}
	if m.ErrorCode != 0 {
		c.wantRefresh()
		if m.ErrorCode == kerr.RebootstrapRequired.Code {
			return fmt.Errorf("the broker is not of our cluster any more (code %d)", m.ErrorCode)
		}
		return nil
	}
	if len(m.Brokers) == 0 {
		c.wantRefresh() // a broker that is just starting
		return nil
	}
	c.learn(&m, out)
	c.desert(now, out)
	c.owner.metadataUpdated(now, out)
	return nil
}

func (q *refreshCall) failed(now model.Time, why Reason, sent bool, out *Out) {
	q.cluster.refresh.underway = false
	q.cluster.wantRefresh()
}

// learn takes in an answer.
func (c *cluster) learn(m *protocol.MetadataResponse, out *Out) {
	c.clusterID = m.ClusterID.Value
	c.controller = model.NodeID(m.ControllerID)
	for i := range m.Brokers {
		b := &m.Brokers[i]
		if b.NodeID >= 0 {
			c.setEndpoint(model.NodeID(b.NodeID), hostPort(b.Host, b.Port))
		}
	}
	for i := range m.Topics {
		t := &m.Topics[i]
		x := c.topics.find(t.Name.Value)
		if x == nil {
			continue
		}
		x.code = t.ErrorCode
		if t.ErrorCode != 0 {
			if stale(t.ErrorCode) {
				c.wantRefresh()
			}
			continue
		}
		c.learnTopic(x, t, out)
	}
	out.Notes = append(out.Notes, Note{Kind: NoteMetadataUpdated, Node: c.controller, Count: int64(len(m.Topics))})
}

func (c *cluster) learnTopic(x *topicInfo, t *protocol.MetadataResponseTopic, out *Out) {
	if id := model.TopicID(t.TopicID); id != x.id {
		if !x.id.IsZero() && !id.IsZero() {
			// The name was deleted and created anew: epochs begin again (KAFKA-12257).
			x.partitions = nil
			x.incarnation++
			out.Notes = append(out.Notes, Note{Kind: NoteTopicRecreated, Topic: x.name})
		}
		if !id.IsZero() {
			x.id = id
		}
	}
	x.known = true
	// Partitions are never taken away: an answer with fewer comes from a broker that is behind.
	for i := range t.Partitions {
		p := &t.Partitions[i]
		if p.PartitionIndex < 0 || int(p.PartitionIndex) >= len(t.Partitions) {
			continue // they are numbered from 0 without gaps
		}
		for len(x.partitions) <= int(p.PartitionIndex) {
			x.partitions = append(x.partitions, partitionInfo{leader: anyNode, epoch: model.NoLeaderEpoch})
		}
		y := &x.partitions[p.PartitionIndex]
		if epoch := model.LeaderEpoch(p.LeaderEpoch); epoch < y.epoch && epoch != model.NoLeaderEpoch {
			continue // older than what we know
		}
		y.leader, y.epoch, y.code = max(model.NodeID(p.LeaderID), anyNode), model.LeaderEpoch(p.LeaderEpoch), p.ErrorCode
		if y.leader == anyNode {
			c.wantRefresh()
		}
	}
}

// redirect deals with a broker's word that it does not lead: it takes in the leader that the broker named
// (KIP-951) if that is news, and reports whether another leader than the refusing broker is known. If
// not, metadata is refreshed.
func (c *cluster) redirect(x *topicInfo, p model.Partition, refusing, leader model.NodeID, epoch model.LeaderEpoch) bool {
	if int(p) < len(x.partitions) {
		y := &x.partitions[p]
		if leader >= 0 && epoch > y.epoch && c.endpointOf(leader) != nil {
			y.leader, y.epoch, y.code = leader, epoch, 0
		}
		if y.leader != anyNode && y.leader != refusing {
			return true
		}
	}
	c.wantRefresh()
	return false
}

// leaderOf is who leads a partition, or anyNode.
func (x *topicInfo) leaderOf(p model.Partition) (model.NodeID, model.LeaderEpoch) {
	if int(p) >= len(x.partitions) {
		return anyNode, model.NoLeaderEpoch
	}
	return x.partitions[p].leader, x.partitions[p].epoch
}

func errorf(format string, args ...any) error { return fmt.Errorf("client: "+format, args...) }
