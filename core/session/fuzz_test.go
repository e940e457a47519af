package session

import (
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// script reads a fuzzer's bytes as what happens to a session.
type script struct{ rest []byte }

func (s *script) byte() byte {
	if len(s.rest) == 0 {
		return 0
	}
	b := s.rest[0]
	s.rest = s.rest[1:]
	return b
}

// frame is a request with its length in two bytes before it; a copy, because it is the session's.
func (s *script) frame() []byte {
	n := int(binary.BigEndian.Uint16([]byte{s.byte(), s.byte()}))
	n = min(n, len(s.rest))
	b := append([]byte(nil), s.rest[:n]...)
	s.rest = s.rest[n:]
	return b
}

func scripted(frames ...[]byte) []byte {
	out := []byte{0}
	for _, f := range frames {
		out = binary.BigEndian.AppendUint16(append(out, 1), uint16(len(f)))
		out = append(append(out, f...), 2, 7)
	}
	return out
}

// FuzzSession feeds arbitrary requests to a session, answers its events in arbitrary order, and now and then
// lets it idle or ends it. Whatever happens, responses leave in the order of their requests, at most one each,
// and each is as long as it says.
func FuzzSession(f *testing.F) {
	for key := range int16(95) {
		if r := kmsg.RequestForKey(key); r != nil {
			if _, served := lookup(protocol.Key(key)); served {
				f.Add(scripted(frame(r, min(r.MaxVersion(), 9), int32(key)), frame(kmsg.NewPtrMetadataRequest(), 9, 2)))
			}
		}
	}
	f.Add(scripted(frame(produceRequest(-1, goodBatch()), 9, 1), frame(produceRequest(0, goodBatch()), 9, 2), frame(kmsg.NewPtrFetchRequest(), 12, 3)))
	f.Add(append([]byte{1}, scripted(frame(produceRequest(-1, compressed(record.CodecZstd, 900)), 9, 1), frame(produceRequest(1, compressed(record.CodecGzip, 900)), 9, 2))[1:]...))
	for _, a := range apis {
		if a.Peers == Nodes {
			f.Add(append([]byte{2}, scripted(nodeFrame(defaultRequest(a.Key, a.VersionMax), a.VersionMax, 1), nodeFrame(defaultRequest(a.Key, a.VersionMax), a.VersionMax, 2))[1:]...))
		}
	}
	for _, inner := range [][]byte{frame(createTopics("a", "b"), 7, 3), frame(createTopics("a", "b"), 7, 3)[:20], nodeFrame(sealed(nil), 0, 3)} {
		f.Add(append([]byte{2}, scripted(nodeFrame(sealed(inner), 0, 1), frame(createTopics("c"), 5, 2))[1:]...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := &script{b}
		c := DefaultConfig()
		kind := in.byte()
		c.LendsInflaters, c.RecordBytesMax, c.Budget = kind&1 == 1, 1<<20, protocol.Budget{ElementCountMax: 1 << 14, AllocBytesMax: 1 << 20}
		s := New(&c, 7)
		s.See(published(topicOf("orders", 1, 3, 1), topicOf("b", 2, 1, 1)))
		if kind&2 != 0 {
			s.peer = 2
		}
		m := &fuzzedDriver{t: t, s: s}
		for len(in.rest) > 0 && !m.closed {
			switch in.byte() % 5 {
			case 0, 1:
				m.receive(in.frame())
			case 2, 3:
				m.answer(in.byte(), in.byte())
			case 4:
				s.Idle()
			}
		}
		m.out.Reset()
		s.Disconnect(&m.out)
		for len(m.events) > 0 { // answers that were on their way
			m.answer(0, 0)
		}
	})
}

// fuzzedDriver drives a session as a node does, with a broker that answers what it likes.
type fuzzedDriver struct {
	t       *testing.T
	s       *Session
	out     Out
	events  []broker.Event
	asked   []int32 // correlation ids of requests that may be answered, oldest first
	closed  bool
	inflate record.Decompressor
}

func (m *fuzzedDriver) receive(b []byte) {
	correlation := int32(-1)
	if len(b) >= 8 {
		correlation = int32(binary.BigEndian.Uint32(b[4:]))
	}
	m.out.Reset()
	m.asked = append(m.asked, correlation)
	m.s.Receive(1000, b, &m.out)
	for m.out.Inflate != InflateNothing {
		m.s.Inflate(m.out.Inflate, &m.inflate, &m.out)
	}
	if m.out.Unanswered {
		m.asked = m.asked[:len(m.asked)-1]
	}
	m.take()
}

func (m *fuzzedDriver) take() {
	m.events = append(m.events, m.out.Events...)
	for _, f := range m.out.Frames {
		if len(m.asked) == 0 {
			m.t.Fatal("a response to nothing")
		}
		size, held := 0, 0
		for _, p := range f.Pieces {
			size += p.Len()
			held += len(p.Bytes)
		}
		head := f.Pieces[0].Bytes
		if size != f.LenBytes || held != f.HeldBytes || int(binary.BigEndian.Uint32(head)) != size-4 {
			m.t.Fatalf("a response of %d bytes says %d, %d held, prefix %d", size, f.LenBytes, f.HeldBytes, binary.BigEndian.Uint32(head))
		}
		if got := int32(binary.BigEndian.Uint32(head[4:])); got != m.asked[0] {
			m.t.Fatalf("the response to %d comes before that to %d", got, m.asked[0])
		}
		m.asked = m.asked[1:]
		m.s.Recycle(f)
	}
	m.closed = m.closed || m.out.Close != ""
}

// answer gives one of the events that wait its answer.
func (m *fuzzedDriver) answer(which, code byte) {
	if len(m.events) == 0 {
		return
	}
	i := int(which) % len(m.events)
	ev := m.events[i]
	m.events = append(m.events[:i], m.events[i+1:]...)
	m.out.Reset()
	switch ev := ev.(type) {
	case *broker.Produce:
		if ev.Acks == 0 {
			return
		}
		for p := range ev.Parts {
			m.s.Produced(effect.Produced{To: ev.To, Index: ev.Parts[p].Index, Code: int16(code % 90), BaseOffset: model.Offset(code)}, &m.out)
		}
	case *broker.Fetch:
		reply := &effect.FetchReply{}
		if code%4 == 0 {
			reply.Code = int16(code % 90)
		} else {
			for p := range ev.Parts {
				reply.Parts = append(reply.Parts, effect.FetchPart{
					Index: ev.Parts[p].Index, Records: effect.Records{Regions: []effect.Region{&countedRegion{data: make([]byte, int(code))}}},
				})
			}
		}
		m.s.Fetched(ev.To, reply, &m.out)
	default:
		if to, body := answerOf(ev, int16(code%90)); body != nil {
			m.s.Replied(effect.Reply{To: to, Body: body}, &m.out)
		}
	}
	m.take()
}
