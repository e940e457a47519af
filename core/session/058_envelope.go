package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/protocol"
)

// receiveEnvelope takes a client's request out of its envelope (KIP-590) and handles it as if the client had sent it
// here: the slot is then the inner request's, and its response goes into an envelope again.
//
// What is wrong with the inner request is told in the envelope: the connection is another node's, and many clients'
// requests are on it.
func (s *Session) receiveEnvelope(rq *request, out *Out) {
	var in protocol.EnvelopeRequest
	if !s.decode(rq, &in, out) {
		return
	}
	sl := rq.slot
	var header protocol.RequestHeader
	s.reader.Reset(in.RequestData, s.config.Budget)
	protocol.ReadRequestHeader(&s.reader, &header)
	a, served := lookup(header.Key)
	switch {
	case s.reader.Err() != nil || !served || a.Peers != Decided:
		s.answer(sl, envelopeRefusal(kerr.InvalidRequest.Code), out)
		return
	case header.Version < a.ServedMin || header.Version > a.VersionMax:
		s.answer(sl, envelopeRefusal(kerr.UnsupportedVersion.Code), out)
		return
	}
	sl.envelope = envelope{is: true, version: sl.version, correlation: sl.correlation}
	sl.key, sl.version, sl.correlation = header.Key, header.Version, header.CorrelationID
	s.handle(&request{
		slot: sl, version: header.Version, wall: rq.wall, frame: rq.frame, id: rq.id,
		origin: broker.Origin{Principal: in.RequestPrincipal, ClientAddress: in.ClientHostAddress},
	}, out)
}

// envelope is the request that the slot's own came in, if it did.
type envelope struct {
	is          bool
	version     int16
	correlation int32
}

// leaveEnvelope makes the slot the envelope's again.
func (sl *slot) leaveEnvelope() {
	sl.key, sl.version, sl.correlation = protocol.KeyEnvelope, sl.envelope.version, sl.envelope.correlation
	sl.envelope = envelope{}
}

func envelopeRefusal(code int16) protocol.Message {
	r := new(protocol.EnvelopeResponse)
	r.Default()
	r.ErrorCode = code
	return r
}

// seal puts a response into the envelope that its request came in.
func (sl *slot) seal() {
	var w protocol.Writer
	w.BeginResponse(sl.correlation, sl.key, sl.version)
	sl.body.Encode(&w, sl.version)
	w.EndFrame()
	b, err := w.AppendTo(nil)
	if err != nil {
		invariant.Checkf(false, "a response of ours cannot be encoded: %v", err)
	}
	r := new(protocol.EnvelopeResponse)
	r.Default()
	r.ResponseData = b[4:]
	sl.leaveEnvelope()
	sl.body = r
}

// origin is where a request comes from that the controller decides.
func (s *Session) origin(rq *request) broker.Origin {
	if rq.slot.envelope.is {
		return rq.origin
	}
	return broker.Origin{Frame: rq.frame, ClientAddress: s.ClientAddress}
}

// forwarded gives a client the controller's answer, header and all.
func (s *Session) forwarded(sl *slot, in *effect.Forwarded, out *Out) {
	if in.Response == nil {
		s.closeFor(CloseUndecided, out, "the controller was asked for a %v, and whether it has decided is not known", sl.key)
		return
	}
	var r protocol.Reader
	r.Reset(in.Response, s.config.Budget)
	if id := protocol.ReadResponseHeader(&r, sl.key, sl.version); r.Err() != nil || id != sl.correlation {
		s.close(out, "the controller's answer to a forwarded %v is not one to it", sl.key)
		return
	}
	s.answer(sl, &forwardedBody{key: sl.key, bytes: in.Response[len(in.Response)-r.Remaining():]}, out)
}

// forwardedBody is a body that another node has encoded.
type forwardedBody struct {
	key   protocol.Key
	bytes []byte
}

func (f *forwardedBody) Key() protocol.Key                  { return f.key }
func (f *forwardedBody) Encode(w *protocol.Writer, _ int16) { w.Raw(f.bytes) }
func (*forwardedBody) Decode(_ *protocol.Reader, _ int16)   {}
func (*forwardedBody) Default()                             {}
