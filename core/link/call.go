package link

import (
	"fmt"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// sendWaiting sends calls as far as there is room.
func (l *Link) sendWaiting(now model.Time, out *Out) {
	n := 0
	for _, k := range l.waiting {
		if len(l.sent) > 0 && (len(l.sent) >= l.config.InFlightMax || l.sentBytes+k.bytes > l.config.InFlightBytesMax) {
			break
		}
		n++
		l.waitingBytes -= k.bytes
		if k.deadline <= now {
			l.answer(k.id, effect.CallUnreachable, "time was up before there was room on the connection", nil, out)
			l.forget(k)
			continue
		}
		m := l.encode(k.body)
		k.key, k.sentAt = m.Key(), now
		version, known := l.version(k.key)
		if !known {
			l.answer(k.id, effect.CallRefused, fmt.Sprintf("node %d does not serve %v in a version of this node's", l.config.To, k.key), nil, out)
			l.forget(k)
			continue
		}
		k.version, k.correlation = version, l.correlation
		l.send(m, version, out)
		l.sent = append(l.sent, k)
		l.sentBytes += k.bytes
	}
	if n > 0 {
		kept := copy(l.waiting, l.waiting[n:])
		clear(l.waiting[kept:])
		l.waiting = l.waiting[:kept]
	}
}

// send hands a request to the connection.
func (l *Link) send(m protocol.Message, version int16, out *Out) {
	var w *protocol.Writer
	if n := len(l.writers); n > 0 {
		w, l.writers = l.writers[n-1], l.writers[:n-1]
	} else {
		w = new(protocol.Writer)
	}
	w.BeginRequest(&protocol.RequestHeader{Key: m.Key(), Version: version, CorrelationID: l.correlation, ClientID: clientID})
	m.Encode(w, version)
	w.EndFrame()
	if err := w.Err(); err != nil {
		invariant.Checkf(false, "a request of ours cannot be encoded: %v", err)
	}
	out.Frames = append(out.Frames, Frame{
		Pieces: w.Pieces(), Key: m.Key(), Version: version, Correlation: l.correlation, LenBytes: w.Len(), writer: w,
	})
	l.correlation = (l.correlation + 1) & 0x7fffffff
}

// clientID is what nodes call themselves.
var clientID = protocol.String("weir-node")

// Recycle takes back a frame that was sent, or never will be.
func (l *Link) Recycle(f Frame) {
	const writersMax, writerBytesMax = 4, 64 << 10
	if f.writer != nil && len(l.writers) < writersMax && f.writer.CapBytes() <= writerBytesMax {
		f.writer.Reset()
		l.writers = append(l.writers, f.writer)
	}
}

// Receive takes in one response frame, without its length prefix. The frame belongs to the link until it comes back in
// Out.Free, or for good.
func (l *Link) Receive(now model.Time, frame []byte, out *Out) {
	l.receivedAt = now
	switch l.state {
	case greeting:
		l.greet(now, frame, out)
	case ready:
		l.receive(now, frame, out)
	case idle, dialling, backingOff:
		invariant.Checkf(false, "a response comes while %v", l.state)
	}
	l.advance(now, out)
}

// receive takes in the answer to the oldest request.
func (l *Link) receive(now model.Time, frame []byte, out *Out) {
	if len(l.sent) == 0 {
		out.Free = append(out.Free, frame)
		l.drop(now, "an answer came to nothing that was asked", out)
		return
	}
	k := l.sent[0]
	l.reader.Reset(frame, l.config.Budget)
	id := protocol.ReadResponseHeader(&l.reader, k.key, k.version)
	var body effect.AnswerBody
	err := l.reader.Err()
	switch {
	case err != nil:
	case id != k.correlation:
		err = fmt.Errorf("it answers request %d and not %d", id, k.correlation)
	default:
		var aliases bool
		if body, aliases, err = l.decode(k); !aliases {
			out.Free = append(out.Free, frame)
		}
	}
	kept := copy(l.sent, l.sent[1:])
	l.sent[kept] = nil
	l.sent = l.sent[:kept]
	l.sentBytes -= k.bytes
	l.usedAt = now
	if err != nil {
		why := fmt.Sprintf("the answer to %v cannot be read: %v", k.key, err)
		if !k.answered {
			l.answer(k.id, effect.CallMalformed, why, nil, out)
		}
		l.forget(k)
		l.drop(now, why, out)
		return
	}
	if !k.answered {
		l.answer(k.id, effect.CallOK, "", body, out)
	}
	l.forget(k)
}

// expire answers the calls whose time is up. A connection on which nothing has come since one of them was sent is
// taken for dead: answers come in order, so if this one does not come, none does.
func (l *Link) expire(now model.Time, out *Out) {
	next := model.Time(0)
	sooner := func(t model.Time) {
		if t = max(1, t); next == 0 || t < next {
			next = t
		}
	}
	kept := l.waiting[:0]
	for _, k := range l.waiting {
		if k.deadline > now {
			sooner(k.deadline)
			kept = append(kept, k)
			continue
		}
		why := "time was up before there was a connection"
		if l.state == ready {
			why = "time was up before there was room on the connection"
		} else if l.trouble != "" {
			why += "; the last failed: " + l.trouble
		}
		l.answer(k.id, effect.CallUnreachable, why, nil, out)
		l.waitingBytes -= k.bytes
		l.forget(k)
	}
	clear(l.waiting[len(kept):])
	l.waiting = kept
	isDead := false
	for _, k := range l.sent {
		switch {
		case k.answered:
		case k.deadline > now:
			sooner(k.deadline)
		default:
			k.answered = true
			l.answer(k.id, effect.CallTimedOut, fmt.Sprintf("%v was not answered in time", k.key), nil, out)
			isDead = isDead || l.receivedAt <= k.sentAt
		}
	}
	l.expires = next
	if isDead {
		l.drop(now, "nothing came for the time that an answer may take", out)
	}
}
