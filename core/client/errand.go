package client

import (
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// errand is an admin request that one broker answers as a whole: which, what, and how to read the answer.
//
//	to nobody in particular ──────────────────────────────────► request
//	to the controller ──NOT_CONTROLLER──► metadata ───────────► request
//	to node N ──address unknown──► metadata ──────────────────► request
//	to the coordinator of a group ──unknown──► FindCoordinator ► request ──moved──► FindCoordinator
type errand struct {
	to      target
	node    model.NodeID // toNode; the coordinator, once known
	group   string       // toCoordinator
	last    model.NodeID // that was the coordinator, anyNode before the first
	heldTo  model.Time   // not before: a connection to somebody else than the last is being made; 0 is no wait
	key     protocol.Key
	low     int16 // the first version that can say what is asked
	high    int16 // the last version to use, 0 for no limit
	changes bool  // it changes something
	tells   bool  // which topics are unknown is part of the answer
	encode  func(w *protocol.Writer, version int16, timeoutMs int32)
	// decode reads the answer into a. A code that allows for it is tried again; part of the answer may be
	// overwritten then.
	decode func(a *Answer, version int16, r *protocol.Reader) (code int16, message string)
	stage  stage
}

// encoding makes an errand's encode: fill says what is asked, in a request that has its defaults.
func encoding[M any, P interface {
	*M
	Default()
	Encode(w *protocol.Writer, version int16)
}](fill func(m P, version int16, timeoutMs int32)) func(*protocol.Writer, int16, int32) {
	return func(w *protocol.Writer, version int16, timeoutMs int32) {
		m := P(new(M))
		m.Default()
		fill(m, version, timeoutMs)
		m.Encode(w, version)
	}
}

// decoding makes an errand's decode: take reads the answer. What did not arrive whole is the caller's to notice.
func decoding[M any, P interface {
	*M
	Decode(r *protocol.Reader, version int16)
}](take func(a *Answer, m P) (code int16, message string)) func(*Answer, int16, *protocol.Reader) (int16, string) {
	return func(a *Answer, version int16, r *protocol.Reader) (int16, string) {
		m := P(new(M))
		m.Decode(r, version)
		return take(a, m)
	}
}

// target is who can answer an errand.
type target uint8

const (
	toAnybody target = iota
	toController
	toNode
	toCoordinator
)

// stage is what an errand sends next.
type stage uint8

const (
	theRequest     stage = iota
	theMetadata          // to learn a node's address
	theCoordinator       // to learn who coordinates
)

// run begins an errand.
func (a *Admin) run(now model.Time, e errand, out *Out) OpID {
	e.last = anyNode
	return a.begin(now, &op{kind: anErrand, errand: e}, out)
}

// tryErrand sends what the errand needs next.
func (a *Admin) tryErrand(now model.Time, o *op, out *Out) {
	e := &o.errand
	node := anyNode
	e.stage = theRequest
	switch e.to {
	case toAnybody:
	case toController:
		if o.atHead && a.cl.controller >= 0 {
			node = a.cl.controller
		}
	case toNode:
		node = e.node
		if a.cl.endpointOf(node) == nil {
			e.stage, node = theMetadata, anyNode
		}
	case toCoordinator:
		if e.node = a.coordinatorOf(e.group); e.node == anyNode {
			a.findCoordinatorFor(now, o, out)
			return
		}
		node, e.last = e.node, e.node
	}
	o.calls++
	a.cl.submit(now, node, &errandCall{a: a, op: o, node: node, stage: e.stage}, out)
}

// findCoordinatorFor asks who coordinates: not the last one that did if there is another to ask, for it may be cut off from the others.
func (a *Admin) findCoordinatorFor(now model.Time, o *op, out *Out) {
	e := &o.errand
	e.stage = theCoordinator
	var k *conn
	if last := a.cl.endpointOf(e.last); last != nil {
		var held bool
		if k, held = a.cl.elsewhere(now, last.addr, &e.heldTo, out); held {
			o.waiting, o.retryAt = true, e.heldTo
			return
		}
	}
	o.calls++
	a.cl.submitVia(now, k, &errandCall{a: a, op: o, node: anyNode, stage: theCoordinator}, out)
}

// confirm asks whether a coordinator that says nothing still is one.
func (a *Admin) confirm(now model.Time, o *op, out *Out) {
	e := &o.errand
	if o.kind != anErrand || e.to != toCoordinator || e.stage != theRequest || o.calls == 0 || o.confirming || now < o.confirmAt {
		return
	}
	at := a.cl.endpointOf(e.node)
	if at == nil || !a.cl.silent(now, at.addr) {
		return
	}
	if k, _ := a.cl.another(now, at.addr, out); k != nil {
		o.confirming, o.confirmAt = true, now+slowAfter
		a.cl.send(now, k, &confirmCall{a: a, op: o}, a.cfg.RequestTimeout, out)
	}
}

// confirmCall asks who coordinates while an answer of the coordinator's is late.
type confirmCall struct {
	a  *Admin
	op *op
}

func (q *confirmCall) key() protocol.Key        { return protocol.KeyFindCoordinator }
func (q *confirmCall) misplaced() bool          { return true }
func (q *confirmCall) versions() (int16, int16) { return 0, math.MaxInt16 }

func (q *confirmCall) encode(w *protocol.Writer, version int16) {
	encodeFindCoordinator(w, version, q.op.errand.group)
}

func (q *confirmCall) answered(_ model.Time, version int16, r *protocol.Reader, _ *Out) error {
	q.op.confirming = false
	c, err := decodeFindCoordinator(r, version, q.op.errand.group)
	if err == nil && c.code == 0 && c.node >= 0 {
		q.a.cl.setEndpoint(c.node, c.addr)
		q.a.setCoordinator(q.op.errand.group, c.node)
	}
	return err
}

func (q *confirmCall) failed(model.Time, Reason, bool, *Out) { q.op.confirming = false }

// errandCall is one attempt at one stage of an errand.
type errandCall struct {
	a     *Admin
	op    *op
	node  model.NodeID // who is asked, anyNode if anybody will do
	stage stage
}

func (q *errandCall) key() protocol.Key {
	switch q.stage {
	case theMetadata:
		return protocol.KeyMetadata
	case theCoordinator:
		return protocol.KeyFindCoordinator
	default:
		return q.op.errand.key
	}
}

// misplaced: what anybody can answer can be asked elsewhere, and another may coordinate or be the controller by now.
func (q *errandCall) misplaced() bool {
	e := &q.op.errand
	switch {
	case q.stage != theRequest:
		return true
	case e.to == toCoordinator:
		now := q.a.coordinatorOf(e.group)
		return now != anyNode && now != q.node
	case e.to == toController && q.node != anyNode:
		return q.a.cl.controller >= 0 && q.a.cl.controller != q.node
	}
	return e.to == toAnybody && !e.changes
}

func (q *errandCall) versions() (int16, int16) {
	if q.stage != theRequest {
		return 0, math.MaxInt16
	}
	if e := &q.op.errand; e.high > 0 {
		return e.low, e.high
	}
	return q.op.errand.low, math.MaxInt16
}

func (q *errandCall) encode(w *protocol.Writer, version int16) {
	switch q.stage {
	case theMetadata:
		var m protocol.MetadataRequest
		m.Default()
		m.Topics = []protocol.MetadataRequestTopic{}
		if version >= 4 {
			m.AllowAutoTopicCreation = false
		}
		m.Encode(w, version)
	case theCoordinator:
		encodeFindCoordinator(w, version, q.op.errand.group)
	default:
		q.op.errand.encode(w, version, int32(min(q.a.cfg.RequestTimeout/millisecond, math.MaxInt32)))
	}
}

func (q *errandCall) answered(now model.Time, version int16, r *protocol.Reader, out *Out) error {
	a, o := q.a, q.op
	switch q.stage {
	case theMetadata:
		var m protocol.MetadataResponse
		m.Decode(r, version)
		if err := r.Finish(); err != nil {
			q.failed(now, Malformed, true, out)
			return err
		}
		o.calls--
		if a.cl.learn(&m, out); !slices.Contains(a.ops, o) {
			return nil // its time was up meanwhile
		}
		if a.cl.endpointOf(o.errand.node) == nil {
			o.lastCode = kerr.BrokerNotAvailable.Code
			a.again(now, o)
			return nil
		}
		a.try(now, o, out)
	case theCoordinator:
		c, err := decodeFindCoordinator(r, version, o.errand.group)
		if err != nil {
			q.failed(now, Malformed, true, out)
			return err
		}
		o.calls--
		switch {
		case c.code == 0 && c.node >= 0:
			a.cl.setEndpoint(c.node, c.addr)
			a.setCoordinator(o.errand.group, c.node)
			if slices.Contains(a.ops, o) {
				a.try(now, o, out)
			}
		case c.code == 0 || Retriable(c.code):
			o.lastCode = c.code
			a.again(now, o)
		default:
			a.finish(o, Outcome{Reason: Refused, Code: c.code, Message: c.message}, out)
		}
	default:
		code, message := o.errand.decode(&o.answer, version, r)
		if err := r.Finish(); err != nil {
			q.failed(now, Malformed, true, out)
			return err
		}
		o.calls--
		q.judge(now, code, message, out)
	}
	return nil
}

// judge finishes the errand, or tries again what may succeed later.
func (q *errandCall) judge(now model.Time, code int16, message string, out *Out) {
	a, o := q.a, q.op
	switch code {
	case kerr.NotCoordinator.Code, kerr.CoordinatorNotAvailable.Code:
		a.setCoordinator(o.errand.group, anyNode)
		a.cl.wantRefresh() // to know others to ask
	case kerr.NotController.Code:
		o.atHead = true
		a.cl.wantRefresh()
	}
	unknown := code == kerr.UnknownTopicOrPartition.Code || code == kerr.UnknownTopicID.Code
	if Retriable(code) && (!unknown || o.failures < unknownTriesMax) {
		o.lastCode = code
		a.again(now, o)
		return
	}
	if unknown && o.errand.tells {
		code, message = 0, ""
	}
	how := o.judge(code, message)
	if !how.OK() && !how.Definite {
		o.exposed = o.exposed || o.errand.changes
	}
	a.finish(o, how, out)
}

func (q *errandCall) failed(now model.Time, why Reason, sent bool, out *Out) {
	a, o := q.a, q.op
	o.calls--
	if q.stage == theRequest {
		o.exposed = o.exposed || sent && o.errand.changes
		if o.errand.to == toCoordinator && why != Closed && why != Unsupported && a.coordinatorOf(o.errand.group) == q.node {
			a.setCoordinator(o.errand.group, anyNode) // it may have moved
		}
		if q.node != anyNode {
			a.cl.wantRefresh() // the controller may be another by now, and a node elsewhere
		}
	}
	if why == Unsupported || why == Closed {
		a.finish(o, Outcome{Reason: why}, out)
		return
	}
	a.again(now, o)
}

// coordinator is who coordinates a group, as of the last answer.
type coordinator struct {
	group string
	node  model.NodeID
}

func (a *Admin) coordinatorOf(group string) model.NodeID {
	if i, found := a.findCoordinator(group); found {
		return a.coordinators[i].node
	}
	return anyNode
}

// setCoordinator remembers a group's coordinator, or forgets it (anyNode).
func (a *Admin) setCoordinator(group string, node model.NodeID) {
	i, found := a.findCoordinator(group)
	switch {
	case found && node == anyNode:
		a.coordinators = slices.Delete(a.coordinators, i, i+1)
	case found:
		a.coordinators[i].node = node
	case node != anyNode:
		a.coordinators = slices.Insert(a.coordinators, i, coordinator{group, node})
	}
}

func (a *Admin) findCoordinator(group string) (int, bool) {
	return slices.BinarySearchFunc(a.coordinators, group, func(c coordinator, g string) int { return strings.Compare(c.group, g) })
}

// foundCoordinator is an answer to FindCoordinator.
type foundCoordinator struct {
	node    model.NodeID
	addr    string
	code    int16
	message string
}

func encodeFindCoordinator(w *protocol.Writer, version int16, group string) {
	var m protocol.FindCoordinatorRequest
	m.Default()
	if version >= 4 {
		m.CoordinatorKeys = append(m.CoordinatorKeys, group)
	} else {
		m.CoordinatorKey = group
	}
	m.Encode(w, version)
}

func decodeFindCoordinator(r *protocol.Reader, version int16, group string) (foundCoordinator, error) {
	var m protocol.FindCoordinatorResponse
	m.Decode(r, version)
	if err := r.Finish(); err != nil {
		return foundCoordinator{}, err
	}
	f := foundCoordinator{model.NodeID(m.NodeID), hostPort(m.Host, m.Port), m.ErrorCode, m.ErrorMessage.Value}
	if version >= 4 {
		f = foundCoordinator{node: anyNode, code: kerr.CoordinatorNotAvailable.Code}
		for i := range m.Coordinators {
			if c := &m.Coordinators[i]; c.Key == group {
				f = foundCoordinator{model.NodeID(c.NodeID), hostPort(c.Host, c.Port), c.ErrorCode, c.ErrorMessage.Value}
			}
		}
	}
	return f, nil
}
