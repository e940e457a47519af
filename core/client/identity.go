package client

import (
	"math"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// identity is the producer id that lanes adopt (KIP-98).
type identity struct {
	id       model.ProducerID
	epoch    model.ProducerEpoch
	known    bool
	wanted   bool
	underway bool
	retryAt  model.Time
	failures int
}

// identify asks for a producer id if one is wanted.
func (p *Producer) identify(now model.Time, out *Out) {
	if i := &p.identity; i.wanted && !i.underway && now >= i.retryAt {
		i.underway = true
		p.cl.submit(now, anyNode, &identityCall{p: p}, out)
	}
}

// identityCall asks any broker for a producer id.
type identityCall struct{ p *Producer }

func (q *identityCall) key() protocol.Key        { return protocol.KeyInitProducerID }
func (q *identityCall) misplaced() bool          { return true }
func (q *identityCall) versions() (int16, int16) { return 0, math.MaxInt16 }

func (q *identityCall) encode(w *protocol.Writer, version int16) {
	var m protocol.InitProducerIDRequest
	m.Default()
	m.TransactionalID = protocol.NullString{}
	m.TransactionTimeoutMs = math.MaxInt32 // means nothing without a transactional id
	m.Encode(w, version)
}

func (q *identityCall) answered(now model.Time, version int16, r *protocol.Reader, out *Out) error {
	p := q.p
	i := &p.identity
	var m protocol.InitProducerIDResponse
	m.Decode(r, version)
	if err := r.Finish(); err != nil {
		q.failed(now, Malformed, true, out)
		return err
	}
	switch {
	case m.ErrorCode == 0 && m.ProducerID >= 0 && m.ProducerEpoch >= 0:
		*i = identity{id: model.ProducerID(m.ProducerID), epoch: model.ProducerEpoch(m.ProducerEpoch), known: true}
		out.Notes = append(out.Notes, Note{Kind: NoteProducerID, Count: m.ProducerID})
		for _, t := range p.order {
			for _, l := range t.lanes {
				if l != nil {
					p.enqueue(now, l)
				}
			}
		}
	case m.ErrorCode == 0 || Retriable(m.ErrorCode):
		q.failed(now, Lost, true, out)
	default:
		// Whoever may not be idempotent may not write this way at all.
		i.underway, i.wanted = false, false
		p.failAll(now, Outcome{Reason: Refused, Code: m.ErrorCode}, out)
	}
	return nil
}

func (q *identityCall) failed(now model.Time, why Reason, _ bool, out *Out) {
	p := q.p
	i := &p.identity
	i.underway = false
	if why == Unsupported {
		i.wanted = false
		p.failAll(now, Outcome{Reason: Unsupported}, out)
		return
	}
	i.failures++
	i.retryAt = now + p.cl.backoff(i.failures)
}
